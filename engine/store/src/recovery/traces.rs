//! What a damaged range still says of the messages that were in it.
//!
//! Owns: looking into a range that was set aside, for the highest offset of each queue. A later message of the queue would
//! tell by its offset how many are missing; behind a queue's last ones there is none, and without these traces their
//! offsets would be given to other messages.
//! Invariants: nothing of the range is served. A record counts as a trace only if it parses and says itself that it lies
//! where it lies. The hole's header covers a batch's header and no record, so each later recovery finds the same traces.

use std::collections::BTreeMap;
use std::io;

use ringmq_io::File;
use ringmq_wire::message::{MIN_SIZE, RecordView};

use super::source::SegmentSource;
use crate::batch::HEADER_BYTES;
use crate::physical::PhysicalOffset;

/// Offsets of a queue that were seen in damaged ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub first: u64,
    pub last: u64,
    /// Of the last one.
    pub position: u64,
    pub store_time_ms: i64,
}

/// By topic and queue.
#[derive(Default)]
pub struct Traces(pub BTreeMap<(Box<str>, u32), Trace>);

impl Traces {
    /// A topic's drop: what was seen before it is gone for a better reason.
    pub fn drop_topic(&mut self, topic: &str) {
        self.0.retain(|(own, _), _| **own != *topic);
    }

    /// Looks into `[start, end)`.
    pub async fn look_into<F: File>(
        &mut self,
        source: &mut SegmentSource<F>,
        shard: u16,
        start: u64,
        end: u64,
    ) -> io::Result<()> {
        let mut at = start + HEADER_BYTES as u64;
        while at < end {
            if let Some(next) = self.record(source, shard, at, end).await? {
                at = next;
                continue;
            }
            // The rest of this batch cannot be cut into records: on with the next one that has a header.
            match source.next_candidate(at.next_multiple_of(HEADER_BYTES as u64)).await? {
                Some(header) if header < end => at = header + HEADER_BYTES as u64,
                _ => break,
            }
        }
        Ok(())
    }

    /// Takes the record at a position; gives where it ends.
    async fn record<F: File>(
        &mut self,
        source: &mut SegmentSource<F>,
        shard: u16,
        at: u64,
        end: u64,
    ) -> io::Result<Option<u64>> {
        let Some(head) = source.bytes(at, MIN_SIZE).await? else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*head.first_chunk().expect("4 bytes"));
        let size = u64::try_from(size).unwrap_or(0);
        if size < MIN_SIZE as u64 || size > end - at {
            return Ok(None);
        }
        let Some(bytes) = source.bytes(at, size as usize).await? else {
            return Ok(None);
        };
        let Ok(record) = RecordView::parse(bytes) else {
            return Ok(None);
        };
        let (Ok(queue_id), Ok(offset)) = (u32::try_from(record.queue_id), u64::try_from(record.queue_offset))
        else {
            return Ok(None);
        };
        if record.physical_offset as u64 != PhysicalOffset::pack(shard, at) {
            return Ok(None);
        }
        let seen = Trace { first: offset, last: offset, position: at, store_time_ms: record.store_timestamp };
        let trace = self.0.entry((record.topic.into(), queue_id)).or_insert(seen);
        trace.first = trace.first.min(offset);
        if offset >= trace.last {
            *trace = Trace { first: trace.first, ..seen };
        }
        Ok(Some(at + size))
    }
}

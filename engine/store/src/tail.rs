//! The end of the log: the open batch, and laying records into it.
//!
//! Owns: appending. A record is encoded straight into the ring (one copy), its crc taken while it is in the
//! cache, its index entry and its keys pushed; the batch's header is written when the batch closes.
//! Invariants: a batch never crosses a lap's end (a filler pads); several records of one append, of one queue or of
//! several, are in one batch or nowhere; nothing is stored of an append that failed.
//! On failure: [`AppendError`], with the shard unchanged apart from a closed batch or a filler.

use ringmq_io::limits::{BATCH_BYTES_MAX, BATCH_RING_SHARE};
use ringmq_io::{Env, Region};
use ringmq_wire::message::RecordParts;

use crate::batch::{ALIGN, Checksum, Control, HEADER_BYTES, Header, Kind, TAGS_BYTES, length_of};
use crate::entry::Entry;
use crate::error::AppendError;
use crate::inner::{Inner, TopicDrop, add};
use crate::keys::KeyEntry;
use crate::physical::{POSITION_END, PhysicalOffset};
use crate::shard::{Appended, Arrival, NewRecord, QueueRef};

/// The batch that is being filled.
#[derive(Clone, Copy)]
struct Open {
    base: u64,
    /// Where the next record goes.
    at: u64,
    sum: Checksum,
    store_time_ms: i64,
}

pub struct Tail {
    /// Where the next batch begins.
    end: u64,
    open: Option<Open>,
    /// Tags codes of the open batch.
    tags: Vec<i64>,
    /// What the listener has not been told of.
    pub untold: Vec<Arrival>,
}

impl Tail {
    pub fn new(end: u64) -> Self {
        assert!(end.is_multiple_of(ALIGN));
        Self { end, open: None, tags: Vec::new(), untold: Vec::new() }
    }

    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Behind everything appended; inside the open batch if there is one.
    pub fn position(&self) -> u64 {
        self.open.map_or(self.end, |open| open.at)
    }
}

impl<E: Env> Inner<E> {
    /// Appends records with consecutive queue offsets and back to back in one batch.
    pub fn append(&self, queue: QueueRef, records: &[NewRecord<'_>]) -> Result<Appended, AppendError> {
        assert!(!records.is_empty(), "an append has a record");
        self.check_open()?;
        let mut tail = self.tail.borrow_mut();
        let bytes = records.iter().map(|record| record.size as u64).sum();
        let mut open = self.make_room(&mut tail, bytes, records.len() as u64)?;
        let appended = self.lay(&mut tail, &mut open, queue, records);
        self.keep_open(&mut tail, open);
        Ok(appended)
    }

    /// The same for several queues at once: all of it in one batch, or nothing.
    pub fn append_together(
        &self,
        parts: &[(QueueRef, &[NewRecord<'_>])],
    ) -> Result<Vec<Appended>, AppendError> {
        self.check_open()?;
        self.lay_together(parts)
    }

    /// The same, whether or not appends are accepted.
    pub fn lay_together(&self, parts: &[(QueueRef, &[NewRecord<'_>])]) -> Result<Vec<Appended>, AppendError> {
        assert!(parts.iter().all(|(_, records)| !records.is_empty()), "an append has a record");
        let mut tail = self.tail.borrow_mut();
        let all = || parts.iter().flat_map(|(_, records)| *records);
        let bytes = all().map(|record| record.size as u64).sum();
        let mut open = self.make_room(&mut tail, bytes, all().count() as u64)?;
        let appended =
            parts.iter().map(|(queue, records)| self.lay(&mut tail, &mut open, *queue, records)).collect();
        self.keep_open(&mut tail, open);
        Ok(appended)
    }

    /// Lays records into the room that was made for them.
    fn lay(&self, tail: &mut Tail, open: &mut Open, queue: QueueRef, records: &[NewRecord<'_>]) -> Appended {
        let mut queues = self.queues.borrow_mut();
        let mut keys = self.keys.borrow_mut();
        let queue_state = queues.get_mut(queue);
        let (physical, queue_offset) = (PhysicalOffset::pack(self.id.shard, open.at), queue_state.next());
        let mut bytes = 0;
        for record in records {
            let parts = RecordParts {
                queue_id: queue_state.id as i32,
                queue_offset: queue_state.next() as i64,
                physical_offset: PhysicalOffset::pack(self.id.shard, open.at) as i64,
                store_timestamp: open.store_time_ms,
                ..record.parts
            };
            let crc = self.ring.write(open.at, record.size, |out| {
                parts.encode_into(out);
                crc32c::crc32c(out)
            });
            open.sum.record(crc);
            for key in record.keys.iter() {
                keys.push(KeyEntry { hash: queue_state.topic_hash.key(key), position: open.at });
            }
            queue_state.open.push(Entry {
                position: open.at,
                tags_code: record.tags_code,
                store_time_ms: open.store_time_ms,
                size: record.size as u32,
                crc,
            });
            tail.tags.push(record.tags_code);
            tail.untold.push(Arrival { queue, max_offset: queue_state.next(), tags_code: record.tags_code });
            open.at += record.size as u64;
            bytes += record.size as u64;
        }
        add(&self.counters.records, records.len() as u64);
        add(&self.counters.bytes, bytes);
        Appended { queue_offset, physical, end: open.at, store_time_ms: open.store_time_ms, bytes }
    }

    /// Takes the batch back with what was laid into it.
    fn keep_open(&self, tail: &mut Tail, open: Open) {
        let full = open.at - open.base >= BATCH_BYTES_MAX;
        tail.open = Some(open);
        if full {
            self.close_batch(tail);
        }
    }

    /// A place for `bytes` of records in the open batch or a new one.
    fn make_room(&self, tail: &mut Tail, bytes: u64, records: u64) -> Result<Open, AppendError> {
        if let Some(open) = tail.open {
            let count = tail.tags.len() as u64 + records;
            let end = open.base + length_of(open.at + bytes - open.base - HEADER_BYTES as u64, count);
            if end <= self.ring.lap_end(open.base) && end - open.base <= self.batch_max() {
                self.reserve(tail, end)?;
                return Ok(open);
            }
            self.close_batch(tail);
        }
        let base = self.place_batch(tail, length_of(bytes, records))?;
        self.opened.notify();
        Ok(Open {
            base,
            at: base + HEADER_BYTES as u64,
            sum: Checksum::default(),
            store_time_ms: self.env.now_ms(),
        })
    }

    pub fn batch_max(&self) -> u64 {
        self.ring.bytes() / BATCH_RING_SHARE
    }

    /// The base of a new batch of `length`: at the end of the log, or behind a filler at the next lap.
    fn place_batch(&self, tail: &mut Tail, length: u64) -> Result<u64, AppendError> {
        assert!(tail.open.is_none());
        if length > self.batch_max() {
            return Err(AppendError::TooLarge { size: length, max: self.batch_max() });
        }
        let lap_end = self.ring.lap_end(tail.end);
        if tail.end + length > lap_end {
            self.reserve(tail, lap_end)?;
            let filler = self.header(Kind::Filler, tail.end, lap_end - tail.end);
            self.write_header(&filler, Checksum::default());
            tail.end = lap_end;
            self.batch_closed(tail);
        }
        self.reserve(tail, tail.end + length)?;
        Ok(tail.end)
    }

    fn reserve(&self, tail: &Tail, end: u64) -> Result<(), AppendError> {
        assert!(end < POSITION_END, "the log's address space is used up");
        if self.no_segment.get() && self.segments.end().is_none_or(|limit| end > limit) {
            add(&self.counters.disk_full, 1);
            return Err(AppendError::NoSegment { segment_bytes: self.segments.bytes });
        }
        self.ring.reserve(end, self.synced.get()).map_err(|held_by| {
            add(&self.counters.ring_full, 1);
            // Whoever is refused waits for the drain: it must not sleep until its interval is over.
            self.sync_wanted.set(self.sync_wanted.get().max(self.closed.get()));
            self.flush.notify();
            AppendError::RingFull {
                shard: self.id.shard,
                used: self.ring.used(tail.position()),
                capacity: self.ring.bytes(),
                held_by,
            }
        })
    }

    fn header(&self, kind: Kind, base: u64, length: u64) -> Header {
        Header {
            kind,
            shard: self.id.shard,
            length: u32::try_from(length).expect("a batch is shorter than a ring"),
            body: 0,
            records: 0,
            store_id: self.id.store_id,
            base,
            durable: self.synced.get(),
            store_time_ms: self.env.now_ms(),
            epoch: self.epoch,
        }
    }

    fn write_header(&self, header: &Header, sum: Checksum) {
        let bytes = header.encode(sum);
        self.ring.write(header.base, HEADER_BYTES, |out| out.copy_from_slice(&bytes));
        add(&self.counters.batches, 1);
    }

    /// Closes the open batch, if there is one: from now on it is part of the log.
    pub fn close_batch(&self, tail: &mut Tail) {
        let Some(open) = tail.open.take() else {
            return;
        };
        let body = open.at - open.base - HEADER_BYTES as u64;
        let records = tail.tags.len();
        let length = length_of(body, records as u64);
        let mut sum = open.sum;
        let rest = (open.base + length - open.at) as usize;
        let place = self.ring.place(open.at, rest);
        self.ring.region().with_mut(place, |out| {
            let (tags, padding) = out.split_at_mut(records * TAGS_BYTES);
            for (slot, code) in tags.chunks_exact_mut(TAGS_BYTES).zip(&tail.tags) {
                slot.copy_from_slice(&code.to_le_bytes());
            }
            sum.tags(tags);
            padding.fill(0);
        });
        tail.tags.clear();
        let header = Header {
            body: body as u32,
            records: records as u32,
            store_time_ms: open.store_time_ms,
            ..self.header(Kind::Records, open.base, length)
        };
        self.write_header(&header, sum);
        tail.end = header.end();
        self.batch_closed(tail);
    }

    fn batch_closed(&self, tail: &Tail) {
        let idle = self.unsynced() == 0;
        self.closed.advance(tail.end);
        // The flusher sleeps through batches that neither anybody waits for nor fill the ring.
        if idle || self.flush_is_due() {
            self.flush.notify();
        }
    }

    /// Writes the drop of a topic as a batch of its own and forgets the topic's queues. Gives the log position
    /// that must be synced for the drop to last.
    pub fn append_drop(&self, topic: &str) -> Result<u64, AppendError> {
        self.check_open()?;
        let body = Control::DropTopic(topic.to_owned()).encode();
        let mut tail = self.tail.borrow_mut();
        self.close_batch(&mut tail);
        let base = self.place_batch(&mut tail, length_of(body.len() as u64, 0))?;
        let mut sum = Checksum::default();
        sum.record(crc32c::crc32c(&body));
        let length = length_of(body.len() as u64, 0);
        self.ring.write(base + HEADER_BYTES as u64, length as usize - HEADER_BYTES, |out| {
            out.fill(0);
            out[..body.len()].copy_from_slice(&body);
        });
        let header = Header { body: body.len() as u32, ..self.header(Kind::Control, base, length) };
        self.write_header(&header, sum);
        tail.end = header.end();
        self.queues.borrow_mut().drop_topic(topic, base);
        self.drops.borrow_mut().push(TopicDrop { position: base, topic: topic.into() });
        self.batch_closed(&tail);
        Ok(tail.end)
    }
}

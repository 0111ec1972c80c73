//! Finds single messages: by physical offset, by time, by key.
//!
//! Owns: lookups that administration, send-back and transactions use. Invariants: a record is handed out only if
//! the index confirms it: its own topic, queue and queue offset must lead to an entry at that position with that
//! size and crc; so an offset into the middle of a body finds nothing, whatever bytes are there.
//! On failure: what is not found is `None`; a damaged index is mended first; an I/O error is the caller's.

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::YOUNG_LOG_BYTES;
use ringmq_wire::message::{MIN_SIZE, RecordView};

use crate::batch::{HEADER_BYTES, Header};
use crate::entry::Entry;
use crate::fetch::read_exact;
use crate::inner::{Inner, add};
use crate::keys::{self, KeyEntry};
use crate::physical::PhysicalOffset;
use crate::queues::{Found, Queue};
use crate::segments::Segment;
use crate::shard::QueueRef;

/// The block of this segment's index with this entry does not check, or is not in memory.
pub(crate) struct Illegible<E: Env>(Rc<Segment<E>>, u32);

impl<E: Env> Inner<E> {
    /// `None` outside of the bounds; the segment, where its index is damaged.
    pub(crate) fn entry(&self, queue: &Queue, offset: u64) -> Result<Option<Entry>, Illegible<E>> {
        match queue.locate(offset) {
            None => Ok(None),
            Some(Found::Open) => Ok(queue.open_entry(offset)),
            Some(Found::Sealed { segment, index, .. }) => {
                let Some(segment) = self.segments.get(segment) else { return Ok(None) };
                let Some(sealed) = segment.index() else { return Ok(None) };
                if !sealed.has_at_hand(index) {
                    return Err(Illegible(segment, index));
                }
                sealed.entry(index).map_err(|_| Illegible(segment, index))
            }
        }
    }

    /// What `look` finds, once nothing of an index in its way is damaged or not in memory.
    async fn legible<T>(&self, mut look: impl FnMut() -> Result<T, Illegible<E>>) -> io::Result<T> {
        loop {
            match look() {
                Ok(found) => return Ok(found),
                Err(Illegible(segment, index)) => self.make_entry_legible(&segment, index).await?,
            }
        }
    }

    pub async fn store_time(&self, queue: QueueRef, offset: u64) -> io::Result<Option<i64>> {
        let entry = self.legible(|| self.entry(self.queues.borrow().get(queue), offset)).await?;
        Ok(entry.map(|entry| entry.store_time_ms))
    }

    pub fn is_young(&self, queue: QueueRef) -> bool {
        let queues = self.queues.borrow();
        let end = self.tail.borrow().position();
        match self.entry(queues.get(queue), 0) {
            Ok(entry) => entry.is_some_and(|entry| end - entry.position <= YOUNG_LOG_BYTES),
            // Somewhere in that segment: near enough.
            Err(Illegible(segment, _)) => end - self.segments.base(segment.number) <= YOUNG_LOG_BYTES,
        }
    }

    /// RocketMQ 5.5.0 `ConsumeQueue#binarySearchInQueueByTime`: lower = the first offset stored at or after `ms`,
    /// the end if there is none; upper = the last stored at or before it, the start if there is none.
    pub async fn offset_by_time(&self, queue: QueueRef, ms: i64, upper: bool) -> io::Result<u64> {
        self.legible(|| self.search_time(queue, ms, upper)).await
    }

    fn search_time(&self, queue: QueueRef, ms: i64, upper: bool) -> Result<u64, Illegible<E>> {
        let queues = self.queues.borrow();
        let queue = queues.get(queue);
        let (min, max) = (queue.min(), queue.next());
        // The first offset whose store time is past the boundary.
        let (mut low, mut high) = (min, max);
        while low < high {
            let middle = low + (high - low) / 2;
            // What is not there any more is old.
            let time = self.entry(queue, middle)?.map_or(i64::MIN, |entry| entry.store_time_ms);
            let before = if upper { time <= ms } else { time < ms };
            if before { low = middle + 1 } else { high = middle }
        }
        Ok(if upper { low.saturating_sub(1).max(min) } else { low })
    }

    pub async fn read_at(&self, physical: u64) -> io::Result<Option<Vec<u8>>> {
        match PhysicalOffset::unpack(physical) {
            Some(at) if at.shard == self.id.shard => self.record_at(at.position).await,
            _ => Ok(None),
        }
    }

    /// When the oldest batch that is kept was stored; `None` of a log without one.
    pub async fn earliest_ms(&self) -> io::Result<Option<i64>> {
        let Some(first) = self.segments.first().map(|segment| segment.number) else { return Ok(None) };
        let position = self.segments.base(first);
        let Some(head) = self.bytes_at(position, HEADER_BYTES).await? else { return Ok(None) };
        // What is damaged there, recovery has reported.
        let header = Header::decode(&head, self.id, position).ok();
        Ok(header.map(|header| header.store_time_ms).filter(|ms| *ms > 0))
    }

    /// The record that begins at a position, if one does.
    async fn record_at(&self, position: u64) -> io::Result<Option<Vec<u8>>> {
        {
            let mut tail = self.tail.borrow_mut();
            self.close_batch(&mut tail);
        }
        let Some(head) = self.bytes_at(position, MIN_SIZE).await? else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*head.first_chunk().expect("at least MIN_SIZE bytes"));
        let fits =
            |size: &usize| *size >= MIN_SIZE && *size as u64 <= self.ring.bytes().max(self.segments.bytes);
        let Some(size) = usize::try_from(size).ok().filter(fits) else {
            return Ok(None);
        };
        let Some(bytes) = self.bytes_at(position, size).await? else {
            return Ok(None);
        };
        let is_confirmed = self.legible(|| self.confirms(position, &bytes)).await?;
        Ok(is_confirmed.then_some(bytes))
    }

    /// Bytes of the log; `None` where it has none.
    async fn bytes_at(&self, position: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let end = position.saturating_add(len as u64);
        if end > self.closed.get() {
            return Ok(None);
        }
        if position >= self.ring.floor() {
            let inside = end <= self.ring.lap_end(position);
            return Ok(inside.then(|| self.ring.read(position, len, <[u8]>::to_vec)));
        }
        let number = self.segments.number_of(position);
        let base = self.segments.base(number);
        let Some(segment) = self.segments.get(number).filter(|_| end <= base + self.segments.bytes) else {
            return Ok(None);
        };
        self.in_segments(end).await?;
        let file = self.segments.file(&self.env, &segment).await?;
        read_exact::<E>(&file, base, position, len).await.map(Some)
    }

    fn confirms(&self, position: u64, bytes: &[u8]) -> Result<bool, Illegible<E>> {
        let Ok(record) = RecordView::parse(bytes) else {
            return Ok(false);
        };
        let queues = self.queues.borrow();
        let named = u32::try_from(record.queue_id).ok().and_then(|id| queues.find(record.topic, id));
        let Some(queue) = named else {
            return Ok(false);
        };
        let Some(entry) = self.entry(queues.get(queue), record.queue_offset as u64)? else {
            return Ok(false);
        };
        if entry.position != position || entry.size as usize != bytes.len() {
            return Ok(false);
        }
        if entry.crc != crc32c::crc32c(bytes) {
            add(&self.counters.damaged, 1);
            tracing::error!(shard = self.id.shard, position, "damaged message is left out");
            return Ok(false);
        }
        Ok(true)
    }

    pub async fn query_key(
        &self,
        topic: &str,
        key: &str,
        begin_ms: i64,
        end_ms: i64,
        max: usize,
    ) -> io::Result<Vec<Vec<u8>>> {
        let hash = keys::TopicHash::new(topic).key(key);
        let mut found = Vec::new();
        for position in self.candidates(hash, begin_ms, end_ms).await?.into_iter().rev() {
            if found.len() >= max {
                break;
            }
            let Some(bytes) = self.record_at(position).await? else {
                continue;
            };
            let record = RecordView::parse(&bytes).expect("confirmed");
            if keys::has(&record, topic, key) && (begin_ms..=end_ms).contains(&record.store_timestamp) {
                found.push(bytes);
            }
        }
        Ok(found)
    }

    /// Gives the keys that are in no sealed index.
    pub async fn each_open_key(&self, mut take: impl FnMut(&KeyEntry)) {
        let mut at = self.keys.borrow().first_chunk();
        loop {
            {
                let open = self.keys.borrow();
                at = at.max(open.first_chunk());
                let Some(chunk) = open.chunk(at) else { return };
                chunk.iter().for_each(&mut take);
            }
            at += 1;
            self.env.yield_now().await;
        }
    }

    /// Positions that may hold records with a key of this hash.
    async fn candidates(&self, hash: u64, begin_ms: i64, end_ms: i64) -> io::Result<BTreeSet<u64>> {
        // Memory first: sealing moves keys from there to a file, never back, and a set takes both.
        let mut positions = BTreeSet::new();
        self.each_open_key(|entry| {
            if entry.hash == hash {
                positions.insert(entry.position);
            }
        })
        .await;
        let mut number = self.segments.first().map_or(0, |segment| segment.number);
        while let Some(segment) = self.segments.get(number) {
            number += 1;
            let Some(index) = segment.index() else {
                continue;
            };
            if index.newest_ms < begin_ms || index.oldest_ms > end_ms {
                continue;
            }
            drop(index);
            while let Some(index) = segment.index() {
                match index.positions(hash).await {
                    Ok(found) => {
                        positions.extend(found);
                        break;
                    }
                    Err(_) => self.mend(&segment).await?,
                }
            }
            self.env.yield_now().await;
        }
        Ok(positions)
    }
}

//! The shard as the broker sees it.
//!
//! Owns: the public operations; each is a few lines that call the module which does the work.
//! Invariants and failures: see the crate.

use std::io;
use std::rc::Rc;

use hdrhistogram::Histogram;
use ringmq_io::sync::Watermark;
use ringmq_io::{Chunk, Disk, Env};
use ringmq_wire::message::{RecordError, RecordParts};

use crate::error::{AppendError, Latched, OpenError};
use crate::inner::Inner;
use crate::keys::Keys;
use crate::look::Indexed;
use crate::manifest::StoreLayout;
use crate::plan::{Bounds, Chosen, ReadLimits, ReadOutcome, ReadPlan};
use crate::read::{ByCode, ByRecord};
use crate::recent::RecentKey;
use crate::recovery::RecoveryReport;
use crate::{ExtentOf, end, open};

/// A queue of one shard: a dense number, valid as long as the shard is open, also after its topic was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueRef(pub(crate) u32);

impl QueueRef {
    /// For tables indexed by queue.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an append was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the first record; the others follow.
    pub queue_offset: u64,
    /// Of the first record. Records of one append lie back to back: see [`Appended::physical_offsets`].
    pub physical: u64,
    /// Log position after the last record: durable when a watermark has reached it.
    pub end: u64,
    pub store_time_ms: i64,
    /// Of all its records, as they are stored.
    pub bytes: u64,
}

impl Appended {
    /// The physical offset of each record of an append, given the records that were appended.
    pub fn physical_offsets<'r>(
        &self,
        records: &'r [NewRecord<'_>],
    ) -> impl Iterator<Item = u64> + use<'r, '_> {
        let mut next = self.physical;
        records.iter().map(move |record| {
            let at = next;
            next += record.size as u64;
            at
        })
    }
}

/// A record to append, with what the index has to know of it.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    pub(crate) parts: RecordParts<'a>,
    pub(crate) tags_code: i64,
    pub(crate) keys: Keys<'a>,
    /// Encoded.
    pub(crate) size: usize,
}

impl<'a> NewRecord<'a> {
    /// The store sets queue id, queue offset, physical offset and store timestamp. `keys` are those of the properties,
    /// the added ones too: see [`Keys::read`].
    pub fn new(parts: RecordParts<'a>, tags_code: i64, keys: Keys<'a>) -> Result<Self, RecordError> {
        Ok(Self { parts, tags_code, keys, size: parts.encoded_len()? })
    }

    /// Encoded.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Counters of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    pub appended_records: u64,
    pub appended_bytes: u64,
    pub batches: u64,
    pub segment_writes: u64,
    pub syncs: u64,
    pub ring_full: u64,
    pub disk_full: u64,
    pub damaged_records: u64,
    /// Damaged blocks of sealed indexes that were made anew, in memory, from their segment.
    pub mended_blocks: u64,
    /// Damaged ranges of the log that this open has set aside.
    pub quarantined_ranges: u64,
    /// Messages that were found missing at this open, in ranges set aside by it or by an earlier one.
    pub lost_records: u64,
    pub recycled_segments: u64,
    /// Pieces of segments that were read for consumers who read on.
    pub chunks_read: u64,
    pub segments: u64,
    pub log_start: u64,
    pub log_end: u64,
    /// Appended and closed, but not durable yet.
    pub unsynced_bytes: u64,
    pub ring_bytes: u64,
    pub queues: u64,
}

/// Where a queue ends, for whoever looks at many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEnd {
    pub topic: Box<str>,
    pub queue_id: u32,
    pub bounds: Bounds,
}

/// One shard. Clones share it.
pub struct Shard<E: Env>(Rc<Inner<E>>);

impl<E: Env> Clone for Shard<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A record that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub queue: QueueRef,
    /// Of the queue, behind this record.
    pub max_offset: u64,
    pub tags_code: i64,
}

/// Called with the records of a turn, in order, after their batch closed.
pub type AppendListener = Rc<dyn Fn(&[Arrival])>;

/// Tells from which log position on records are still needed; `None`: none are.
pub type Keeper = Rc<dyn Fn() -> Option<u64>>;

impl<E: Env> Shard<E> {
    /// Opens or creates the shard: recovers its log and starts its tasks on this core.
    pub async fn open(
        env: &E,
        layout: &StoreLayout,
        shard: u16,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        assert!(shard < layout.config.shards, "shard {shard} of {}", layout.config.shards);
        let (inner, report) = open::open(env, layout, shard).await?;
        Ok((Self(inner), report))
    }

    pub fn id(&self) -> u16 {
        self.0.id.shard
    }

    /// The queue, made known in memory if it is new.
    pub fn queue(&self, topic: &str, queue_id: u32) -> QueueRef {
        self.0.queues.borrow_mut().intern(topic, queue_id)
    }

    pub fn find_queue(&self, topic: &str, queue_id: u32) -> Option<QueueRef> {
        self.0.queues.borrow().find(topic, queue_id)
    }

    /// Lays a record into the ring.
    pub fn append(&self, queue: QueueRef, record: &NewRecord<'_>) -> Result<Appended, AppendError> {
        self.0.append(queue, std::slice::from_ref(record))
    }

    /// All or nothing, with consecutive offsets, in one batch. Never call it with no record.
    pub fn append_batch(&self, queue: QueueRef, records: &[NewRecord<'_>]) -> Result<Appended, AppendError> {
        self.0.append(queue, records)
    }

    /// Larger appends are refused whatever the room: records, their tags codes (8 bytes each) and a header of 64.
    pub fn batch_bytes_max(&self) -> u64 {
        self.0.batch_max()
    }

    /// The same for several queues at once: a crash leaves all of it or nothing. Gives what each part was given.
    pub fn append_together(
        &self,
        parts: &[(QueueRef, &[NewRecord<'_>])],
    ) -> Result<Vec<Appended>, AppendError> {
        self.0.append_together(parts)
    }

    /// Up to here the log survives the death of the process, if the ring is on tmpfs.
    pub fn closed(&self) -> &Watermark {
        &self.0.closed
    }

    /// Up to here the log was written to segments.
    pub fn written(&self) -> &Watermark {
        &self.0.written
    }

    /// Up to here the log survives a power loss: what SYNC_FLUSH acknowledges.
    pub fn synced(&self) -> &Watermark {
        &self.0.synced
    }

    /// What ASYNC_FLUSH acknowledges: `closed` with the ring on tmpfs, else `written`.
    pub fn kill_safe(&self) -> &Watermark {
        if self.0.ring_is_memory { &self.0.closed } else { &self.0.written }
    }

    /// Somebody waits for everything appended so far to be synced: start the group commit now.
    pub fn request_sync(&self) {
        let position = self.0.tail.borrow().position();
        if position > self.0.sync_wanted.get() {
            self.0.sync_wanted.set(position);
            self.0.flush.notify();
        }
    }

    /// Set after a failed write or sync. The watermarks are poked when that happens: a waiter that sees it answers
    /// an error, whatever the watermarks say.
    pub fn latched(&self) -> Option<Latched> {
        self.0.latched.borrow().clone()
    }

    /// Returns when an append that found the ring full may fit now. Try again in a loop, with a deadline.
    pub async fn room(&self) {
        if !self.0.is_ending() {
            self.0.ring.leases.room.wait().await;
        }
    }

    pub fn bounds(&self, queue: QueueRef) -> Bounds {
        self.0.bounds(queue)
    }

    /// Plans a read; closes the open batch first, so that everything appended is seen. The filter is given tags
    /// codes and must not call the shard.
    pub fn read(
        &self,
        queue: QueueRef,
        offset: u64,
        limits: &ReadLimits,
        filter: impl FnMut(i64) -> bool,
    ) -> ReadOutcome<E> {
        self.0.read(queue, offset, limits, ByCode(filter))
    }

    /// As `read`, for those whose record is wanted. What lies in segments is planned without a look at it, as candidates: see
    /// [`ReadPlan::is_chosen`]. `wants` must not call the shard.
    pub fn read_chosen(
        &self,
        queue: QueueRef,
        offset: u64,
        limits: &ReadLimits,
        wants: impl FnMut(&[u8]) -> bool,
    ) -> ReadOutcome<E> {
        self.0.read(queue, offset, limits, ByRecord(wants))
    }

    /// The wanted ones of a plan's candidates, by the same limits as the plan.
    pub async fn fetch_chosen(
        &self,
        plan: ReadPlan<E>,
        limits: &ReadLimits,
        wants: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Chosen<ExtentOf<E>>> {
        self.0.fetch_chosen(plan, limits, wants).await
    }

    /// Looks at a record that is still in the ring, and was there when the last batch closed; `None` if it is not.
    pub fn look_at<R>(&self, queue: QueueRef, offset: u64, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let entry = self.0.queues.borrow().get(queue).open_entry(offset)?;
        let hot = !entry.is_lost() && entry.position >= self.0.ring.floor();
        hot.then(|| self.0.ring.read(entry.position, entry.size as usize, look))
    }

    /// The same; waits where the index is not in memory or damaged.
    pub async fn read_legible(
        &self,
        queue: QueueRef,
        offset: u64,
        limits: &ReadLimits,
        mut filter: impl FnMut(i64) -> bool,
    ) -> io::Result<ReadOutcome<E>> {
        loop {
            match self.read(queue, offset, limits, &mut filter) {
                ReadOutcome::Illegible => self.make_legible(queue, offset, 1).await?,
                outcome => return Ok(outcome),
            }
        }
    }

    /// Has the index read into memory, and made whole from the segments' records if need be, for a look at `count` messages of a queue from `from` on.
    pub async fn make_legible(&self, queue: QueueRef, from: u64, count: u32) -> io::Result<()> {
        self.0.make_legible(queue, from, count).await
    }

    /// What the index says of one message, if it is in memory and the message is neither lost nor out of bounds.
    pub fn glance(&self, queue: QueueRef, offset: u64) -> Option<Indexed> {
        self.0.glance(queue, offset)
    }

    /// Looks at what the index says of the messages of a queue from `from` on, at most `max` of them, without reading
    /// any; gives where to go on. What is lost to damage is left out, and so is what the index does not say until
    /// [`Shard::make_legible`]. `look` must not call the shard.
    pub fn look(&self, queue: QueueRef, from: u64, max: u32, look: impl FnMut(Indexed)) -> u64 {
        self.0.look(queue, from, max, look)
    }

    /// Plans a read of single messages of a queue, given in ascending order; closes the open batch first. Offsets out
    /// of bounds or lost to damage are left out; `None` if nothing is left. As with `look`, after [`Shard::make_legible`].
    pub fn read_scattered(&self, queue: QueueRef, offsets: &[u64]) -> Option<ReadPlan<E>> {
        self.0.read_scattered(queue, offsets)
    }

    /// Turns a plan into bytes to send; a hot plan's at once. `InvalidData`: every message of the plan is damaged
    /// on disk (reported); go on at the plan's `next_offset`.
    pub async fn fetch(&self, plan: ReadPlan<E>) -> io::Result<Vec<Chunk<ExtentOf<E>>>> {
        self.0.fetch(plan).await
    }

    /// The records of single messages of a queue, given in ascending order, with their offsets. What is damaged on disk
    /// (reported) is left out. They are on memory of their own: a lease on the ring while one waits for room in it would wait for itself.
    pub async fn records_of(&self, queue: QueueRef, offsets: &[u64]) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.0.records_of(queue, offsets).await
    }

    /// The record at a physical offset; `None` if there is none (gone, never was, of another shard).
    pub async fn read_at(&self, physical: u64) -> io::Result<Option<Vec<u8>>> {
        self.0.read_at(physical).await
    }

    /// First offset stored at or after `ms`, or with `upper` the last at or before it; clamped to the bounds.
    pub async fn offset_by_time(&self, queue: QueueRef, ms: i64, upper: bool) -> io::Result<u64> {
        self.0.offset_by_time(queue, ms, upper).await
    }

    pub async fn store_time(&self, queue: QueueRef, offset: u64) -> io::Result<Option<i64>> {
        self.0.store_time(queue, offset).await
    }

    /// Whether message 0 exists and is young: a new group then starts at offset 0.
    pub fn is_young(&self, queue: QueueRef) -> bool {
        self.0.is_young(queue)
    }

    /// When the oldest batch that is kept was stored.
    pub async fn earliest_ms(&self) -> io::Result<Option<i64>> {
        self.0.earliest_ms().await
    }

    /// Records of a topic with a key (a word of KEYS, or UNIQ_KEY) stored from `begin_ms` to `end_ms`, newest
    /// first.
    pub async fn query_key(
        &self,
        topic: &str,
        key: &str,
        begin_ms: i64,
        end_ms: i64,
        max: usize,
    ) -> io::Result<Vec<Vec<u8>>> {
        self.0.query_key(topic, key, begin_ms, end_ms, max).await
    }

    /// The keys (words and unique keys alike) of a topic's messages that were stored from `since_ms` on, in no order, some
    /// perhaps twice; `None` of more than `max` messages.
    pub async fn recent_keys(
        &self,
        topic: &str,
        since_ms: i64,
        max: usize,
    ) -> io::Result<Option<Vec<RecentKey>>> {
        self.0.recent_keys(topic, since_ms, max).await
    }

    /// Told of each record once, after its batch closed, from the store's own task, never from within another call
    /// of the shard. The listener may call the shard.
    pub fn set_append_listener(&self, listener: AppendListener) {
        *self.0.listener.borrow_mut() = Some(listener);
    }

    /// Retention leaves a segment alone that has records which a keeper needs, whatever the reason why it should go, and says so
    /// with `wanted`. The keeper may call the shard.
    pub fn add_keeper(&self, keeper: Keeper) {
        self.0.keepers.borrow_mut().push(keeper);
    }

    /// Retention waits to recycle the segments below: whoever needs a record there should write it again, with
    /// [`Shard::append_to_make_room`].
    pub fn wanted(&self) -> &Watermark {
        &self.0.wanted
    }

    /// As `append_together`, but not refused for the disk's fill: for what lets retention recycle a whole segment.
    pub fn append_to_make_room(
        &self,
        parts: &[(QueueRef, &[NewRecord<'_>])],
    ) -> Result<Vec<Appended>, AppendError> {
        match self.0.check_open() {
            Ok(()) | Err(AppendError::DiskFull { .. }) => self.0.lay_together(parts),
            Err(error) => Err(error),
        }
    }

    /// Forgets all queues of a topic; their offsets start at 0 again. Durable when it returns.
    pub async fn drop_queues(&self, topic: &str) -> Result<(), AppendError> {
        let end = self.0.append_drop(topic)?;
        self.request_sync();
        while self.0.synced.get() < end {
            if let Some(latched) = self.latched() {
                return Err(latched.into());
            }
            self.0.synced.moved().await;
        }
        Ok(())
    }

    /// Expired segments go at retention's next look, within a second, whatever the hour.
    pub fn expire_now(&self) {
        self.0.expire_asked.set(true);
    }

    pub fn stats(&self) -> ShardStats {
        let inner = &self.0;
        let first = inner.segments.first().map_or(0, |segment| segment.number);
        ShardStats {
            appended_records: inner.counters.records.get(),
            appended_bytes: inner.counters.bytes.get(),
            batches: inner.counters.batches.get(),
            segment_writes: inner.counters.segment_writes.get(),
            syncs: inner.counters.syncs.get(),
            ring_full: inner.counters.ring_full.get(),
            disk_full: inner.counters.disk_full.get(),
            damaged_records: inner.counters.damaged.get(),
            mended_blocks: inner.counters.mended.get(),
            quarantined_ranges: inner.quarantined,
            lost_records: inner.lost,
            recycled_segments: inner.counters.recycled.get(),
            chunks_read: inner.read_ahead.begun(),
            segments: inner.segments.count() as u64,
            log_start: inner.segments.base(first),
            log_end: inner.tail.borrow().position(),
            unsynced_bytes: inner.unsynced(),
            ring_bytes: inner.ring.bytes(),
            queues: inner.queues.borrow().len() as u64,
        }
    }

    /// How long segment writes with their syncs took, nanoseconds.
    pub fn flush_ns(&self) -> Histogram<u64> {
        self.0.counters.flush_ns.0.borrow().clone()
    }

    /// The bounds of up to `most` queues, from the `cursor`th on, and where to go on, if there are more.
    pub fn queue_ends(&self, cursor: usize, most: usize) -> (Vec<QueueEnd>, Option<usize>) {
        self.0.queues.borrow().ends(cursor, most)
    }

    /// Refuses appends from now on, syncs everything, ends the shard's tasks and gives the ring's memory back.
    pub async fn shutdown(&self) -> io::Result<()> {
        let inner = &self.0;
        inner.shutting_down.set(true);
        inner.close_batch(&mut inner.tail.borrow_mut());
        inner.wake_all();
        while inner.unsynced() > 0 && !inner.is_latched() {
            inner.synced.moved().await;
        }
        inner.stop.signal();
        inner.wake_all();
        while inner.running.get() > 0 {
            inner.ended.wait().await;
        }
        let lock = inner.lock.borrow_mut().take();
        if let Some(latched) = self.latched() {
            return Err(io::Error::other(latched.to_string()));
        }
        // Everything is in segments. What the ring could still prove of the last batches, this file does.
        let dir = &inner.segments.dir;
        if let Err(error) = end::write(inner.env.disk(), inner.id, dir, inner.synced.get()).await {
            tracing::warn!(dir = %dir.display(), %error, "the end of the log was not noted; the ring is kept");
            return Ok(());
        }
        // A ring that stays behind is as harmless, but for the memory.
        if let Err(error) = inner.env.disk().remove(&inner.ring_path).await {
            tracing::warn!(ring = %inner.ring_path.display(), %error, "the ring was not removed");
        }
        drop(lock);
        Ok(())
    }
}

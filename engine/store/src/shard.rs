//! The shard as the broker sees it.
//!
//! Owns: the public operations; each is a few lines that call the module which does the work.
//! Invariants and failures: see the crate.

use std::io;
use std::rc::Rc;

use ringmq_io::sync::Watermark;
use ringmq_io::{Chunk, Env};
use ringmq_wire::message::RecordParts;

use crate::error::{AppendError, Latched, OpenError};
use crate::plan::{Bounds, ReadLimits, ReadOutcome, ReadPlan};
use crate::{ExtentOf, StoreConfig};

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
}

impl Appended {
    /// The physical offset of each record of an append, given the records that were appended.
    pub fn physical_offsets<'r>(
        &self,
        records: &'r [(RecordParts<'_>, i64)],
    ) -> impl Iterator<Item = u64> + use<'r, '_> {
        let mut next = self.physical;
        records.iter().map(move |(record, _)| {
            let at = next;
            next += record.encoded_len().expect("the record was appended") as u64;
            at
        })
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
    pub segments: u64,
    pub log_start: u64,
    pub log_end: u64,
}

/// One shard. Clones share it.
pub struct Shard<E: Env>(Rc<Inner<E>>);

struct Inner<E: Env> {
    env: E,
    id: u16,
    closed: Watermark,
    written: Watermark,
    synced: Watermark,
}

impl<E: Env> Clone for Shard<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// What the other cores need to open their shards.
#[derive(Clone, Debug)]
pub struct StoreLayout {
    pub config: StoreConfig,
    pub store_id: u64,
}

/// What opening a shard found.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    pub end: u64,
}

/// Called for each record after its batch closed: queue, new max offset, tags code.
pub type AppendListener = Rc<dyn Fn(QueueRef, u64, i64)>;

#[allow(unused_variables, clippy::unused_async)]
impl<E: Env> Shard<E> {
    /// Opens or creates the shard: recovers its log, starts its tasks.
    pub async fn open(env: &E, layout: &StoreLayout, shard: u16) -> Result<(Self, RecoveryReport), OpenError> {
        panic!("in progress")
    }
    pub fn id(&self) -> u16 {
        self.0.id
    }
    /// The queue, made known in memory if it is new.
    pub fn queue(&self, topic: &str, queue_id: u32) -> QueueRef {
        panic!("in progress")
    }
    pub fn find_queue(&self, topic: &str, queue_id: u32) -> Option<QueueRef> {
        panic!("in progress")
    }
    /// Lays `record` into the ring. The store sets queue offset, physical offset and store timestamp.
    pub fn append(&self, queue: QueueRef, record: &RecordParts<'_>, tags_code: i64) -> Result<Appended, AppendError> {
        panic!("in progress")
    }
    /// All or nothing, with consecutive offsets, in one batch.
    pub fn append_batch(
        &self,
        queue: QueueRef,
        records: &[(RecordParts<'_>, i64)],
    ) -> Result<Appended, AppendError> {
        panic!("in progress")
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
        &self.0.closed
    }
    /// Somebody waits for everything appended so far to be synced: start the group commit now.
    pub fn request_sync(&self) {}
    pub fn latched(&self) -> Option<Latched> {
        None
    }
    /// Returns when an append that found the ring full may fit now. Try again in a loop.
    pub async fn room(&self) {}
    pub fn bounds(&self, queue: QueueRef) -> Bounds {
        panic!("in progress")
    }
    /// Plans a read; closes the open batch first, so that everything appended is seen.
    pub fn read(
        &self,
        queue: QueueRef,
        offset: u64,
        limits: &ReadLimits,
        filter: impl FnMut(i64) -> bool,
    ) -> ReadOutcome<E> {
        panic!("in progress")
    }
    /// Turns a plan into bytes to send. `InvalidData`: every message of the plan is damaged on disk; go on at the
    /// plan's `next_offset`.
    pub async fn fetch(&self, plan: ReadPlan<E>) -> io::Result<Vec<Chunk<ExtentOf<E>>>> {
        panic!("in progress")
    }
    /// The record at a physical offset; `None` if there is none (gone, never was, of another shard).
    pub async fn read_at(&self, physical: u64) -> io::Result<Option<Vec<u8>>> {
        panic!("in progress")
    }
    /// First offset stored at or after `ms`, or with `upper` the last at or before it; clamped to the bounds.
    pub async fn offset_by_time(&self, queue: QueueRef, ms: i64, upper: bool) -> io::Result<u64> {
        panic!("in progress")
    }
    pub async fn store_time(&self, queue: QueueRef, offset: u64) -> io::Result<Option<i64>> {
        panic!("in progress")
    }
    /// Whether message 0 exists and is young: a new group then starts at offset 0.
    pub fn is_young(&self, queue: QueueRef) -> bool {
        panic!("in progress")
    }
    /// Records of a topic with a key (a word of KEYS, or UNIQ_KEY), newest first.
    pub async fn query_key(
        &self,
        topic: &str,
        key: &str,
        begin_ms: i64,
        end_ms: i64,
        max: usize,
    ) -> io::Result<Vec<Vec<u8>>> {
        panic!("in progress")
    }
    /// Called once per record after its batch closed, from the store's own task, never from within another call
    /// of the shard. The listener may call the shard.
    pub fn set_append_listener(&self, listener: AppendListener) {}
    /// Forgets all queues of a topic; their offsets start at 0 again. Durable when it returns.
    pub async fn drop_queues(&self, topic: &str) -> Result<(), AppendError> {
        panic!("in progress")
    }
    pub fn stats(&self) -> ShardStats {
        panic!("in progress")
    }
    /// Refuses appends from now on and syncs everything.
    pub async fn shutdown(&self) -> io::Result<()> {
        panic!("in progress")
    }
}

/// The store's lock and layout, kept by core 0.
pub struct StoreHandle<E: Env> {
    pub layout: StoreLayout,
    _lock: <E::Disk as ringmq_io::Disk>::DirLock,
}

/// Locks the data directory and reads or makes its manifest.
#[allow(unused_variables, clippy::unused_async)]
pub async fn open_store<E: Env>(env: &E, config: &StoreConfig) -> Result<StoreHandle<E>, OpenError> {
    panic!("in progress")
}

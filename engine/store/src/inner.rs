//! What the tasks of one shard share.
//!
//! Owns: the shard's state while it is open, and the latch. Invariants: `synced <= written <= closed`, all three
//! in log positions; no cell is borrowed across an await; after [`Inner::latch`] nothing is acknowledged.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use hdrhistogram::Histogram;
use ringmq_io::sync::{Event, Stop, Watermark};
use ringmq_io::vitals::nanoseconds;
use ringmq_io::{Disk, Env};

use crate::StoreConfig;
use crate::batch::LogId;
use crate::error::{AppendError, Latched};
use crate::keys::OpenKeys;
use crate::mend::Turn;
use crate::queues::Queues;
use crate::read_ahead::ReadAhead;
use crate::ring::Ring;
use crate::segments::Segments;
use crate::shard::{AppendListener, Keeper};
use crate::tail::Tail;

/// A topic's drop whose batch lies in a segment that is not sealed yet.
#[derive(Clone, Debug)]
pub struct TopicDrop {
    pub position: u64,
    pub topic: Rc<str>,
}

/// Why appends are refused at the moment, disk room apart from the latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskRoom {
    Enough,
    AboveRatio { used_percent: u8, limit_percent: u8 },
}

pub struct Inner<E: Env> {
    pub env: E,
    pub id: LogId,
    pub epoch: u32,
    pub config: StoreConfig,
    /// Whether the ring outlives the process without waiting for a disk.
    pub ring_is_memory: bool,
    /// Of the shard's directory, until the shard is shut down.
    pub lock: RefCell<Option<<E::Disk as Disk>::DirLock>>,
    pub ring: Ring<E>,
    pub ring_path: PathBuf,
    pub queues: RefCell<Queues>,
    pub tail: RefCell<Tail>,
    pub segments: Segments<E>,
    pub read_ahead: Rc<ReadAhead>,
    pub keys: RefCell<OpenKeys>,
    pub drops: RefCell<Vec<TopicDrop>>,
    pub mending: Turn,

    /// In the ring.
    pub closed: Watermark,
    /// In a segment.
    pub written: Watermark,
    /// Durable.
    pub synced: Watermark,
    /// Position that somebody waits to be synced.
    pub sync_wanted: Cell<u64>,

    pub latched: RefCell<Option<Latched>>,
    pub disk_room: Cell<DiskRoom>,
    /// Expired segments shall go at the next look, whatever the hour.
    pub expire_asked: Cell<bool>,
    /// The next segment could not be allocated.
    pub no_segment: Cell<bool>,
    pub shutting_down: Cell<bool>,
    pub stop: Stop,

    /// A batch was begun.
    pub opened: Event,
    /// The flusher has something to look at.
    pub flush: Event,
    /// The provisioner has something to look at.
    pub provision: Event,
    pub listener: RefCell<Option<AppendListener>>,
    /// Who still needs records, and from where on.
    pub keepers: RefCell<Vec<Keeper>>,
    /// Retention would like to recycle what lies below, and somebody still needs something there.
    pub wanted: Watermark,
    pub counters: Counters,
    /// Ranges that were set aside at this open, and messages that are missing in what it scanned.
    pub quarantined: u64,
    pub lost: u64,
    /// Tasks that have not ended.
    pub running: Cell<u32>,
    pub ended: Event,
}

#[derive(Default)]
pub struct Counters {
    pub records: Cell<u64>,
    pub bytes: Cell<u64>,
    pub batches: Cell<u64>,
    pub segment_writes: Cell<u64>,
    pub syncs: Cell<u64>,
    pub ring_full: Cell<u64>,
    pub disk_full: Cell<u64>,
    pub damaged: Cell<u64>,
    /// Blocks of sealed indexes.
    pub mended: Cell<u64>,
    pub recycled: Cell<u64>,
    pub flush_ns: FlushTimes,
}

/// Nanoseconds of each segment write with its sync.
pub struct FlushTimes(pub RefCell<Histogram<u64>>);

impl Default for FlushTimes {
    fn default() -> Self {
        Self(RefCell::new(nanoseconds()))
    }
}

pub fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get() + amount);
}

impl<E: Env> Inner<E> {
    /// After a failed write or sync: nothing is acknowledged any more until the shard is opened again.
    pub fn latch(&self, operation: &'static str, reason: &str) {
        self.ring.raise_doubt();
        let latched = Latched { shard: self.id.shard, operation, reason: reason.into() };
        if self.latched.borrow().is_none() {
            tracing::error!("{latched}");
            *self.latched.borrow_mut() = Some(latched);
        }
        self.wake_all();
    }

    /// Lets every task and every waiter look at the shard's condition again.
    pub fn wake_all(&self) {
        for mark in [&self.closed, &self.written, &self.synced, &self.wanted] {
            mark.poke();
        }
        for event in
            [&self.opened, &self.flush, &self.provision, &self.segments.added, &self.ring.leases.room]
        {
            event.notify();
        }
    }

    pub fn is_latched(&self) -> bool {
        self.latched.borrow().is_some()
    }

    /// Whether an append may be tried at all.
    pub fn check_open(&self) -> Result<(), AppendError> {
        if let Some(latched) = &*self.latched.borrow() {
            return Err(latched.clone().into());
        }
        if self.shutting_down.get() {
            return Err(AppendError::ShuttingDown { shard: self.id.shard });
        }
        if let DiskRoom::AboveRatio { used_percent, limit_percent } = self.disk_room.get() {
            add(&self.counters.disk_full, 1);
            return Err(AppendError::DiskFull { used_percent, limit_percent });
        }
        Ok(())
    }

    /// Records from here on are still needed by somebody.
    pub fn kept_from(&self) -> u64 {
        let keepers = self.keepers.borrow().clone();
        keepers.iter().filter_map(|keeper| keeper()).min().unwrap_or(u64::MAX)
    }

    /// The position after which nothing is on disk yet.
    pub fn unsynced(&self) -> u64 {
        self.closed.get() - self.synced.get()
    }

    /// Whether the tasks should end.
    pub fn is_ending(&self) -> bool {
        self.is_latched() || self.stop.is_signalled()
    }
}

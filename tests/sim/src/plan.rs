//! What a seed means: the store's settings, the lives of the node and how each ends.

use std::time::Duration;

use ringmq_io::Blocks;
use ringmq_simenv::{CrashKind, Faults, Rng};
use ringmq_store::StoreConfig;

/// A topic with its queue, and whether its producer waits for the disk.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    pub topic: &'static str,
    pub id: u32,
    pub sync: bool,
}

pub const QUEUES: [Queue; 6] = [
    Queue { topic: "orders", id: 0, sync: false },
    Queue { topic: "orders", id: 1, sync: true },
    Queue { topic: "orders", id: 7, sync: true },
    Queue { topic: "clicks", id: 0, sync: false },
    Queue { topic: "clicks", id: 3, sync: false },
    Queue { topic: "%RETRY%billing", id: 0, sync: true },
];

/// A defect of the node, planted to see it caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// SYNC_FLUSH is acknowledged when the batch is in the ring.
    AckBeforeFlush,
    /// A failed fsync is taken for a good one.
    IgnoreSyncError,
    /// What waits when the shard is latched is acknowledged all the same.
    IgnoreLatch,
    /// The journal's entries are acknowledged when they are buffered.
    AckBeforeJournal,
    /// Recovery ends the log at the first bad batch, whatever follows.
    CutAtDamage,
    /// A segment's index is sealed before the segment is synced.
    IndexBeforeSync,
    /// Whole brokers: an answer to a connection that was reset leaves on another one.
    StaleDescriptor,
    /// Whole brokers: what a send did not take at once is never sent.
    ShortSendIsWhole,
}

/// What happens to the hot ring's file between two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFate {
    Kept,
    Lost,
    /// Replaced by the one of an earlier life.
    Stale,
    /// Replaced by the one of another store, with messages of the same queues.
    Foreign,
}

#[derive(Clone, Debug)]
pub struct Life {
    pub faults: Faults,
    /// Whether the crash may come while the node still opens.
    pub dies_young: bool,
    pub time: Duration,
    pub end: CrashKind,
    /// Killed within the so-manieth write to the ring, if it comes to that.
    pub kill_in_region_write: Option<u64>,
    pub ring: RingFate,
    /// The disk fills up at the begin, and has room again in the middle.
    pub disk_full: bool,
    /// A bit flips in some file after the end.
    pub rot: bool,
}

impl Life {
    /// Whether the disk does what it is asked for, soon.
    pub fn calm(&self) -> bool {
        self.faults.disk.is_calm() && !self.disk_full
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub config: StoreConfig,
    pub tmpfs: bool,
    pub lives: Vec<Life>,
}

impl Plan {
    pub fn drawn(rng: &Rng) -> Self {
        let mut config = StoreConfig::new("/data", 1);
        config.ring_bytes = 256 * 1024;
        config.segment_bytes = [256, 512, 1024][rng.index(3)] * 1024;
        config.flush_interval = Duration::from_millis(rng.within(1..=100));
        // Not drawn, so that all else of a seed stays as it was.
        if config.segment_bytes == 512 * 1024 {
            config.blocks = Blocks::Write;
        }
        if rng.below(3) == 0 {
            config.retention.max_bytes = Some(3 * config.segment_bytes);
            config.retention.interval = Duration::from_millis(50);
        } else {
            config.retention.interval = Duration::from_millis(500);
        }
        let with_faults = rng.coin();
        let with_rot = rng.below(10) == 0;
        let lives = (0..rng.within(2..=5)).map(|_| life(rng, with_faults, with_rot)).collect();
        Self { config, tmpfs: rng.below(5) > 0, lives }
    }

    /// Writes that go elsewhere, in some runs. From a stream of their own, so that all else of a seed stays as it was.
    pub fn add_strays(&mut self, rng: &Rng) {
        if rng.below(8) == 0 {
            for life in &mut self.lives {
                life.faults.disk.misdirected_write = [0.0, 0.002, 0.02][rng.index(3)];
            }
        }
    }

    /// Whether messages may be gone because of their age or the size of the log.
    pub fn recycles(&self) -> bool {
        self.config.retention.max_bytes.is_some() || self.lives.iter().any(|life| life.disk_full)
    }
}

fn life(rng: &Rng, with_faults: bool, with_rot: bool) -> Life {
    let faults = if with_faults && rng.below(4) > 0 { Faults::drawn(rng) } else { Faults::none() };
    let end = if rng.coin() { CrashKind::Process } else { CrashKind::PowerLoss };
    let ring = match rng.below(12) {
        0 => RingFate::Lost,
        1 => RingFate::Stale,
        2 => RingFate::Foreign,
        _ => RingFate::Kept,
    };
    Life {
        faults,
        dies_young: rng.below(3) == 0,
        time: Duration::from_micros(
            [rng.within(0..=3000), rng.within(0..=60_000), rng.within(0..=600_000)][rng.index(3)],
        ),
        end,
        kill_in_region_write: (rng.below(4) == 0).then(|| rng.within(1..=3000)),
        ring,
        disk_full: rng.below(8) == 0,
        rot: with_rot && rng.coin(),
    }
}

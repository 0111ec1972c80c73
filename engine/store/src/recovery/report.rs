//! What opening a shard found: for the log, the tests and the operator.

use std::path::PathBuf;

use super::table::Decision;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoveryReport {
    pub shard: u16,
    pub epoch: u32,
    pub log_start: u64,
    /// Where the log goes on.
    pub end: u64,
    /// Segments trusted by their sealed index.
    pub sealed_segments: u32,
    /// Segments scanned batch by batch.
    pub scanned_segments: u32,
    pub scanned_batches: u64,
    /// Records found by scanning and replay.
    pub records: u64,
    /// Bytes that were in the ring alone.
    pub replayed_bytes: u64,
    /// Bytes that the ring goes on with: they are written to segments while the shard is open.
    pub kept_in_ring: u64,
    /// Sealed indexes that were damaged and are made anew.
    pub rebuilt_indexes: u32,
    pub quarantined: Vec<Quarantined>,
    /// Messages that are missing because of a damaged range, set aside now or by an earlier recovery.
    pub lost: Vec<LostRange>,
    /// Decisions in the order they were taken.
    pub decisions: Vec<Decision>,
    pub took_ms: u64,
    pub phases: Phases,
}

/// Milliseconds that each part of it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Locks, directory, state and ring, before the log was looked at.
    pub begin: u64,
    /// Checking and loading sealed indexes.
    pub load: u64,
    /// Batches in segments that are not sealed.
    pub scan: u64,
    /// Batches in the ring, and whether it can be kept.
    pub replay: u64,
    /// Looking for intact batches behind the end.
    pub later: u64,
    /// Writing what only the ring had.
    pub drain: u64,
    /// Writing again what may not have been synced.
    pub settle: u64,
    /// The new epoch and its ring.
    pub end: u64,
}

/// A damaged range of the log that was copied aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub start: u64,
    pub end: u64,
    pub copy: PathBuf,
}

/// Messages of a queue that are lost to damage: their offsets stay taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRange {
    pub topic: Box<str>,
    pub queue_id: u32,
    pub first: u64,
    pub count: u64,
}

impl std::fmt::Display for LostRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.first + self.count.saturating_sub(1);
        write!(f, "{} queue {} offset {}", self.topic, self.queue_id, self.first)?;
        if last > self.first { write!(f, " to {last}") } else { Ok(()) }
    }
}

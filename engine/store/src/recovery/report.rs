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
    /// Sealed indexes that were damaged and are made anew.
    pub rebuilt_indexes: u32,
    pub quarantined: Vec<Quarantined>,
    /// Decisions in the order they were taken.
    pub decisions: Vec<Decision>,
    pub took_ms: u64,
}

/// A damaged range of the log that was copied aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub start: u64,
    pub end: u64,
    pub copy: PathBuf,
}

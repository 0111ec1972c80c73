//! What can go wrong, in the words that reach a log or a client's remark.
//!
//! Owns: the store's error types. Invariants: each says what was asked, what was found and, where the operator
//! can do something, what.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use ringmq_wire::message::RecordError;
use thiserror::Error;

/// The store or a shard cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{setting} = {value}: must be {rule}")]
    Config { setting: &'static str, value: String, rule: String },
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error(
        "store at {} has format version {found}, this program reads version {expected}: start the version of \
         ringmq that wrote it", .path.display()
    )]
    FormatVersion { path: PathBuf, found: u32, expected: u32 },
    #[error(
        "store at {} was made for {found} shards, but {asked} are asked for: the number is fixed when a store is \
         created; start with --shards {found}, or with another data directory", .path.display()
    )]
    ShardCount { path: PathBuf, found: u16, asked: u16 },
    #[error(
        "store at {} was made with segments of {found} bytes, but {asked} are asked for: the size is fixed when a \
         store is created; set it to {found}, or use another data directory", .path.display()
    )]
    SegmentBytes { path: PathBuf, found: u64, asked: u64 },
    #[error("{} is damaged: {what}", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Why a shard acknowledges nothing any more. Cheap to clone; the first failure stays.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("shard {shard} is latched after a failed {operation}: {reason}; restart the broker to recover")]
pub struct Latched {
    pub shard: u16,
    pub operation: &'static str,
    pub reason: Rc<str>,
}

/// What keeps a full ring from being reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// Batches that are not yet written and synced to their segment.
    Drain,
    /// Extents that are still being sent to a consumer.
    Lease,
}

impl std::fmt::Display for HeldBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HeldBy::Drain => "batches not yet on disk",
            HeldBy::Lease => "messages being sent to a slow consumer",
        })
    }
}

/// An append was refused; nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AppendError {
    /// Wait with [`crate::Shard::room`] and try again.
    #[error("ring of shard {shard} is full: {used} of {capacity} bytes held by {held_by}")]
    RingFull { shard: u16, used: u64, capacity: u64, held_by: HeldBy },
    /// Accepted again by itself when space is back.
    #[error(
        "disk is full: {used_percent} % used, writes are refused above {limit_percent} % until space is freed"
    )]
    DiskFull { used_percent: u8, limit_percent: u8 },
    /// A new segment could not be allocated. Accepted again by itself when it can be.
    #[error("disk is full: no room for another segment of {segment_bytes} bytes")]
    NoSegment { segment_bytes: u64 },
    #[error("record of {size} bytes is over the store's limit of {max}")]
    TooLarge { size: u64, max: u64 },
    #[error("record cannot be stored: {0}")]
    Record(#[from] RecordError),
    #[error(transparent)]
    Latched(#[from] Latched),
    #[error("shard {shard} is shutting down")]
    ShuttingDown { shard: u16 },
}

impl OpenError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.into();
        move |source| OpenError::Io { path, source }
    }
}

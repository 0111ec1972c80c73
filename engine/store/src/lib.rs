//! The shard: one commit log with its hot ring, segments, index, recovery and retention.
//!
//! Owns: every byte under a store's data directory except the metadata journal's schema. A shard lives on one
//! core and is shared there by cheap clones; nothing in it is `Send`.
//! Invariants: queue offsets are dense; a physical offset names the same bytes for ever; what an
//! acknowledgement promised ([`Shard::closed`], [`Shard::synced`]) survives the crash that it promised to
//! survive; no borrow is held across an await.
//! On failure: a failed write or fsync latches the shard (no later acknowledgement), bad input is a typed
//! error, damage on disk is reported with its place and never served.
//!
//! The way of a record: [`Shard::append`] lays it into the ring ([`appender`]), the closer seals the batch of the
//! turn ([`closer`]), the flusher drains batches to segments ([`flusher`]), the indexer collects keys
//! ([`indexer`]), the sealer writes a full segment's index ([`sealer`]), retention recycles it ([`retention`]).
#![allow(async_fn_in_trait)] // single-threaded on purpose: no future here is Send

mod config;
mod error;
mod physical;
mod plan;
mod shard;

pub use config::{RetentionConfig, StoreConfig};
pub use error::{AppendError, HeldBy, Latched, OpenError};
pub use physical::{PhysicalOffset, SHARDS_MAX};
pub use plan::{Bounds, ReadLimits, ReadOutcome, ReadPlan};
pub use shard::{
    AppendListener, Appended, QueueRef, RecoveryReport, Shard, ShardStats, StoreHandle, StoreLayout, open_store,
};

/// The extent type of an environment: a descriptor of ring memory.
pub type ExtentOf<E> = <<E as ringmq_io::Env>::Disk as ringmq_io::Disk>::Extent;

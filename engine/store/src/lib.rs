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
//! The way of a record: [`Shard::append`] lays it into the ring (`tail`), `closer` closes the batch of the turn,
//! `flusher` drains batches to segments, `sealer` writes a full segment's index, `retention` recycles it. A read is planned in `read` and turned into bytes in `fetch`.
#![allow(async_fn_in_trait)] // single-threaded on purpose: no future here is Send

mod batch;
mod bytes;
mod closer;
mod config;
mod defects;
mod end;
mod entry;
mod entry_log;
mod envelope;
mod error;
mod fetch;
mod floor;
mod flusher;
#[cfg(any(test, fuzzing))]
pub mod fuzz_checks;
mod inner;
mod join;
mod key_sort;
mod keys;
mod lock;
mod look;
mod lookup;
mod manifest;
mod mend;
pub mod meta;
pub mod offline;
mod open;
mod physical;
mod plan;
mod provision;
mod queues;
mod read;
mod read_ahead;
mod recent;
mod recovery;
mod retention;
mod ring;
mod sealed;
mod sealer;
mod segments;
mod shard;
mod sorting;
mod state;
mod tail;
mod walk;

pub use config::{RetentionConfig, StoreConfig};
pub use defects::Defects;
pub use error::{AppendError, HeldBy, Latched, OpenError};
pub use keys::{Keys, key_hash};
pub use look::Indexed;
pub use manifest::{StoreHandle, StoreLayout, open_store};
pub use physical::{PhysicalOffset, SHARDS_MAX};
pub use plan::{Bounds, Chosen, ReadLimits, ReadOutcome, ReadPlan};
pub use recent::RecentKey;
pub use recovery::table::Decision;
pub use recovery::{LostRange, Phases, Quarantined, RecoveryReport};
pub use shard::{
    AppendListener, Appended, Arrival, Keeper, NewRecord, QueueEnd, QueueRef, Shard, ShardStats,
};

/// The extent type of an environment: a descriptor of ring memory.
pub type ExtentOf<E> = <<E as ringmq_io::Env>::Disk as ringmq_io::Disk>::Extent;

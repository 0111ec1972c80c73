//! The version of a table, as RocketMQ numbers it: name servers and slaves compare it to see whether anything changed.
//!
//! Invariant: `next` never gives an equal version twice, also after a restart, since the version is journalled with
//! each change.

pub use ringmq_wire::json_dialect::DataVersion;

pub fn next(version: DataVersion, now_ms: i64) -> DataVersion {
    DataVersion { timestamp: now_ms, counter: version.counter + 1, ..version }
}

//! RocketMQ's metrics of what is stored, waits for its time, or is half of a transaction.
//!
//! Names are those of RocketMQ 5.5.0's own Prometheus port, units included. Where RocketMQ tells topics apart and this broker counts by core only,
//! one line stands for all topics (docs/COMPATIBILITY.md).

use super::text::{Kind, Text};
use crate::buckets::{Counted, RecordBytes, SecondsOfDelay, SecondsToCommit};
use crate::snapshot::{CoreSnapshot, ShardSnapshot};

const LABELS: [(&str, &str); 2] = [("storage_type", "local"), ("storage_medium", "disk")];

/// `oldest_ms`: how long ago the oldest message was stored.
pub fn write(text: &mut Text, snapshots: &[CoreSnapshot], oldest_ms: Option<u64>) {
    storage(text, snapshots, oldest_ms);
    timers(text, snapshots);
    transactions(text, snapshots);
    text.family("rocketmq_message_size", Kind::Histogram, "Bytes of stored messages as they came in");
    text.buckets::<RecordBytes>(&[], &sum(snapshots, |core| core.record_bytes));
}

fn storage(text: &mut Text, snapshots: &[CoreSnapshot], oldest_ms: Option<u64>) {
    let shards = |value: fn(&ShardSnapshot) -> u64| {
        snapshots.iter().flat_map(|core| &core.shards).map(value).sum::<u64>()
    };
    text.family("rocketmq_storage_size_bytes", Kind::Gauge, "Bytes of log that are kept");
    text.sample(&LABELS, shards(|shard| shard.stats.log_end - shard.stats.log_start));
    text.family("rocketmq_storage_flush_behind_bytes", Kind::Gauge, "Bytes that are not yet on the device");
    text.sample(&LABELS, shards(|shard| shard.stats.unsynced_bytes));
    text.family(
        "rocketmq_storage_dispatch_behind_bytes",
        Kind::Gauge,
        "0: a message is in the index when it is stored",
    );
    text.sample(&LABELS, 0);
    text.family(
        "rocketmq_storage_message_reserve_time_milliseconds",
        Kind::Gauge,
        "Since the oldest message that is kept was stored",
    );
    if let Some(oldest_ms) = oldest_ms {
        text.sample(&LABELS, oldest_ms);
    }
}

fn timers(text: &mut Text, snapshots: &[CoreSnapshot]) {
    let delays = sum(snapshots, |core| core.seconds_of_delay);
    text.family("rocketmq_timing_messages", Kind::Gauge, "Delayed messages that wait for their time");
    text.sample(&LABELS, total(snapshots, |core| core.stats.delayed_waiting));
    text.family("rocketmq_timer_enqueue_total", Kind::Counter, "Delayed messages that began to wait");
    text.sample(&LABELS, delays.total());
    text.family("rocketmq_timer_dequeue_total", Kind::Counter, "Delayed messages that were delivered");
    text.sample(&LABELS, total(snapshots, |core| core.stats.delayed_delivered));
    text.family(
        "rocketmq_delay_message_latency_seconds",
        Kind::Histogram,
        "How long delayed messages are to wait",
    );
    text.buckets::<SecondsOfDelay>(&LABELS, &delays);
}

fn transactions(text: &mut Text, snapshots: &[CoreSnapshot]) {
    text.family("rocketmq_half_messages", Kind::Gauge, "Half messages that nobody has ended");
    text.sample(&[], total(snapshots, |core| core.stats.transactions_waiting));
    text.family("rocketmq_commit_messages_total", Kind::Counter, "Half messages that were committed");
    text.sample(&[], total(snapshots, |core| core.stats.transactions_committed));
    text.family("rocketmq_rollback_messages_total", Kind::Counter, "Half messages that were rolled back");
    text.sample(&[], total(snapshots, |core| core.stats.transactions_rolled_back));
    text.family(
        "rocketmq_finish_message_latency_milliseconds",
        Kind::Histogram,
        "Seconds from a half message's birth to its commit: RocketMQ's name says milliseconds",
    );
    text.buckets::<SecondsToCommit>(&[], &sum(snapshots, |core| core.seconds_to_commit));
}

fn total(snapshots: &[CoreSnapshot], value: fn(&CoreSnapshot) -> u64) -> u64 {
    snapshots.iter().map(value).sum()
}

fn sum(snapshots: &[CoreSnapshot], value: fn(&CoreSnapshot) -> Counted) -> Counted {
    let mut all = Counted::default();
    snapshots.iter().for_each(|core| all += value(core));
    all
}

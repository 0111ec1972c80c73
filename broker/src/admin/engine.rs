//! The `ringmq_*` metrics: cores, lanes, shards, refusals, stages.
//!
//! Invariant: one family is written whole before the next; cores and shards are labels. Other tasks run between families,
//! and between the cores of a histogram.

use ringmq_io::Env;

use super::text::{Kind, Text};
use crate::snapshot::{CoreSnapshot, ShardSnapshot};

type OfCore = fn(&CoreSnapshot) -> u64;
type OfShard = fn(&ShardSnapshot) -> u64;

const CORES: &[(&str, Kind, &str, OfCore)] = &[
    ("ringmq_core_turns_total", Kind::Counter, "Rounds of running ready tasks and submitting", |c| {
        c.vitals.turns
    }),
    ("ringmq_core_enters_total", Kind::Counter, "Calls of io_uring_enter", |c| c.vitals.enters),
    ("ringmq_core_completions_total", Kind::Counter, "Completions that were reaped", |c| {
        c.vitals.completions
    }),
    ("ringmq_core_sleeps_total", Kind::Counter, "Times the core ran out of work", |c| c.vitals.sleeps),
    ("ringmq_core_stalls_total", Kind::Counter, "Turns in which one thing took over 1 ms", |c| {
        c.vitals.stalls
    }),
    (
        "ringmq_core_preempted_total",
        Kind::Counter,
        "The same, but the core was without its CPU for most of it",
        |c| c.vitals.preempted,
    ),
    ("ringmq_core_receive_pool_empty_total", Kind::Counter, "Receives that found no free buffer", |c| {
        c.vitals.pool_empty
    }),
    ("ringmq_connections", Kind::Gauge, "Open connections", |c| c.stats.connections),
    ("ringmq_connections_accepted_total", Kind::Counter, "Connections that were accepted", |c| c.accepted),
    ("ringmq_accept_errors_total", Kind::Counter, "Failed accepts", |c| c.accept_errors),
    ("ringmq_frames_in_total", Kind::Counter, "Frames received", |c| c.stats.frames_in),
    ("ringmq_frames_out_total", Kind::Counter, "Writes to connections, nearly always one frame each", |c| {
        c.stats.frames_out
    }),
    ("ringmq_bytes_in_total", Kind::Counter, "Bytes received", |c| c.stats.bytes_in),
    ("ringmq_bytes_out_total", Kind::Counter, "Bytes sent", |c| c.stats.bytes_out),
    ("ringmq_reader_pauses_total", Kind::Counter, "Times a peer did not take its answers", |c| {
        c.reader_pauses
    }),
    ("ringmq_pulls_found_total", Kind::Counter, "Pulls answered with messages", |c| c.stats.pulls_found),
    ("ringmq_pulls_missed_total", Kind::Counter, "Pulls answered without", |c| c.stats.pulls_missed),
    ("ringmq_holds", Kind::Gauge, "Pulls that wait for a message", |c| c.stats.holds),
    ("ringmq_holds_woken_total", Kind::Counter, "Held pulls that a message has woken", |c| {
        c.stats.holds_woken
    }),
    ("ringmq_holds_timed_out_total", Kind::Counter, "Held pulls whose time was up", |c| {
        c.stats.holds_timed_out
    }),
    ("ringmq_cold_reads", Kind::Gauge, "Reads from segments under way", |c| c.cold_reads),
    ("ringmq_delayed_waiting", Kind::Gauge, "Delayed messages that wait for their time", |c| {
        c.stats.delayed_waiting
    }),
    ("ringmq_sent_back_total", Kind::Counter, "Messages that consumers have sent back", |c| {
        c.stats.sent_back
    }),
    ("ringmq_dead_letters_total", Kind::Counter, "Messages that went to a dead letter topic", |c| {
        c.stats.dead_letters
    }),
    ("ringmq_delayed_delivered_total", Kind::Counter, "Delayed messages that were delivered", |c| {
        c.stats.delayed_delivered
    }),
    ("ringmq_delayed_lost_total", Kind::Counter, "Delayed messages that were found damaged", |c| {
        c.stats.delayed_lost
    }),
    ("ringmq_sent_again_total", Kind::Counter, "Sends that were answered with an earlier message", |c| {
        c.stats.sent_again
    }),
    ("ringmq_hops_total", Kind::Counter, "Requests sent to another core", |c| c.stats.hops),
    ("ringmq_puts_refused_total", Kind::Counter, "Sends that were refused", |c| c.stats.put_refused),
];

const SHARDS: &[(&str, Kind, &str, OfShard)] = &[
    ("ringmq_shard_latched", Kind::Gauge, "1: a write or sync failed, restart the broker", |s| {
        u64::from(s.latched.is_some())
    }),
    ("ringmq_shard_records_total", Kind::Counter, "Records appended", |s| s.stats.appended_records),
    ("ringmq_shard_record_bytes_total", Kind::Counter, "Bytes of records appended", |s| {
        s.stats.appended_bytes
    }),
    ("ringmq_shard_batches_total", Kind::Counter, "Batches closed", |s| s.stats.batches),
    ("ringmq_shard_segment_writes_total", Kind::Counter, "Writes to segments", |s| s.stats.segment_writes),
    ("ringmq_shard_syncs_total", Kind::Counter, "Syncs of segments", |s| s.stats.syncs),
    ("ringmq_shard_ring_bytes", Kind::Gauge, "Size of the hot ring", |s| s.stats.ring_bytes),
    ("ringmq_shard_unsynced_bytes", Kind::Gauge, "Bytes of the ring that are not yet on the device", |s| {
        s.stats.unsynced_bytes
    }),
    ("ringmq_shard_segments", Kind::Gauge, "Segments", |s| s.stats.segments),
    ("ringmq_shard_segments_recycled_total", Kind::Counter, "Segments given back by retention", |s| {
        s.stats.recycled_segments
    }),
    ("ringmq_shard_log_bytes", Kind::Gauge, "Bytes of log that are kept", |s| {
        s.stats.log_end - s.stats.log_start
    }),
    ("ringmq_shard_queues", Kind::Gauge, "Queues that have ever been used", |s| s.stats.queues),
    (
        "ringmq_shard_chunks_read_total",
        Kind::Counter,
        "Pieces of segments read for consumers who read on",
        |s| s.stats.chunks_read,
    ),
    ("ringmq_shard_damaged_records_total", Kind::Counter, "Records found damaged", |s| {
        s.stats.damaged_records
    }),
    (
        "ringmq_shard_mended_blocks_total",
        Kind::Counter,
        "Damaged blocks of sealed indexes made anew from their segment",
        |s| s.stats.mended_blocks,
    ),
    (
        "ringmq_shard_quarantined_ranges",
        Kind::Gauge,
        "Damaged ranges of the log set aside at the start",
        |s| s.stats.quarantined_ranges,
    ),
    ("ringmq_shard_lost_records", Kind::Gauge, "Messages found missing at the start, lost to damage", |s| {
        s.stats.lost_records
    }),
    ("ringmq_shard_acks_waiting", Kind::Gauge, "Sends that wait for their acknowledgement", |s| {
        s.acks_waiting as u64
    }),
    (
        "ringmq_shard_flush_timeouts_total",
        Kind::Counter,
        "Sends answered as stored, but not on disk within syncFlushTimeout",
        |s| s.flush_timeouts,
    ),
    ("ringmq_shard_sends_waiting_for_room", Kind::Gauge, "Sends that wait for room in the ring", |s| {
        s.parked as u64
    }),
];

pub async fn write<E: Env>(env: &E, text: &mut Text, snapshots: &[CoreSnapshot]) {
    let cores: Vec<(String, &CoreSnapshot)> =
        snapshots.iter().map(|core| (core.core.to_string(), core)).collect();
    for (name, kind, help, value) in CORES {
        text.family(name, *kind, help);
        for (core, snapshot) in &cores {
            text.sample(&[("core", core)], value(snapshot));
        }
        env.yield_now().await;
    }
    text.family("ringmq_core_turn_seconds", Kind::Histogram, "Turns in which there was something to do");
    for (core, snapshot) in &cores {
        text.seconds(&[("core", core)], &snapshot.vitals.turn_ns);
        env.yield_now().await;
    }
    text.family("ringmq_core_turn_seconds_max", Kind::Gauge, "The longest turn since the start");
    for (core, snapshot) in &cores {
        text.float(&[("core", core)], snapshot.vitals.longest_turn.as_secs_f64());
    }
    lanes(text, &cores);
    shards(env, text, &cores).await;
    refusals(text, &cores);
    text.family("ringmq_stage_seconds", Kind::Histogram, "Time in a stage, of one request in 64");
    for (core, snapshot) in &cores {
        for (stage, times) in &snapshot.stages.0 {
            text.seconds(&[("core", core), ("stage", stage)], times);
        }
        env.yield_now().await;
    }
    text.family("ringmq_connections_closed_total", Kind::Counter, "Ended connections by reason");
    for (core, snapshot) in &cores {
        for (why, count) in &snapshot.closed {
            text.sample(&[("core", core), ("reason", why)], *count);
        }
    }
}

fn lanes(text: &mut Text, cores: &[(String, &CoreSnapshot)]) {
    for (place, name, help) in [
        (0, "ringmq_lane_messages", "Messages in the lane from a core to another"),
        (1, "ringmq_lane_outbox_messages", "Messages that wait for room in a lane"),
    ] {
        text.family(name, Kind::Gauge, help);
        for (core, snapshot) in cores {
            for lane in &snapshot.lanes {
                let value = [lane.in_lane, lane.in_outbox][place];
                text.sample(&[("from", core), ("to", &lane.to.to_string())], value as u64);
            }
        }
    }
}

async fn shards<E: Env>(env: &E, text: &mut Text, cores: &[(String, &CoreSnapshot)]) {
    let shards: Vec<(&str, String, &ShardSnapshot)> = cores
        .iter()
        .flat_map(|(core, snapshot)| {
            snapshot.shards.iter().map(|shard| (core.as_str(), shard.shard.to_string(), shard))
        })
        .collect();
    for (name, kind, help, value) in SHARDS {
        text.family(name, *kind, help);
        for (core, shard, snapshot) in &shards {
            text.sample(&[("core", core), ("shard", shard)], value(snapshot));
        }
        env.yield_now().await;
    }
    text.family("ringmq_shard_flush_seconds", Kind::Histogram, "Segment writes with their syncs");
    for (core, shard, snapshot) in &shards {
        text.seconds(&[("core", core), ("shard", shard)], &snapshot.flush_ns);
        env.yield_now().await;
    }
}

/// What was full, and what was asked for that is not there.
fn refusals(text: &mut Text, cores: &[(String, &CoreSnapshot)]) {
    text.family("ringmq_full_total", Kind::Counter, "Times that something was full when it was needed");
    for (core, snapshot) in cores {
        let of_shards = |count: fn(&ShardSnapshot) -> u64| snapshot.shards.iter().map(count).sum::<u64>();
        let own = [
            ("lane", snapshot.stats.lanes_full),
            ("ring", of_shards(|shard| shard.stats.ring_full)),
            ("disk", of_shards(|shard| shard.stats.disk_full)),
        ];
        for (what, count) in own.into_iter().chain(snapshot.full.iter().copied()) {
            text.sample(&[("core", core), ("what", what)], count);
        }
    }
    text.family("ringmq_requests_unsupported_total", Kind::Counter, "Requests of a code that is not served");
    for (core, snapshot) in cores {
        for (code, count) in &snapshot.unsupported {
            text.sample(&[("core", core), ("code", &code.to_string())], *count);
        }
    }
    text.family("ringmq_features_refused_total", Kind::Counter, "Messages refused for what they ask for");
    for (core, snapshot) in cores {
        for (feature, count) in &snapshot.refused_features {
            text.sample(&[("core", core), ("feature", feature)], *count);
        }
    }
}

//! What one core knows about itself, as a copy that crosses lanes to the control core.
//!
//! Invariants: everything in it was read in one turn, so it fits together; its size does not grow with topics, queues or
//! connections (those are asked for in slices). On failure: there is none.

use hdrhistogram::Histogram;
use ringmq_io::{Env, VitalSigns};
use ringmq_store::ShardStats;

use crate::buckets::Counted;
use crate::core::Core;
use crate::stages::Stage;
use crate::stats::CoreStats;

/// See the module.
#[derive(Clone, Debug)]
pub struct CoreSnapshot {
    pub core: usize,
    pub stats: CoreStats,
    pub vitals: VitalSigns,
    pub stages: StageTimes,
    pub shards: Vec<ShardSnapshot>,
    pub lanes: Vec<LaneSnapshot>,
    /// Refused requests: by request code, and of sends by what they asked for.
    pub unsupported: Vec<(i32, u64)>,
    /// By what was full.
    pub full: Vec<(&'static str, u64)>,
    pub refused_features: Vec<(&'static str, u64)>,
    pub record_bytes: Counted,
    pub seconds_to_commit: Counted,
    pub seconds_of_delay: Counted,
    pub accepted: u64,
    pub accept_errors: u64,
    pub reader_pauses: u64,
    /// Ended connections by reason.
    pub closed: Vec<(&'static str, u64)>,
    pub cold_reads: u64,
}

#[derive(Clone, Debug)]
pub struct ShardSnapshot {
    pub shard: u16,
    pub stats: ShardStats,
    /// Nanoseconds of segment writes with their syncs.
    pub flush_ns: Histogram<u64>,
    /// Sends that wait for their acknowledgement, and for room in the ring.
    pub acks_waiting: usize,
    pub parked: usize,
    /// Sends that were stored, but not on disk in time.
    pub flush_timeouts: u64,
    pub latched: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct LaneSnapshot {
    pub to: usize,
    pub in_lane: usize,
    pub in_outbox: usize,
}

/// Nanoseconds by stage.
#[derive(Clone)]
pub struct StageTimes(pub [(&'static str, Histogram<u64>); 6]);

impl std::fmt::Debug for StageTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(stage, times)| (stage, times.len()))).finish()
    }
}

impl<E: Env> Core<E> {
    pub fn snapshot(&self) -> CoreSnapshot {
        let stage = |stage| self.stages.times(stage);
        let me = self.env.core();
        CoreSnapshot {
            core: me,
            stats: self.stats(),
            vitals: self.env.vital_signs(),
            stages: StageTimes([
                ("decode", self.transport.decode_ns()),
                ("hop", stage(Stage::Hop)),
                ("append", stage(Stage::Append)),
                ("flush", stage(Stage::Flush)),
                ("pull", stage(Stage::Pull)),
                ("send", self.transport.send_ns()),
            ]),
            shards: self
                .local_shards()
                .map(|local| ShardSnapshot {
                    shard: local.shard.id(),
                    stats: local.shard.stats(),
                    flush_ns: local.shard.flush_ns(),
                    acks_waiting: local.acks.len(),
                    parked: local.parked.len(),
                    flush_timeouts: local.acks.timed_out.get(),
                    latched: local.shard.latched().map(|latched| latched.to_string()),
                })
                .collect(),
            lanes: (0..self.env.cores())
                .filter(|to| *to != me)
                .map(|to| {
                    let (in_lane, in_outbox) = self.hop.waiting(to);
                    LaneSnapshot { to, in_lane, in_outbox }
                })
                .collect(),
            unsupported: self.counters.unsupported(),
            full: self.counters.full.counts(),
            refused_features: self.counters.refused_features(),
            record_bytes: self.counters.record_bytes.counted(),
            seconds_to_commit: self.counters.seconds_to_commit.counted(),
            seconds_of_delay: self.counters.seconds_of_delay.counted(),
            accepted: self.transport.accepted.get(),
            accept_errors: self.transport.accept_errors.get(),
            reader_pauses: self.transport.reader_pauses.get(),
            closed: self.transport.closed_by_reason(),
            cold_reads: self.counters.cold_reads.get(),
        }
    }
}

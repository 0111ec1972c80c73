//! What a seed means for a whole broker: its cores and shards, its lives, and the network between it and its clients.

use std::time::Duration;

use ringmq_simenv::{CrashKind, Cut, Faults, NetFaults, Rng};

use crate::plan::RingFate;
use crate::shrink::Fault;

/// The topic of the run, and how many queues it has.
pub const TOPIC: &str = "orders";
pub const QUEUES: usize = 4;

/// What passes between the clients and the broker while their link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    Nothing,
    /// Answers only.
    ToClients,
    /// Requests only.
    ToBroker,
}

#[derive(Clone, Debug)]
pub struct LinkCut {
    /// Since the end of the cut before.
    pub after: Duration,
    pub lasts: Duration,
    pub passes: Passes,
}

#[derive(Clone, Debug)]
pub struct Life {
    /// Of the broker's machine, with its side of the network.
    pub faults: Faults,
    /// The clients' side.
    pub clients: NetFaults,
    pub cuts: Vec<LinkCut>,
    pub time: Duration,
    pub dies_young: bool,
    pub end: CrashKind,
    pub kill_in_region_write: Option<u64>,
    /// The disk has room for so many bytes more, and for all in the middle of the life.
    pub room: Option<u64>,
    /// What becomes of the hot rings after the end, if memory outlives it.
    pub rings: RingFate,
    /// A bit flips in some file after the end.
    pub rot: bool,
}

impl Life {
    /// Whether nothing happens after its end that takes anything.
    pub fn loses_nothing(&self) -> bool {
        self.end == CrashKind::Process && self.rings == RingFate::Kept && !self.rot
    }

    /// Whether the disk does what it is asked for, soon.
    pub fn calm(&self) -> bool {
        self.faults.disk.is_calm() && self.room.is_none()
    }
}

#[derive(Clone, Debug)]
pub struct BrokerPlan {
    pub cores: usize,
    pub shards: u16,
    pub sync: bool,
    pub flush_interval: Duration,
    pub segment_bytes: u64,
    pub lives: Vec<Life>,
}

impl BrokerPlan {
    pub fn drawn(rng: &Rng) -> Self {
        let cores = 1 + rng.index(2);
        let (disk, net) = (rng.coin(), rng.below(4) > 0);
        Self {
            cores,
            shards: rng.within(cores as u64..=3) as u16,
            sync: rng.coin(),
            flush_interval: Duration::from_millis(rng.within(5..=100)),
            segment_bytes: 1 << 20,
            lives: (0..rng.within(2..=3)).map(|_| life(rng, disk, net)).collect(),
        }
    }

    /// Rot, other rings and a full disk, in some runs. From a stream of their own, so that all else of a seed stays as it was.
    pub fn add_losses(&mut self, rng: &Rng) {
        if rng.coin() {
            return;
        }
        // Smaller ones, so that some are sealed.
        self.segment_bytes = [256, 512, 1024][rng.index(3)] * 1024;
        let (rot, rings, full) = (rng.below(3) == 0, rng.below(2) == 0, rng.below(3) == 0);
        for life in &mut self.lives {
            life.rot = rot && rng.coin();
            let fates = [RingFate::Kept, RingFate::Lost, RingFate::Stale, RingFate::Foreign];
            life.rings = fates[if rings { rng.index(4) } else { 0 }];
            // None at all, less than a life needs, or enough for a start.
            let rooms = [0, self.segment_bytes, (12 << 20) + 2 * self.segment_bytes];
            life.room = (full && rng.coin()).then(|| rooms[rng.index(3)]);
        }
    }

    /// Whether messages may be gone because the disk was full.
    pub fn recycles(&self) -> bool {
        self.lives.iter().any(|life| life.room.is_some())
    }

    pub fn leave_out(&mut self, without: &[Fault]) {
        for fault in without {
            if *fault == Fault::FirstLives {
                let last = self.lives.len() - 1;
                self.lives.drain(..last);
            }
            for life in &mut self.lives {
                fault.take_from(&mut life.faults);
                fault.take_from_net(&mut life.clients);
                match fault {
                    Fault::Partitions => life.cuts.clear(),
                    Fault::RegionKills => life.kill_in_region_write = None,
                    Fault::EarlyDeaths => life.dies_young = false,
                    Fault::PowerLosses => life.end = CrashKind::Process,
                    Fault::FullDisk => life.room = None,
                    Fault::Rings => life.rings = RingFate::Kept,
                    Fault::Rot => life.rot = false,
                    _ => {}
                }
            }
        }
    }
}

fn life(rng: &Rng, disk: bool, net: bool) -> Life {
    let mut faults = if disk && rng.coin() { Faults::drawn(rng) } else { Faults::none() };
    faults.net = network(rng, net);
    if disk && rng.below(6) == 0 {
        faults.disk.misdirected_write = 0.01;
    }
    let time = [rng.within(1..=100_000), rng.within(100_000..=1_500_000)][rng.index(2)];
    let cuts = if net { rng.below(3) } else { 0 };
    Life {
        faults,
        clients: network(rng, net),
        cuts: (0..cuts).map(|_| link_cut(rng, time)).collect(),
        time: Duration::from_micros(time),
        dies_young: rng.below(6) == 0,
        end: if rng.coin() { CrashKind::Process } else { CrashKind::PowerLoss },
        kill_in_region_write: (rng.below(4) == 0).then(|| rng.within(1..=3000)),
        room: None,
        rings: RingFate::Kept,
        rot: false,
    }
}

fn network(rng: &Rng, bad: bool) -> NetFaults {
    let mut net = Faults::none().net;
    if bad && rng.below(4) > 0 {
        net.latency_us = 20..=[100, 1000, 50_000][rng.index(3)];
        net.cut = [Cut::Whole, Cut::Random, Cut::SingleBytes][rng.index(3)];
        net.reset = [0.0, 0.01, 0.1][rng.index(3)];
        net.short_send = [0.0, 0.05, 0.5][rng.index(3)];
        net.socket_bytes = 4096..=[8192, 65_536][rng.index(2)];
    }
    net
}

fn link_cut(rng: &Rng, life_us: u64) -> LinkCut {
    LinkCut {
        after: Duration::from_micros(rng.below(life_us / 2 + 1)),
        // Often longer than a client's patience, which is three seconds.
        lasts: Duration::from_micros([rng.below(life_us / 4 + 1), rng.below(8_000_000)][rng.index(2)]),
        passes: [Passes::Nothing, Passes::ToClients, Passes::ToBroker][rng.index(3)],
    }
}

//! What clients know of messages that are not seen at once: delayed ones, and those of transactions.
//!
//! A message of either kind is seen in its topic some time after it was taken. Where is the broker's affair, but
//! - one that was acknowledged comes (a delayed one), or is seen once its commit was acknowledged (one of a transaction);
//! - none comes more often than it was sent, and none of a transaction whose commit nobody asked for;
//! - none comes before its time.
//!
//! Damage to the disk may take messages, and what says that they are done: then only the last of the three holds, and that nothing is
//! seen that nobody asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_simenv::Host;

use super::books::body;
use super::plan::BrokerPlan;
use super::promise::{End, Promise};

/// The records of a batch have the time at which its turn of the shard opened it: so much before they were stored.
const TURN_MS: i64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Delayed,
    Transaction,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Delayed, Self::Transaction];

    pub fn topic(self) -> &'static str {
        match self {
            Self::Delayed => "reminders",
            Self::Transaction => "payments",
        }
    }
}

/// A message that is seen.
pub struct Seen {
    pub bytes: Vec<u8>,
    /// Wall clock of the broker, in milliseconds: when it was stored there, and its time if it had one.
    pub stored_ms: i64,
    pub due_ms: Option<i64>,
}

#[derive(Clone, Default)]
struct Wait {
    /// So many times it may be seen.
    asked: u32,
    promise: Option<Promise>,
}

/// What was known when a request was sent.
#[derive(Clone, Copy)]
pub struct Since(u64);

pub struct Waits {
    machine: Host,
    sync: bool,
    recycles: bool,
    losses: u64,
    /// By kind and number.
    waits: [Vec<Wait>; 2],
    /// How many came, as far as the last look knows.
    pub came: u64,
}

impl Waits {
    pub fn new(machine: Host, plan: &BrokerPlan) -> Self {
        let recycles = plan.recycles();
        Self { machine, sync: plan.sync, recycles, losses: 0, waits: Default::default(), came: 0 }
    }

    pub fn new_message(&mut self, kind: Kind) -> u64 {
        let waits = &mut self.waits[kind as usize];
        waits.push(Wait::default());
        waits.len() as u64 - 1
    }

    /// How many of a kind were sent so far.
    pub fn count(&self, kind: Kind) -> u64 {
        self.waits[kind as usize].len() as u64
    }

    /// Is asked for: to be delivered later, or to be committed.
    pub fn asking(&mut self, kind: Kind, number: u64) -> Since {
        self.waits[kind as usize][number as usize].asked += 1;
        Since(self.losses)
    }

    /// Was promised now, in answer to what was asked for then.
    pub fn promised(&mut self, kind: Kind, number: u64, since: Since, now: Duration) {
        // Else the answer was on its way when the power went, and what it promised may be gone already.
        if self.sync || since.0 == self.losses {
            self.waits[kind as usize][number as usize].promise = Some(Promise::made(now, self.sync));
        }
    }

    fn promises(&mut self) -> impl Iterator<Item = &mut Option<Promise>> {
        self.waits.iter_mut().flatten().map(|wait| &mut wait.promise)
    }

    pub fn recovered(&mut self, at: Duration) {
        self.promises().flatten().for_each(|promise| promise.recovered(at));
    }

    pub fn ended(&mut self, end: End) {
        self.promises().flatten().for_each(|promise| promise.ended(end));
    }

    pub fn rings_lost(&mut self) {
        self.losses += 1;
        self.promises().for_each(|promise| *promise = promise.filter(Promise::is_safe));
    }

    fn is_damaged(&self) -> bool {
        !self.machine.damages().is_empty()
    }

    /// All that is seen of a kind; `is_cut`: retention has taken the first of it. Gives the numbers of those that were promised and are
    /// not there.
    pub fn audit(&mut self, kind: Kind, seen: &[Seen], is_cut: bool) -> Vec<u64> {
        assert!(!is_cut || self.recycles, "{} was cut", kind.topic());
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for one in seen {
            let number = one.bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
            let number = number.unwrap_or_else(|| panic!("{}: {} bytes", kind.topic(), one.bytes.len()));
            assert!(one.bytes == body(number), "{}: {number} has other bytes than were sent", kind.topic());
            let is_early = one.due_ms.is_some_and(|due| one.stored_ms + TURN_MS < due);
            assert!(!is_early, "{}: {number} comes at {}, due {:?}", kind.topic(), one.stored_ms, one.due_ms);
            *times.entry(number).or_default() += 1;
        }
        let waits = &self.waits[kind as usize];
        for (number, times) in &times {
            let asked = waits.get(*number as usize).map_or(0, |wait| wait.asked);
            assert!(asked > 0, "{}: {number} is seen, and nobody asked for it", kind.topic());
            assert!(
                *times <= asked || self.is_damaged(),
                "{}: {number} is seen {times} times, but was asked for {asked} times",
                kind.topic()
            );
        }
        self.came = self.came.max(times.len() as u64);
        if is_cut || self.is_damaged() {
            return Vec::new();
        }
        let promised = (0..).zip(waits).filter(|(_, wait)| wait.promise.is_some());
        promised.map(|(number, _)| number).filter(|number| !times.contains_key(number)).collect()
    }
}

//! What one core has done: plain counters, read by the control core for the runtime information.
//!
//! Invariant: counters only grow; sums over cores are made by whoever asks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::buckets::{Buckets, RecordBytes, SecondsOfDelay, SecondsToCommit};

/// A copy of a core's counters that may cross cores; adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreStats {
    pub put_messages: u64,
    /// Of their records, as they are stored.
    pub put_bytes: u64,
    pub put_refused: u64,
    /// Delayed messages that wait, reached their queue, could not.
    pub delayed_waiting: u64,
    pub delayed_delivered: u64,
    pub delayed_lost: u64,
    pub sent_back: u64,
    pub dead_letters: u64,
    /// Half messages that nobody has ended, and what became of others.
    pub transactions_waiting: u64,
    pub transactions_committed: u64,
    pub transactions_rolled_back: u64,
    pub transactions_given_up: u64,
    pub transaction_checks: u64,
    pub recalled: u64,
    /// Sends that were answered with an earlier message.
    pub sent_again: u64,
    pub get_messages: u64,
    pub get_bytes: u64,
    /// Pulls that found something, and that did not.
    pub pulls_found: u64,
    pub pulls_missed: u64,
    pub holds: u64,
    pub holds_woken: u64,
    pub holds_timed_out: u64,
    pub hops: u64,
    pub lanes_full: u64,
    pub unsupported: u64,
    pub connections: u64,
    pub frames_in: u64,
    pub frames_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Of the shards of this core.
    pub log_bytes: u64,
    /// The ends of their logs: bytes that were ever written.
    pub log_end: u64,
    pub shards_latched: u64,
}

impl std::ops::AddAssign for CoreStats {
    fn add_assign(&mut self, other: Self) {
        self.put_messages += other.put_messages;
        self.put_bytes += other.put_bytes;
        self.put_refused += other.put_refused;
        self.delayed_waiting += other.delayed_waiting;
        self.delayed_delivered += other.delayed_delivered;
        self.delayed_lost += other.delayed_lost;
        self.sent_back += other.sent_back;
        self.dead_letters += other.dead_letters;
        self.transactions_waiting += other.transactions_waiting;
        self.transactions_committed += other.transactions_committed;
        self.transactions_rolled_back += other.transactions_rolled_back;
        self.transactions_given_up += other.transactions_given_up;
        self.transaction_checks += other.transaction_checks;
        self.recalled += other.recalled;
        self.sent_again += other.sent_again;
        self.get_messages += other.get_messages;
        self.get_bytes += other.get_bytes;
        self.pulls_found += other.pulls_found;
        self.pulls_missed += other.pulls_missed;
        self.holds += other.holds;
        self.holds_woken += other.holds_woken;
        self.holds_timed_out += other.holds_timed_out;
        self.hops += other.hops;
        self.lanes_full += other.lanes_full;
        self.unsupported += other.unsupported;
        self.connections += other.connections;
        self.frames_in += other.frames_in;
        self.frames_out += other.frames_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.log_bytes += other.log_bytes;
        self.log_end += other.log_end;
        self.shards_latched += other.shards_latched;
    }
}

/// The counters themselves.
#[derive(Debug, Default)]
pub struct Counters {
    pub put_messages: Cell<u64>,
    pub put_bytes: Cell<u64>,
    pub put_refused: Cell<u64>,
    /// Delayed messages that reached their queue, and that could not.
    pub delayed_delivered: Cell<u64>,
    pub delayed_lost: Cell<u64>,
    /// Messages that consumers sent back, and messages stored as dead letters.
    pub sent_back: Cell<u64>,
    pub dead_letters: Cell<u64>,
    /// Delayed messages that their producers took back.
    pub recalled: Cell<u64>,
    /// Sends that repeated a message, to topics that take each once.
    pub sent_again: Cell<u64>,
    /// Send-backs under way now; it also goes down.
    pub send_backs_now: Cell<u64>,
    pub get_messages: Cell<u64>,
    pub get_bytes: Cell<u64>,
    pub pulls_found: Cell<u64>,
    pub pulls_missed: Cell<u64>,
    pub holds_woken: Cell<u64>,
    pub holds_timed_out: Cell<u64>,
    pub transactions_committed: Cell<u64>,
    pub transactions_rolled_back: Cell<u64>,
    pub seconds_to_commit: Buckets<SecondsToCommit>,
    /// Of messages that came into their topics.
    pub record_bytes: Buckets<RecordBytes>,
    /// Of messages that began to wait.
    pub seconds_of_delay: Buckets<SecondsOfDelay>,
    /// Half messages that were asked about too often, or lost to damage.
    pub transactions_given_up: Cell<u64>,
    /// Producers asked.
    pub transaction_checks: Cell<u64>,
    /// Transactions being ended. This and what follows also go down.
    pub ends_now: Cell<u64>,
    /// Administrators' questions to consumers that wait for an answer.
    pub relays_now: Cell<u64>,
    /// Lists of topics or groups that are being made.
    pub table_texts_now: Cell<u64>,
    /// Replies on their way to who asked.
    pub replies_now: Cell<u64>,
    /// Pulls that wait now for news of their subscription.
    pub pulls_for_news: Cell<u64>,
    /// Reads from segments under way now.
    pub cold_reads: Cell<u64>,
    /// Requests refused for want of room, lanes, rings and disks apart.
    pub full: Full,
    /// Requests refused as not supported, by code; bounded, since a client chooses the code.
    unsupported: RefCell<BTreeMap<i32, u64>>,
    unsupported_total: Cell<u64>,
    /// Messages refused because they ask for what is not built yet, by property.
    refused_features: RefCell<BTreeMap<&'static str, u64>>,
}

/// What was full when it was needed.
#[derive(Debug, Default)]
pub struct Full {
    pub waiting_sends: Cell<u64>,
    pub cold_reads: Cell<u64>,
    pub holds: Cell<u64>,
}

impl Full {
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("waiting sends", self.waiting_sends.get()),
            ("cold reads", self.cold_reads.get()),
            ("holds", self.holds.get()),
        ]
    }
}

/// Different codes that are counted apart; RocketMQ knows 170.
const UNSUPPORTED_CODES_MAX: usize = 512;

pub fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

impl Counters {
    pub fn count_unsupported(&self, code: i32) {
        add(&self.unsupported_total, 1);
        let mut codes = self.unsupported.borrow_mut();
        if codes.len() < UNSUPPORTED_CODES_MAX || codes.contains_key(&code) {
            *codes.entry(code).or_insert(0) += 1;
        }
    }

    pub fn unsupported(&self) -> Vec<(i32, u64)> {
        self.unsupported.borrow().iter().map(|(code, n)| (*code, *n)).collect()
    }

    pub fn unsupported_total(&self) -> u64 {
        self.unsupported_total.get()
    }

    pub fn count_refused_feature(&self, feature: &'static str) {
        add(&self.put_refused, 1);
        *self.refused_features.borrow_mut().entry(feature).or_insert(0) += 1;
    }

    pub fn refused_features(&self) -> Vec<(&'static str, u64)> {
        self.refused_features.borrow().iter().map(|(feature, n)| (*feature, *n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_clients_invent_do_not_fill_memory() {
        let counters = Counters::default();
        for code in 0..10_000 {
            counters.count_unsupported(code);
        }
        counters.count_unsupported(3);
        assert_eq!(counters.unsupported().len(), UNSUPPORTED_CODES_MAX);
        assert_eq!(counters.unsupported()[3], (3, 2));
        assert_eq!(counters.unsupported_total(), 10_001);
    }
}

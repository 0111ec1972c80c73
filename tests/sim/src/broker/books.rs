//! What the clients of a broker know: every message with each attempt to send it, what was acknowledged where, what was seen
//! where, and what was committed.
//!
//! A client sends again when it has heard nothing, as RocketMQ's does, so a message may be there as often as it was sent. But
//! - each acknowledgement names an offset, and there the message is, with its bytes, as long as the promise holds;
//! - an offset shows one message, whoever looks, until a power loss takes what was not safe;
//! - nothing is there that nobody sent to that queue, nor more often than it was sent;
//! - a consumer offset is the last acknowledged one, or one whose commit was sent and never answered.
//!
//! After bytes of its disk were changed behind its back a broker may miss messages and give their offsets again; but still nothing
//! is there that nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_simenv::Host;

use super::plan::QUEUES;

/// Longest body.
const BODY_MAX: u64 = 2000;

#[derive(Clone, Copy)]
struct Acked {
    number: u64,
    at: Duration,
    /// Survives a power loss.
    is_safe: bool,
}

#[derive(Clone, Default)]
struct Commits {
    acknowledged: Option<i64>,
    /// The newest that was sent.
    asked: Option<i64>,
    /// Sent, and nobody knows when they take effect, if ever.
    unanswered: BTreeSet<i64>,
}

/// What had been promised of a queue before it was read.
pub struct Promised(Vec<u64>);

/// What was known of a group's offset before it was asked for.
pub struct Committed(Commits);

/// What was known when a request was sent.
#[derive(Clone, Copy)]
pub struct Since(u64);

pub struct Books {
    machine: Host,
    sync: bool,
    /// By message number: how often it was sent to each queue.
    sent: Vec<[u32; QUEUES]>,
    acked: BTreeMap<(usize, u64), Acked>,
    seen: BTreeMap<(usize, u64), u64>,
    commits: BTreeMap<(&'static str, usize), Commits>,
    /// Power losses so far.
    losses: u64,
    pub acknowledged: u64,
    pub commits_acknowledged: u64,
    pub read: u64,
}

/// The body of a message: its number, and bytes that follow from it.
pub fn body(number: u64) -> Vec<u8> {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = (mixed >> 33) % BODY_MAX;
    let rest = (0..len).map(|i| (mixed.rotate_left(i as u32 % 64) as u8) ^ i as u8);
    number.to_be_bytes().into_iter().chain(rest).collect()
}

impl Books {
    pub fn new(machine: Host, sync: bool) -> Self {
        Self {
            machine,
            sync,
            sent: Vec::new(),
            acked: BTreeMap::new(),
            seen: BTreeMap::new(),
            commits: BTreeMap::new(),
            losses: 0,
            acknowledged: 0,
            commits_acknowledged: 0,
            read: 0,
        }
    }

    /// Whether the disk has not what was written to it.
    fn is_damaged(&self) -> bool {
        !self.machine.damages().is_empty()
    }

    pub fn new_message(&mut self) -> u64 {
        self.sent.push([0; QUEUES]);
        self.sent.len() as u64 - 1
    }

    pub fn sending(&mut self, number: u64, queue: usize) -> Since {
        self.sent[number as usize][queue] += 1;
        self.now()
    }

    pub fn acknowledged(&mut self, number: u64, queue: usize, offset: u64, since: Since, now: Duration) {
        self.acknowledged += 1;
        if !self.sync && since.0 != self.losses {
            return; // the answer was on its way when the power went: what it promised may be gone already
        }
        self.look(queue, offset, number);
        let acked = Acked { number, at: now, is_safe: self.sync };
        let before = self.acked.insert((queue, offset), acked);
        assert!(
            before.is_none() || self.is_damaged(),
            "queue {queue}: offset {offset} was acknowledged twice, for {number} and {:?}",
            before.map(|acked| acked.number)
        );
    }

    /// For a request that is sent now.
    pub fn now(&self) -> Since {
        Since(self.losses)
    }

    /// A message that a consumer was given.
    pub fn pulled(&mut self, queue: usize, offset: u64, bytes: &[u8], since: Since) -> u64 {
        let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
        let number =
            number.unwrap_or_else(|| panic!("queue {queue}: offset {offset} has {} bytes", bytes.len()));
        let times = self.sent.get(number as usize).map_or(0, |sent| sent[queue]);
        assert!(times > 0, "queue {queue}: offset {offset} has message {number}, which nobody sent there");
        assert!(bytes == body(number), "queue {queue}: offset {offset} has other bytes than were sent");
        if since.0 == self.losses {
            self.look(queue, offset, number); // else the answer may be of a log that the power has cut since
        }
        self.read += 1;
        number
    }

    fn look(&mut self, queue: usize, offset: u64, number: u64) {
        let seen = self.seen.insert((queue, offset), number).unwrap_or(number);
        let promised = self.acked.get(&(queue, offset)).map_or(number, |acked| acked.number);
        if (seen, promised) != (number, number) && !self.is_damaged() {
            assert!(seen == number, "queue {queue}: offset {offset} was message {seen}, and now is {number}");
            panic!("queue {queue}: acknowledged offset {offset} is {number}, not {promised}");
        }
    }

    /// A broker that was started then serves now: what it found in its ring is flushed from now on.
    pub fn recovered(&mut self, started: Duration, now: Duration) {
        let found = self.acked.values_mut().filter(|acked| acked.at < started);
        found.for_each(|acked| acked.at = now);
    }

    /// `bound`: what was acknowledged so long before the end is safe; `None` if the disk gave no such bound.
    pub fn power_lost(&mut self, end: Duration, bound: Option<Duration>) {
        self.losses += 1;
        self.seen.clear();
        self.acked.retain(|_, acked| {
            acked.is_safe |= bound.is_some_and(|bound| acked.at + bound <= end);
            acked.is_safe
        });
    }

    pub fn promised(&self, queue: usize) -> Promised {
        let acked = self.acked.range((queue, 0)..(queue + 1, 0));
        Promised(acked.map(|((_, offset), _)| *offset).collect())
    }

    /// A whole queue as a broker has it after a recovery.
    pub fn audit(&mut self, queue: usize, promised: &Promised, found: &BTreeMap<u64, Vec<u8>>, end: u64) {
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for (offset, bytes) in found {
            *times.entry(self.pulled(queue, *offset, bytes, self.now())).or_default() += 1;
        }
        for (number, times) in times {
            let sent = self.sent[number as usize][queue];
            assert!(
                times <= sent,
                "queue {queue}: message {number} is there {times} times, but was sent {sent}"
            );
        }
        if self.is_damaged() {
            self.acked.retain(|(of, offset), _| *of != queue || found.contains_key(offset));
            self.seen.retain(|(of, offset), _| *of != queue || found.contains_key(offset));
            return;
        }
        assert_eq!(found.len() as u64, end, "queue {queue}: its offsets are not dense");
        for offset in &promised.0 {
            let number = self.acked[&(queue, *offset)].number;
            assert!(
                found.contains_key(offset),
                "queue {queue}: acknowledged offset {offset} with message {number} is lost; the queue ends at {end}"
            );
        }
    }

    pub fn committing(&mut self, group: &'static str, queue: usize, offset: i64) {
        let commits = self.commits.entry((group, queue)).or_default();
        commits.unanswered.insert(offset);
        commits.asked = Some(offset);
    }

    pub fn commit_acknowledged(&mut self, group: &'static str, queue: usize, offset: i64) {
        self.commits_acknowledged += 1;
        let commits = self.commits.entry((group, queue)).or_default();
        commits.unanswered.remove(&offset);
        commits.acknowledged = Some(offset);
    }

    pub fn committed(&self, group: &'static str, queue: usize) -> Committed {
        Committed(self.commits.get(&(group, queue)).cloned().unwrap_or_default())
    }

    /// What a recovered broker says of a group's offset; `None`: it knows none.
    pub fn commit_found(&self, group: &'static str, queue: usize, before: &Committed, found: Option<i64>) {
        let Committed(Commits { acknowledged, unanswered, .. }) = before;
        let asked = self.committed(group, queue).0.asked;
        // While it was asked the group may have gone on.
        let is_newer = found > *acknowledged && found <= asked;
        let is_unanswered = found.is_some_and(|found| unanswered.contains(&found));
        assert!(
            found == *acknowledged || is_unanswered || is_newer || self.is_damaged(),
            "queue {queue}: consumer offset of {group} is {found:?}, but {acknowledged:?} was acknowledged"
        );
    }
}

//! What the clients of a broker know: every message with each attempt to send it, what was acknowledged where, what was seen
//! where, and what was committed.
//!
//! A client sends again when it has heard nothing, as RocketMQ's does, so a message may be there as often as it was sent. But
//! - each acknowledgement names an offset, and there the message is, with its bytes, as long as the promise holds;
//! - an offset shows one message, whoever looks, until a power loss takes what was not safe;
//! - nothing is there that nobody sent to that queue, nor more often than it was sent;
//! - a consumer offset is the last acknowledged one, or one whose commit was sent and never answered.
//!
//! After bytes of its disk were changed behind its back a broker may miss the messages that were hit ([`Places`]), and no other:
//! one that is missing before the end of its queue was named, and nothing is there that nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_simenv::{Damage, Host};

use super::places::{Place, Places};
use super::plan::{BrokerPlan, QUEUES};
use super::promise::{End, Promise};

/// Longest body.
const BODY_MAX: u64 = 2000;

#[derive(Clone, Copy)]
struct Acked {
    number: u64,
    promise: Promise,
}

#[derive(Clone, Default)]
struct Commits {
    acknowledged: Option<i64>,
    /// All that were ever sent.
    ever: BTreeSet<i64>,
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
pub struct Since {
    losses: u64,
    crashes: u64,
}

/// A message that a reader was given.
pub struct Given {
    pub offset: u64,
    pub place: Place,
    pub bytes: Vec<u8>,
}

/// A whole queue as a broker has it.
pub struct Found<T> {
    /// The first offset that retention has left.
    pub min: u64,
    pub end: u64,
    pub messages: BTreeMap<u64, T>,
    /// Whether the broker knows the topic.
    pub has_topic: bool,
}

pub struct Books {
    sync: bool,
    /// Whether messages may be gone because the disk was full.
    recycles: bool,
    /// By message number: how often it was sent to each queue.
    sent: Vec<[u32; QUEUES]>,
    acked: BTreeMap<(usize, u64), Acked>,
    seen: BTreeMap<(usize, u64), u64>,
    commits: BTreeMap<(&'static str, usize), Commits>,
    /// Power losses so far.
    losses: u64,
    /// Ends of processes so far.
    crashes: u64,
    places: Places,
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
    pub fn new(machine: Host, plan: &BrokerPlan) -> Self {
        Self {
            sync: plan.sync,
            recycles: plan.recycles(),
            sent: Vec::new(),
            acked: BTreeMap::new(),
            seen: BTreeMap::new(),
            commits: BTreeMap::new(),
            losses: 0,
            crashes: 0,
            places: Places::new(machine, plan.shards, plan.segment_bytes),
            acknowledged: 0,
            commits_acknowledged: 0,
            read: 0,
        }
    }

    /// All damage so far, after a look at what it may take.
    pub fn look_for_damage(&mut self) -> &[Damage] {
        self.places.look();
        self.places.damages()
    }

    pub fn journal_was_hit(&self) -> bool {
        self.places.journal_was_hit()
    }

    pub fn new_message(&mut self) -> u64 {
        self.sent.push([0; QUEUES]);
        self.sent.len() as u64 - 1
    }

    pub fn sending(&mut self, number: u64, queue: usize) -> Since {
        self.sent[number as usize][queue] += 1;
        self.now()
    }

    pub fn acknowledged(
        &mut self,
        number: u64,
        queue: usize,
        offset: u64,
        place: Place,
        since: Since,
        now: Duration,
    ) {
        self.acknowledged += 1;
        if !self.sync && since.losses != self.losses {
            return; // the answer was on its way when the power went: what it promised may be gone already
        }
        if since.crashes != self.crashes && self.places.was_hit(&place) {
            return; // so it was when rot came, and another message may be there by now
        }
        self.look(queue, offset, number, place);
        let acked = Acked { number, promise: Promise::made(now, self.sync) };
        let before = self.acked.insert((queue, offset), acked);
        assert!(
            before.is_none(),
            "queue {queue}: offset {offset} was acknowledged twice, for {number} and {:?}",
            before.map(|acked| acked.number)
        );
    }

    /// For a request that is sent now.
    pub fn now(&self) -> Since {
        Since { losses: self.losses, crashes: self.crashes }
    }

    /// A message that a consumer was given.
    pub fn pulled(&mut self, queue: usize, given: &Given, since: Since) -> u64 {
        let Given { offset, place, bytes } = given;
        let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
        let number =
            number.unwrap_or_else(|| panic!("queue {queue}: offset {offset} has {} bytes", bytes.len()));
        let times = self.sent.get(number as usize).map_or(0, |sent| sent[queue]);
        assert!(times > 0, "queue {queue}: offset {offset} has message {number}, which nobody sent there");
        assert!(*bytes == body(number), "queue {queue}: offset {offset} has other bytes than were sent");
        // Else the answer may be of a log that the power has cut since, or rot.
        let is_late = since.crashes != self.crashes && self.places.was_hit(place);
        if since.losses == self.losses && !is_late {
            self.look(queue, *offset, number, place.clone());
        }
        self.read += 1;
        number
    }

    fn look(&mut self, queue: usize, offset: u64, number: u64, place: Place) {
        let at = (queue, offset);
        let seen = self.seen.get(&at).copied().unwrap_or(number);
        let promised = self.acked.get(&at).map_or(number, |acked| acked.number);
        if (seen, promised) != (number, number) {
            if !self.places.may_be_missing(queue, offset) {
                assert!(
                    seen == number,
                    "queue {queue}: offset {offset} was message {seen}, and now is {number}"
                );
                panic!("queue {queue}: acknowledged offset {offset} is {number}, not {promised}");
            }
            self.forget(queue, offset);
        }
        self.seen.insert(at, number);
        self.places.put(queue, offset, place);
    }

    /// Damage has taken it, and another message may come there.
    fn forget(&mut self, queue: usize, offset: u64) {
        self.acked.remove(&(queue, offset));
        self.seen.remove(&(queue, offset));
        self.places.forget(queue, offset);
    }

    /// A broker has started, and serves since then.
    pub fn recovered(&mut self, at: Duration) {
        self.acked.values_mut().for_each(|acked| acked.promise.recovered(at));
    }

    /// A process has ended, and maybe its disk was hit.
    pub fn ended(&mut self, end: End) {
        self.crashes += 1;
        self.acked.values_mut().for_each(|acked| acked.promise.ended(end));
        self.places.look();
    }

    /// The rings are gone, with the power or without it.
    pub fn rings_lost(&mut self) {
        self.losses += 1;
        self.seen.clear();
        self.acked.retain(|_, acked| acked.promise.is_safe());
        self.places.keep(|queue, offset| self.acked.contains_key(&(queue, offset)));
    }

    pub fn promised(&self, queue: usize) -> Promised {
        let acked = self.acked.range((queue, 0)..(queue + 1, 0));
        Promised(acked.map(|((_, offset), _)| *offset).collect())
    }

    /// A whole queue as a broker has it after a recovery.
    pub fn audit(&mut self, queue: usize, promised: &Promised, found: &Found<Given>) {
        let Found { min, end, messages, has_topic } = found;
        if !has_topic && self.places.journal_was_hit() {
            return; // a journal whose end was hit may not know the topic any more
        }
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for given in messages.values() {
            *times.entry(self.pulled(queue, given, self.now())).or_default() += 1;
        }
        for (number, times) in times {
            let sent = self.sent[number as usize][queue];
            assert!(
                times <= sent,
                "queue {queue}: message {number} is there {times} times, but was sent {sent}"
            );
        }
        self.recycled(queue, *min);
        for offset in promised.0.iter().filter(|offset| *offset >= min && !messages.contains_key(offset)) {
            let number = self.acked.get(&(queue, *offset)).map(|acked| acked.number);
            assert!(
                self.places.may_be_missing(queue, *offset),
                "queue {queue}: acknowledged offset {offset} with message {number:?} is lost; the queue ends at {end}"
            );
        }
        for offset in (*min..*end).filter(|offset| !messages.contains_key(offset)) {
            assert!(
                self.places.may_be_missing(queue, offset),
                "queue {queue}: its offsets are not dense: there is no {offset}"
            );
            assert!(
                self.places.is_named(queue, offset),
                "queue {queue}: offset {offset} is missing, and nothing says so"
            );
        }
        let gone: Vec<u64> = promised
            .0
            .iter()
            .copied()
            .filter(|offset| offset >= end && !messages.contains_key(offset))
            .collect();
        gone.into_iter().for_each(|offset| self.forget(queue, offset));
        self.places.are_there(queue, |offset| messages.contains_key(&offset));
    }

    /// Offsets below `min` are gone by the rules of retention.
    fn recycled(&mut self, queue: usize, min: u64) {
        assert!(min == 0 || self.recycles, "queue {queue}: cut at {min}");
        let is_left = |of: usize, offset: u64| of != queue || offset >= min;
        self.acked.retain(|(of, offset), _| is_left(*of, *offset));
        self.seen.retain(|(of, offset), _| is_left(*of, *offset));
        self.places.keep(is_left);
    }

    pub fn committing(&mut self, group: &'static str, queue: usize, offset: i64) {
        let commits = self.commits.entry((group, queue)).or_default();
        commits.unanswered.insert(offset);
        commits.ever.insert(offset);
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
    pub fn commit_found(
        &mut self,
        group: &'static str,
        queue: usize,
        before: &Committed,
        found: Option<i64>,
    ) {
        let Committed(Commits { acknowledged, unanswered, .. }) = before;
        let Committed(now) = self.committed(group, queue);
        // While it was asked the group may have gone on.
        let is_newer = found > *acknowledged && found <= now.asked;
        let is_unanswered = found.is_some_and(|found| unanswered.contains(&found));
        // A journal whose last write went elsewhere ends before it, and nothing says so.
        let is_older = self.places.journal_was_hit() && found.is_none_or(|found| now.ever.contains(&found));
        assert!(
            found == *acknowledged || is_unanswered || is_newer || is_older,
            "queue {queue}: consumer offset of {group} is {found:?}, but {acknowledged:?} was acknowledged"
        );
        if is_older && now.acknowledged == *acknowledged {
            self.commits.entry((group, queue)).or_default().acknowledged = found;
        }
    }
}

//! What the clients know: every record that was stored, and which of them they were promised; and which of them damage to the
//! disk has hit, so that they may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ringmq_simenv::{CrashKind, Damage, Host};

use crate::damage::{self, Hits, meet};
use crate::plan::QUEUES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nobody was told that it is stored: it may be there.
    None,
    /// Survives the end of the process. Survives a power loss too if it was made long enough before.
    Kill {
        at: Duration,
    },
    Power,
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub bytes: Vec<u8>,
    /// In the log of the shard.
    pub position: u64,
    pub promise: Promise,
    /// Damage may have taken it.
    is_hit: bool,
    /// Damage may have taken it from look-ups by key.
    is_unfindable: bool,
}

impl Stored {
    /// In the log.
    fn range(&self) -> Range<u64> {
        self.position..self.position + self.bytes.len() as u64
    }

    /// Where in the log its queue id and its topic are.
    fn name(&self, topic: &str) -> [Range<u64>; 2] {
        let at = self.bytes.windows(topic.len()).rposition(|part| part == topic.as_bytes());
        let at = self.position + at.expect("a record has its topic") as u64;
        // With the topic's length before it.
        [self.position + 12..self.position + 16, at - 1..at + topic.len() as u64]
    }
}

pub struct Model {
    host: Host,
    data: PathBuf,
    queues: Vec<BTreeMap<u64, Stored>>,
    /// Acknowledged commit of each queue, and what was last asked for.
    committed: Vec<(u64, u64)>,
    /// Records acknowledged in all lives.
    pub acknowledged: u64,
    pub commits: u64,
    pub reads: u64,
    /// All damage that was done, by every name that the files had.
    pub damages: Vec<Damage>,
    /// Offsets that a recovery has named as lost.
    reported: BTreeSet<(usize, u64)>,
    journal_was_hit: bool,
    /// The topic or the queue id of a record on disk is another.
    name_was_hit: bool,
    segment_bytes: u64,
    recycles: bool,
}

/// A queue as a node has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub min: u64,
    pub max: u64,
    pub records: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    pub fn new(host: Host, data: PathBuf, segment_bytes: u64, recycles: bool) -> Self {
        Self {
            host,
            data,
            queues: vec![BTreeMap::new(); QUEUES.len()],
            committed: vec![(0, 0); QUEUES.len()],
            acknowledged: 0,
            commits: 0,
            reads: 0,
            damages: Vec::new(),
            reported: BTreeSet::new(),
            journal_was_hit: false,
            name_was_hit: false,
            segment_bytes,
            recycles,
        }
    }

    pub fn stored(&mut self, queue: usize, offset: u64, position: u64, bytes: Vec<u8>) {
        let stored = Stored { bytes, position, promise: Promise::None, is_hit: false, is_unfindable: false };
        let before = self.queues[queue].insert(offset, stored);
        assert!(before.is_none(), "{:?}: offset {offset} was given twice", QUEUES[queue]);
    }

    pub fn promised(&mut self, queue: usize, offset: u64, promise: Promise) {
        self.acknowledged += 1;
        // Retention may have taken it already.
        if let Some(stored) = self.queues[queue].get_mut(&offset) {
            stored.promise = promise;
        }
    }

    /// What a crash may take is no promise any more. `kept_after`: how long before a power loss a
    /// record must have been acknowledged to survive it; `None` if the disk gave no such bound.
    pub fn crashed(&mut self, kind: CrashKind, ring_lost: bool, now: Duration, kept_after: Option<Duration>) {
        if kind == CrashKind::Process && !ring_lost {
            return;
        }
        for queue in &mut self.queues {
            for stored in queue.values_mut() {
                if let Promise::Kill { at } = stored.promise {
                    let old = kept_after.is_some_and(|bound| at + bound <= now);
                    stored.promise = if old { Promise::Power } else { Promise::None };
                }
            }
        }
    }

    /// The bounds of an opened node, before anything is read: nothing promised is cut off, and what was
    /// cut off may be stored anew.
    pub fn opened(&mut self, queue: usize, min: u64, max: u64) {
        assert!(min <= max, "{:?}: from {min} to {max}", QUEUES[queue]);
        if !self.recycles {
            assert_eq!(min, 0, "{:?}: the first messages are gone", QUEUES[queue]);
        }
        let cut = self.queues[queue].split_off(&max);
        for (offset, stored) in cut {
            let excused = stored.promise == Promise::None || stored.is_hit;
            assert!(excused, "{:?}: acknowledged offset {offset} is behind the end {max}", QUEUES[queue]);
        }
        self.recycled(queue, min);
    }

    /// Offsets below `min` are gone by the rules of retention.
    pub fn recycled(&mut self, queue: usize, min: u64) {
        let kept = self.queues[queue].split_off(&min);
        let gone = std::mem::replace(&mut self.queues[queue], kept);
        assert!(gone.is_empty() || self.recycles, "{:?}: cut at {min}", QUEUES[queue]);
    }

    /// Everything that a node has in a queue is as it was stored, and everything promised is there. `synced`: where the log
    /// was at `now` that segments durably have.
    pub fn verify(&mut self, queue: usize, found: &Found, synced: u64, now: Duration) {
        let name = QUEUES[queue];
        for (offset, bytes) in &found.records {
            self.same(queue, *offset, bytes);
        }
        for offset in found.min..found.max {
            if found.records.contains_key(&offset) {
                continue;
            }
            let excused = self.is_hit(queue, offset);
            assert!(excused, "{name:?}: nothing at offset {offset} between {} and {}", found.min, found.max);
        }
        // What is there after a recovery is durable, or in a ring that was taken over and is being flushed.
        for (offset, stored) in &mut self.queues[queue] {
            if found.records.contains_key(offset) && stored.promise != Promise::Power {
                let is_durable = stored.position + stored.bytes.len() as u64 <= synced;
                stored.promise = if is_durable { Promise::Power } else { Promise::Kill { at: now } };
            }
        }
    }

    /// A record that a reader got.
    pub fn same(&self, queue: usize, offset: u64, bytes: &[u8]) {
        let name = QUEUES[queue];
        let known = self.queues[queue].get(&offset);
        let known = known.unwrap_or_else(|| panic!("{name:?}: offset {offset} was never stored"));
        assert!(known.bytes == bytes, "{name:?}: offset {offset} has other bytes than were stored");
    }

    pub fn len(&self, queue: usize) -> usize {
        self.queues[queue].len()
    }

    /// Whether damage explains that a record is missing.
    pub fn is_hit(&self, queue: usize, offset: u64) -> bool {
        self.queues[queue].get(&offset).is_some_and(|stored| stored.is_hit)
    }

    /// Whether damage explains that a record is not found by its key.
    pub fn is_unfindable(&self, queue: usize, offset: u64) -> bool {
        self.queues[queue].get(&offset).is_some_and(|stored| stored.is_hit || stored.is_unfindable)
    }

    /// Whether a reader may miss a record of a life that goes on: damage may just have been done to it.
    pub fn may_be_missed(&mut self, queue: usize, offset: u64) -> bool {
        if !self.is_hit(queue, offset) {
            self.look_for_damage();
        }
        // What retention took is not known here before the next look at the whole queue.
        self.is_hit(queue, offset) || (self.recycles && !self.damages.is_empty())
    }

    /// Notes what the damage that is there now may take. Before anything mends or copies it: the next start.
    pub fn look_for_damage(&mut self) {
        if !damage::gather(&self.host, &mut self.damages) {
            return;
        }
        let Hits { lost, bytes, forgotten, unfindable, journal } =
            damage::hits(&self.host, &self.data, 0, self.segment_bytes);
        self.journal_was_hit |= journal;
        for (name, queue) in QUEUES.iter().zip(&self.queues) {
            let is_hit = |place: &Range<u64>| bytes.iter().any(|hit| meet(hit, place));
            let hit = queue.values().filter(|stored| is_hit(&stored.range()));
            self.name_was_hit |= hit.flat_map(|stored| stored.name(name.topic)).any(|place| is_hit(&place));
        }
        for stored in self.queues.iter_mut().flat_map(|queue| queue.values_mut()) {
            let range = stored.range();
            let is_lost = lost.iter().any(|lost| meet(lost, &range));
            stored.is_hit |= is_lost || forgotten.contains(&stored.position);
            stored.is_unfindable |= unfindable.iter().any(|range| range.contains(&stored.position));
        }
    }

    /// A recovery has named a lost message of a queue that there is not: what is damaged can say so of itself, once a bit of
    /// its topic or queue id is another.
    pub fn reported_elsewhere(&self, topic: &str, queue_id: u32) {
        assert!(self.name_was_hit, "a message of {topic} queue {queue_id} was lost, which no run has");
    }

    /// A recovery has named a lost message.
    pub fn reported(&mut self, queue: usize, offset: u64) {
        self.reported.insert((queue, offset));
    }

    pub fn is_reported(&self, queue: usize, offset: u64) -> bool {
        self.reported.contains(&(queue, offset))
    }

    pub fn commit_asked(&mut self, queue: usize, offset: u64) {
        self.committed[queue].1 = offset;
    }

    pub fn commit_acknowledged(&mut self, queue: usize, offset: u64) {
        self.commits += 1;
        let acknowledged = &mut self.committed[queue].0;
        *acknowledged = offset.max(*acknowledged);
    }

    pub fn last_commit(&self, queue: usize) -> u64 {
        self.committed[queue].1
    }

    /// The offset that a recovered journal gives.
    pub fn commit_found(&mut self, queue: usize, offset: u64) {
        let (acknowledged, asked) = self.committed[queue];
        // A journal whose last write went elsewhere ends before it, and nothing says so.
        let acknowledged = if self.journal_was_hit { 0 } else { acknowledged };
        assert!(
            (acknowledged..=asked).contains(&offset),
            "{:?}: consumer offset {offset}, but {acknowledged} was acknowledged and {asked} the last asked for",
            QUEUES[queue]
        );
        self.committed[queue] = (offset, offset);
    }
}

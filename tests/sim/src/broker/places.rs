//! Where the messages of a run lie in the broker's logs, and which of them damage to its disk may have taken.
//!
//! Owns: the place of each message that a client knows, what the damage so far may take (worked out by [`crate::damage`]), and
//! what the broker has said of losses. Invariant: a message may be missing only if its place was hit, and then the broker has
//! named it. A message that nobody knows the place of lies between those that come before and after it in its queue.
//! On failure: asserts nothing itself; [`super::books::Books`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use ringmq_simenv::{Damage, Host};
use ringmq_store::PhysicalOffset;

use super::heard::{Ear, Said};
use crate::damage::{self, meet};

const DATA: &str = "/data";
const METADATA: &str = "/data/metadata";

/// A record in the log of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub shard: u16,
    pub range: Range<u64>,
}

impl Place {
    pub fn new(physical: u64, bytes: u64) -> Self {
        let PhysicalOffset { shard, position } =
            PhysicalOffset::unpack(physical).expect("a place that a broker gives is one");
        Self { shard, range: position..position + bytes }
    }
}

/// The log as the files are now.
struct Hit {
    shard: u16,
    hits: damage::Hits,
}

impl Hit {
    fn takes(&self, place: &Place) -> bool {
        self.shard == place.shard
            && (self.hits.lost.iter().any(|lost| meet(lost, &place.range))
                || self.hits.forgotten.contains(&place.range.start))
    }
}

pub struct Places {
    machine: Host,
    shards: u16,
    segment_bytes: u64,
    known: BTreeMap<(usize, u64), (Place, bool)>,
    /// All that damage may have taken at any time; positions may have been given again since.
    ever_hit: Vec<Place>,
    journal_was_hit: bool,
    /// All damage that was done, by every name that the files had.
    damages: Vec<Damage>,
    ear: Ear,
    named: BTreeSet<(usize, u64)>,
    left_out: BTreeSet<(u16, u64)>,
}

impl Places {
    pub fn new(machine: Host, shards: u16, segment_bytes: u64) -> Self {
        Self {
            machine,
            shards,
            segment_bytes,
            known: BTreeMap::new(),
            ever_hit: Vec::new(),
            journal_was_hit: false,
            damages: Vec::new(),
            ear: Ear::new(),
            named: BTreeSet::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// Notes what the damage that is there now may take. Before anything mends or copies it: the next start.
    pub fn look(&mut self) {
        for said in self.ear.said() {
            match said {
                Said::Messages { queue, first, last } => {
                    self.named.extend((first..=last).map(|offset| (queue, offset)));
                }
                Said::Record { shard, position } => {
                    self.left_out.insert((shard, position));
                }
            }
        }
        for hit in self.hits() {
            for (place, is_hit) in self.known.values_mut() {
                *is_hit |= hit.takes(place);
            }
            // "To the end of the log" is to the end of what it has by now, with what is in the ring alone.
            let of_shard = self.known.values().filter(|(place, _)| place.shard == hit.shard);
            let end = of_shard.map(|(place, _)| place.range.end).max().unwrap_or(0) + self.segment_bytes;
            let lost =
                hit.hits.lost.into_iter().map(|lost| lost.start..lost.end.min(end.max(lost.start + 1)));
            let forgotten = hit.hits.forgotten.into_iter().map(|position| position..position + 1);
            for range in lost.chain(forgotten) {
                let place = Place { shard: hit.shard, range };
                if !self.ever_hit.contains(&place) {
                    self.ever_hit.push(place);
                }
            }
        }
    }

    fn hits(&mut self) -> Vec<Hit> {
        if !damage::gather(&self.machine, &mut self.damages) {
            return Vec::new();
        }
        let of_journal = |damage: &Damage| damage.path.starts_with(METADATA);
        self.journal_was_hit |= self.damages.iter().any(of_journal);
        let of = |shard| damage::hits(&self.machine, Path::new(DATA), shard, self.segment_bytes);
        (0..self.shards).map(|shard| Hit { shard, hits: of(shard) }).collect()
    }

    /// All damage so far.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    pub fn journal_was_hit(&self) -> bool {
        self.journal_was_hit
    }

    /// A message was seen there, or acknowledged.
    pub fn put(&mut self, queue: usize, offset: u64, place: Place) {
        match self.known.get_mut(&(queue, offset)) {
            Some((known, _)) if *known == place => {}
            _ => {
                self.known.insert((queue, offset), (place, false));
                self.named.remove(&(queue, offset));
            }
        }
    }

    /// The offset is free for another message.
    pub fn forget(&mut self, queue: usize, offset: u64) {
        self.known.remove(&(queue, offset));
    }

    pub fn keep(&mut self, is_kept: impl Fn(usize, u64) -> bool) {
        self.known.retain(|(queue, offset), _| is_kept(*queue, *offset));
    }

    /// A whole queue was read, and has these: whatever had hit them is mended, unless it is still there.
    pub fn are_there(&mut self, queue: usize, mut is_found: impl FnMut(u64) -> bool) {
        let hits = self.hits();
        for ((_, offset), (place, is_hit)) in self.known.range_mut((queue, 0)..(queue + 1, 0)) {
            if is_found(*offset) {
                *is_hit = hits.iter().any(|hit| hit.takes(place));
            }
        }
    }

    /// Whether damage, now or before, explains that there is no message.
    pub fn was_hit(&self, place: &Place) -> bool {
        self.ever_hit.iter().any(|hit| hit.shard == place.shard && meet(&hit.range, &place.range))
    }

    /// Whether damage explains that a message is missing.
    pub fn may_be_missing(&mut self, queue: usize, offset: u64) -> bool {
        if self.damages.is_empty() && self.machine.damages().is_empty() {
            return false;
        }
        let is_hit = |places: &Self| match places.known.get(&(queue, offset)) {
            Some((_, is_hit)) => *is_hit,
            None => places.within(queue, offset).iter().any(|place| places.was_hit(place)),
        };
        is_hit(self) || {
            self.look();
            is_hit(self)
        }
    }

    /// Where a message lies that nobody knows the place of.
    fn within(&self, queue: usize, offset: u64) -> Vec<Place> {
        let before = self.known.range((queue, 0)..(queue, offset)).next_back().map(|(_, (place, _))| place);
        let after = self.known.range((queue, offset + 1)..(queue + 1, 0)).next().map(|(_, (place, _))| place);
        let range =
            before.map_or(0, |place| place.range.end)..after.map_or(u64::MAX, |place| place.range.start);
        let shards = match before.or(after) {
            Some(place) => place.shard..place.shard + 1,
            None => 0..self.shards,
        };
        shards.map(|shard| Place { shard, range: range.clone() }).collect()
    }

    /// Whether the broker has said that a message is missing.
    pub fn is_named(&mut self, queue: usize, offset: u64) -> bool {
        self.look();
        let left_out = |place: &Place| {
            let Range { start, end } = place.range;
            self.left_out.range((place.shard, start)..(place.shard, end)).next().is_some()
        };
        self.named.contains(&(queue, offset))
            || match self.known.get(&(queue, offset)) {
                Some((place, _)) => left_out(place),
                None => self.within(queue, offset).iter().any(left_out),
            }
    }
}

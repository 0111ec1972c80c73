//! How far each group has consumed each queue.
//!
//! Owns: the offsets and which of them the journal does not have yet. Pure state. Invariants: what the journal gets is
//! always the present value of a queue, so that its last entry for a queue is never older than an acknowledged commit;
//! the number of offsets is bounded by `CONSUMER_OFFSETS_MAX`.
//! On failure: a full table refuses new queues and goes on taking commits of known ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use thiserror::Error;

use ringmq_io::limits::CONSUMER_OFFSETS_MAX;

pub type QueueOffsets = BTreeMap<u32, i64>;
type ByTopic = BTreeMap<Rc<str>, QueueOffsets>;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no room for the offset of another queue: {CONSUMER_OFFSETS_MAX} are stored")]
pub struct TableFull;

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Unchanged,
    Moved,
    /// Taken, as the reference takes it; worth a line in the log.
    MovedBack {
        from: i64,
    },
}

#[derive(Debug, Default)]
pub struct Offsets {
    by_group: BTreeMap<Rc<str>, ByTopic>,
    count: usize,
    /// Queues whose present offset is not in the journal.
    dirty: BTreeMap<Rc<str>, BTreeMap<Rc<str>, BTreeSet<u32>>>,
}

impl Offsets {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn get(&self, group: &str, topic: &str, queue: u32) -> Option<i64> {
        self.by_group.get(group)?.get(topic)?.get(&queue).copied()
    }

    /// All offsets of a group in a topic.
    pub fn of_topic(&self, group: &str, topic: &str) -> Option<&QueueOffsets> {
        self.by_group.get(group)?.get(topic)
    }

    pub fn topics_of(&self, group: &str) -> impl Iterator<Item = &Rc<str>> {
        self.by_group.get(group).into_iter().flat_map(|topics| topics.keys())
    }

    pub fn groups_of(&self, topic: &str) -> impl Iterator<Item = &Rc<str>> {
        self.by_group.iter().filter(move |(_, topics)| topics.contains_key(topic)).map(|(group, _)| group)
    }

    /// Stores an offset. The caller journals it now, or leaves it to `take_dirty` (see `mark_dirty`).
    pub fn commit(&mut self, group: &str, topic: &str, queue: u32, offset: i64) -> Result<Commit, TableFull> {
        if let Some(known) = self.by_group.get_mut(group).and_then(|t| t.get_mut(topic)?.get_mut(&queue)) {
            let from = std::mem::replace(known, offset);
            return Ok(match offset.cmp(&from) {
                std::cmp::Ordering::Equal => Commit::Unchanged,
                std::cmp::Ordering::Greater => Commit::Moved,
                std::cmp::Ordering::Less => Commit::MovedBack { from },
            });
        }
        if self.count >= CONSUMER_OFFSETS_MAX {
            return Err(TableFull);
        }
        self.count += 1;
        if !self.by_group.contains_key(group) {
            self.by_group.insert(Rc::from(group), ByTopic::new());
        }
        let topics = self.by_group.get_mut(group).expect("just inserted");
        match topics.get_mut(topic) {
            Some(queues) => {
                queues.insert(queue, offset);
            }
            None => {
                topics.insert(Rc::from(topic), QueueOffsets::from([(queue, offset)]));
            }
        }
        Ok(Commit::Moved)
    }

    /// The queue's offset must still go to the journal.
    pub fn mark_dirty(&mut self, group: &str, topic: &str, queue: u32) {
        let topics = match self.dirty.get_mut(group) {
            Some(topics) => topics,
            None => self.dirty.entry(Rc::from(group)).or_default(),
        };
        match topics.get_mut(topic) {
            Some(queues) => queues.insert(queue),
            None => topics.entry(Rc::from(topic)).or_default().insert(queue),
        };
    }

    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The present offsets of what is dirty, a group and topic at a time; clean afterwards.
    pub fn take_dirty(&mut self) -> Vec<(Rc<str>, Rc<str>, QueueOffsets)> {
        let mut taken = Vec::new();
        for (group, topics) in std::mem::take(&mut self.dirty) {
            for (topic, queues) in topics {
                // A topic or group may have been deleted since.
                let Some(known) = self.of_topic(&group, &topic) else { continue };
                let offsets: QueueOffsets = queues
                    .iter()
                    .filter_map(|queue| known.get_key_value(queue))
                    .map(|(q, o)| (*q, *o))
                    .collect();
                if !offsets.is_empty() {
                    taken.push((group.clone(), topic, offsets));
                }
            }
        }
        taken
    }

    pub fn remove_group(&mut self, group: &str) -> bool {
        self.dirty.remove(group);
        let removed = self.by_group.remove(group);
        self.count -= removed.iter().flat_map(|topics| topics.values()).map(BTreeMap::len).sum::<usize>();
        removed.is_some()
    }

    pub fn remove_topic(&mut self, topic: &str) {
        for topics in self.by_group.values_mut() {
            self.count -= topics.remove(topic).map_or(0, |queues| queues.len());
        }
        self.by_group.retain(|_, topics| !topics.is_empty());
        for topics in self.dirty.values_mut() {
            topics.remove(topic);
        }
        self.dirty.retain(|_, topics| !topics.is_empty());
    }

    /// The next group and topic behind `position`, in order: a cursor that stays good while the table changes.
    pub fn after(&self, position: Option<(&str, &str)>) -> Option<(&Rc<str>, &Rc<str>, &QueueOffsets)> {
        let from = match position {
            None => Bound::Unbounded,
            Some((group, topic)) => {
                if let Some((name, topics)) = self.by_group.get_key_value(group) {
                    let behind = (Bound::Excluded(topic), Bound::Unbounded);
                    if let Some((topic, queues)) = topics.range::<str, _>(behind).next() {
                        return Some((name, topic, queues));
                    }
                }
                Bound::Excluded(group)
            }
        };
        let (group, topics) = self.by_group.range::<str, _>((from, Bound::Unbounded)).next()?;
        let (topic, queues) = topics.iter().next().expect("a group without topics is removed");
        Some((group, topic, queues))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commits_are_kept_apart_and_tell_what_they_did() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.commit("g", "t", 0, 5), Ok(Commit::Moved));
        assert_eq!(offsets.commit("g", "t", 0, 5), Ok(Commit::Unchanged));
        assert_eq!(offsets.commit("g", "t", 0, 3), Ok(Commit::MovedBack { from: 5 }));
        offsets.commit("g", "u", 1, 9).unwrap();
        offsets.commit("h", "t", 0, 7).unwrap();
        assert_eq!(offsets.get("g", "t", 0), Some(3));
        assert_eq!(offsets.get("g", "t", 1), None);
        assert_eq!(offsets.len(), 3);
        assert_eq!(offsets.groups_of("t").map(|g| &**g).collect::<Vec<_>>(), ["g", "h"]);
        assert_eq!(offsets.topics_of("g").map(|t| &**t).collect::<Vec<_>>(), ["t", "u"]);
        offsets.remove_topic("t");
        assert_eq!((offsets.len(), offsets.get("h", "t", 0)), (1, None));
        assert!(offsets.remove_group("g"));
        assert!(offsets.is_empty());
    }

    #[test]
    fn the_journal_gets_the_present_value_not_the_one_at_the_time_of_marking() {
        let mut offsets = Offsets::default();
        offsets.commit("g", "t", 0, 5).unwrap();
        offsets.mark_dirty("g", "t", 0);
        offsets.commit("g", "t", 0, 8).unwrap();
        offsets.commit("gone", "t", 0, 1).unwrap();
        offsets.mark_dirty("gone", "t", 0);
        offsets.remove_group("gone");
        let taken = offsets.take_dirty();
        assert_eq!(taken, [("g".into(), "t".into(), QueueOffsets::from([(0, 8)]))]);
        assert!(!offsets.has_dirty());
    }

    proptest! {
        #[test]
        fn the_cursor_visits_everything_once(keys in proptest::collection::btree_set(("[a-c]", "[a-d]", 0u32..3), 0..30)) {
            let mut offsets = Offsets::default();
            for (group, topic, queue) in &keys {
                offsets.commit(group, topic, *queue, 1).unwrap();
            }
            let mut seen = BTreeSet::new();
            let mut at: Option<(Rc<str>, Rc<str>)> = None;
            while let Some((group, topic, queues)) = offsets.after(at.as_ref().map(|(g, t)| (&**g, &**t))) {
                for queue in queues.keys() {
                    prop_assert!(seen.insert((group.to_string(), topic.to_string(), *queue)));
                }
                at = Some((group.clone(), topic.clone()));
            }
            prop_assert_eq!(seen.len(), offsets.len());
            prop_assert_eq!(seen, keys);
        }
    }
}

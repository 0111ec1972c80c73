//! The queues of a shard: names to dense numbers, and each queue's index.
//!
//! Owns: the memory of the consume queues. A queue's messages are runs in sealed indexes, oldest first, then the
//! entries of the unsealed segments; no file belongs to a queue.
//! Invariants: offsets from `min` to `next` are dense over runs and open entries; a number is given once and
//! stays valid for its name, also after a drop. A dropped queue's unsealed entries are kept aside as a [`Grave`]
//! until every segment before the drop is sealed: the log before the drop is complete without it, and so must be
//! the index (a power loss may take the drop and leave what it dropped).

use std::collections::VecDeque;
use std::rc::Rc;

use hashbrown::HashMap;

use crate::entry::Entry;
use crate::entry_log::EntryLog;
use crate::keys::TopicHash;
use crate::plan::Bounds;
use crate::shard::{QueueEnd, QueueRef};

/// A queue's messages in one sealed segment: entries `start .. start + count` of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: u64,
    pub start: u32,
    pub count: u32,
    /// Base position of the segment divided by the segment size.
    pub segment: u32,
}

pub struct Queue {
    pub topic: Rc<str>,
    pub topic_hash: TopicHash,
    pub id: u32,
    pub runs: VecDeque<Run>,
    pub open: EntryLog,
    /// Grows with each drop, so that work that began before one is not applied after it.
    pub drops: u32,
}

/// Where an offset is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// `left` entries of the run from here on.
    Sealed {
        segment: u32,
        index: u32,
        left: u32,
    },
    Open,
}

impl Queue {
    pub fn next(&self) -> u64 {
        self.open.next()
    }

    pub fn min(&self) -> u64 {
        self.runs.front().map_or(self.open.first(), |run| run.first)
    }

    /// `None` outside of the bounds.
    pub fn locate(&self, offset: u64) -> Option<Found> {
        if offset >= self.open.first() {
            return (offset < self.open.next()).then_some(Found::Open);
        }
        let after = self.runs.partition_point(|run| run.first <= offset);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let within = offset - run.first;
        (within < u64::from(run.count)).then(|| Found::Sealed {
            segment: run.segment,
            index: run.start + within as u32,
            left: run.count - within as u32,
        })
    }

    /// The open entry at `offset`.
    pub fn open_entry(&self, offset: u64) -> Option<Entry> {
        self.open.get(offset)
    }

    /// Starts anew; gives the entries it had.
    fn reset(&mut self) -> EntryLog {
        self.runs.clear();
        self.drops += 1;
        std::mem::take(&mut self.open)
    }
}

/// Unsealed entries of a queue from before a drop.
pub struct Grave {
    /// Of the drop in the log.
    pub position: u64,
    pub entries: EntryLog,
}

#[derive(Default)]
pub struct Queues {
    topics: HashMap<Rc<str>, Vec<(u32, QueueRef)>>,
    slots: Vec<Queue>,
    /// By queue and the value that its `drops` had.
    graves: HashMap<(QueueRef, u32), Grave>,
}

impl Queues {
    pub fn find(&self, topic: &str, id: u32) -> Option<QueueRef> {
        let queues = self.topics.get(topic)?;
        queues.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| queues[at].1)
    }

    /// Those of a topic that are known.
    pub fn of_topic(&self, topic: &str) -> Vec<QueueRef> {
        self.topics.get(topic).map_or(&[][..], Vec::as_slice).iter().map(|(_, queue)| *queue).collect()
    }

    pub fn intern(&mut self, topic: &str, id: u32) -> QueueRef {
        if let Some(known) = self.find(topic, id) {
            return known;
        }
        let number = QueueRef(u32::try_from(self.slots.len()).expect("fewer than 2^32 queues"));
        let name: Rc<str> = match self.topics.get_key_value(topic) {
            Some((name, _)) => Rc::clone(name),
            None => topic.into(),
        };
        let queues = self.topics.entry(Rc::clone(&name)).or_default();
        let at = queues.partition_point(|(other, _)| *other < id);
        queues.insert(at, (id, number));
        self.slots.push(Queue {
            topic_hash: TopicHash::new(&name),
            topic: name,
            id,
            runs: VecDeque::new(),
            open: EntryLog::default(),
            drops: 0,
        });
        number
    }

    pub fn get(&self, queue: QueueRef) -> &Queue {
        &self.slots[queue.index()]
    }

    pub fn get_mut(&mut self, queue: QueueRef) -> &mut Queue {
        &mut self.slots[queue.index()]
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The bounds of up to `most` queues from the `cursor`th on, and where to go on, if there are more.
    pub fn ends(&self, cursor: usize, most: usize) -> (Vec<QueueEnd>, Option<usize>) {
        let slots = self.slots.get(cursor..).unwrap_or_default();
        let end = |queue: &Queue| QueueEnd {
            topic: (*queue.topic).into(),
            queue_id: queue.id,
            bounds: Bounds { min: queue.min(), max: queue.next() },
        };
        let ends = slots.iter().take(most).map(end).collect();
        (ends, (slots.len() > most).then(|| cursor + most))
    }

    /// Resets the queues of a topic, for a drop at a log position.
    pub fn drop_topic(&mut self, topic: &str, position: u64) {
        for (_, number) in self.topics.get(topic).map_or(&[][..], Vec::as_slice) {
            let queue = &mut self.slots[number.index()];
            let drops = queue.drops;
            let entries = queue.reset();
            if !entries.is_empty() {
                self.graves.insert((*number, drops), Grave { position, entries });
            }
        }
    }

    /// The unsealed entries of a queue as it was when its `drops` had this value.
    pub fn unsealed(&self, number: QueueRef, drops: u32) -> Option<&EntryLog> {
        let queue = self.get(number);
        if queue.drops == drops {
            return Some(&queue.open);
        }
        self.graves.get(&(number, drops)).map(|grave| &grave.entries)
    }

    /// Graves whose drop lies at or behind a position: before it, their entries count.
    pub fn graves_from(&self, position: u64) -> impl Iterator<Item = (QueueRef, u32, &EntryLog)> {
        self.graves
            .iter()
            .filter(move |(_, grave)| grave.position >= position)
            .map(|((number, drops), grave)| (*number, *drops, &grave.entries))
    }

    /// Lets go of graves' entries below a position: their segment is sealed.
    pub fn forget_graves_below(&mut self, position: u64) {
        self.graves.retain(|_, grave| {
            let sealed = grave.entries.first() + grave.entries.count_below(position);
            grave.entries.forget_before(sealed);
            grave.position >= position && !grave.entries.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64) -> Entry {
        Entry { position, tags_code: 0, store_time_ms: 0, size: 1, crc: 0 }
    }

    #[test]
    fn names_get_dense_numbers_once() {
        let mut queues = Queues::default();
        let a3 = queues.intern("a", 3);
        let a1 = queues.intern("a", 1);
        let b1 = queues.intern("b", 1);
        assert_eq!([a3.index(), a1.index(), b1.index()], [0, 1, 2]);
        assert_eq!(queues.intern("a", 1), a1);
        assert_eq!(queues.find("a", 3), Some(a3));
        assert_eq!(queues.find("a", 2), None);
        assert_eq!(queues.find("c", 1), None);
    }

    #[test]
    fn ends_come_in_slices() {
        let mut queues = Queues::default();
        for id in 0..5 {
            let queue = queues.intern("a", id);
            queues.get_mut(queue).open = EntryLog::starting_at(u64::from(id));
        }
        let (first, next) = queues.ends(0, 3);
        let (rest, end) = queues.ends(next.unwrap(), 3);
        let ids: Vec<_> = first.iter().chain(&rest).map(|end| (end.queue_id, end.bounds.max)).collect();
        assert_eq!((ids, end), ((0..5).map(|id| (id, u64::from(id))).collect(), None));
        assert_eq!(queues.ends(5, 3), (Vec::new(), None));
        assert_eq!(queues.ends(usize::MAX, 3), (Vec::new(), None));
    }

    #[test]
    fn offsets_are_found_in_runs_and_open_entries() {
        let mut queues = Queues::default();
        let q = queues.intern("a", 0);
        let queue = queues.get_mut(q);
        queue.runs.push_back(Run { first: 10, start: 100, count: 5, segment: 0 });
        queue.runs.push_back(Run { first: 15, start: 7, count: 1, segment: 4 });
        queue.open = EntryLog::starting_at(16);
        queue.open.push(entry(9));
        assert_eq!((queue.min(), queue.next()), (10, 17));
        assert_eq!(queue.locate(9), None);
        assert_eq!(queue.locate(10), Some(Found::Sealed { segment: 0, index: 100, left: 5 }));
        assert_eq!(queue.locate(14), Some(Found::Sealed { segment: 0, index: 104, left: 1 }));
        assert_eq!(queue.locate(15), Some(Found::Sealed { segment: 4, index: 7, left: 1 }));
        assert_eq!(queue.locate(16), Some(Found::Open));
        assert_eq!(queue.locate(17), None);
    }

    #[test]
    fn a_dropped_topic_starts_at_zero_again() {
        let mut queues = Queues::default();
        let q = queues.intern("a", 0);
        let other = queues.intern("b", 0);
        for queue in [q, other] {
            queues.get_mut(queue).open.push(entry(1));
        }
        queues.drop_topic("a", 64);
        assert_eq!((queues.get(q).min(), queues.get(q).next(), queues.get(q).drops), (0, 0, 1));
        assert_eq!(queues.get(other).next(), 1);
        assert_eq!(queues.intern("a", 0), q, "the number stays valid");
        assert_eq!(queues.unsealed(q, 1).map(EntryLog::next), Some(0));
        assert_eq!(queues.unsealed(q, 0).map(EntryLog::next), Some(1), "the entries from before the drop");
        assert_eq!((queues.graves_from(64).count(), queues.graves_from(65).count()), (1, 0));
        queues.forget_graves_below(1);
        assert_eq!(queues.graves_from(0).count(), 1);
        queues.forget_graves_below(2);
        assert_eq!(queues.graves_from(0).count(), 0);
    }
}

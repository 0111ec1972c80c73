//! Messages and bytes by topic, and by group and topic, of one core; and how far groups were given its queues.
//!
//! Owns: the rows. Whoever counts keeps its row (a topic of the tables does), so that counting is two additions, and noting where a
//! pull ended a search among the topic's queues.
//! Invariants: a row that is not `gone` is in the table; rows are bounded by `TRAFFIC_ROWS_MAX`, noted queues by
//! `PULL_OFFSETS_PER_CORE_MAX`. What was noted for a group that has been deleted is not told of one that is made with its name.
//! On failure: what finds no room for a row of its own is counted in one row for all such, which has no name; where a pull ended is
//! not noted then.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringmq_io::limits::{
    PULL_OFFSETS_PER_CORE_MAX, QUEUES_PER_TOPIC_MAX, TRAFFIC_ROWS_MAX, TRAFFIC_ROWS_PER_TURN,
};
use slab::Slab;

/// What is counted together.
#[derive(Debug)]
pub struct Row {
    pub topic: Box<str>,
    /// Who takes the messages out; `None`: they come in.
    pub group: Option<Box<str>>,
    messages: Cell<u64>,
    bytes: Cell<u64>,
    slot: Cell<Option<usize>>,
    /// Made by the group's first pull.
    ends: RefCell<Option<Box<Ends>>>,
}

/// Where the last pull of each queue ended.
#[derive(Debug, Default)]
struct Ends {
    /// `GroupSettings::life` of the group that pulled.
    life: u64,
    /// By queue id, ascending.
    queues: Vec<(u16, u64)>,
}

const _: () = assert!(QUEUES_PER_TOPIC_MAX <= u16::MAX as u32 + 1, "queue ids are kept in 16 bits");

impl Row {
    fn new(topic: &str, group: Option<&str>) -> Self {
        let (messages, bytes, slot) = (Cell::new(0), Cell::new(0), Cell::new(None));
        Self {
            topic: topic.into(),
            group: group.map(Into::into),
            messages,
            bytes,
            slot,
            ends: RefCell::default(),
        }
    }

    /// Where the group's last pull of the queue ended.
    pub fn pulled(&self, life: u64, queue_id: u32) -> Option<u64> {
        let ends = self.ends.borrow();
        let ends = ends.as_ref().filter(|ends| ends.life == life)?;
        let at = ends.queues.binary_search_by_key(&queue_id, |(id, _)| u32::from(*id)).ok()?;
        Some(ends.queues[at].1)
    }

    #[inline]
    pub fn count(&self, messages: u64, bytes: u64) {
        self.messages.set(self.messages.get() + messages);
        self.bytes.set(self.bytes.get() + bytes);
    }
}

/// A row's copy that may cross cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub topic: Box<str>,
    pub group: Option<Box<str>>,
    pub messages: u64,
    pub bytes: u64,
}

/// How far a group was given a topic's queues, as a copy that may cross cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    pub topic: Box<str>,
    pub group: Box<str>,
    /// By queue id: the offset behind the last pull.
    pub queues: Vec<(u16, u64)>,
}

/// All rows.
#[derive(Debug)]
pub struct Traffic {
    rows: RefCell<Slab<Rc<Row>>>,
    /// Queues that are noted in them.
    ends: Cell<usize>,
    /// For what finds no room, in and out.
    others: [Rc<Row>; 2],
}

impl Default for Traffic {
    fn default() -> Self {
        let others = [Rc::new(Row::new("", None)), Rc::new(Row::new("", Some("")))];
        Self { rows: RefCell::default(), ends: Cell::new(0), others }
    }
}

impl Traffic {
    pub fn row(&self, topic: &str, group: Option<&str>) -> Rc<Row> {
        let mut rows = self.rows.borrow_mut();
        if rows.len() >= TRAFFIC_ROWS_MAX {
            return self.others[usize::from(group.is_some())].clone();
        }
        let row = Rc::new(Row::new(topic, group));
        row.slot.set(Some(rows.insert(row.clone())));
        row
    }

    /// The row's topic is no more.
    pub fn forget(&self, row: &Row) {
        if let Some(slot) = row.slot.take() {
            self.rows.borrow_mut().remove(slot);
            self.let_go(row);
        }
    }

    fn let_go(&self, row: &Row) {
        let gone = row.ends.take().map_or(0, |ends| ends.queues.len());
        self.ends.set(self.ends.get() - gone);
    }

    /// A pull of the group in its present life ended at this offset.
    #[inline]
    pub fn note_pull(&self, row: &Row, life: u64, queue_id: u16, end: u64) {
        let mut ends = row.ends.borrow_mut();
        if let Some(ends) = ends.as_deref_mut()
            && ends.life == life
            && let Ok(at) = ends.queues.binary_search_by_key(&queue_id, |(id, _)| *id)
        {
            ends.queues[at].1 = end;
            return;
        }
        drop(ends);
        self.note_first_pull(row, life, queue_id, end);
    }

    #[cold]
    fn note_first_pull(&self, row: &Row, life: u64, queue_id: u16, end: u64) {
        if row.ends.borrow().as_ref().is_some_and(|ends| ends.life != life) {
            self.let_go(row);
        }
        // The nameless rows have no slot, nor has one whose topic is gone.
        if row.slot.get().is_none() || self.ends.get() >= PULL_OFFSETS_PER_CORE_MAX {
            return;
        }
        let mut ends = row.ends.borrow_mut();
        let ends = ends.get_or_insert_default();
        ends.life = life;
        let at = ends.queues.partition_point(|(id, _)| *id < queue_id);
        ends.queues.insert(at, (queue_id, end));
        self.ends.set(self.ends.get() + 1);
    }

    pub fn forget_pulled(&self, row: &Row, queue_id: u32) {
        let mut ends = row.ends.borrow_mut();
        let Some(ends) = ends.as_deref_mut() else { return };
        if let Ok(at) = ends.queues.binary_search_by_key(&queue_id, |(id, _)| u32::from(*id)) {
            ends.queues.remove(at);
            self.ends.set(self.ends.get() - 1);
        }
    }

    /// Where the pulls of the next rows from `cursor` on ended, of groups in their present life; and where to go on.
    pub fn some_pulled(
        &self,
        cursor: usize,
        life: impl Fn(&str) -> Option<u64>,
    ) -> (Vec<Pulled>, Option<usize>) {
        let rows = self.rows.borrow();
        let mut next = cursor;
        let (mut pulled, mut queues) = (Vec::new(), 0);
        while next < rows.capacity()
            && next < cursor + TRAFFIC_ROWS_PER_TURN
            && queues < 4 * TRAFFIC_ROWS_PER_TURN
        {
            let row = rows.get(next).map(|row| &**row);
            next += 1;
            let Some(row) = row else { continue };
            let ends = row.ends.borrow();
            let (Some(ends), Some(group)) = (&*ends, &row.group) else { continue };
            if life(group) == Some(ends.life) {
                queues += ends.queues.len();
                let (topic, group) = (row.topic.clone(), group.clone());
                pulled.push(Pulled { topic, group, queues: ends.queues.clone() });
            }
        }
        (pulled, (next < rows.capacity()).then_some(next))
    }

    /// The next rows from `cursor` on, and where to go on, if there are more.
    pub fn some(&self, cursor: usize) -> (Vec<Counted>, Option<usize>) {
        let rows = self.rows.borrow();
        let mut next = cursor;
        let mut counted = Vec::new();
        if cursor == 0 {
            counted.extend(self.others.iter().filter(|row| row.messages.get() > 0).map(|row| copy(row)));
        }
        while next < rows.capacity() && next < cursor + TRAFFIC_ROWS_PER_TURN {
            counted.extend(rows.get(next).map(|row| copy(row)));
            next += 1;
        }
        (counted, (next < rows.capacity()).then_some(next))
    }
}

fn copy(row: &Row) -> Counted {
    Counted {
        topic: row.topic.clone(),
        group: row.group.clone(),
        messages: row.messages.get(),
        bytes: row.bytes.get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(traffic: &Traffic) -> Vec<Counted> {
        let (mut all, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let (some, next) = traffic.some(at);
            assert!(some.len() <= TRAFFIC_ROWS_PER_TURN + 2);
            all.extend(some);
            cursor = next;
        }
        all
    }

    #[test]
    fn rows_are_counted_walked_in_slices_and_forgotten() {
        let traffic = Traffic::default();
        let rows: Vec<_> =
            (0..3000).map(|i| traffic.row(&format!("t{i}"), (i % 2 == 1).then_some("g"))).collect();
        for (i, row) in rows.iter().enumerate() {
            row.count(1, i as u64);
        }
        let before = all(&traffic);
        assert_eq!(before.len(), 3000);
        assert_eq!(before.iter().map(|row| row.bytes).sum::<u64>(), 2999 * 3000 / 2);
        assert_eq!(before.iter().filter(|row| row.group.is_some()).count(), 1500);
        traffic.forget(&rows[7]);
        traffic.forget(&rows[7]);
        rows[7].count(1, 1);
        assert_eq!(all(&traffic).len(), 2999);
        assert!(all(&traffic).iter().all(|row| &*row.topic != "t7"));
    }

    fn all_pulled(traffic: &Traffic, life: u64) -> Vec<(String, Vec<(u16, u64)>)> {
        let (mut all, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let (some, next) = traffic.some_pulled(at, |_| Some(life));
            all.extend(some.into_iter().map(|row| (row.topic.to_string(), row.queues)));
            cursor = next;
        }
        all
    }

    #[test]
    fn where_pulls_ended_is_told_of_the_group_that_pulled() {
        let traffic = Traffic::default();
        let row = traffic.row("t", Some("g"));
        for (queue, end) in [(5, 50), (2, 20), (9, 90), (5, 51)] {
            traffic.note_pull(&row, 1, queue, end);
        }
        let told = |life| [2, 5, 9, 3].map(|queue| row.pulled(life, queue));
        assert_eq!(told(1), [Some(20), Some(51), Some(90), None]);
        assert_eq!(all_pulled(&traffic, 1), [("t".to_owned(), vec![(2, 20), (5, 51), (9, 90)])]);
        traffic.forget_pulled(&row, 5);
        traffic.forget_pulled(&row, 5);
        assert_eq!((told(1)[1], traffic.ends.get()), (None, 2));
        // Another group of this name knows nothing of it, and has pulls of its own.
        assert_eq!((told(2), all_pulled(&traffic, 2)), ([None; 4], vec![]));
        traffic.note_pull(&row, 2, 5, 7);
        assert_eq!((told(1), told(2)), ([None; 4], [None, Some(7), None, None]));
        assert_eq!(traffic.ends.get(), 1);
        traffic.forget(&row);
        traffic.note_pull(&row, 2, 6, 8);
        assert_eq!((traffic.ends.get(), told(2)), (0, [None; 4]));
    }

    #[test]
    fn queues_of_which_is_noted_where_pulls_ended_are_bounded() {
        let traffic = Traffic::default();
        let rows: Vec<_> = (0..17).map(|i| traffic.row(&i.to_string(), Some("g"))).collect();
        for row in &rows {
            (0..=u16::MAX).for_each(|queue| traffic.note_pull(row, 1, queue, 1));
        }
        assert_eq!(traffic.ends.get(), PULL_OFFSETS_PER_CORE_MAX);
        assert_eq!((rows[0].pulled(1, 65_535), rows[16].pulled(1, 65_535)), (Some(1), None));
        // What is noted already goes on, and what is let go makes room.
        traffic.note_pull(&rows[0], 1, 3, 9);
        assert_eq!(rows[0].pulled(1, 3), Some(9));
        traffic.forget(&rows[1]);
        traffic.note_pull(&rows[16], 1, 65_535, 4);
        assert_eq!(rows[16].pulled(1, 65_535), Some(4));
        // Many queues are no reason to copy them all at once.
        let (some, more) = traffic.some_pulled(0, |_| Some(1));
        assert_eq!((some.len(), more), (1, Some(1)));
    }

    #[test]
    fn names_that_find_no_room_are_counted_together() {
        let traffic = Traffic::default();
        for i in 0..TRAFFIC_ROWS_MAX + 10 {
            traffic.row(&i.to_string(), None).count(1, 100);
        }
        let rows = all(&traffic);
        assert_eq!(rows.len(), TRAFFIC_ROWS_MAX + 1);
        assert_eq!((&*rows[0].topic, rows[0].messages, rows[0].bytes), ("", 10, 1000));
    }
}

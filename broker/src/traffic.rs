//! Messages and bytes by topic, and by group and topic, of one core.
//!
//! Owns: the rows. Whoever counts keeps its row (a topic of the tables does), so that counting is two additions.
//! Invariants: a row that is not `gone` is in the table; rows are bounded by `TRAFFIC_ROWS_MAX`. On failure: what finds no
//! room for a row of its own is counted in one row for all such, which has no name.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringmq_io::limits::{TRAFFIC_ROWS_MAX, TRAFFIC_ROWS_PER_TURN};
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
}

impl Row {
    fn new(topic: &str, group: Option<&str>) -> Self {
        let (messages, bytes, slot) = (Cell::new(0), Cell::new(0), Cell::new(None));
        Self { topic: topic.into(), group: group.map(Into::into), messages, bytes, slot }
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

/// All rows.
#[derive(Debug)]
pub struct Traffic {
    rows: RefCell<Slab<Rc<Row>>>,
    /// For what finds no room, in and out.
    others: [Rc<Row>; 2],
}

impl Default for Traffic {
    fn default() -> Self {
        let others = [Rc::new(Row::new("", None)), Rc::new(Row::new("", Some("")))];
        Self { rows: RefCell::default(), others }
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
        }
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

//! What the connections of one core have done.
//!
//! One `Counters` serves all listeners and clients of a core: its `opened` also numbers the connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Only grow. Read them at any time; they belong to one core.
#[derive(Default, Debug)]
pub struct Counters {
    /// Connections ever opened, in both directions.
    pub opened: Cell<u64>,
    /// Of those, accepted by a listener.
    pub accepted: Cell<u64>,
    /// `accept` failed, for example for want of a file descriptor.
    pub accept_errors: Cell<u64>,
    /// Frames that reached a service or a waiting call.
    pub frames_in: Cell<u64>,
    /// Writes to connections; nearly always one frame each.
    pub frames_out: Cell<u64>,
    pub bytes_in: Cell<u64>,
    pub bytes_out: Cell<u64>,
    /// Vectored sends; `frames_out / sends` says how well output is gathered.
    pub sends: Cell<u64>,
    /// Answers that nobody waited for (any more).
    pub unmatched_answers: Cell<u64>,
    /// How often a reader paused because its peer did not take the answers.
    pub reader_pauses: Cell<u64>,
    /// Ended connections by reason (`why`).
    closed: RefCell<BTreeMap<&'static str, u64>>,
}

impl Counters {
    pub(crate) fn add(cell: &Cell<u64>, n: u64) {
        cell.set(cell.get() + n);
    }

    pub(crate) fn count_closed(&self, why: &'static str) {
        *self.closed.borrow_mut().entry(why).or_insert(0) += 1;
    }

    pub fn closed(&self, why: &'static str) -> u64 {
        self.closed.borrow().get(why).copied().unwrap_or(0)
    }

    pub fn closed_by_reason(&self) -> Vec<(&'static str, u64)> {
        self.closed.borrow().iter().map(|(why, n)| (*why, *n)).collect()
    }
}

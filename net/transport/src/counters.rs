//! What the connections of one core have done.
//!
//! One `Counters` serves all listeners and clients of a core: its `opened` also numbers the connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use ringmq_io::limits::STAGE_SAMPLED_ONE_IN;
use ringmq_io::vitals::nanoseconds;

/// Only grow. Read them at any time; they belong to one core.
#[derive(Debug)]
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
    /// Nanoseconds from a frame's cut to its decoded header, of one frame in `STAGE_SAMPLED_ONE_IN`.
    pub(crate) decode_ns: RefCell<Histogram<u64>>,
    /// Nanoseconds from the first write to a connection until the kernel had the bytes, of as many.
    pub(crate) send_ns: RefCell<Histogram<u64>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            opened: Cell::default(),
            accepted: Cell::default(),
            accept_errors: Cell::default(),
            frames_in: Cell::default(),
            frames_out: Cell::default(),
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
            sends: Cell::default(),
            unmatched_answers: Cell::default(),
            reader_pauses: Cell::default(),
            closed: RefCell::default(),
            decode_ns: RefCell::new(nanoseconds()),
            send_ns: RefCell::new(nanoseconds()),
        }
    }
}

/// Is it this one's turn to be timed?
pub(crate) fn is_sampled(count: u64) -> bool {
    count.is_multiple_of(u64::from(STAGE_SAMPLED_ONE_IN))
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

    pub fn decode_ns(&self) -> Histogram<u64> {
        self.decode_ns.borrow().clone()
    }

    pub fn send_ns(&self) -> Histogram<u64> {
        self.send_ns.borrow().clone()
    }

    pub fn closed_by_reason(&self) -> Vec<(&'static str, u64)> {
        self.closed.borrow().iter().map(|(why, n)| (*why, *n)).collect()
    }
}

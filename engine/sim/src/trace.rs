//! What happened, in order, with virtual times.
//!
//! Every event also goes into a running hash, so that two runs can be compared without keeping all
//! their events, and is counted. The newest [`KEPT`] events are kept for a failing run's report; polls
//! of tasks, most of all events, are not.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Events kept for the report of a failure, unless all are asked for.
const KEPT: usize = 400;

pub(crate) const POLL: &str = "poll";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    pub at_ns: u64,
    pub host: Option<usize>,
    pub what: &'static str,
    pub a: u64,
    pub b: u64,
    pub note: Option<String>,
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14.3} us  ", self.at_ns as f64 / 1000.0)?;
        match self.host {
            Some(host) => write!(f, "host {host}  ")?,
            None => write!(f, "world   ")?,
        }
        write!(f, "{} {} {}", self.what, self.a, self.b)?;
        if let Some(note) = &self.note {
            write!(f, "  {note}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    events: RefCell<VecDeque<TraceEvent>>,
    hash: Cell<u64>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    keep_all: Cell<bool>,
}

impl Trace {
    pub fn keep_all(&self) {
        self.keep_all.set(true);
    }

    pub fn add(&self, event: TraceEvent) {
        let mut hash = self.hash.get();
        let host = event.host.map_or(u64::MAX, |h| h as u64);
        for word in [event.at_ns, host, event.a, event.b] {
            hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        for byte in event.what.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.hash.set(hash);
        *self.counts.borrow_mut().entry(event.what).or_insert(0) += 1;
        if event.what == POLL {
            return;
        }
        let mut events = self.events.borrow_mut();
        if !self.keep_all.get() && events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(event);
    }

    pub fn events(&self) -> Vec<TraceEvent> {
        self.events.borrow().iter().cloned().collect()
    }

    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }
}

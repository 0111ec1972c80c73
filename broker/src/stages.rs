//! How long messages take in each stage of their way through this core.
//!
//! Owns: one histogram a stage. One request in [`SAMPLED`] is timed, so that the others pay a count and a branch: at
//! 200,000 messages a second some 3,000 a second are left, and a percentile needs no more. Invariant: a histogram belongs to
//! the core on which the stage ended. Decoding and sending are timed by the transport.

use std::cell::{Cell, RefCell};

use hdrhistogram::Histogram;
use ringmq_io::Env;
use ringmq_io::limits::STAGE_SAMPLED_ONE_IN;
use ringmq_io::vitals::nanoseconds;

/// The stages that the broker times itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From handing a request to a lane to its handling on the home core.
    Hop,
    /// Laying a send's records into the ring.
    Append,
    /// From there to the mark that its acknowledgement waits for.
    Flush,
    /// From a pull's handling to its read plan.
    Pull,
}

pub struct Stages {
    times: [RefCell<Histogram<u64>>; 4],
    counts: [Cell<u32>; 4],
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            times: std::array::from_fn(|_| RefCell::new(nanoseconds())),
            counts: std::array::from_fn(|_| Cell::new(0)),
        }
    }
}

/// When a stage began, if this one is timed.
#[derive(Clone, Copy, Debug)]
pub struct Began(u64);

impl Began {
    /// Not timed.
    pub const NEVER: Self = Self(0);
}

impl Stages {
    /// The stage begins: the clock is looked at if it is this one's turn.
    #[inline]
    pub fn begin<E: Env>(&self, env: &E, stage: Stage) -> Began {
        let count = &self.counts[stage as usize];
        let n = count.get().wrapping_add(1);
        count.set(n);
        if n.is_multiple_of(STAGE_SAMPLED_ONE_IN) { Began(env.monotonic_ns().max(1)) } else { Began::NEVER }
    }

    #[inline]
    pub fn end<E: Env>(&self, env: &E, stage: Stage, began: Began) {
        if began.0 != 0 {
            let took = env.monotonic_ns().saturating_sub(began.0);
            self.times[stage as usize].borrow_mut().saturating_record(took);
        }
    }

    pub fn times(&self, stage: Stage) -> Histogram<u64> {
        self.times[stage as usize].borrow().clone()
    }
}

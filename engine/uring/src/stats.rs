//! Counters of one core's driver.

use std::cell::Cell;
use std::time::Duration;

/// A turn longer than this delays every other task of the core: counted as a stall.
pub const STALL: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: Cell<u64>,
    pub(crate) enters: Cell<u64>,
    pub(crate) completions: Cell<u64>,
    pub(crate) sleeps: Cell<u64>,
    pub(crate) stalls: Cell<u64>,
    pub(crate) longest_turn: Cell<Duration>,
    pub(crate) pool_empty: Cell<u64>,
}

/// A snapshot of one core's counters since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds of: run the ready tasks, submit, reap.
    pub turns: u64,
    /// io_uring_enter calls.
    pub enters: u64,
    pub completions: u64,
    /// Times the core ran out of work.
    pub sleeps: u64,
    /// Turns longer than [`STALL`].
    pub stalls: u64,
    pub longest_turn: Duration,
    /// Receives that found no free buffer in the pool.
    pub pool_empty: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            turns: self.turns.get(),
            enters: self.enters.get(),
            completions: self.completions.get(),
            sleeps: self.sleeps.get(),
            stalls: self.stalls.get(),
            longest_turn: self.longest_turn.get(),
            pool_empty: self.pool_empty.get(),
        }
    }

    pub(crate) fn turn_took(&self, time: Duration) {
        if time > STALL {
            self.stalls.set(self.stalls.get() + 1);
        }
        if time > self.longest_turn.get() {
            self.longest_turn.set(time);
        }
    }
}

pub(crate) fn bump(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

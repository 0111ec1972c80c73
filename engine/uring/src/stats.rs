//! Counters of one core's driver.

use std::cell::Cell;

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: Cell<u64>,
    pub(crate) enters: Cell<u64>,
    pub(crate) completions: Cell<u64>,
    pub(crate) sleeps: Cell<u64>,
    pub(crate) pool_empty: Cell<u64>,
}

pub(crate) fn bump(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

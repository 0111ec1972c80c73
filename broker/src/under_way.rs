//! Work that is bounded by how much of it is under way.
//!
//! Owns: counting such work in and out. Invariant: what was counted in is counted out exactly once, also when its task is dropped.

use std::cell::Cell;
use std::rc::Rc;

use ringmq_io::Env;

use crate::core::Core;
use crate::stats::Counters;

/// Where work of one kind is counted.
pub type Gauge = fn(&Counters) -> &Cell<u64>;

/// One piece of work; ends when it is dropped.
pub struct UnderWay<E: Env> {
    core: Rc<Core<E>>,
    gauge: Gauge,
}

impl<E: Env> UnderWay<E> {
    /// Begins one more, if fewer than `max` are under way; else tells how many are.
    pub fn begin(core: &Rc<Core<E>>, gauge: Gauge, max: usize) -> Result<Self, u64> {
        let now = gauge(&core.counters);
        if now.get() >= max as u64 {
            return Err(now.get());
        }
        now.set(now.get() + 1);
        Ok(Self { core: core.clone(), gauge })
    }
}

impl<E: Env> Drop for UnderWay<E> {
    fn drop(&mut self) {
        let now = (self.gauge)(&self.core.counters);
        now.set(now.get() - 1);
    }
}

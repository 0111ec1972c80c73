//! How many of which size, told apart where RocketMQ's histograms do.
//!
//! Invariants: counts are of one core and only grow; to note one costs a few comparisons and no memory.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::stats::add;

/// Where sizes are told apart: a bucket holds those up to its bound. Ascending.
pub trait Scale {
    const BOUNDS: [u64; STEPS];
}

const STEPS: usize = 6;

/// Bytes of a record (RocketMQ 5.5.0 BrokerMetricsManager#registerMetricsView).
#[derive(Debug)]
pub struct RecordBytes;

impl Scale for RecordBytes {
    const BOUNDS: [u64; STEPS] = [1 << 10, 4 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];
}

/// Seconds from a half message's birth to its commit (the same).
#[derive(Debug)]
pub struct SecondsToCommit;

impl Scale for SecondsToCommit {
    const BOUNDS: [u64; STEPS] = [5, 60, 600, 3600, 12 * 3600, 24 * 3600];
}

/// Seconds that a message is to wait (RocketMQ 5.5.0 DefaultStoreMetricsManager#getMetricsView).
#[derive(Debug)]
pub struct SecondsOfDelay;

impl Scale for SecondsOfDelay {
    const BOUNDS: [u64; STEPS] = [60, 600, 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600];
}

/// Milliseconds until a topic or a group is made. RocketMQ's last bound is 5 s.
#[derive(Debug)]
pub struct MillisToMake;

impl Scale for MillisToMake {
    const BOUNDS: [u64; STEPS] = [10, 100, 1000, 3000, 5000, 10_000];
}

#[derive(Debug)]
pub struct Buckets<S> {
    /// The last one has what is above all bounds.
    counts: [Cell<u64>; STEPS + 1],
    sum: Cell<u64>,
    scale: PhantomData<S>,
}

impl<S> Default for Buckets<S> {
    fn default() -> Self {
        Self { counts: Default::default(), sum: Cell::new(0), scale: PhantomData }
    }
}

impl<S: Scale> Buckets<S> {
    /// So many came, of this size together.
    pub fn note(&self, count: u64, sum: u64) {
        let size = sum / count.max(1);
        let at = S::BOUNDS.iter().position(|bound| size <= *bound).unwrap_or(STEPS);
        add(&self.counts[at], count);
        add(&self.sum, sum);
    }

    pub fn counted(&self) -> Counted {
        Counted { counts: self.counts.each_ref().map(Cell::get), sum: self.sum.get() }
    }
}

/// A copy that may cross cores; adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    counts: [u64; STEPS + 1],
    pub sum: u64,
}

impl Counted {
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many are at or below each bound.
    pub fn up_to_each(&self) -> [u64; STEPS] {
        let mut below = 0;
        std::array::from_fn(|at| {
            below += self.counts[at];
            below
        })
    }
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_apart_at_their_bounds() {
        let buckets = Buckets::<RecordBytes>::default();
        for size in [0, 1024, 1025, 4096, 600 << 10, 9 << 20] {
            buckets.note(1, size);
        }
        // A batch: each has its share.
        buckets.note(10, 20_000);
        let mut counted = buckets.counted();
        assert_eq!(counted.up_to_each(), [2, 14, 14, 15, 15, 15]);
        assert_eq!(counted.total(), 16);
        counted += counted;
        assert_eq!((counted.total(), counted.up_to_each()[0]), (32, 4));
        assert_eq!(counted.sum, 2 * (1024 + 1025 + 4096 + (600 << 10) + (9 << 20) + 20_000));
    }
}

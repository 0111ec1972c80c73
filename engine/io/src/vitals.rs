//! What the runtime of one core has counted about itself.
//!
//! Plain numbers that may cross cores: whoever wants the process adds them up, whoever wants a period takes the difference
//! of two. Invariant: everything but the two maxima only grows.

use std::time::Duration;

use hdrhistogram::Histogram;

/// One thing (a task's poll, a system call) that takes longer than this delays every other task of the core.
pub const STALL: Duration = Duration::from_millis(1);

/// Times are told apart from this on; a turn with nothing to do takes about as long.
const SHORTEST_NS: u64 = 64;
/// Longer ones count as this.
const LONGEST_NS: u64 = 60_000_000_000;
/// 1 % is finer than any decision that is taken from a percentile, and keeps a histogram at 23 KiB.
const DIGITS: u8 = 2;

/// An empty histogram of nanoseconds; all of them have the same buckets, so that they add up.
pub fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS).expect("the bounds are in order")
}

/// A snapshot of one core's runtime since it started.
#[derive(Clone, PartialEq)]
pub struct VitalSigns {
    /// Rounds of: run the ready tasks, submit, reap.
    pub turns: u64,
    /// System calls that submit and reap.
    pub enters: u64,
    pub completions: u64,
    /// Times the core ran out of work.
    pub sleeps: u64,
    /// Turns in which one thing took longer than [`STALL`].
    pub stalls: u64,
    /// The same, but that the core was without its CPU for most of it: another thread or another machine had it.
    pub preempted: u64,
    pub longest_turn: Duration,
    /// Receives that found no free buffer in the pool.
    pub pool_empty: u64,
    /// Nanoseconds of the turns in which there was something to do.
    pub turn_ns: Histogram<u64>,
}

impl Default for VitalSigns {
    fn default() -> Self {
        Self {
            turns: 0,
            enters: 0,
            completions: 0,
            sleeps: 0,
            stalls: 0,
            preempted: 0,
            longest_turn: Duration::ZERO,
            pool_empty: 0,
            turn_ns: nanoseconds(),
        }
    }
}

impl std::fmt::Debug for VitalSigns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "VitalSigns({} turns, {} in the histogram, {} stalls, {} preempted, longest {:?}, {} sleeps)",
            self.turns,
            self.turn_ns.len(),
            self.stalls,
            self.preempted,
            self.longest_turn,
            self.sleeps
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_within_a_percent_and_never_lost() {
        let mut times = nanoseconds();
        times.saturating_record(1_000_000);
        times.saturating_record(u64::MAX);
        times.saturating_record(0);
        assert_eq!(times.len(), 3);
        let middle = times.value_at_quantile(0.5);
        assert!((1_000_000..1_010_000).contains(&middle), "{middle}");
        assert!(times.max() >= LONGEST_NS);
    }
}

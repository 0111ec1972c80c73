//! The random stream of a simulated world.
//!
//! SplitMix64, written out here: a seed in a bug report must give the same run with every later
//! version of every dependency, which the generators of crates do not promise.

use std::cell::Cell;
use std::ops::RangeInclusive;

#[derive(Debug)]
pub struct Rng(Cell<u64>);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// An independent stream: drawing from one does not shift the others, so a changed fault plan
    /// leaves the schedule comparable.
    pub fn stream(seed: u64, label: &str) -> Self {
        let mut state = seed;
        for byte in label.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let rng = Self::new(state);
        rng.next();
        rng
    }

    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0..n`.
    pub fn below(&self, n: u64) -> u64 {
        assert!(n > 0, "nothing to draw from");
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    pub fn index(&self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    pub fn within(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    pub fn chance(&self, probability: f64) -> bool {
        // Always draws, so that a probability of zero does not shift the stream.
        let drawn = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        drawn < probability
    }

    pub fn coin(&self) -> bool {
        self.next() & 1 == 1
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        let rng = Rng::new(1);
        assert_eq!([rng.next(), rng.next()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
        assert_ne!(Rng::stream(1, "disk").next(), Rng::stream(1, "net").next());
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_both_ends() {
        let rng = Rng::new(7);
        let drawn: Vec<u64> = (0..200).map(|_| rng.within(3..=5)).collect();
        assert!(drawn.iter().all(|d| (3..=5).contains(d)));
        assert!(drawn.contains(&3) && drawn.contains(&5));
        assert!((0..100).all(|_| !rng.chance(0.0) && rng.chance(1.0)));
    }
}

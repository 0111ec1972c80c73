//! Which offsets of a waiting queue are pending, and which of them is due next. Memory only.
//!
//! Owns: a bit for each offset from the floor on, and a heap of (due, offset): 16 bytes and some bits for each pending
//! message, whatever its size. Invariants: every pending offset is in the heap once or in somebody's hand (taken by
//! `take_due`, not yet settled or put back); below the floor nothing is pending. A settled offset stays in the heap
//! until it is due, or until the settled ones outnumber the pending.
//! On failure: none; an offset out of order is a broken invariant.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

const WORD: u64 = 64;

/// Settled offsets that may stay in the heap beside as many as are pending.
const STALE_MIN: usize = 65_536;

#[derive(Default)]
pub struct PendingSet {
    /// Bits from offset `base`, a multiple of `WORD`: 1 = pending.
    words: VecDeque<u64>,
    base: u64,
    /// The next offset that the queue gives.
    end: u64,
    pending: usize,
    /// Settled ones among them.
    by_due: BinaryHeap<Reverse<(i64, u64)>>,
}

impl PendingSet {
    /// A set whose offsets begin at `floor`.
    pub fn starting_at(floor: u64) -> Self {
        Self { base: floor - floor % WORD, end: floor, ..Self::default() }
    }

    /// How many are pending.
    pub fn count(&self) -> usize {
        self.pending
    }

    /// The next offset that the queue gives.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Entries that take memory.
    pub fn kept(&self) -> usize {
        self.by_due.len().max(self.pending)
    }

    /// Below it, nothing is pending.
    pub fn floor(&self) -> u64 {
        self.from(self.base).next().unwrap_or(self.end)
    }

    /// What recovery would look at.
    pub fn span(&self) -> u64 {
        self.end - self.floor()
    }

    /// The floor that there will be when these offsets, in ascending order, are settled and the queue has gone on to `end`.
    pub fn floor_without(&self, done: &[u64]) -> Option<u64> {
        debug_assert!(done.is_sorted());
        let mut done = done.iter().peekable();
        self.from(self.base).find(|offset| {
            while done.next_if(|next| *next < offset).is_some() {}
            done.next_if(|next| *next == offset).is_none()
        })
    }

    /// Pending offsets at or after `offset`, oldest first.
    pub fn from(&self, offset: u64) -> impl Iterator<Item = u64> {
        let offset = offset.max(self.base);
        let (first, shift) = ((offset - self.base) / WORD, offset % WORD);
        let words = self.words.iter().enumerate().skip(first as usize);
        words.flat_map(move |(at, word)| {
            let at = at as u64;
            let seen = if at == first { u64::MAX << shift } else { u64::MAX };
            Ones(word & seen).map(move |bit| self.base + at * WORD + bit)
        })
    }

    pub fn is_pending(&self, offset: u64) -> bool {
        self.word(offset).is_some_and(|at| self.words[at] & bit(offset) != 0)
    }

    fn word(&self, offset: u64) -> Option<usize> {
        let at = (offset.checked_sub(self.base)? / WORD) as usize;
        (at < self.words.len()).then_some(at)
    }

    /// The queue has given this offset to a message that is due then. `true`: it is due before all others.
    pub fn put(&mut self, offset: u64, due: i64) -> bool {
        let first = self.by_due.peek().is_none_or(|Reverse((next, _))| due < *next);
        self.mark(offset);
        self.by_due.push(Reverse((due, offset)));
        first
    }

    /// Recovery: as `put`, with the heap made at the end, by `heap_from`.
    pub fn mark(&mut self, offset: u64) {
        assert!(offset >= self.end, "offset {offset} was given before {}", self.end);
        let at = ((offset - self.base) / WORD) as usize;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= bit(offset);
        self.end = offset + 1;
        self.pending += 1;
    }

    /// Recovery: the queue goes on at `end`.
    pub fn ends_at(&mut self, end: u64) {
        assert!(end >= self.end);
        self.end = end;
    }

    /// Recovery: `all` has at least the pending offsets with their due times.
    pub fn heap_from(&mut self, mut all: Vec<Reverse<(i64, u64)>>) {
        assert!(self.by_due.is_empty());
        all.retain(|Reverse((_, offset))| self.is_pending(*offset));
        assert_eq!(all.len(), self.pending);
        self.by_due = all.into();
    }

    /// The offset is done. `false`: it was not pending.
    pub fn settle(&mut self, offset: u64) -> bool {
        if !self.is_pending(offset) {
            return false;
        }
        let at = self.word(offset).expect("it is pending");
        self.words[at] &= !bit(offset);
        self.pending -= 1;
        while self.words.front() == Some(&0) && self.base + WORD <= self.end {
            self.words.pop_front();
            self.base += WORD;
        }
        if self.by_due.len() > 2 * self.pending + STALE_MIN {
            self.drop_stale();
        }
        true
    }

    /// Costs some 10 ms for a million entries, and comes at most once for as many settled ones.
    fn drop_stale(&mut self) {
        let mut by_due = std::mem::take(&mut self.by_due);
        by_due.retain(|Reverse((_, offset))| self.is_pending(*offset));
        by_due.shrink_to(2 * by_due.len());
        self.by_due = by_due;
    }

    /// When the next one is due.
    pub fn next_due(&mut self) -> Option<i64> {
        loop {
            let Reverse((due, offset)) = *self.by_due.peek()?;
            if self.is_pending(offset) {
                return Some(due);
            }
            self.by_due.pop();
        }
    }

    /// Takes the next one out if it is due at `now`. It stays pending.
    pub fn take_due(&mut self, now: i64) -> Option<(i64, u64)> {
        if self.next_due()? > now {
            return None;
        }
        self.by_due.pop().map(|Reverse(next)| next)
    }

    /// Back from `take_due`, perhaps with another time. Nothing if it has been settled. `true`: due before all others.
    pub fn put_back(&mut self, due: i64, offset: u64) -> bool {
        if !self.is_pending(offset) {
            return false;
        }
        let first = self.by_due.peek().is_none_or(|Reverse((next, _))| due < *next);
        self.by_due.push(Reverse((due, offset)));
        first
    }
}

fn bit(offset: u64) -> u64 {
    1 << (offset % WORD)
}

/// The numbers of the bits that are set.
struct Ones(u64);

impl Iterator for Ones {
    type Item = u64;
    fn next(&mut self) -> Option<u64> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (u64::from(bit) < WORD).then_some(bit.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain map, with offsets in hand, gaps between offsets (lost messages), and times that repeat.
        #[test]
        fn behaves_like_a_plain_map(start in 0u64..200, steps in proptest::collection::vec((0u8..6, 0u64..300), 1..400)) {
            let mut set = PendingSet::starting_at(start);
            let mut model: BTreeMap<u64, i64> = BTreeMap::new();
            let mut in_hand: Vec<(i64, u64)> = Vec::new();
            let mut end = start;
            for (what, n) in steps {
                match what {
                    0..=1 => {
                        let offset = end + u64::from(n % 10 == 0) * (n % 130);
                        let due = (n % 50) as i64;
                        let others = model.iter().filter(|(o, _)| !in_hand.iter().any(|(_, h)| h == *o));
                        let first = others.map(|(_, due)| *due).min().is_none_or(|next| due < next);
                        // A settled entry in front may hide that it is the first: asked for, it is gone.
                        set.next_due();
                        prop_assert_eq!(set.put(offset, due), first);
                        model.insert(offset, due);
                        end = offset + 1;
                    }
                    2 => {
                        let known = model.keys().copied().nth(n as usize % model.len().max(1));
                        let offset = known.unwrap_or(n);
                        prop_assert_eq!(set.settle(offset), model.remove(&offset).is_some());
                        prop_assert!(!set.is_pending(offset));
                    }
                    3 => {
                        let here = |o: &u64| !in_hand.iter().any(|(_, h)| h == o);
                        let first = model.iter().filter(|(o, _)| here(o)).map(|(o, d)| (*d, *o)).min();
                        let now = (n % 50) as i64;
                        prop_assert_eq!(set.take_due(now), first.filter(|(due, _)| *due <= now));
                        in_hand.extend(first.filter(|(due, _)| *due <= now));
                    }
                    4 => if let Some((due, offset)) = in_hand.pop() {
                        set.put_back(due, offset);
                    },
                    _ => {
                        let mut done: Vec<u64> = model.keys().copied().filter(|o| (o * 7 + n) % 3 != 0).collect();
                        done.truncate(n as usize % 20 * 5);
                        let left = model.keys().copied().find(|o| done.binary_search(o).is_err());
                        prop_assert_eq!(set.floor_without(&done), left);
                    }
                }
                prop_assert_eq!(set.count(), model.len());
                prop_assert_eq!((set.end(), set.floor()), (end, model.keys().next().copied().unwrap_or(end)));
                let from = n.min(end);
                let expected: Vec<u64> = model.range(from..).map(|(o, _)| *o).collect();
                prop_assert_eq!(set.from(from).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn settled_entries_do_not_pile_up() {
        let mut set = PendingSet::starting_at(0);
        let count = 4 * STALE_MIN as u64;
        for offset in 0..count {
            set.put(offset, 1_000_000 + offset as i64);
            if offset > 0 {
                set.settle(offset);
            }
        }
        assert!(set.kept() <= 2 * STALE_MIN && set.by_due.len() <= 2 * STALE_MIN, "{}", set.by_due.len());
        assert_eq!((set.count(), set.floor(), set.next_due()), (1, 0, Some(1_000_000)));
    }

    #[test]
    fn a_recovered_set_is_the_same() {
        let mut set = PendingSet::starting_at(70);
        let mut all = Vec::new();
        for offset in [70, 71, 75, 200] {
            set.mark(offset);
            all.push(Reverse((-(offset as i64), offset)));
        }
        set.ends_at(210);
        set.settle(71);
        set.heap_from(all);
        let mut taken = Vec::new();
        while let Some((_, offset)) = set.take_due(0) {
            taken.push(offset);
        }
        assert_eq!(taken, [200, 75, 70]);
        assert_eq!((set.floor(), set.end(), set.count()), (70, 210, 3));
    }
}

//! How often producers were asked about each half message of a shard.
//!
//! Owns: the counts, in memory only: a restart asks anew. Invariant: entries of messages that have ended are dropped before
//! they are many more than those that wait.

use std::cell::RefCell;

use hashbrown::HashMap;

/// Entries of ended messages that there may be besides those that wait.
const STALE_MAX: usize = 1024;

/// By offset in the waiting queue.
#[derive(Debug, Default)]
pub struct Asked(RefCell<HashMap<u64, u32>>);

impl Asked {
    pub fn times(&self, offset: u64) -> u32 {
        self.0.borrow().get(&offset).copied().unwrap_or(0)
    }

    pub fn once_more(&self, offset: u64) {
        *self.0.borrow_mut().entry(offset).or_default() += 1;
    }

    /// Drops what has ended, if it has become much. `waiting` messages still wait.
    pub fn keep_short(&self, waiting: usize, is_waiting: impl Fn(u64) -> bool) {
        let mut times = self.0.borrow_mut();
        if times.len() > 2 * waiting + STALE_MAX {
            times.retain(|offset, _| is_waiting(*offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_what_has_ended_go() {
        let asked = Asked::default();
        for offset in 0..3 * STALE_MAX as u64 {
            asked.once_more(offset);
            asked.keep_short(1, |offset| offset == 7);
        }
        asked.once_more(7);
        assert_eq!(asked.times(7), 2);
        assert!(asked.0.borrow().len() <= STALE_MAX + 3, "{}", asked.0.borrow().len());
        assert_eq!(asked.times(8), 0);
    }
}

//! The unique keys of one topic that were stored a short while ago, and those that are being stored.
//!
//! Owns: the keys of one topic whose home is this core. Invariants: a key that is being stored is granted to nobody else; a
//! key is known from the moment its message was stored until the window has passed, with the place of the first message that had
//! it; the memory is bounded by who asks for the `count`. Two keys of one hash are told apart by who reads the messages: it is given all
//! that have the hash, one after the other.
//! On failure: there is none.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};
use ringmq_io::sync::Event;

/// Keys are forgotten by slots of this length.
const SLOT_MS: i64 = 1000;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody has sent it: it is granted to who asks.
    New,
    /// A message with a key of this hash is there.
    Stored { physical: u64 },
    /// A send with it is under way.
    UnderWay,
    /// It is new, and there is no room for it.
    Full,
}

#[derive(Default)]
pub struct Keys {
    stored: HashMap<u64, u64>,
    /// Further messages of a hash, of those that were read from the log: words of KEYS are among them.
    more: BTreeSet<(u64, u64)>,
    /// The same by store time, for forgetting.
    slots: BTreeMap<i64, Vec<(u64, u64)>>,
    under_way: HashSet<u64>,
    /// In `slots`.
    kept: usize,
}

impl Keys {
    /// Keys that take memory.
    pub fn count(&self) -> usize {
        self.kept + self.under_way.len()
    }

    /// `not`: a message of that hash which is another's, or gone. `room`: another key may be remembered.
    pub fn claim(&mut self, hash: u64, not: Option<u64>, room: bool) -> Found {
        if self.under_way.contains(&hash) {
            return Found::UnderWay;
        }
        let mut stored = self.stored.get(&hash).copied();
        if stored.is_some() && stored == not {
            stored = self.next_of(hash);
        }
        match stored {
            Some(physical) => Found::Stored { physical },
            None if !room => Found::Full,
            None => {
                self.under_way.insert(hash);
                Found::New
            }
        }
    }

    /// The next message of the hash takes the place of the one that is known.
    fn next_of(&mut self, hash: u64) -> Option<u64> {
        match self.more.range((hash, 0)..=(hash, u64::MAX)).next().copied() {
            Some(next) => {
                self.more.remove(&next);
                self.stored.insert(hash, next.1);
                Some(next.1)
            }
            None => {
                self.stored.remove(&hash);
                None
            }
        }
    }

    /// The send that the key was granted to has stored its message, or has not.
    pub fn end(&mut self, hash: u64, stored: Option<(u64, i64)>) {
        let was = self.under_way.remove(&hash);
        assert!(was, "a claim ends once");
        if let Some((physical, stored_ms)) = stored {
            self.stored.insert(hash, physical);
            self.note(hash, physical, stored_ms);
        }
    }

    /// A key that was found in the log.
    pub fn restore(&mut self, hash: u64, physical: u64, stored_ms: i64) {
        let is_new = match self.stored.get(&hash) {
            None => self.stored.insert(hash, physical).is_none(),
            Some(known) => *known != physical && self.more.insert((hash, physical)),
        };
        if is_new {
            self.note(hash, physical, stored_ms);
        }
    }

    fn note(&mut self, hash: u64, physical: u64, stored_ms: i64) {
        self.slots.entry(stored_ms.div_euclid(SLOT_MS)).or_default().push((hash, physical));
        self.kept += 1;
    }

    /// Forgets up to `most` keys that were all stored before `ms`; `false` when there is nothing left to forget.
    pub fn forget_before(&mut self, ms: i64, most: usize) -> bool {
        let Some(mut slot) = self.slots.first_entry().filter(|slot| (slot.key() + 1) * SLOT_MS <= ms) else {
            return false;
        };
        let keys = slot.get_mut();
        let gone: Vec<(u64, u64)> = keys.drain(keys.len().saturating_sub(most)..).collect();
        if keys.is_empty() {
            slot.remove();
        }
        self.kept -= gone.len();
        for (hash, physical) in gone {
            // Another message may have taken its place.
            if self.stored.get(&hash) == Some(&physical) {
                self.next_of(hash);
            } else {
                self.more.remove(&(hash, physical));
            }
        }
        if self.stored.is_empty() {
            self.stored = HashMap::new();
        }
        true
    }
}

/// How far the log was read for what came before this window was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    UnderWay,
    Done,
    /// There are more keys than a core remembers.
    TooMany,
}

/// One topic's.
pub struct Window {
    pub topic: Box<str>,
    pub length_ms: Cell<i64>,
    pub reading: Cell<Reading>,
    pub keys: RefCell<Keys>,
    /// Its keys do not count any more.
    pub gone: Cell<bool>,
    /// A claim has ended, or the reading has.
    pub moved: Event,
}

impl Window {
    pub fn new(topic: &str, length_ms: i64) -> Self {
        Self {
            topic: topic.into(),
            length_ms: Cell::new(length_ms),
            reading: Cell::new(Reading::UnderWay),
            keys: RefCell::default(),
            gone: Cell::new(false),
            moved: Event::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_granted_once_and_known_until_its_time_is_over() {
        let mut keys = Keys::default();
        assert_eq!(keys.claim(1, None, true), Found::New);
        assert_eq!(keys.claim(1, None, true), Found::UnderWay);
        keys.end(1, None);
        assert_eq!((keys.claim(1, None, true), keys.count()), (Found::New, 1));
        keys.end(1, Some((70, 5_500)));
        assert_eq!(keys.claim(1, None, true), Found::Stored { physical: 70 });
        assert!(!keys.forget_before(5_999, 10), "the slot is not over");
        assert_eq!(keys.claim(1, None, true), Found::Stored { physical: 70 });
        assert!(keys.forget_before(6_000, 10) && !keys.forget_before(6_000, 10));
        assert_eq!((keys.claim(1, None, true), keys.count()), (Found::New, 1));
    }

    #[test]
    fn without_room_only_what_is_known_is_answered() {
        let mut keys = Keys::default();
        keys.claim(1, None, true);
        keys.end(1, Some((70, 1_000)));
        assert_eq!(keys.claim(1, None, false), Found::Stored { physical: 70 });
        assert_eq!((keys.claim(2, None, false), keys.count()), (Found::Full, 1));
        // It is another's message.
        assert_eq!(keys.claim(1, Some(70), false), Found::Full);
        assert_eq!(keys.claim(2, None, true), Found::New);
        assert_eq!(keys.claim(2, None, false), Found::UnderWay);
    }

    #[test]
    fn another_message_with_the_hash_takes_its_place() {
        let mut keys = Keys::default();
        keys.claim(1, None, true);
        keys.end(1, Some((70, 1_000)));
        assert_eq!(keys.claim(1, Some(70), true), Found::New);
        keys.end(1, Some((90, 9_000)));
        assert!(keys.forget_before(3_000, 10));
        assert_eq!(
            keys.claim(1, None, true),
            Found::Stored { physical: 90 },
            "the older one's end is not its own"
        );
        assert_eq!(keys.count(), 1);
    }

    #[test]
    fn all_that_the_log_has_of_a_hash_are_looked_at() {
        let mut keys = Keys::default();
        for (physical, stored_ms) in [(70, 1_000), (80, 2_000), (80, 2_000), (90, 3_000)] {
            keys.restore(1, physical, stored_ms);
        }
        keys.restore(2, 75, 1_000);
        assert_eq!((keys.claim(1, None, true), keys.count()), (Found::Stored { physical: 70 }, 4));
        assert_eq!(keys.claim(1, Some(70), true), Found::Stored { physical: 80 });
        while keys.forget_before(3_000, 1) {}
        assert_eq!((keys.claim(1, None, true), keys.count()), (Found::Stored { physical: 90 }, 1));
        assert_eq!(keys.claim(1, Some(90), true), Found::New);
        assert!(keys.more.is_empty());
    }

    #[test]
    fn forgetting_goes_in_steps() {
        let mut keys = Keys::default();
        for hash in 0..10 {
            keys.restore(hash, hash, (hash as i64 % 2) * 1_000);
        }
        let mut lens = Vec::new();
        while keys.forget_before(1_999, 3) {
            lens.push(keys.count());
        }
        assert_eq!(lens, [7, 5]);
        while keys.forget_before(2_000, 3) {}
        assert!(keys.count() == 0 && keys.slots.is_empty() && keys.stored.capacity() == 0);
    }
}

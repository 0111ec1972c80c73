//! Topics whose queues are being dropped.
//!
//! Owns: their names, each for as long as somebody holds a [`Leave`] of it. Invariant: meanwhile no topic of that name is
//! made: its first messages would go with the queues of the old one, core by core, though they were acknowledged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Clone, Default)]
pub struct Leaving(Rc<RefCell<BTreeMap<Box<str>, usize>>>);

/// Ends when it is dropped.
pub struct Leave {
    leaving: Leaving,
    topic: Box<str>,
}

impl Leaving {
    pub fn begin(&self, topic: &str) -> Leave {
        *self.0.borrow_mut().entry(topic.into()).or_default() += 1;
        Leave { leaving: self.clone(), topic: topic.into() }
    }

    pub fn contains(&self, topic: &str) -> bool {
        self.0.borrow().contains_key(topic)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut names = self.leaving.0.borrow_mut();
        let count = names.get_mut(&self.topic).expect("it was begun");
        *count -= 1;
        if *count == 0 {
            names.remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_leaves_until_the_last_who_drops_it_is_done() {
        let leaving = Leaving::default();
        let first = leaving.begin("t");
        let second = leaving.begin("t");
        drop(first);
        assert!(leaving.contains("t") && !leaving.contains("other"));
        drop(second);
        assert!(!leaving.contains("t"));
    }
}

//! Long lists, a few at a time.
//!
//! Owns: how many are made now. Invariant: at most `NAMESRV_LISTS_MAX`; a turn that is dropped lets the next one in.

use std::cell::Cell;

use ringmq_io::limits::NAMESRV_LISTS_MAX;
use ringmq_io::sync::Event;

#[derive(Default)]
pub struct Turns {
    now: Cell<usize>,
    ended: Event,
}

impl Turns {
    pub async fn take_turn(&self) -> Turn<'_> {
        while self.now.get() >= NAMESRV_LISTS_MAX {
            self.ended.wait().await;
        }
        self.now.set(self.now.get() + 1);
        Turn(self)
    }
}

pub struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.now.set(self.0.now.get() - 1);
        self.0.ended.notify();
    }
}

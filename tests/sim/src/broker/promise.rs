//! What an acknowledgement promised, and what may take it back: in ASYNC_FLUSH a power loss, until a flush has made it safe.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Promise {
    at: Duration,
    /// Survives a power loss.
    is_safe: bool,
}

/// A power loss, or the loss of the rings.
#[derive(Clone, Copy)]
pub struct PowerLoss {
    pub at: Duration,
    /// What was acknowledged so long before it is safe; `None` if the disk gave no such bound.
    pub bound: Option<Duration>,
}

impl Promise {
    /// Made then; in SYNC_FLUSH it is safe.
    pub fn made(at: Duration, sync: bool) -> Self {
        Self { at, is_safe: sync }
    }

    /// A broker that was started then serves now: what it found in its ring is flushed from now on.
    pub fn recovered(&mut self, started: Duration, now: Duration) {
        if self.at < started {
            self.at = now;
        }
    }

    /// Whether it holds on.
    pub fn survives(&mut self, loss: PowerLoss) -> bool {
        self.is_safe |= loss.bound.is_some_and(|bound| self.at + bound <= loss.at);
        self.is_safe
    }
}

//! What an acknowledgement promised, and what may take it back: in ASYNC_FLUSH a power loss, until a flush has made it safe.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Since when a broker that runs has it to flush. `None`: the one that had it died, and none has found it in the ring yet.
    since: Option<Duration>,
    /// Survives a power loss.
    is_safe: bool,
}

/// The end of a process.
#[derive(Clone, Copy)]
pub struct End {
    pub at: Duration,
    /// What the process had for so long is flushed; `None` if the disk gave no such bound.
    pub bound: Option<Duration>,
}

impl Promise {
    /// Made then; in SYNC_FLUSH it is safe.
    pub fn made(at: Duration, sync: bool) -> Self {
        Self { since: Some(at), is_safe: sync }
    }

    /// A broker has started, and serves since then.
    pub fn recovered(&mut self, at: Duration) {
        self.since.get_or_insert(at);
    }

    pub fn ended(&mut self, end: End) {
        let flushed = self.since.take().zip(end.bound).is_some_and(|(since, bound)| since + bound <= end.at);
        self.is_safe |= flushed;
    }

    /// Whether it outlives the ring.
    pub fn is_safe(&self) -> bool {
        self.is_safe
    }
}

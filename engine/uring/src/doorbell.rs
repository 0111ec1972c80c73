//! Wakes a core from another thread: lanes, the blocking thread, a core that ends.
//!
//! One eventfd a core, which its ring's completions signal too. A ring of the bell costs a store
//! while the core is awake and one write(2) when it sleeps.
//!
//! Invariant (no lost wake-up): the core stores `asleep` before it looks at `rung`, the ringer stores
//! `rung` before it looks at `asleep`, both sequentially consistent; so at least one sees the other.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::sys::eventfd::{EfdFlags, EventFd};

pub(crate) struct Doorbell {
    rung: AtomicBool,
    asleep: AtomicBool,
    event: EventFd,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        // Not O_NONBLOCK: io_uring would answer a read with EAGAIN instead of waiting.
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).map_err(io::Error::from)?;
        Ok(Self { rung: AtomicBool::new(false), asleep: AtomicBool::new(false), event })
    }

    /// From any thread: the core looks at its inboxes soon.
    pub(crate) fn ring(&self) {
        self.rung.store(true, SeqCst);
        if self.asleep.swap(false, SeqCst) {
            self.signal();
        }
    }

    /// Wakes the reader of the eventfd in any case.
    pub(crate) fn signal(&self) {
        // Fails only at 2^64 - 2 unread signals; the reader takes the counter to zero.
        self.event.write(1).expect("an eventfd takes a signal");
    }

    /// Was it rung since the last take?
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(SeqCst)
    }

    /// The core's: was it rung since the last call?
    pub(crate) fn take(&self) -> bool {
        self.rung.load(SeqCst) && self.rung.swap(false, SeqCst)
    }

    /// The core's: from now on a ring writes the eventfd. False when it was rung already; the core
    /// must not sleep then.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        if self.rung.load(SeqCst) {
            self.wake_up();
            return false;
        }
        true
    }

    /// The core's: it is awake again.
    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, SeqCst);
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.event.as_fd().as_raw_fd()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn signalled(bell: &Doorbell) -> bool {
        poll(&mut [PollFd::new(bell.fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn only_a_sleeper_costs_a_write() {
        let bell = Doorbell::new().unwrap();
        bell.ring();
        assert!(!signalled(&bell));
        assert!(!bell.fall_asleep(), "rung before it slept");
        assert!(bell.take());
        assert!(!bell.take());
        assert!(bell.fall_asleep());
        bell.ring();
        assert!(signalled(&bell));
    }
}

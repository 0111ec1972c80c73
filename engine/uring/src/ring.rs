//! The ring itself: set-up with what this kernel grants, pushing, entering, taking completions.
//!
//! Invariants: created and used on one thread (SINGLE_ISSUER); an entry that finds the submission
//! queue full waits in `backlog` in order, none is lost; the kernel keeps completions that do not fit
//! the completion queue (IORING_FEAT_NODROP, probed at start).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{EnterFlags, IoUring, squeue};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringmq_io::limits::{RING_CQ_ENTRIES, RING_SQ_ENTRIES};

/// One completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

pub(crate) struct Ring {
    uring: IoUring,
    backlog: VecDeque<squeue::Entry>,
}

/// Tried in this order; what the kernel knows wins. The first (6.1) runs completion work only when we
/// enter, so nothing interrupts a task.
fn build(attempt: usize) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(RING_CQ_ENTRIES).setup_clamp().dontfork();
    match attempt {
        0 => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(),
        1 => builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag(),
        2 => builder.setup_coop_taskrun().setup_taskrun_flag(),
        _ => &mut builder,
    };
    builder.build(RING_SQ_ENTRIES)
}

impl Ring {
    pub(crate) fn new() -> io::Result<Self> {
        let mut refused = None;
        for attempt in 0..4 {
            match build(attempt) {
                Ok(uring) => {
                    if attempt > 0 {
                        tracing::debug!(attempt, "io_uring without deferred task work");
                    }
                    // Spares the kernel a file look-up for each enter; older kernels refuse it.
                    let _ = uring.submitter().register_ring_fd();
                    return Ok(Self { uring, backlog: VecDeque::new() });
                }
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => refused = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(refused.expect("set after four refusals"))
    }

    pub(crate) fn uring(&self) -> &IoUring {
        &self.uring
    }

    /// # Safety
    /// All memory that the entry names stays valid and is not used otherwise until its completion.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() {
            // SAFETY: handed on to our caller.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            if self.submit(EnterFlags::empty()).is_ok() {
                // SAFETY: handed on to our caller.
                if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                    return;
                }
            }
        }
        self.backlog.push_back(entry);
    }

    /// Whether an enter would do anything: entries to hand over, or completion work that the kernel
    /// keeps until we come.
    pub(crate) fn has_work(&mut self) -> bool {
        if !self.backlog.is_empty() {
            return true;
        }
        let submission = self.uring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Whether completions wait, here or in the kernel as work to run.
    pub(crate) fn is_ready(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.uring.submission().taskrun()
    }

    /// Hands over all entries and runs the kernel's completion work, in one system call.
    pub(crate) fn enter(&mut self) -> io::Result<usize> {
        self.refill();
        let mut submitted = self.submit(EnterFlags::GETEVENTS)?;
        while !self.backlog.is_empty() && self.refill() {
            submitted += self.submit(EnterFlags::empty())?;
        }
        Ok(submitted)
    }

    /// Moves the backlog to the queue; true if anything moved.
    fn refill(&mut self) -> bool {
        let mut moved = false;
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed it keeps its memory until its completion.
            if unsafe { self.uring.submission().push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
            moved = true;
        }
        moved
    }

    fn submit(&mut self, flags: EnterFlags) -> io::Result<usize> {
        let pending = self.uring.submission().len() as u32;
        // SAFETY: no argument structure is passed; the entries' memory is their pushers' promise.
        match unsafe { self.uring.submitter().enter::<libc::sigset_t>(pending, 0, flags.bits(), None) } {
            Ok(submitted) => Ok(submitted),
            // A signal, or a completion queue that must be emptied first: the next turn goes on.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// Takes up to `into.len()` completions; how many.
    pub(crate) fn take(&mut self, into: &mut [Completion]) -> usize {
        let mut taken = 0;
        for cqe in self.uring.completion().take(into.len()) {
            into[taken] = Completion { token: cqe.user_data(), result: cqe.result(), flags: cqe.flags() };
            taken += 1;
        }
        taken
    }

    /// Lets completions signal the eventfd, or not: nobody listens while the driver runs anyway.
    pub(crate) fn signal_completions(&mut self, on: bool) {
        if on { self.uring.completion().enable_eventfd() } else { self.uring.completion().disable_eventfd() }
    }

    /// Asks the kernel itself whether completions or completion work wait: the queue's flags do not
    /// tell of work that an earlier enter left over.
    pub(crate) fn is_quiet(&self) -> io::Result<bool> {
        // SAFETY: the descriptor lives as long as `self.uring`, which is borrowed meanwhile.
        let fd = unsafe { BorrowedFd::borrow_raw(self.uring.as_raw_fd()) };
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) {
            Ok(ready) => Ok(ready == 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

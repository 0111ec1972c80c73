//! Requests of ours that wait for the peer's answer.
//!
//! Invariants: an opaque is in the table exactly while its future lives and nothing has settled it; the table is
//! bounded. On failure: a caller always gets an answer, a time-out, or the reason why the connection ended.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringmq_io::limits::CALLS_PER_CONN_MAX;
use thiserror::Error;

use crate::{Destination, OwnedFrame};

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    #[error("connection closed: {0}")]
    Closed(&'static str),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{CALLS_PER_CONN_MAX} calls wait on this connection already")]
    TooMany,
    #[error("cannot connect to {to}: {reason}")]
    Unreachable { to: Destination, reason: String },
}

#[derive(Default)]
struct Slot {
    outcome: Cell<Option<Result<OwnedFrame, CallError>>>,
    waker: Cell<Option<Waker>>,
}

impl Slot {
    fn settle(&self, outcome: Result<OwnedFrame, CallError>) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[derive(Default)]
pub(crate) struct Calls {
    waiting: RefCell<HashMap<i32, Rc<Slot>>>,
    next_opaque: Cell<i32>,
}

impl Calls {
    pub(crate) fn next_opaque(&self) -> i32 {
        let opaque = self.next_opaque.get();
        self.next_opaque.set(opaque.wrapping_add(1));
        opaque
    }

    /// Registers a call under a fresh opaque.
    pub(crate) fn begin(self: &Rc<Self>) -> Result<PendingCall, CallError> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= CALLS_PER_CONN_MAX {
            return Err(CallError::TooMany);
        }
        let mut opaque = self.next_opaque();
        while waiting.contains_key(&opaque) {
            opaque = self.next_opaque(); // wrapped around into a call that is still under way
        }
        let slot = Rc::new(Slot::default());
        waiting.insert(opaque, slot.clone());
        Ok(PendingCall { calls: self.clone(), slot, opaque })
    }

    /// `false` if nobody waits for this answer.
    pub(crate) fn answer(&self, opaque: i32, frame: impl FnOnce() -> OwnedFrame) -> bool {
        match self.waiting.borrow_mut().remove(&opaque) {
            Some(slot) => {
                slot.settle(Ok(frame()));
                true
            }
            None => false,
        }
    }

    /// Ends all waits: the connection is gone. In the order of the calls, so that a simulated run is the same again.
    pub(crate) fn fail_all(&self, why: &'static str) {
        let mut waiting: Vec<_> = self.waiting.take().into_iter().collect();
        waiting.sort_unstable_by_key(|(opaque, _)| *opaque);
        for (_, slot) in waiting {
            slot.settle(Err(CallError::Closed(why)));
        }
    }
}

/// A registered call; gives its opaque free when dropped.
pub(crate) struct PendingCall {
    calls: Rc<Calls>,
    slot: Rc<Slot>,
    pub(crate) opaque: i32,
}

impl PendingCall {
    pub(crate) async fn outcome(&self) -> Result<OwnedFrame, CallError> {
        poll_fn(|cx| match self.slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.slot.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut waiting = self.calls.waiting.borrow_mut();
        if waiting.get(&self.opaque).is_some_and(|slot| Rc::ptr_eq(slot, &self.slot)) {
            waiting.remove(&self.opaque);
        }
    }
}

//! A latch for one waiting task: setting it costs a store, and a wake only if somebody sleeps.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

#[derive(Default)]
pub(crate) struct Signal {
    set: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Signal {
    pub(crate) fn set(&self) {
        if !self.set.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Returns once the signal is set, and takes it back. One task may wait at a time.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            if self.set.replace(false) {
                return Poll::Ready(());
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once, zip};

    #[test]
    fn is_kept_until_waited_for() {
        block_on(async {
            let signal = Signal::default();
            assert!(poll_once(signal.wait()).await.is_none());
            signal.set();
            signal.set();
            assert!(poll_once(signal.wait()).await.is_some());
            assert!(poll_once(signal.wait()).await.is_none());
            zip(signal.wait(), async { signal.set() }).await;
        });
    }
}

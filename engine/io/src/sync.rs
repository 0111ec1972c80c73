//! Waiting within one core: an event, a watermark, a stop signal. No atomics: nothing here is Send.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Wakes everything that waits. A wait that begins after `notify` waits for the next one, so check
/// the condition first: `while !ready() { event.wait().await }`.
#[derive(Default)]
pub struct Event {
    round: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Event {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify(&self) {
        self.round.set(self.round.get() + 1);
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    pub fn wait(&self) -> EventWait<'_> {
        EventWait { event: self, seen: self.round.get() }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|w| w.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }
}

pub struct EventWait<'a> {
    event: &'a Event,
    seen: u64,
}

impl Future for EventWait<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.event.round.get() != self.seen {
            return Poll::Ready(());
        }
        self.event.register(cx);
        Poll::Pending
    }
}

/// A number that only grows, and the tasks that wait for it to pass a point.
#[derive(Default)]
pub struct Watermark {
    value: Cell<u64>,
    moved: Event,
}

impl Watermark {
    pub fn new(value: u64) -> Self {
        Self { value: Cell::new(value), moved: Event::new() }
    }

    pub fn get(&self) -> u64 {
        self.value.get()
    }

    pub fn advance(&self, to: u64) {
        assert!(to >= self.value.get(), "a watermark went back from {} to {to}", self.value.get());
        if to > self.value.get() {
            self.value.set(to);
            self.moved.notify();
        }
    }

    /// Wakes all waits without moving, so that they look at another condition (a latch).
    pub fn poke(&self) {
        self.moved.notify();
    }

    /// The next move or poke.
    pub fn moved(&self) -> EventWait<'_> {
        self.moved.wait()
    }
}

/// Tells tasks to end. Clones share the signal.
#[derive(Clone, Default)]
pub struct Stop(Rc<(Cell<bool>, Event)>);

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn signal(&self) {
        self.0.0.set(true);
        self.0.1.notify();
    }

    pub fn is_signalled(&self) -> bool {
        self.0.0.get()
    }

    pub async fn wait(&self) {
        while !self.is_signalled() {
            self.0.1.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once, zip};

    #[test]
    fn an_event_wakes_only_those_who_already_waited() {
        block_on(async {
            let event = Event::new();
            let mut first = Box::pin(event.wait());
            assert!(poll_once(&mut first).await.is_none());
            event.notify();
            assert!(poll_once(&mut first).await.is_some());
            assert!(poll_once(event.wait()).await.is_none());
        });
    }

    #[test]
    fn a_stop_reaches_early_and_late_waiters() {
        block_on(async {
            let stop = Stop::new();
            let clone = stop.clone();
            zip(async { clone.wait().await }, async { stop.signal() }).await;
            stop.wait().await;
        });
    }

    #[test]
    #[should_panic(expected = "went back")]
    fn a_watermark_never_goes_back() {
        let mark = Watermark::new(5);
        mark.advance(4);
    }
}

//! Sends that found their shard's ring full, in line until there is room.
//!
//! Owns: the line of one shard and the rule of how long one may stand in it. Invariants: order: while anybody stands in
//! line, later sends to the shard join it; bounded in number, bytes and time (`limits`). The connection that sent it is
//! not read until its send has left the line, so a producer feels the pressure.
//! On failure: who has waited too long, or finds the line full, gets SYSTEM_BUSY with what is full, how full, and for how
//! long.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{APPEND_WAIT_MS_MAX, PARKED_BYTES_MAX, PARKED_SENDS_MAX};
use ringmq_io::sync::Event;
use ringmq_io::{Class, Env};
use ringmq_store::AppendError;
use ringmq_wire::code::response_code;

use crate::core::Core;
use crate::handlers;
use crate::request::{Handled, LocalFuture, OwnedRequest, Request, Target};
use crate::stats::add;

/// Sends let in between two yields.
const LET_IN_PER_TURN: usize = 64;

struct Waiting<E: Env> {
    request: OwnedRequest<E>,
    since_ns: u64,
}

/// The line of one shard.
pub struct Parked<E: Env> {
    line: RefCell<VecDeque<Waiting<E>>>,
    bytes: Cell<usize>,
    /// How many have ever joined, and left.
    joined: Cell<u64>,
    left: Cell<u64>,
    moved: Event,
    /// Why the first in line cannot go on.
    why: RefCell<Option<AppendError>>,
}

impl<E: Env> Parked<E> {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            line: RefCell::default(),
            bytes: Cell::new(0),
            joined: Cell::new(0),
            left: Cell::new(0),
            moved: Event::new(),
            why: RefCell::default(),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    pub fn len(&self) -> usize {
        self.line.borrow().len()
    }

    /// What a send that has to join the line reports.
    pub fn reason(&self) -> Option<AppendError> {
        self.why.borrow().clone()
    }

    fn join(&self, waiting: Waiting<E>) -> u64 {
        self.bytes.set(self.bytes.get() + waiting.request.frame.raw().len());
        self.line.borrow_mut().push_back(waiting);
        self.joined.set(self.joined.get() + 1);
        self.joined.get()
    }

    fn leave(&self) -> Option<Waiting<E>> {
        let waiting = self.line.borrow_mut().pop_front()?;
        self.bytes.set(self.bytes.get() - waiting.request.frame.raw().len());
        self.left.set(self.left.get() + 1);
        Some(waiting)
    }

    async fn until_left(&self, number: u64) {
        while self.left.get() < number {
            self.moved.wait().await;
        }
    }
}

impl<E: Env> Core<E> {
    /// Puts a send into its shard's line. What is given back is done when it has left the line.
    pub(crate) fn park(
        self: &Rc<Self>,
        shard: u16,
        queue_id: u32,
        request: &Request<'_, '_, E>,
        error: AppendError,
    ) -> Option<LocalFuture<()>> {
        let local = self.local(shard).expect("only a local shard can be full");
        let parked = &local.parked;
        if parked.len() >= PARKED_SENDS_MAX || parked.bytes.get() + request.raw.len() > PARKED_BYTES_MAX {
            let remark = format!(
                "[RINGMQ_BUSY] {error}; {} sends of {} bytes wait for room already",
                parked.len(),
                parked.bytes.get()
            );
            add(&self.counters.full.waiting_sends, 1);
            request.responder().refuse(response_code::SYSTEM_BUSY, &remark);
            return None;
        }
        let mut owned = request.to_owned_request();
        // Checked and placed once: a queue that the broker chose stays chosen.
        owned.target = Some(Target::Queue { shard, queue_id });
        let first = parked.is_empty();
        let number = parked.join(Waiting { request: owned, since_ns: self.env.monotonic_ns() });
        *parked.why.borrow_mut() = Some(error);
        if first {
            let (core, parked) = (self.clone(), parked.clone());
            self.env.spawn(Class::Foreground, async move { core.work_off(shard, &parked).await });
        }
        let parked = parked.clone();
        Some(Box::pin(async move { parked.until_left(number).await }))
    }

    /// Lets the line in, as room comes, until it is empty.
    async fn work_off(self: Rc<Self>, shard: u16, parked: &Parked<E>) {
        let store = &self.local(shard).expect("the line is of a local shard").shard;
        let mut let_in = 0;
        loop {
            let Some(since) = parked.line.borrow().front().map(|first| first.since_ns) else { break };
            let waited = Duration::from_nanos(self.env.monotonic_ns() - since);
            let patience = Duration::from_millis(APPEND_WAIT_MS_MAX).saturating_sub(waited);
            let outcome = self.try_first(parked);
            match outcome {
                None => {
                    drop(parked.leave());
                }
                Some(error) if patience.is_zero() => {
                    let first = parked.leave().expect("it was there");
                    let remark = format!("[RINGMQ_BUSY] {error}, for {} ms", waited.as_millis());
                    add(&self.counters.put_refused, 1);
                    first.request.refuse(response_code::SYSTEM_BUSY, &remark);
                }
                Some(error) => {
                    *parked.why.borrow_mut() = Some(error);
                    parked.moved.notify();
                    store.room().or(self.env.sleep(patience)).await;
                    continue;
                }
            }
            let_in += 1;
            if let_in % LET_IN_PER_TURN == 0 {
                parked.moved.notify();
                self.env.yield_now().await;
            }
        }
        parked.moved.notify();
        *parked.why.borrow_mut() = None;
    }

    /// Handles the first in line. `Some`: there is still no room for it.
    fn try_first(self: &Rc<Self>, parked: &Parked<E>) -> Option<AppendError> {
        let line = parked.line.borrow();
        let first = line.front()?;
        let outcome = first.request.with(|mut request| {
            request.first_in_line = true;
            handlers::send_message::handle(self, &request)
        });
        match outcome {
            Handled::NoRoom { error, .. } => Some(error),
            Handled::Done => None,
            // Its home and its topic were known when it was parked.
            Handled::Elsewhere(_) | Handled::Wait(_) => {
                debug_assert!(false, "a parked send wants something else than room");
                first
                    .request
                    .refuse(response_code::SYSTEM_ERROR, "a parked send lost its place, which is a bug");
                None
            }
        }
    }
}

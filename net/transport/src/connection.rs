//! One connection as a service sees it.
//!
//! Life: open, then maybe finishing (no more input, queued output still leaves), then gone. `is_closed` is true
//! in the last two. Its reader and its writer task keep it alive; others may hold it as long as they like: a
//! write to a closed connection does nothing.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::sync::Event;
use ringmq_io::{Chunk, Env, Net, Stream};
use tracing::debug;

use crate::calls::Calls;
use crate::counters::is_sampled;
use crate::egress::Output;
use crate::signal::Signal;
use crate::sweep::Seen;
use crate::{CallError, Counters, OwnedFrame, why};

/// The core in the high 16 bits, a number of that core below; never reused.
pub type ConnId = u64;

pub type StreamOf<E> = <<E as Env>::Net as Net>::Stream;
pub type ExtentOf<E> = <<E as Env>::Net as Net>::Extent;

const CORE_SHIFT: u32 = 48;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Finishing(&'static str),
    Gone(&'static str),
}

pub struct Connection<E: Env> {
    id: ConnId,
    peer: SocketAddr,
    local: SocketAddr,
    life: Cell<Life>,
    calls: Rc<Calls>,
    env: E,
    pub(crate) stream: StreamOf<E>,
    pub(crate) output: Output<ExtentOf<E>>,
    /// Something is queued, or the connection's life has changed: wakes the writer.
    pub(crate) output_ready: Signal,
    /// Output is below its limit again, or dropped.
    pub(crate) output_drained: Event,
    /// `Gone` was reached.
    pub(crate) gone: Event,
    /// Bytes in both directions, for the sweeper.
    pub(crate) moved: Cell<u64>,
    /// At least a byte has come in.
    pub(crate) heard: Cell<bool>,
    pub(crate) seen: RefCell<Seen>,
    pub(crate) counters: Rc<Counters>,
}

impl<E: Env> Connection<E> {
    pub(crate) fn new(env: &E, stream: StreamOf<E>, counters: &Rc<Counters>) -> Rc<Self> {
        Counters::add(&counters.opened, 1);
        assert!(env.core() < 1 << 16 && counters.opened.get() < 1 << CORE_SHIFT);
        Rc::new(Self {
            id: (env.core() as u64) << CORE_SHIFT | counters.opened.get(),
            peer: stream.peer_addr(),
            local: stream.local_addr(),
            life: Cell::new(Life::Open),
            calls: Rc::default(),
            env: env.clone(),
            stream,
            output: Output::new(),
            output_ready: Signal::default(),
            output_drained: Event::new(),
            gone: Event::new(),
            moved: Cell::new(0),
            heard: Cell::new(false),
            seen: RefCell::new(Seen::at(env.monotonic_ns())),
            counters: counters.clone(),
        })
    }

    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The core whose connection this id names.
    pub fn core_of(id: ConnId) -> usize {
        (id >> CORE_SHIFT) as usize
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Encodes whole frames straight into the output buffer. They leave with this turn's other output in one
    /// vectored send. `encode` only appends, and must not touch this connection.
    pub fn write(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.write_with_body(encode, []);
    }

    /// Encodes a frame without its body (or whole frames and then such a one); the body follows as zero-copy
    /// chunks whose lengths the frame's length field already counts.
    pub fn write_with_body(
        &self,
        encode_head: impl FnOnce(&mut Vec<u8>),
        body: impl IntoIterator<Item = Chunk<ExtentOf<E>>>,
    ) {
        if self.is_closed() {
            return;
        }
        self.output.push(encode_head, body);
        if is_sampled(self.counters.frames_out.get()) && self.output.timed_ns.get() == 0 {
            self.output.timed_ns.set(self.env.monotonic_ns());
        }
        Counters::add(&self.counters.frames_out, 1);
        self.output_ready.set();
        if self.output.is_over_memory() {
            self.close(why::OUTPUT_FULL);
        }
    }

    /// Asks the peer and waits for its answer. `encode` is called at once, with the opaque to use. The future
    /// borrows nothing; dropping it gives the wait up.
    pub fn request(
        &self,
        encode: impl FnOnce(&mut Vec<u8>, i32),
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<OwnedFrame, CallError>>>> {
        let call = match self.life.get() {
            Life::Open => self.calls.begin(),
            Life::Finishing(why) | Life::Gone(why) => Err(CallError::Closed(why)),
        };
        if let Ok(call) = &call {
            self.write(|out| encode(out, call.opaque));
        }
        let timer = self.env.sleep(timeout);
        Box::pin(async move {
            let call = call?;
            call.outcome()
                .or(async {
                    timer.await;
                    Err(CallError::TimedOut(timeout))
                })
                .await
        })
    }

    /// A number for a oneway request to the peer.
    pub fn next_opaque(&self) -> i32 {
        self.calls.next_opaque()
    }

    /// Bytes that wait for the peer to take them.
    pub fn unsent_bytes(&self) -> usize {
        self.output.unsent()
    }

    /// Waits until the output is below its limit, or gone. For answers that are made bit by bit.
    pub async fn drained(&self) {
        while self.output.is_congested() && !self.is_gone() {
            self.output_drained.wait().await;
        }
    }

    /// Ends the connection at once; queued output is lost.
    pub fn close(&self, why: &'static str) {
        let why = match self.life.get() {
            Life::Open => why,
            Life::Finishing(why) => why,
            Life::Gone(_) => return,
        };
        self.life.set(Life::Gone(why));
        debug!(peer = %self.peer, why, "connection closed");
        self.counters.count_closed(why);
        self.stream.close();
        self.calls.fail_all(why);
        self.output_ready.set();
        self.output_drained.notify();
        self.gone.notify();
    }

    /// Takes no more input, sends what is queued, then closes.
    pub fn finish(&self, why: &'static str) {
        if self.life.get() == Life::Open {
            self.life.set(Life::Finishing(why));
            self.output_ready.set();
        }
    }

    pub(crate) fn env(&self) -> &E {
        &self.env
    }

    /// Finishing or gone.
    pub fn is_closed(&self) -> bool {
        self.life.get() != Life::Open
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.life.get(), Life::Gone(_))
    }

    /// The writer has sent everything of a connection that was to be finished.
    pub(crate) fn end(&self) {
        if let Life::Finishing(why) = self.life.get() {
            self.close(why);
        }
    }

    /// Waits until the connection is gone.
    pub(crate) async fn until_gone(&self) {
        while !self.is_gone() {
            self.gone.wait().await;
        }
    }

    /// An answer came in.
    pub(crate) fn answer(&self, opaque: i32, frame: impl FnOnce() -> OwnedFrame) {
        if !self.calls.answer(opaque, frame) {
            Counters::add(&self.counters.unmatched_answers, 1);
            debug!(peer = %self.peer, opaque, "answer that nobody waits for");
        }
    }
}

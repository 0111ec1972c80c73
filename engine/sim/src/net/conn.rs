//! A connection: two pipes of bytes with what is on its way in each.
//!
//! A pipe keeps order; its bytes arrive after a latency of their own. What a partition holds back
//! arrives after it heals, as TCP repeats it. A closed end answers data with a reset; a host without
//! power answers nothing, so its peer is half open until the host is back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::NetState;
use crate::world::Inner;

#[derive(Debug)]
pub(crate) enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    Open,
    /// Closed by its process, or the process is gone.
    Closed,
    /// The host has no power.
    Dark,
}

/// One end, with the pipe that flows towards it.
pub(crate) struct End {
    pub host: usize,
    pub process: u64,
    pub addr: SocketAddr,
    pub state: Cell<EndState>,
    pub reset: Cell<bool>,
    pub unread: RefCell<VecDeque<u8>>,
    pub on_the_way: Cell<usize>,
    pub eof: Cell<bool>,
    last_arrival: Cell<u64>,
    held: RefCell<VecDeque<Segment>>,
    pub reader: RefCell<Option<Waker>>,
    /// Of the other end: waits for room in this pipe.
    pub writer: RefCell<Option<Waker>>,
}

impl End {
    pub fn new(host: usize, process: u64, addr: SocketAddr) -> Self {
        Self {
            host,
            process,
            addr,
            state: Cell::new(EndState::Open),
            reset: Cell::new(false),
            unread: RefCell::default(),
            on_the_way: Cell::new(0),
            eof: Cell::new(false),
            last_arrival: Cell::new(0),
            held: RefCell::default(),
            reader: RefCell::default(),
            writer: RefCell::default(),
        }
    }

    fn wake(&self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

pub(crate) struct Conn {
    pub id: u64,
    pub ends: [End; 2],
    /// Bytes of one pipe, unread or on the way, beyond which its sender waits.
    pub capacity: usize,
}

pub(crate) fn reset_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

pub(crate) fn one_way(inner: &Inner, from: usize, to: usize) -> Duration {
    if from == to {
        return Duration::from_nanos(inner.net_rng.within(2_000..=30_000));
    }
    let latency = inner.hosts.borrow()[to].faults.borrow().net.latency_us.clone();
    Duration::from_micros(inner.net_rng.within(latency))
}

impl Conn {
    pub fn room_towards(&self, to: usize) -> usize {
        let end = &self.ends[to];
        self.capacity.saturating_sub(end.unread.borrow().len() + end.on_the_way.get())
    }

    /// Sends a segment towards end `to`; it arrives after all that was sent before.
    pub fn push(self: &Rc<Self>, inner: &Rc<Inner>, to: usize, segment: Segment) {
        let end = &self.ends[to];
        if let Segment::Data(bytes) = &segment {
            end.on_the_way.set(end.on_the_way.get() + bytes.len());
        }
        let arrival = inner.sched.now() + one_way(inner, self.ends[1 - to].host, end.host).as_nanos() as u64;
        // The serial of the timer keeps the order of equal times.
        let arrival = arrival.max(end.last_arrival.get());
        end.last_arrival.set(arrival);
        let conn = self.clone();
        inner.sched.at(arrival, None, Box::new(move |inner| conn.arrive(inner, to, segment)));
    }

    fn arrive(self: &Rc<Self>, inner: &Rc<Inner>, to: usize, segment: Segment) {
        let end = &self.ends[to];
        let cut = inner.net.is_cut(self.ends[1 - to].host, end.host);
        if cut || !end.held.borrow().is_empty() || end.state.get() == EndState::Dark {
            end.held.borrow_mut().push_back(segment);
            return;
        }
        self.deliver(inner, to, segment);
    }

    fn deliver(self: &Rc<Self>, inner: &Rc<Inner>, to: usize, segment: Segment) {
        let end = &self.ends[to];
        match segment {
            Segment::Data(bytes) => {
                end.on_the_way.set(end.on_the_way.get() - bytes.len());
                if end.reset.get() {
                    return;
                }
                if end.state.get() == EndState::Closed {
                    inner.event(Some(end.host), "reset", self.id, bytes.len() as u64);
                    self.push(inner, 1 - to, Segment::Reset);
                    return;
                }
                inner.event(Some(end.host), "deliver", self.id, bytes.len() as u64);
                end.unread.borrow_mut().extend(bytes);
                if let Some(waker) = end.reader.take() {
                    waker.wake();
                }
            }
            Segment::Fin => {
                end.eof.set(true);
                end.wake();
            }
            Segment::Reset => self.reset_end(to),
        }
    }

    fn reset_end(&self, at: usize) {
        let end = &self.ends[at];
        end.reset.set(true);
        end.unread.borrow_mut().clear();
        end.wake();
        // Its sender waits at the other end's pipe.
        if let Some(waker) = self.ends[1 - at].writer.take() {
            waker.wake();
        }
    }

    /// A reset by the network: both ends find out, and what is on the way may be lost.
    pub fn break_off(self: &Rc<Self>, inner: &Rc<Inner>) {
        inner.event(Some(self.ends[0].host), "break connection", self.id, 0);
        for to in [0, 1] {
            if inner.net_rng.coin() {
                self.reset_end(to);
            } else {
                self.push(inner, to, Segment::Reset);
            }
        }
    }

    /// What was held back goes on; see [`NetState::heal`] and [`NetState::power_on`].
    pub fn release_held(self: &Rc<Self>, inner: &Rc<Inner>) {
        for to in [0, 1] {
            let end = &self.ends[to];
            if end.state.get() == EndState::Dark || inner.net.is_cut(self.ends[1 - to].host, end.host) {
                continue;
            }
            // At once: what was sent behind it may be on its way already.
            let held = end.held.take();
            for segment in held {
                self.deliver(inner, to, segment);
            }
        }
    }

    /// Ends both directions at `side`, as close(2) does: with unread bytes it is a reset.
    pub fn close(self: &Rc<Self>, inner: &Rc<Inner>, side: usize) {
        let end = &self.ends[side];
        if end.state.get() != EndState::Open {
            return;
        }
        end.state.set(EndState::Closed);
        end.wake();
        if let Some(waker) = self.ends[1 - side].writer.take() {
            waker.wake();
        }
        let unread = !end.unread.borrow().is_empty();
        inner.event(Some(end.host), "close", self.id, u64::from(unread));
        if !end.reset.get() {
            self.push(inner, 1 - side, if unread { Segment::Reset } else { Segment::Fin });
        }
        self.forget_if_over(&inner.net);
    }

    pub fn forget_if_over(&self, net: &NetState) {
        if self.ends.iter().all(|end| end.state.get() == EndState::Closed) {
            net.forget(self.id);
        }
    }
}

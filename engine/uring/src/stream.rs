//! A connected socket: multishot receive into provided buffers, back-pressure, close.
//!
//! Invariants: at most one receive is in the kernel; bytes come out in the order of the socket. What
//! waits here is bounded ([`CONN_RECV_BUFS_MAX`], less when the pool runs low) plus what one receive
//! delivers until its cancellation takes effect. When the pool runs low, bytes that no task waits for
//! are copied out of it, so that a slow or paused stream cannot starve the others. Dropping the last
//! clone ends what is in flight and closes the socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmq_io::limits::{CONN_RECV_BUFS_MAX, RECV_BUFS};
use ringmq_io::{Chunk, RecvBuf, Stream};
use socket2::{SockRef, Socket};

use crate::driver::{Driver, check};
use crate::fd::RingFd;
use crate::op::{Op, Phase, Token};
use crate::region::UringExtent;
use crate::send::SendOp;

/// Received bytes: one buffer of the core's pool, or a copy of one.
pub struct RecvBytes(Bytes);

enum Bytes {
    Pool { driver: Rc<Driver>, id: u16, len: usize },
    Heap(Box<[u8]>),
}

impl Deref for RecvBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Pool { driver, id, len } => driver.bufs.bytes(*id, *len),
            Bytes::Heap(bytes) => bytes,
        }
    }
}

impl Drop for RecvBytes {
    fn drop(&mut self) {
        if let Bytes::Pool { driver, id, .. } = &self.0 {
            driver.give_back(*id);
        }
    }
}

impl RecvBuf for RecvBytes {}

#[derive(Clone, Copy)]
enum End {
    Closed,
    Failed(i32),
}

#[derive(Default)]
struct Receiving {
    queue: VecDeque<RecvBytes>,
    end: Option<End>,
    armed: Option<Token>,
    cancelling: bool,
    paused: bool,
    /// Waits in the driver's list for free buffers.
    starved: bool,
    waker: Option<Waker>,
}

pub(crate) struct StreamState {
    driver: Rc<Driver>,
    fd: Rc<RingFd>,
    local: SocketAddr,
    peer: SocketAddr,
    receiving: RefCell<Receiving>,
    sending: Cell<Option<Token>>,
    /// A send ended before all its bytes were taken.
    broken: Cell<bool>,
    closed: Cell<bool>,
    spare: RefCell<Option<Box<SendOp>>>,
}

#[derive(Clone)]
pub struct UringStream(Rc<StreamState>);

impl UringStream {
    /// Takes over a connected socket.
    pub(crate) fn new(driver: &Rc<Driver>, socket: Socket) -> io::Result<Self> {
        let address = |addr: socket2::SockAddr| {
            addr.as_socket().ok_or_else(|| io::Error::other("not an internet socket"))
        };
        let local = address(socket.local_addr()?)?;
        let peer = address(socket.peer_addr()?)?;
        let fd = Rc::new(RingFd::new(OwnedFd::from(socket), driver));
        Ok(Self::over(driver, fd, local, peer))
    }

    pub(crate) fn over(driver: &Rc<Driver>, fd: Rc<RingFd>, local: SocketAddr, peer: SocketAddr) -> Self {
        Self(Rc::new(StreamState {
            driver: driver.clone(),
            fd,
            local,
            peer,
            receiving: RefCell::default(),
            sending: Cell::new(None),
            broken: Cell::new(false),
            closed: Cell::new(false),
            spare: RefCell::default(),
        }))
    }
}

/// Free buffers at which the pool counts as low.
const LOW: usize = RECV_BUFS / 4;

/// Every stream may hold a quarter of what is free, so that none takes all.
fn queue_max(driver: &Driver) -> usize {
    (driver.bufs.posted() / 4).clamp(1, CONN_RECV_BUFS_MAX)
}

impl StreamState {
    fn wants_more(&self, receiving: &Receiving) -> bool {
        receiving.end.is_none()
            && receiving.armed.is_none()
            && !receiving.paused
            && !receiving.starved
            && !self.closed.get()
            && receiving.queue.len() < queue_max(&self.driver)
    }

    fn arm(self: &Rc<Self>, receiving: &mut Receiving) {
        // With few buffers left each receive takes one, instead of all that the socket can fill.
        let multishot = self.driver.bufs.posted() > LOW;
        let op = Op::Recv { stream: Rc::downgrade(self), fd: self.fd.raw(), multishot };
        receiving.armed = Some(self.driver.start(op, Phase::Streaming));
    }

    fn disarm(&self, receiving: &mut Receiving) {
        if let Some(token) = receiving.armed
            && !receiving.cancelling
        {
            receiving.cancelling = true;
            self.driver.cancel(token);
        }
    }

    /// Buffers of the pool are free again.
    pub(crate) fn receive_again(self: &Rc<Self>) {
        let mut receiving = self.receiving.borrow_mut();
        receiving.starved = false;
        if self.wants_more(&receiving) {
            self.arm(&mut receiving);
        }
    }

    fn received(self: &Rc<Self>, result: i32, bytes: Option<RecvBytes>, more: bool) {
        let mut receiving = self.receiving.borrow_mut();
        if !more {
            receiving.armed = None;
            receiving.cancelling = false;
        }
        let mut unused = None;
        match (result, bytes) {
            (1.., Some(bytes)) => receiving.queue.push_back(bytes),
            (1.., None) => unreachable!("received bytes without a buffer"),
            (0, bytes) => {
                receiving.end = Some(End::Closed);
                unused = bytes;
            }
            (error, bytes) => {
                unused = bytes;
                match -error {
                    libc::ENOBUFS => {
                        receiving.starved = true;
                        self.driver.starve(Rc::downgrade(self));
                    }
                    libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                    errno => receiving.end = Some(End::Failed(errno)),
                }
            }
        }
        if self.wants_more(&receiving) {
            self.arm(&mut receiving);
        } else if receiving.queue.len() >= queue_max(&self.driver) {
            self.disarm(&mut receiving);
        }
        if receiving.paused || receiving.waker.is_none() {
            self.spill(&mut receiving);
        }
        let waker =
            if receiving.queue.is_empty() && receiving.end.is_none() { None } else { receiving.waker.take() };
        drop(receiving);
        drop(unused);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What nobody waits for must not keep the pool from others: copied out of it when it runs low.
    fn spill(&self, receiving: &mut Receiving) {
        if self.driver.bufs.posted() > LOW {
            return;
        }
        for bytes in &mut receiving.queue {
            if matches!(bytes.0, Bytes::Pool { .. }) {
                *bytes = RecvBytes(Bytes::Heap(bytes.to_vec().into_boxed_slice()));
            }
        }
    }

    fn poll_recv(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBytes>>> {
        let mut receiving = self.receiving.borrow_mut();
        receiving.paused = false;
        let next = receiving.queue.pop_front();
        if self.wants_more(&receiving) {
            self.arm(&mut receiving);
        }
        if let Some(bytes) = next {
            return Poll::Ready(Ok(Some(bytes)));
        }
        match receiving.end {
            Some(End::Failed(errno)) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            Some(End::Closed) => Poll::Ready(Ok(None)),
            None if self.closed.get() => Poll::Ready(Ok(None)),
            None => {
                receiving.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The driver's: a receive delivered bytes or ended.
pub(crate) fn completed(
    driver: &Rc<Driver>,
    stream: Option<Rc<StreamState>>,
    result: i32,
    buffer: Option<u16>,
    more: bool,
) {
    let bytes = buffer.map(|id| {
        driver.bufs.lend();
        RecvBytes(Bytes::Pool { driver: driver.clone(), id, len: result.max(0) as usize })
    });
    if let Some(stream) = stream {
        stream.received(result, bytes, more);
    }
}

/// Marks the stream broken unless the send came to its end.
struct SendGuard<'a>(&'a StreamState);

impl Drop for SendGuard<'_> {
    fn drop(&mut self) {
        if self.0.sending.get().is_some() {
            self.0.broken.set(true);
        }
    }
}

impl Stream for UringStream {
    type Extent = UringExtent;
    type Recv = RecvBytes;

    fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    async fn recv(&self) -> io::Result<Option<RecvBytes>> {
        poll_fn(|cx| self.0.poll_recv(cx)).await
    }

    fn pause(&self) {
        let mut receiving = self.0.receiving.borrow_mut();
        receiving.paused = true;
        self.0.disarm(&mut receiving);
        self.0.spill(&mut receiving);
    }

    async fn send(&self, chunks: &mut Vec<Chunk<UringExtent>>) -> io::Result<()> {
        let state = &*self.0;
        if state.broken.get() || state.closed.get() {
            chunks.clear();
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed for sending"));
        }
        assert!(state.sending.get().is_none(), "two sends at a time on one stream");
        let mut op = state.spare.take().unwrap_or_else(SendOp::new);
        if !op.load(state.fd.raw(), chunks) {
            op.unload();
            *state.spare.borrow_mut() = Some(op);
            return Ok(());
        }
        let flight = state.driver.run(Op::Send(op));
        state.sending.set(Some(flight.token()));
        let guard = SendGuard(state);
        let (result, op) = flight.await;
        state.sending.set(None);
        drop(guard);
        let Op::Send(mut op) = op else { unreachable!("a send") };
        op.unload();
        *state.spare.borrow_mut() = Some(op);
        check(result).map(drop).inspect_err(|_| state.broken.set(true))
    }

    fn close(&self) {
        if self.0.closed.replace(true) {
            return;
        }
        // Fails only when the peer has ended the connection already.
        let _ = SockRef::from(&*self.0.fd).shutdown(Shutdown::Both);
        let mut receiving = self.0.receiving.borrow_mut();
        let queue = std::mem::take(&mut receiving.queue);
        let waker = receiving.waker.take();
        drop(receiving);
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for StreamState {
    fn drop(&mut self) {
        if let Some(token) = self.receiving.borrow().armed {
            self.driver.cancel(token);
        }
        if let Some(token) = self.sending.get() {
            self.driver.cancel(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringmq_io::{Env, Listener, Net, Sharing};

    use super::*;

    #[test]
    fn both_ends_send_without_delay_and_block_nobody() {
        crate::run(1, |env| async move {
            let listener = env.net().listen("127.0.0.1:0".parse().unwrap(), Sharing::Alone).unwrap();
            let near = env.net().connect(listener.local_addr()).await.unwrap();
            let far = listener.accept().await.unwrap();
            for stream in [&near, &far] {
                let socket = SockRef::from(&*stream.0.fd);
                assert!(socket.tcp_nodelay().unwrap());
                // io_uring would answer EAGAIN on an O_NONBLOCK socket.
                assert!(!socket.nonblocking().unwrap());
            }
        })
        .unwrap();
    }
}

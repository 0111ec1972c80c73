//! A listening socket: one multishot accept in the kernel.
//!
//! Invariants: accepted sockets that nobody has taken are bounded ([`ACCEPTED_WAITING_MAX`] plus what
//! comes until a cancellation takes effect); the rest waits in the kernel's backlog. An error (out of
//! descriptors) is reported once, to the accepting task, and the next call accepts again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringmq_io::limits::{ACCEPTED_WAITING_MAX, LISTEN_BACKLOG};
use ringmq_io::{Listener, Sharing};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::driver::Driver;
use crate::fd::RingFd;
use crate::op::{Op, Phase, Token};
use crate::stream::UringStream;

#[derive(Default)]
struct Accepting {
    waiting: VecDeque<io::Result<OwnedFd>>,
    armed: Option<Token>,
    cancelling: bool,
    waker: Option<Waker>,
}

pub(crate) struct ListenerState {
    driver: Rc<Driver>,
    fd: RingFd,
    local: SocketAddr,
    accepting: RefCell<Accepting>,
}

pub struct UringListener(Rc<ListenerState>);

impl UringListener {
    pub(crate) fn bind(driver: &Rc<Driver>, addr: SocketAddr, sharing: Sharing) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if sharing == Sharing::Further {
            socket.set_reuse_port(true)?;
        }
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&addr.into())?;
        if sharing == Sharing::First {
            // Only now: bound with it, we would join another process's listeners and take half of its connections.
            socket.set_reuse_port(true)?;
        }
        socket.listen(LISTEN_BACKLOG)?;
        let local = socket.local_addr()?.as_socket().expect("bound to an internet address");
        let fd = RingFd::new(OwnedFd::from(socket), driver);
        let state = ListenerState { driver: driver.clone(), fd, local, accepting: RefCell::default() };
        Ok(Self(Rc::new(state)))
    }
}

impl ListenerState {
    fn arm(self: &Rc<Self>, accepting: &mut Accepting) {
        let op = Op::Accept { listener: Rc::downgrade(self), fd: self.fd.raw() };
        accepting.armed = Some(self.driver.start(op, Phase::Streaming));
    }
}

/// The driver's: an accept delivered a socket or ended.
pub(crate) fn completed(listener: Option<Rc<ListenerState>>, result: i32, more: bool) {
    let accepted = match result {
        // SAFETY: a fresh descriptor that nobody else owns.
        fd @ 0.. => Some(Ok(unsafe { OwnedFd::from_raw_fd(fd) })),
        error if matches!(-error, libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ECONNABORTED) => None,
        error => Some(Err(io::Error::from_raw_os_error(-error))),
    };
    // Without its listener an accepted socket is closed here.
    let Some(listener) = listener else { return };
    let mut accepting = listener.accepting.borrow_mut();
    if !more {
        accepting.armed = None;
        accepting.cancelling = false;
    }
    accepting.waiting.extend(accepted);
    if let Some(token) = accepting.armed
        && accepting.waiting.len() >= ACCEPTED_WAITING_MAX
        && !accepting.cancelling
    {
        accepting.cancelling = true;
        listener.driver.cancel(token);
    }
    if accepting.armed.is_none() && accepting.waiting.is_empty() && accepting.waker.is_some() {
        listener.arm(&mut accepting);
    }
    let waker = if accepting.waiting.is_empty() { None } else { accepting.waker.take() };
    drop(accepting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Listener for UringListener {
    type Stream = UringStream;

    fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    async fn accept(&self) -> io::Result<UringStream> {
        loop {
            let socket = poll_fn(|cx| {
                let mut accepting = self.0.accepting.borrow_mut();
                let next = accepting.waiting.pop_front();
                if accepting.armed.is_none() && accepting.waiting.is_empty() {
                    self.0.arm(&mut accepting);
                }
                match next {
                    Some(next) => Poll::Ready(next),
                    None => {
                        accepting.waker = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            })
            .await?;
            match UringStream::new(&self.0.driver, Socket::from(socket)) {
                Ok(stream) => return Ok(stream),
                // The peer is gone already.
                Err(e) => tracing::debug!("an accepted connection ended at once: {e}"),
            }
        }
    }
}

impl Drop for ListenerState {
    fn drop(&mut self) {
        if let Some(token) = self.accepting.borrow().armed {
            self.driver.cancel(token);
        }
        // The ring closes the descriptor later this turn; until then nobody may connect.
        let _ = SockRef::from(&self.fd).shutdown(Shutdown::Both);
    }
}

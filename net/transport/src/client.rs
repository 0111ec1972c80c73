//! A connection that we make: opened by the first call, opened again when it is lost.
//!
//! Invariants: at most one connection and one attempt at a time; after a failure the next attempt waits, longer each
//! time (with jitter), until one connection has brought at least a byte. A name is looked up again for each attempt, since
//! the server may have moved.
//! On failure: a call fails with the reason of the attempt that it waited for, or with its own time-out; nothing is
//! sent twice, since only the caller knows whether that would be right.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::sync::Event;
use ringmq_io::{Class, Env, Net, Stream, deadline};
use tracing::debug;

use crate::server::start;
use crate::sweep::Patience;
use crate::{CallError, Connection, Counters, OwnedFrame, Service, StreamOf, why};

/// How long names are looked up for one attempt: a resolver that has a dead server in its list asks the next after 5 s.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// The server to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Addr(SocketAddr),
    /// `host:port`.
    Name(String),
}

impl From<SocketAddr> for Destination {
    fn from(addr: SocketAddr) -> Self {
        Self::Addr(addr)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[derive(Clone)]
pub struct ClientConfig {
    /// Shared by all listeners and clients of a core: it numbers their connections.
    pub counters: Rc<Counters>,
    pub connect_timeout: Duration,
    /// Pause after the first failure; doubled with each further one.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// A peer that takes none of a pending send for so long is cut.
    pub stall: Duration,
}

impl ClientConfig {
    pub fn new(counters: Rc<Counters>) -> Self {
        Self {
            counters,
            connect_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            stall: Duration::from_secs(ringmq_io::limits::SEND_STALL_SECS_MAX),
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self::new(Rc::default())
    }
}

enum Link<E: Env> {
    Down,
    Connecting,
    Up(Rc<Connection<E>>),
}

type Opener<E> = Box<dyn Fn(StreamOf<E>) -> Rc<Connection<E>>>;

struct Inner<E: Env> {
    env: E,
    to: Destination,
    config: ClientConfig,
    link: RefCell<Link<E>>,
    /// The link has changed.
    changed: Event,
    open: Opener<E>,
    failures: Cell<u32>,
    /// Attempts that have ended, and why the last one failed.
    attempts: Cell<u64>,
    last_error: RefCell<String>,
    closed: Cell<bool>,
}

/// Calls one server. Dropping it closes the connection.
pub struct Client<E: Env>(Rc<Inner<E>>);

impl<E: Env> Client<E> {
    /// Connects to nothing yet. `service` gets the requests that the server sends ([`crate::NoRequests`] if there
    /// are none).
    pub fn new<S: Service<E>>(
        env: &E,
        to: impl Into<Destination>,
        service: Rc<S>,
        config: ClientConfig,
    ) -> Self {
        let opener = {
            let (env, counters, stall) = (env.clone(), config.counters.clone(), config.stall);
            move |stream: StreamOf<E>| {
                let conn = Connection::new(&env, stream, &counters);
                start(&env, conn.clone(), service.clone(), || {});
                env.spawn(Class::Background, watch(env.clone(), conn.clone(), stall));
                conn
            }
        };
        Self(Rc::new(Inner {
            env: env.clone(),
            to: to.into(),
            config,
            link: RefCell::new(Link::Down),
            changed: Event::new(),
            open: Box::new(opener),
            failures: Cell::new(0),
            attempts: Cell::new(0),
            last_error: RefCell::default(),
            closed: Cell::new(false),
        }))
    }

    pub fn is_connected(&self) -> bool {
        self.0.connected().is_some()
    }

    /// Sends a request and waits for its answer; connects first where needed. `timeout` covers both.
    pub async fn call(
        &self,
        encode: impl FnOnce(&mut Vec<u8>, i32),
        timeout: Duration,
    ) -> Result<OwnedFrame, CallError> {
        let start = self.0.env.monotonic_ns();
        let conn = self.connection(timeout).await?;
        let spent = Duration::from_nanos(self.0.env.monotonic_ns() - start);
        let outcome = conn.request(encode, timeout.saturating_sub(spent)).await;
        match outcome {
            Err(CallError::TimedOut(_)) => Err(CallError::TimedOut(timeout)),
            outcome => outcome,
        }
    }

    /// Queues a oneway request; connects first where needed. Whether it arrives is not known.
    pub async fn send(
        &self,
        encode: impl FnOnce(&mut Vec<u8>, i32),
        timeout: Duration,
    ) -> Result<(), CallError> {
        let conn = self.connection(timeout).await?;
        let opaque = conn.next_opaque();
        conn.write(|out| encode(out, opaque));
        Ok(())
    }

    /// The open connection, made if there is none.
    pub async fn connection(&self, timeout: Duration) -> Result<Rc<Connection<E>>, CallError> {
        let inner = &self.0;
        if let Some(conn) = inner.connected() {
            return Ok(conn);
        }
        match deadline(&inner.env, timeout, inner.connect()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(inner.unreachable(&format!("no connection within {timeout:?}"))),
        }
    }

    /// Closes the connection for good; calls under way fail.
    pub fn close(&self) {
        let inner = &self.0;
        inner.closed.set(true);
        let link = inner.link.replace(Link::Down);
        if let Link::Up(conn) = link {
            conn.close(why::CLIENT_CLOSED);
        }
        inner.changed.notify();
    }
}

impl<E: Env> Drop for Client<E> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<E: Env> Inner<E> {
    fn connected(&self) -> Option<Rc<Connection<E>>> {
        match &*self.link.borrow() {
            Link::Up(conn) if !conn.is_closed() => Some(conn.clone()),
            _ => None,
        }
    }

    fn unreachable(&self, reason: &str) -> CallError {
        let last = self.last_error.borrow();
        let reason = match self.failures.get() > 0 && !last.is_empty() && *last != reason {
            true => format!("{reason}; last attempt: {last}"),
            false => reason.to_owned(),
        };
        CallError::Unreachable { to: self.to.clone(), reason }
    }

    /// Waits for the attempt under way, or for a new one, and shares its outcome.
    async fn connect(self: &Rc<Self>) -> Result<Rc<Connection<E>>, CallError> {
        let seen = self.attempts.get();
        loop {
            if self.closed.get() {
                return Err(CallError::Closed(why::CLIENT_CLOSED));
            }
            if let Some(conn) = self.connected() {
                return Ok(conn);
            }
            if self.attempts.get() != seen {
                let last = self.last_error.borrow().clone();
                return Err(self.unreachable(&last));
            }
            if !matches!(&*self.link.borrow(), Link::Connecting) {
                self.begin_attempt();
            }
            self.changed.wait().await;
        }
    }

    fn begin_attempt(self: &Rc<Self>) {
        if let Link::Up(lost) = self.link.replace(Link::Connecting) {
            if lost.heard.get() {
                self.failures.set(0);
            } else {
                self.failures.set(self.failures.get() + 1);
                *self.last_error.borrow_mut() = "closed by the peer before any answer".into();
            }
        }
        let inner = self.clone();
        // A task of its own: the caller may give up, others may wait for the same attempt.
        self.env.spawn(Class::Foreground, async move { inner.attempt().await });
    }

    async fn attempt(self: Rc<Self>) {
        if self.failures.get() > 0 {
            let pause = self.env.sleep(self.pause());
            pause.or(self.until_closed()).await;
        }
        let outcome = self.reach().await;
        self.attempts.set(self.attempts.get() + 1);
        let link = match outcome {
            Ok(stream) if self.closed.get() => {
                stream.close();
                Link::Down
            }
            Ok(stream) => Link::Up((self.open)(stream)),
            Err(error) => {
                debug!(to = %self.to, %error, failures = self.failures.get(), "connect failed");
                self.failures.set(self.failures.get() + 1);
                *self.last_error.borrow_mut() = error.to_string();
                Link::Down
            }
        };
        *self.link.borrow_mut() = link;
        self.changed.notify();
    }

    /// The first of the server's addresses that takes a connection.
    async fn reach(&self) -> io::Result<StreamOf<E>> {
        let net = self.env.net();
        let addrs = match &self.to {
            Destination::Addr(addr) => vec![*addr],
            Destination::Name(name) => deadline(&self.env, LOOKUP_TIMEOUT, net.resolve(name)).await??,
        };
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for addr in addrs {
            let connect = deadline(&self.env, self.config.connect_timeout, net.connect(addr));
            outcome = connect.await.and_then(|outcome| outcome);
            if outcome.is_ok() || self.closed.get() {
                break;
            }
        }
        outcome
    }

    /// Half of the doubled pause is fixed, half is random, so that many clients of a restarted server spread.
    fn pause(&self) -> Duration {
        let doubled = self.config.backoff_min.saturating_mul(1 << (self.failures.get() - 1).min(16));
        let pause = doubled.min(self.config.backoff_max);
        let half = pause / 2;
        half + half.mul_f64((self.env.random() >> 11) as f64 / (1u64 << 53) as f64)
    }

    async fn until_closed(&self) {
        while !self.closed.get() {
            self.changed.wait().await;
        }
    }
}

/// Cuts the connection if its peer takes no output.
async fn watch<E: Env>(env: E, conn: Rc<Connection<E>>, stall: Duration) {
    let patience = Patience { idle: Duration::ZERO, stall };
    while !conn.is_gone() {
        patience.check(&conn, env.monotonic_ns());
        env.sleep(patience.period()).or(conn.until_gone()).await;
    }
}

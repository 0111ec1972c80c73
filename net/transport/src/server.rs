//! The listeners of one core: accept connections, start their tasks, sweep them, stop them.
//!
//! Invariants: every accepted connection is in the table until its `on_close` has run; the table is bounded.
//! On failure: an accept error is logged and counted, and accepting goes on after a pause (a want of file descriptors
//! passes when connections end).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{CONN_IDLE_SECS_MAX, CONNECTIONS_PER_CORE_MAX, SEND_STALL_SECS_MAX};
use ringmq_io::sync::{Event, Stop};
use ringmq_io::{Class, Env, Listener, Net, Stream, deadline};
use tracing::{debug, warn};

use crate::sweep::Patience;
use crate::{ConnId, Connection, Counters, Service, StreamOf, egress, ingress, why};

/// Connections that are looked at between two yields.
const SWEEP_STEP: usize = 256;

/// How long queued answers may still leave after a stop. A peer that reads takes them at once; one that does not must not
/// hold up a stop, which takes less than a second in all.
const STOP_DRAIN: Duration = Duration::from_millis(400);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct ServerConfig {
    /// Shared by all listeners and clients of a core: it numbers their connections.
    pub counters: Rc<Counters>,
    /// A connection without a byte in either direction for so long is closed. Zero: never.
    pub idle: Duration,
    /// A peer that takes none of a pending send for so long is cut.
    pub stall: Duration,
    pub connections_max: usize,
}

impl ServerConfig {
    pub fn new(counters: Rc<Counters>) -> Self {
        Self {
            counters,
            idle: Duration::from_secs(CONN_IDLE_SECS_MAX),
            stall: Duration::from_secs(SEND_STALL_SECS_MAX),
            connections_max: CONNECTIONS_PER_CORE_MAX,
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::new(Rc::default())
    }
}

/// A running listener.
pub struct Server<E: Env> {
    env: E,
    addr: SocketAddr,
    config: ServerConfig,
    connections: RefCell<BTreeMap<ConnId, Rc<Connection<E>>>>,
    /// A connection has left the table.
    left: Event,
    stopped: Stop,
}

type ListenerOf<E> = <<E as Env>::Net as Net>::Listener;

/// Starts accepting on `listener`, on this core. After `stop` nothing is accepted, queued answers get a moment to
/// leave, and all connections are closed.
pub fn serve<E: Env, S: Service<E>>(
    env: &E,
    listener: ListenerOf<E>,
    service: Rc<S>,
    stop: Stop,
    config: ServerConfig,
) -> Rc<Server<E>> {
    let server = Rc::new(Server {
        env: env.clone(),
        addr: listener.local_addr(),
        config,
        connections: RefCell::default(),
        left: Event::new(),
        stopped: Stop::new(),
    });
    env.spawn(Class::Foreground, server.clone().accept(listener, service, stop));
    env.spawn(Class::Background, server.clone().sweep());
    server
}

impl<E: Env> Server<E> {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn counters(&self) -> &Rc<Counters> {
        &self.config.counters
    }

    pub fn connection(&self, id: ConnId) -> Option<Rc<Connection<E>>> {
        self.connections.borrow().get(&id).cloned()
    }

    pub fn connection_count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Waits until the stop is complete: no listener, no connection.
    pub async fn stopped(&self) {
        self.stopped.wait().await;
    }

    /// Accepts on another listener as well, as long as on the first: its connections are among the others.
    pub fn also_accept<S: Service<E>>(self: &Rc<Self>, listener: ListenerOf<E>, service: Rc<S>, stop: Stop) {
        let server = self.clone();
        self.env.spawn(Class::Foreground, async move {
            server.accept_until(&listener, &service, &stop).await;
        });
    }

    async fn accept<S: Service<E>>(self: Rc<Self>, listener: ListenerOf<E>, service: Rc<S>, stop: Stop) {
        self.accept_until(&listener, &service, &stop).await;
        drop(listener);
        self.shut_down().await;
        self.stopped.signal();
    }

    async fn accept_until<S: Service<E>>(
        self: &Rc<Self>,
        listener: &ListenerOf<E>,
        service: &Rc<S>,
        stop: &Stop,
    ) {
        while !stop.is_signalled() {
            let accepted = async { Some(listener.accept().await) }.or(async {
                stop.wait().await;
                None
            });
            match accepted.await {
                // The other listener may have begun to shut down.
                Some(Ok(stream)) if stop.is_signalled() => stream.close(),
                Some(Ok(stream)) => self.open(stream, service),
                Some(Err(error)) => {
                    Counters::add(&self.config.counters.accept_errors, 1);
                    warn!(addr = %listener.local_addr(), %error, "accept failed");
                    let pause = self.env.sleep(ACCEPT_PAUSE);
                    pause.or(stop.wait()).await;
                }
                None => {}
            }
        }
    }

    fn open<S: Service<E>>(self: &Rc<Self>, stream: StreamOf<E>, service: &Rc<S>) {
        let counters = &self.config.counters;
        Counters::add(&counters.accepted, 1);
        if self.connection_count() >= self.config.connections_max {
            warn!(
                peer = %stream.peer_addr(), max = self.config.connections_max,
                "refused a connection: too many on this core"
            );
            counters.count_closed(why::TOO_MANY);
            stream.close();
            return;
        }
        let conn = Connection::new(&self.env, stream, counters);
        debug!(peer = %conn.peer(), id = conn.id(), "accepted");
        self.connections.borrow_mut().insert(conn.id(), conn.clone());
        let server = self.clone();
        let id = conn.id();
        start(&self.env, conn, service.clone(), move || {
            server.connections.borrow_mut().remove(&id);
            server.left.notify();
        });
    }

    async fn shut_down(&self) {
        self.for_each(|conn| conn.finish(why::SERVER_STOPS)).await;
        if deadline(&self.env, STOP_DRAIN, self.emptied()).await.is_err() {
            self.for_each(|conn| conn.close(why::SERVER_STOPS)).await;
            self.emptied().await;
        }
    }

    async fn emptied(&self) {
        while self.connection_count() > 0 {
            self.left.wait().await;
        }
    }

    async fn sweep(self: Rc<Self>) {
        let patience = Patience { idle: self.config.idle, stall: self.config.stall };
        while !self.stopped.is_signalled() {
            let now = self.env.monotonic_ns();
            self.for_each(|conn| patience.check(conn, now)).await;
            self.env.sleep(patience.period()).or(self.stopped.wait()).await;
        }
    }

    /// Visits all connections without holding the core for long.
    async fn for_each(&self, visit: impl Fn(&Connection<E>)) {
        let mut next = 0;
        loop {
            let some: Vec<_> = self
                .connections
                .borrow()
                .range(next..)
                .take(SWEEP_STEP)
                .map(|(_, conn)| conn.clone())
                .collect();
            let Some(last) = some.last() else { return };
            next = last.id() + 1;
            some.iter().for_each(|conn| visit(conn));
            self.env.yield_now().await;
        }
    }
}

/// Starts the reader and the writer of a new connection.
pub(crate) fn start<E: Env, S: Service<E>>(
    env: &E,
    conn: Rc<Connection<E>>,
    service: Rc<S>,
    on_end: impl FnOnce() + 'static,
) {
    env.spawn(Class::Foreground, egress::run(conn.clone()));
    env.spawn(Class::Foreground, ingress::run(conn, service, on_end));
}

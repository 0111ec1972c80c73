//! The simulated network: hosts at 10.0.x.y, listeners, links that can be cut.
//!
//! 127.0.0.1 is the host itself. A connection attempt to a host without a listener is refused; to one
//! without power, or over a cut link, it is repeated as TCP does and times out after two minutes.

mod conn;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringmq_io::{Listener, Net, Sharing};

pub use self::stream::{SimRecv, SimStream};

use self::conn::{Conn, End, EndState, Segment, one_way};
use crate::disk::SimExtent;
use crate::host::CrashKind;
use crate::process::Process;
use crate::world::Inner;

/// Connections that wait to be accepted, Linux's usual somaxconn.
const BACKLOG: usize = 4096;
/// Repetitions of a connection attempt (1 + 2 + 4 + ... s), Linux's tcp_syn_retries.
const CONNECT_TRIES: u32 = 7;
/// What a name's address takes to be found.
const LOOKUP: Duration = Duration::from_millis(1);
const FIRST_FREE_PORT: u16 = 20_000;
const FIRST_CLIENT_PORT: u16 = 40_000;

#[derive(Default)]
pub(crate) struct NetState {
    listeners: RefCell<Vec<Rc<Bound>>>,
    conns: RefCell<BTreeMap<u64, Rc<Conn>>>,
    cuts: RefCell<BTreeSet<(usize, usize)>>,
    ports: Cell<u16>,
}

/// A listening socket.
struct Bound {
    host: usize,
    process: u64,
    addr: SocketAddr,
    sharing: Sharing,
    backlog: RefCell<VecDeque<Rc<Conn>>>,
    waker: RefCell<Option<Waker>>,
}

impl NetState {
    pub fn cut(&self, from: usize, to: usize) {
        self.cuts.borrow_mut().insert((from, to));
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.borrow().contains(&(from, to))
    }

    fn all_conns(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().values().cloned().collect()
    }

    /// The newest connection of a process that is open, but for one, and which of its ends is the process's.
    fn newest_of(&self, process: u64, except: u64) -> Option<(Rc<Conn>, usize)> {
        self.conns.borrow().values().rev().filter(|conn| conn.id != except).find_map(|conn| {
            let is_own = |end: &End| end.process == process && end.state.get() == EndState::Open;
            conn.ends.iter().position(is_own).map(|side| (conn.clone(), side))
        })
    }

    pub fn forget(&self, conn: u64) {
        let conn = self.conns.borrow_mut().remove(&conn);
        drop(conn);
    }

    pub fn heal(inner: &Rc<Inner>) {
        inner.net.cuts.borrow_mut().clear();
        for conn in inner.net.all_conns() {
            conn.release_held(inner);
        }
    }

    /// The kernel of a machine that is back knows none of its old connections.
    pub fn power_on(inner: &Rc<Inner>, host: usize) {
        for conn in inner.net.all_conns() {
            for end in conn.ends.iter().filter(|end| end.host == host) {
                if end.state.get() == EndState::Dark {
                    end.state.set(EndState::Closed);
                }
            }
            conn.release_held(inner);
            conn.forget_if_over(&inner.net);
        }
    }

    pub fn process_ended(inner: &Rc<Inner>, process: &Rc<Process>, kind: CrashKind) {
        inner.net.listeners.borrow_mut().retain(|bound| bound.process != process.id);
        for conn in inner.net.all_conns() {
            for side in [0, 1] {
                let end = &conn.ends[side];
                if end.process != process.id || end.state.get() != EndState::Open {
                    continue;
                }
                match kind {
                    CrashKind::Process => conn.close(inner, side),
                    CrashKind::PowerLoss => end.state.set(EndState::Dark),
                }
            }
        }
    }

    fn port(&self, first: u16) -> u16 {
        let n = self.ports.get();
        self.ports.set((n + 1) % 20_000);
        first + n
    }

    fn listeners_at(&self, host: usize, addr: SocketAddr) -> Vec<Rc<Bound>> {
        let matches = |bound: &&Rc<Bound>| {
            let ip = bound.addr.ip();
            bound.host == host && bound.addr.port() == addr.port() && (ip.is_unspecified() || ip == addr.ip())
        };
        self.listeners.borrow().iter().filter(matches).cloned().collect()
    }
}

#[derive(Clone)]
pub struct SimNet {
    process: Rc<Process>,
    core: usize,
}

impl SimNet {
    pub(crate) fn new(process: Rc<Process>, core: usize) -> Self {
        Self { process, core }
    }

    /// The host that `addr` leads to from here.
    fn route(&self, addr: SocketAddr) -> Option<usize> {
        if addr.ip().is_loopback() || addr.ip().is_unspecified() {
            return Some(self.process.host.index);
        }
        self.process.inner.hosts.borrow().iter().position(|host| host.ip() == addr.ip())
    }

    fn look_up(&self, name: &str, port: &str) -> io::Result<Vec<SocketAddr>> {
        let port = port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a port"))?;
        let hosts = self.process.inner.hosts.borrow();
        let ip = match name {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            name => hosts.iter().find(|host| host.name == name).map(|host| host.ip()),
        };
        match ip {
            Some(ip) => Ok(vec![SocketAddr::new(ip, port)]),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such host"))),
        }
    }

    /// One attempt. `Ok(None)`: no answer.
    async fn attempt(&self, addr: SocketAddr) -> io::Result<Option<SimStream>> {
        let (process, inner) = (&self.process, &self.process.inner);
        let me = process.host.index;
        let Some(to) = self.route(addr) else { return Ok(None) };
        process.sleep(one_way(inner, me, to)).await;
        let there = inner.hosts.borrow()[to].clone();
        if inner.net.is_cut(me, to) || inner.net.is_cut(to, me) || !there.powered.get() {
            return Ok(None);
        }
        let bound = inner.net.listeners_at(to, addr);
        if bound.is_empty() {
            process.sleep(one_way(inner, to, me)).await;
            let message = format!("{addr}: nobody listens");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, message));
        }
        let bound = &bound[inner.net_rng.index(bound.len())];
        if bound.backlog.borrow().len() >= BACKLOG {
            return Ok(None);
        }
        let ip = if me == to { addr.ip() } else { process.host.ip() };
        let client = SocketAddr::new(ip, inner.net.port(FIRST_CLIENT_PORT));
        let sockets = there.faults.borrow().net.socket_bytes.clone();
        let conn = Rc::new(Conn {
            id: inner.sched.serial(),
            ends: [End::new(me, process.id, client), End::new(to, bound.process, addr)],
            capacity: inner.net_rng.within(sockets) as usize,
        });
        process.event("connect", conn.id, to as u64);
        inner.net.conns.borrow_mut().insert(conn.id, conn.clone());
        bound.backlog.borrow_mut().push_back(conn.clone());
        if let Some(waker) = bound.waker.take() {
            waker.wake();
        }
        let stream = SimStream::new(process.clone(), self.core, conn, 0);
        process.sleep(one_way(inner, to, me)).await;
        Ok(Some(stream))
    }
}

impl Net for SimNet {
    type Extent = SimExtent;
    type Listener = SimListener;
    type Stream = SimStream;

    fn listen(&self, addr: SocketAddr, sharing: Sharing) -> io::Result<SimListener> {
        let (process, net) = (&self.process, &self.process.inner.net);
        let here = process.host.index;
        let mut addr = addr;
        if !addr.ip().is_unspecified() && self.route(addr) != Some(here) {
            let message = format!("{addr}: not an address of this host");
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
        }
        while addr.port() == 0 {
            addr.set_port(net.port(FIRST_FREE_PORT));
            if !net.listeners_at(here, addr).is_empty() {
                addr.set_port(0);
            }
        }
        let taken = net.listeners_at(here, addr);
        let joins = |bound: &Rc<Bound>| {
            sharing == Sharing::Further && bound.sharing != Sharing::Alone && bound.process == process.id
        };
        if !taken.iter().all(joins) {
            let message = format!("{addr}: in use");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        let bound = Rc::new(Bound {
            host: here,
            process: process.id,
            addr,
            sharing,
            backlog: RefCell::default(),
            waker: RefCell::default(),
        });
        process.event("listen", u64::from(addr.port()), self.core as u64);
        net.listeners.borrow_mut().push(bound.clone());
        Ok(SimListener { process: self.process.clone(), core: self.core, bound })
    }

    /// Hosts have the names that the world gave them.
    fn resolve(&self, address: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        let found = match (address.parse(), address.rsplit_once(':')) {
            (Ok(addr), _) => Ok(vec![addr]),
            (_, Some((name, port))) => self.look_up(name, port),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: no port"))),
        };
        let asked = self.process.sleep(LOOKUP);
        async move {
            asked.await;
            found
        }
    }

    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<SimStream>> + 'static {
        let net = self.clone();
        async move {
            for attempt in 0..CONNECT_TRIES {
                if let Some(stream) = net.attempt(addr).await? {
                    return Ok(stream);
                }
                net.process.sleep(Duration::from_secs(1 << attempt)).await;
            }
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("{addr}: no answer")))
        }
    }
}

pub struct SimListener {
    process: Rc<Process>,
    core: usize,
    bound: Rc<Bound>,
}

impl Listener for SimListener {
    type Stream = SimStream;

    fn local_addr(&self) -> SocketAddr {
        self.bound.addr
    }

    async fn accept(&self) -> io::Result<SimStream> {
        let conn = poll_fn(|cx| match self.bound.backlog.borrow_mut().pop_front() {
            Some(conn) => Poll::Ready(conn),
            None => {
                self.bound.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await;
        Ok(SimStream::new(self.process.clone(), self.core, conn, 1))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if !self.process.runs() {
            return;
        }
        let inner = &self.process.inner;
        inner.net.listeners.borrow_mut().retain(|bound| !Rc::ptr_eq(bound, &self.bound));
        for conn in self.bound.backlog.take() {
            conn.ends[1].state.set(EndState::Closed);
            conn.push(inner, 0, Segment::Reset);
        }
    }
}

//! What crosses cores, and how.
//!
//! Owns: the messages between cores, the lanes of this core, what waits for room in a lane, and the leases of ring memory
//! that another core is sending. Message bytes do not cross on the way out: extents cross as descriptors, and the
//! lease stays here until the other core has sent them.
//! Invariants: what goes from one core to another arrives in the order in which it was handed over, whatever its kind
//! (a message that has to wait makes all later ones wait). Only requests may be refused for want of room; everything
//! else waits in an outbox, which is bounded by the requests that caused it: acknowledgements, holds and leases each
//! have a bound of their own.
//! On failure: a full lane gives `LaneFull`, whose text is the client's remark.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ringmq_io::limits::LANE_MESSAGES_MAX;
use ringmq_io::{AlignedBuf, Chunk, Class, Env, Lanes, Lease, Mesh};
use ringmq_store::StoreLayout;
use ringmq_transport::{ConnId, Connection, ExtentOf, OwnedFrame};
use slab::Slab;
use thiserror::Error;

use crate::ask::{Answer, Question};
use crate::control_plane::CarriedCommit;
use crate::once::ClaimName;
use crate::request::Target;
use crate::stages::Began;
use crate::stats::add;
use crate::tables::TableChange;

/// How long an outbox waits before it tries a full lane again: about what a core needs for a turn.
const OUTBOX_RETRY: Duration = Duration::from_micros(200);

/// From one core to another. Each lane keeps order; see the crate for what each kind relies on.
pub enum CoreMessage<X> {
    /// Start, core 0 → others: the store is open; these are its layout and the ports to listen on. Not lost; without it a
    /// core waits until core 0 gives up.
    Open {
        layout: Box<StoreLayout>,
        listen: SocketAddr,
        vip: Option<SocketAddr>,
    },
    /// Start, others → core 0: my shards are open and I handle requests, or why not.
    Opened(Result<(), String>),
    /// Start, core 0 → others: all tables are with you, accept clients.
    Serve,
    /// Core 0 → others, after `Serve`: I have this port as well, accept clients there too.
    ListenToo {
        addr: SocketAddr,
    },
    /// Core 0 → others: end. Others → core 0: I have ended, with the error if syncing failed.
    Stop,
    Stopped(Result<(), String>),

    /// Connection's core → home core. Refused (SYSTEM_BUSY) when the lane is full; the client tries again.
    Request(HoppingRequest),
    /// Home core → connection's core: whole frames to send. Waits for room; lost only with the connection.
    Reply {
        conn: ConnId,
        frames: Vec<u8>,
    },
    /// The same with a body behind the last frame's header. The receiver gives the lease back with `Release`.
    ReplyWithBody {
        conn: ConnId,
        frames: Vec<u8>,
        body: RemoteBody<X>,
    },
    /// Connection's core → home core: the extents of this lease have been sent or dropped. Waits for room: a lost one would
    /// hold the ring for ever.
    Release {
        lease: usize,
    },
    /// Connection's core → all: the connection is gone. Comes after its requests; drops holds, tells the control core.
    /// Waits for room.
    Closed {
        conn: ConnId,
    },
    /// Control core → connection's core: a request to a client, oneway. Waits for room; lost only with the connection.
    Push {
        conn: ConnId,
        frames: Vec<u8>,
    },
    /// Control core → all: a change of the tables. Waits for room; comes before any answer that relies on it.
    Table(Box<TableChange>),
    /// Any → control core: offsets that came with pulls. Waits for room. A crash loses what was not journalled; the client
    /// sends its offsets again with the next pull.
    Carried(Vec<CarriedCommit>),
    /// Any → the core that granted a claim: how it ended, with the place of the message if it was stored. Waits for room: a lost
    /// one would refuse the key until a restart.
    ClaimEnded {
        number: u64,
        stored: Option<u64>,
    },
    /// Any → any: wait for room; the asker waits for the answer.
    Ask {
        ticket: u64,
        question: Box<Question>,
    },
    Answer {
        ticket: u64,
        answer: Box<Answer>,
    },
}

/// A client's request on its way to its home core.
pub struct HoppingRequest {
    pub conn: ConnId,
    pub peer: SocketAddr,
    pub target: Target,
    pub frame: OwnedFrame,
    /// Goes along.
    pub claim: Option<ClaimName>,
    /// When, if this one is timed.
    pub began: Began,
}

/// A body that another core's memory holds.
pub struct RemoteBody<X> {
    pieces: Vec<Piece<X>>,
    buffers: Vec<AlignedBuf>,
    lease: Option<usize>,
}

enum Piece<X> {
    Owned(Vec<u8>),
    /// A range of one of the buffers, which moved along.
    Buffer(usize, Range<usize>),
    Extent(X),
}

/// The lane's name and depth, as the client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("lane {from}->{to} full: {messages} messages")]
pub struct LaneFull {
    pub from: usize,
    pub to: usize,
    pub messages: usize,
}

pub type MessageOf<E> = CoreMessage<ExtentOf<E>>;
pub type LanesOf<E> = <<E as Env>::Mesh as Mesh>::Lanes<MessageOf<E>>;

/// Messages to one core that wait for room in its lane.
struct Outbox<E: Env> {
    waiting: RefCell<VecDeque<MessageOf<E>>>,
    draining: Cell<bool>,
}

/// This core's way to the others.
pub struct Hop<E: Env> {
    env: E,
    core: usize,
    lanes: LanesOf<E>,
    outboxes: Box<[Outbox<E>]>,
    leases: RefCell<Slab<Vec<Lease>>>,
    stopping: Cell<bool>,
    pub requests: Cell<u64>,
    pub lanes_full: Cell<u64>,
}

impl<E: Env> Hop<E> {
    pub fn new(env: &E, lanes: LanesOf<E>) -> Rc<Self> {
        let outbox = |_| Outbox { waiting: RefCell::default(), draining: Cell::new(false) };
        Rc::new(Self {
            env: env.clone(),
            core: env.core(),
            outboxes: (0..env.cores()).map(outbox).collect(),
            lanes,
            leases: RefCell::default(),
            stopping: Cell::new(false),
            requests: Cell::new(0),
            lanes_full: Cell::new(0),
        })
    }

    pub fn lanes(&self) -> &LanesOf<E> {
        &self.lanes
    }

    /// The process ends: nothing waits for a full lane any more.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Sends a client's request to its home core.
    pub fn request(&self, to: usize, request: HoppingRequest) -> Result<(), LaneFull> {
        debug_assert_ne!(to, self.core);
        add(&self.requests, 1);
        let waiting = self.outboxes[to].waiting.borrow().len();
        let message = CoreMessage::Request(request);
        if waiting == 0 && self.lanes.try_send(to, message).is_ok() {
            return Ok(());
        }
        add(&self.lanes_full, 1);
        Err(LaneFull { from: self.core, to, messages: LANE_MESSAGES_MAX + waiting })
    }

    /// Sends what must not be lost: waits in the outbox if the lane is full.
    pub fn send(self: &Rc<Self>, to: usize, message: MessageOf<E>) {
        debug_assert_ne!(to, self.core);
        let outbox = &self.outboxes[to];
        let mut waiting = outbox.waiting.borrow_mut();
        if waiting.is_empty() {
            match self.lanes.try_send(to, message) {
                Ok(()) => return,
                Err(message) => waiting.push_back(message),
            }
        } else {
            waiting.push_back(message);
        }
        if !outbox.draining.replace(true) {
            self.env.spawn(Class::Foreground, self.clone().drain(to));
        }
    }

    async fn drain(self: Rc<Self>, to: usize) {
        let outbox = &self.outboxes[to];
        while !self.stopping.get() {
            let Some(message) = outbox.waiting.borrow_mut().pop_front() else { break };
            if let Err(message) = self.lanes.try_send(to, message) {
                outbox.waiting.borrow_mut().push_front(message);
                self.env.sleep(OUTBOX_RETRY).await;
            }
        }
        outbox.draining.set(false);
    }

    /// Tells all other cores.
    pub fn broadcast(self: &Rc<Self>, message: impl Fn() -> MessageOf<E>) {
        for to in (0..self.outboxes.len()).filter(|to| *to != self.core) {
            self.send(to, message());
        }
    }

    /// Messages to core `to` that are in its lane, and that wait for room in it.
    pub fn waiting(&self, to: usize) -> (usize, usize) {
        (self.lanes.waiting(to), self.outboxes[to].waiting.borrow().len())
    }

    /// Whole frames for a connection of another core.
    pub fn reply(self: &Rc<Self>, conn: ConnId, frames: Vec<u8>) {
        self.send(Connection::<E>::core_of(conn), CoreMessage::Reply { conn, frames });
    }

    /// Frames, the last of which has its body in `body`. Leases stay here until they are released.
    pub fn reply_with_body(self: &Rc<Self>, conn: ConnId, frames: Vec<u8>, body: Vec<Chunk<ExtentOf<E>>>) {
        let body = self.lend(body);
        self.send(Connection::<E>::core_of(conn), CoreMessage::ReplyWithBody { conn, frames, body });
    }

    fn lend(&self, body: Vec<Chunk<ExtentOf<E>>>) -> RemoteBody<ExtentOf<E>> {
        let mut pieces = Vec::with_capacity(body.len());
        let mut leases: Vec<Lease> = Vec::new();
        let mut shared: Vec<Rc<AlignedBuf>> = Vec::new();
        for chunk in body {
            pieces.push(match chunk {
                Chunk::Owned(bytes) => Piece::Owned(bytes),
                Chunk::Aligned(buffer, range) => {
                    let known = shared.iter().position(|other| Rc::ptr_eq(other, &buffer));
                    let index = known.unwrap_or_else(|| {
                        shared.push(buffer);
                        shared.len() - 1
                    });
                    Piece::Buffer(index, range)
                }
                Chunk::Extent(extent, lease) => {
                    if let Some(lease) = lease
                        && !leases.iter().any(|other| Rc::ptr_eq(other, &lease))
                    {
                        leases.push(lease);
                    }
                    Piece::Extent(extent)
                }
            });
        }
        // A buffer that another answer shares too cannot move: that answer's share is copied. Only cold reads of two
        // consumers at the same place meet here.
        let buffers = shared
            .into_iter()
            .map(|buffer| Rc::try_unwrap(buffer).unwrap_or_else(|shared| AlignedBuf::copy_of(&shared)))
            .collect();
        let lease = (!leases.is_empty()).then(|| self.leases.borrow_mut().insert(leases));
        RemoteBody { pieces, buffers, lease }
    }

    /// The other core has sent what this lease was for.
    pub fn release(&self, lease: usize) {
        let released = self.leases.borrow_mut().try_remove(lease);
        debug_assert!(released.is_some(), "lease {lease} released twice");
    }

    pub fn leases_out(&self) -> usize {
        self.leases.borrow().len()
    }

    /// The chunks of a body that came from core `from`. When the last of them is dropped, the lease goes back.
    pub fn chunks(
        self: &Rc<Self>,
        from: usize,
        body: RemoteBody<ExtentOf<E>>,
    ) -> impl Iterator<Item = Chunk<ExtentOf<E>>> + use<E> {
        let lease: Option<Lease> = body
            .lease
            .map(|lease| Rc::new(Borrowed { hop: Rc::downgrade(self), from, lease }) as Rc<dyn Any>);
        let buffers: Vec<Rc<AlignedBuf>> = body.buffers.into_iter().map(Rc::new).collect();
        body.pieces.into_iter().map(move |piece| match piece {
            Piece::Owned(bytes) => Chunk::Owned(bytes),
            Piece::Buffer(index, range) => Chunk::Aligned(buffers[index].clone(), range),
            Piece::Extent(extent) => Chunk::Extent(extent, lease.clone()),
        })
    }
}

/// A lease of another core; goes back when dropped.
struct Borrowed<E: Env> {
    hop: Weak<Hop<E>>,
    from: usize,
    lease: usize,
}

impl<E: Env> Drop for Borrowed<E> {
    fn drop(&mut self) {
        // Without a hop the process is ending, and the ring with it.
        if let Some(hop) = self.hop.upgrade() {
            hop.send(self.from, CoreMessage::Release { lease: self.lease });
        }
    }
}

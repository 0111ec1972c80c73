//! One request on its way to its handler.
//!
//! Owns: what a handler is given (`Request`), what it says about the outcome (`Handled`), and a request that has to
//! outlive its receive buffer (`OwnedRequest`). Invariants: a handler that returns `Done` or `Wait` has taken a
//! `Responder` or has nothing to answer; one that returns `Elsewhere` or `NoRoom` has taken none and changed nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_store::AppendError;
use ringmq_transport::{ConnId, OwnedFrame};
use ringmq_wire::Command;

use crate::once::Claim;
use crate::reply::{Origin, Responder};

pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The control core.
    Control,
    /// The core of a shard, for this queue. The origin has checked topic, permission and queue id.
    Queue { shard: u16, queue_id: u32 },
    /// The same for a pull that the origin has let pass without a filter, its subscription being news to the broker.
    QueueUnfiltered { shard: u16, queue_id: u32 },
    /// The core of a shard.
    Shard(u16),
}

/// A request as its handler sees it; valid until the handler returns.
pub struct Request<'a, 'f, E: Env> {
    pub command: &'a Command<'f>,
    /// The whole frame.
    pub raw: &'a [u8],
    /// The client's address.
    pub peer: SocketAddr,
    pub origin: &'a Origin<E>,
    /// Set when another core has sent the request here, or an earlier look at it has found out where it belongs.
    pub target: Option<Target>,
    /// The request is the oldest of those that wait for room in its shard's ring: it may pass the others.
    pub first_in_line: bool,
    /// The right to store a message that its topic takes once.
    pub claim: Option<&'a Rc<Claim<E>>>,
}

impl<E: Env> Request<'_, '_, E> {
    pub fn conn(&self) -> ConnId {
        self.origin.conn()
    }

    /// Takes over the duty to answer.
    pub fn responder(&self) -> Responder<E> {
        Responder::new(self.origin.clone(), self.command.opaque, self.command.is_oneway())
    }

    /// Refuses the request.
    pub fn refuse(&self, code: i32, remark: &str) -> Handled {
        self.responder().refuse(code, remark);
        Handled::Done
    }

    /// A copy for later.
    pub fn to_owned_request(&self) -> OwnedRequest<E> {
        OwnedRequest {
            frame: OwnedFrame::parse(self.raw).expect("a frame that was decoded decodes again"),
            peer: self.peer,
            origin: self.origin.clone(),
            target: self.target,
            claim: self.claim.cloned(),
        }
    }
}

/// What a handler did.
#[must_use]
pub enum Handled {
    /// Answered, or will be by whoever holds the responder.
    Done,
    /// Not for this core; nothing was done.
    Elsewhere(Target),
    /// The handler has taken an owned copy; later requests of this connection wait until the future is done. (Of a
    /// hopped request, the future is run as a task and nothing waits: a handler that needs order must keep it itself.)
    Wait(LocalFuture<()>),
    /// A send that found its shard's ring full; nothing was done.
    NoRoom { shard: u16, queue_id: u32, error: AppendError },
}

/// A request on its own memory.
pub struct OwnedRequest<E: Env> {
    pub frame: OwnedFrame,
    pub peer: SocketAddr,
    pub origin: Origin<E>,
    pub target: Option<Target>,
    pub claim: Option<Rc<Claim<E>>>,
}

impl<E: Env> OwnedRequest<E> {
    /// Looks at the request again.
    pub fn with<R>(&self, look: impl FnOnce(Request<'_, '_, E>) -> R) -> R {
        let command = self.frame.command();
        look(Request {
            command: &command,
            raw: self.frame.raw(),
            peer: self.peer,
            origin: &self.origin,
            target: self.target,
            first_in_line: false,
            claim: self.claim.as_ref(),
        })
    }

    pub fn refuse(&self, code: i32, remark: &str) {
        self.with(|request| request.responder().refuse(code, remark));
    }
}

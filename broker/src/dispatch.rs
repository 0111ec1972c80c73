//! From a frame to its handler, and from there to another core if it belongs there.
//!
//! Owns: the table of request codes. Invariants: a request is handled on one core exactly once; the requests of one
//! connection to one queue keep their order (the lane is first in, first out, and a request that has to wait makes the
//! connection, or the shard's line, wait).
//! On failure: codes that nobody serves get REQUEST_CODE_NOT_SUPPORTED and are counted; a full lane gets SYSTEM_BUSY
//! with its name.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_transport::{Connection, Flow, FrameRef, Service};
use ringmq_wire::code::{request_code as code, response_code};

use crate::control_plane::is_control_request;
use crate::core::Core;
use crate::handlers;
use crate::hop::{CoreMessage, HoppingRequest};
use crate::reply::Origin;
use crate::request::{Handled, LocalFuture, OwnedRequest, Request, Target};
use crate::stages::Stage;

impl<E: Env> Service<E> for Core<E> {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        let origin = Origin::Local(conn.clone());
        let request = Request {
            command: &frame.command,
            raw: frame.raw,
            peer: conn.peer(),
            origin: &origin,
            target: None,
            first_in_line: false,
            claim: None,
        };
        match self.route(&request) {
            None => Flow::Continue,
            Some(wait) => Flow::Wait(wait),
        }
    }

    fn on_close(&self, conn: &Rc<Connection<E>>) {
        let conn = conn.id();
        self.hop.broadcast(|| CoreMessage::Closed { conn });
        self.connection_is_gone(conn);
    }
}

impl<E: Env> Core<E> {
    /// Handles a request here or sends it where it belongs. What is given back must be done before the connection's
    /// next request is looked at.
    fn route(self: &Rc<Self>, request: &Request<'_, '_, E>) -> Option<LocalFuture<()>> {
        match self.handle(request) {
            Handled::Done => None,
            Handled::Wait(wait) => Some(wait),
            Handled::NoRoom { shard, queue_id, error } => self.park(shard, queue_id, request, error),
            Handled::Elsewhere(target) => {
                self.hop_to(target, request);
                None
            }
        }
    }

    pub(crate) fn hop_to(self: &Rc<Self>, target: Target, request: &Request<'_, '_, E>) {
        let to = self.core_of(target);
        if to == self.env.core() || request.target.is_some() {
            tracing::error!(?target, code = request.command.code, "a request has no home");
            debug_assert!(false, "request {} has no home: {target:?}", request.command.code);
            request
                .responder()
                .refuse(response_code::SYSTEM_ERROR, "this request has no home, which is a bug");
            return;
        }
        let frame = request.to_owned_request().frame;
        let began = self.stages.begin(&self.env, Stage::Hop);
        let hopping = HoppingRequest {
            conn: request.conn(),
            peer: request.peer,
            target,
            frame,
            claim: request.claim.map(|claim| claim.name()),
            began,
        };
        match self.hop.request(to, hopping) {
            Ok(()) => {
                if let Some(claim) = request.claim {
                    claim.passed_on();
                }
            }
            Err(full) => {
                request.responder().refuse(response_code::SYSTEM_BUSY, &format!("[RINGMQ_BUSY] {full}"));
            }
        }
    }

    /// The one table of request codes.
    fn handle(self: &Rc<Self>, request: &Request<'_, '_, E>) -> Handled {
        match request.command.code {
            code::SEND_MESSAGE | code::SEND_MESSAGE_V2 | code::SEND_BATCH_MESSAGE => {
                handlers::send_message::handle(self, request)
            }
            code::CONSUMER_SEND_MSG_BACK => handlers::send_back::handle(self, request),
            code::RECALL_MESSAGE => handlers::recall_message::handle(self, request),
            code::END_TRANSACTION => handlers::end_transaction::handle(self, request),
            code::RESUME_CHECK_HALF_MESSAGE => handlers::resume_check::handle(self, request),
            code::SEND_REPLY_MESSAGE | code::SEND_REPLY_MESSAGE_V2 => {
                handlers::reply_message::handle(self, request)
            }
            code::PULL_MESSAGE | code::LITE_PULL_MESSAGE => handlers::pull_message::handle(self, request),
            code::GET_MAX_OFFSET => handlers::max_offset::handle(self, request),
            code::GET_MIN_OFFSET => handlers::min_offset::handle(self, request),
            code::SEARCH_OFFSET_BY_TIMESTAMP => handlers::search_offset::handle(self, request),
            code::GET_EARLIEST_MSG_STORETIME => handlers::earliest_store_time::handle(self, request),
            code::VIEW_MESSAGE_BY_ID => handlers::view_message::handle(self, request),
            code::QUERY_MESSAGE => handlers::query_message::handle(self, request),
            other if is_control_request(other) => {
                self.flush_carried();
                match self.control() {
                    Some(control) => control.clone().on_request(request),
                    None => Handled::Elsewhere(Target::Control),
                }
            }
            other => {
                self.counters.count_unsupported(other);
                request.refuse(
                    response_code::REQUEST_CODE_NOT_SUPPORTED,
                    &format!(" request type {other} not supported"),
                )
            }
        }
    }

    /// A request that came over a lane.
    pub(crate) fn handle_hopped(self: &Rc<Self>, request: OwnedRequest<E>) {
        if let Some(wait) = request.with(|request| self.route(&request)) {
            self.env.spawn(Class::Foreground, wait);
        }
    }

    /// Looks at a request again after something that it needs was made.
    pub(crate) async fn handle_again(self: Rc<Self>, request: OwnedRequest<E>) {
        if let Some(wait) = request.with(|request| self.route(&request)) {
            wait.await;
        }
    }
}

//! How every handler answers, wherever the client's connection is.
//!
//! Owns: the way back. A `Responder` of a connection of this core encodes straight into the connection's output buffer;
//! one of a hopped request sends the encoded answer over the lane to the connection's core. Answers are JSON whatever
//! the request was, as RocketMQ answers in its own configured form and every client reads both.
//! Invariants: a request is answered at most once, and a oneway request never; a responder is consumed by its answer.
//! On failure: an answer that no frame can hold becomes SYSTEM_ERROR with the reason; a responder that is dropped
//! without an answer is a bug: it answers SYSTEM_ERROR, logs and counts.

use std::fmt::Display;
use std::rc::Rc;

use ringmq_io::{Chunk, Env};
use ringmq_transport::{ConnId, Connection, ExtentOf};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::{EncodeError, begin_response};

use crate::hop::Hop;

/// A refusal in the client's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: i32,
    pub remark: String,
}

impl Refusal {
    pub fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// What was asked for needs a read of the store, which failed.
    pub fn unreadable(error: impl Display) -> Self {
        Self::new(response_code::SYSTEM_ERROR, format!("the store cannot be read: {error}"))
    }
}

/// Where a request's connection is.
pub enum Origin<E: Env> {
    Local(Rc<Connection<E>>),
    /// On another core, which the id names.
    Remote {
        hop: Rc<Hop<E>>,
        conn: ConnId,
    },
}

impl<E: Env> Clone for Origin<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Local(conn) => Self::Local(conn.clone()),
            Self::Remote { hop, conn } => Self::Remote { hop: hop.clone(), conn: *conn },
        }
    }
}

impl<E: Env> Origin<E> {
    pub fn conn(&self) -> ConnId {
        match self {
            Self::Local(conn) => conn.id(),
            Self::Remote { conn, .. } => *conn,
        }
    }
}

/// The right, and the duty, to answer one request.
#[must_use = "a request must be answered"]
pub struct Responder<E: Env> {
    origin: Origin<E>,
    opaque: i32,
    /// Nothing is owed: the request was oneway, or has been answered.
    settled: bool,
    oneway: bool,
}

impl<E: Env> Responder<E> {
    pub fn new(origin: Origin<E>, opaque: i32, oneway: bool) -> Self {
        Self { origin, opaque, settled: oneway, oneway }
    }

    pub fn conn(&self) -> ConnId {
        self.origin.conn()
    }

    /// Nobody waits for this answer: it need not be prepared.
    pub fn is_oneway(&self) -> bool {
        self.oneway
    }

    /// Success without fields or body.
    pub fn ok(self) {
        self.answer(|out, opaque| {
            begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None).finish(&[])
        });
    }

    /// Success with a body.
    pub fn ok_with_body(self, body: &[u8]) {
        self.answer(|out, opaque| {
            begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None).finish(body)
        });
    }

    /// Any code with a remark.
    pub fn refuse(self, code: i32, remark: &str) {
        self.answer(|out, opaque| {
            begin_response(out, Serialization::Json, code, opaque, 0, Some(remark)).finish(&[])
        });
    }

    pub fn refuse_with(self, refusal: &Refusal) {
        self.refuse(refusal.code, &refusal.remark);
    }

    /// Encodes a whole answer. `encode` appends one frame that carries the opaque it is given, or fails and appends
    /// nothing.
    pub fn answer(mut self, encode: impl FnOnce(&mut Vec<u8>, i32) -> Result<usize, EncodeError>) {
        if self.settled {
            return;
        }
        self.settled = true;
        match &self.origin {
            Origin::Local(conn) => {
                let mut outcome = Ok(0);
                conn.write(|out| outcome = encode(out, self.opaque));
                if let Err(error) = outcome {
                    conn.write(|out| encode_failure(out, self.opaque, error));
                }
            }
            Origin::Remote { hop, conn } => {
                let mut frames = Vec::with_capacity(512);
                if let Err(error) = encode(&mut frames, self.opaque) {
                    encode_failure(&mut frames, self.opaque, error);
                }
                hop.reply(*conn, frames);
            }
        }
    }

    /// Encodes an answer's prefix and header; its body follows as chunks whose bytes the frame's length counts.
    pub fn answer_with_body(
        mut self,
        encode_head: impl FnOnce(&mut Vec<u8>, i32) -> Result<usize, EncodeError>,
        body: Vec<Chunk<ExtentOf<E>>>,
    ) {
        if self.settled {
            return;
        }
        self.settled = true;
        let mut head = Vec::with_capacity(512);
        if let Err(error) = encode_head(&mut head, self.opaque) {
            head.clear();
            encode_failure(&mut head, self.opaque, error);
            match &self.origin {
                Origin::Local(conn) => conn.write(|out| out.extend_from_slice(&head)),
                Origin::Remote { hop, conn } => hop.reply(*conn, head),
            }
            return;
        }
        match &self.origin {
            Origin::Local(conn) => conn.write_with_body(|out| out.extend_from_slice(&head), body),
            Origin::Remote { hop, conn } => hop.reply_with_body(*conn, head, body),
        }
    }

    /// Gives up the duty to answer: the connection is gone, or the process ends.
    pub fn abandon(mut self) {
        self.settled = true;
    }
}

fn encode_failure(out: &mut Vec<u8>, opaque: i32, error: EncodeError) {
    let remark = format!("the answer cannot be sent: {error}");
    begin_response(out, Serialization::Json, response_code::SYSTEM_ERROR, opaque, 0, Some(&remark))
        .finish(&[])
        .expect("a short answer fits a frame");
}

impl<E: Env> Drop for Responder<E> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.settled = true;
        let closed = match &self.origin {
            Origin::Local(conn) => conn.is_closed(),
            Origin::Remote { hop, .. } => hop.is_stopping(),
        };
        if closed {
            return;
        }
        tracing::error!(opaque = self.opaque, conn = self.conn(), "a request was dropped without an answer");
        let mut frame = Vec::new();
        begin_response(
            &mut frame,
            Serialization::Json,
            response_code::SYSTEM_ERROR,
            self.opaque,
            0,
            Some("the broker dropped this request, which is a bug"),
        )
        .finish(&[])
        .expect("a short answer fits a frame");
        match &self.origin {
            Origin::Local(conn) => conn.write(|out| out.extend_from_slice(&frame)),
            Origin::Remote { hop, conn } => hop.reply(*conn, frame),
        }
    }
}

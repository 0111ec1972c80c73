//! Requests of the broker to a client that wait for its answer, wherever the client's connection is.
//!
//! Owns: the way from the core that asks to the connection's core and back; what a request says is data ([`ClientCall`]), and is
//! encoded where the connection is. Invariants: a call ends with the client's answer, or a reason, at the latest after its
//! time-out; a client that answers nothing holds at most `CALLS_PER_CONN_MAX` of them.
//! On failure: [`CallFailed`], whose text is for a remark.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_io::limits::RELAYS_MAX;
use ringmq_transport::{CallError, ConnId, Connection, OwnedFrame};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_request;
use thiserror::Error;

use crate::ask::{Answer, Question};
use crate::core::Core;
use crate::reply::Refusal;
use crate::under_way::UnderWay;

/// A request to a client.
#[derive(Clone, Debug)]
pub struct ClientCall {
    pub code: i32,
    pub fields: Vec<(Cow<'static, str>, String)>,
    pub body: Box<[u8]>,
}

/// Begins passing an administrator's question on to consumers; refused if `RELAYS_MAX` are under way.
pub fn begin_relay<E: Env>(core: &Rc<Core<E>>) -> Result<UnderWay<E>, Refusal> {
    UnderWay::begin(core, |counters| &counters.relays_now, RELAYS_MAX).map_err(|now| {
        let remark = format!("[RINGMQ_BUSY] {now} questions to consumers are under way already");
        Refusal::new(response_code::SYSTEM_BUSY, remark)
    })
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallFailed {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Broken(String),
}

impl<E: Env> Core<E> {
    /// Asks a client and waits for its answer.
    pub async fn call_client(
        self: &Rc<Self>,
        conn: ConnId,
        call: ClientCall,
        timeout: Duration,
    ) -> Result<OwnedFrame, CallFailed> {
        let question = Question::CallClient { conn, call: Box::new(call), timeout };
        match self.ask(Connection::<E>::core_of(conn), question).await {
            Answer::Called(outcome) => outcome,
            other => unreachable!("asked to call a client, was answered {other:?}"),
        }
    }

    /// The connection is of this core.
    pub(crate) async fn call_client_here(
        self: Rc<Self>,
        conn: ConnId,
        call: ClientCall,
        timeout: Duration,
    ) -> Result<OwnedFrame, CallFailed> {
        let Some(conn) = self.connection(conn) else {
            return Err(CallFailed::Broken("its connection is gone".into()));
        };
        let mut encoded = Ok(0);
        let answer = conn.request(
            |out, opaque| {
                let mut writer = begin_request(out, Serialization::Json, call.code, opaque, 0);
                for (name, value) in &call.fields {
                    writer.ext(name, value);
                }
                encoded = writer.finish(&call.body);
            },
            timeout,
        );
        drop(conn);
        encoded.map_err(|error| CallFailed::Broken(format!("the request cannot be sent: {error}")))?;
        answer.await.map_err(|error| match error {
            CallError::TimedOut(after) => CallFailed::TimedOut(after),
            other => CallFailed::Broken(other.to_string()),
        })
    }
}

//! Requests of the broker to a client that wait for its answer, wherever the client's connection is.
//!
//! Owns: the way from the core that asks to the connection's core and back; what a request says is data ([`ClientCall`]), and is
//! encoded where the connection is. Invariants: a call ends with the client's answer, or a reason, at the latest after its
//! time-out; a client that answers nothing holds at most `CALLS_PER_CONN_MAX` of them.
//! On failure: the reason as text, for a remark.

use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_transport::{ConnId, Connection, OwnedFrame};
use ringmq_wire::Serialization;
use ringmq_wire::encode::begin_request;

use crate::ask::{Answer, Question};
use crate::core::Core;

/// A request to a client.
#[derive(Clone, Debug)]
pub struct ClientCall {
    pub code: i32,
    pub fields: Vec<(&'static str, String)>,
    pub body: Box<[u8]>,
}

impl<E: Env> Core<E> {
    /// Asks a client and waits for its answer.
    pub async fn call_client(
        self: &Rc<Self>,
        conn: ConnId,
        call: ClientCall,
        timeout: Duration,
    ) -> Result<OwnedFrame, String> {
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
    ) -> Result<OwnedFrame, String> {
        let Some(conn) = self.connection(conn) else { return Err("its connection is gone".into()) };
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
        encoded.map_err(|error| format!("the request cannot be sent: {error}"))?;
        answer.await.map_err(|error| error.to_string())
    }
}

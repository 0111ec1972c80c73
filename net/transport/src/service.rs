//! What a listener or a client does with the requests that come in.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code::REQUEST_CODE_NOT_SUPPORTED;
use ringmq_wire::encode::begin_response;

use crate::{Connection, FrameRef};

/// The meaning of requests. One per listener and core.
pub trait Service<E: Env>: 'static {
    /// Called for each request frame, in the order of arrival on its connection. Must not block. Answers go
    /// to `conn`, now or later; a request with the oneway flag is not answered.
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow;

    fn on_open(&self, _conn: &Rc<Connection<E>>) {}

    /// The connection is gone; called once for each `on_open`, after the last `on_request`.
    fn on_close(&self, _conn: &Rc<Connection<E>>) {}
}

/// How a connection goes on after a request.
pub enum Flow {
    Continue,
    /// Later frames of this connection are not looked at until the future is done. It is dropped unfinished if
    /// this side ends the connection; that the peer has left is only seen afterwards, so it must end by itself.
    Wait(Pin<Box<dyn Future<Output = ()>>>),
    /// Send what is queued, then close.
    Close,
}

/// For clients whose server has nothing to ask: every request is answered "not supported".
pub struct NoRequests;

impl<E: Env> Service<E> for NoRequests {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        let command = &frame.command;
        if !command.is_oneway() {
            let remark = format!(" request type {} not supported", command.code);
            conn.write(|out| {
                let code = REQUEST_CODE_NOT_SUPPORTED;
                let writer =
                    begin_response(out, command.serialization, code, command.opaque, 0, Some(&remark));
                writer.finish(&[]).expect("a short answer fits a frame");
            });
        }
        Flow::Continue
    }
}

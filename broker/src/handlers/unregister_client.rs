//! UNREGISTER_CLIENT (35): a client leaves a consumer group, a producer group, or both.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::UnregisterClientHeader;

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match UnregisterClientHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    // The connection tells who leaves, as in RocketMQ 5.5.0 ConsumerGroupInfo#unregisterChannel.
    let conn = request.conn();
    if let Some(group) = header.producer_group {
        control.clients.borrow_mut().producer_leaves(group, conn);
    }
    if let Some(group) = header.consumer_group {
        let left = control.clients.borrow_mut().consumer_leaves(group, conn);
        if left {
            tracing::info!(group, client = header.client_id, "consumer left");
            control.member_left(group);
        }
    }
    request.responder().ok();
    Handled::Done
}

//! UPDATE_CONSUMER_OFFSET (15): this group has consumed up to here.
//!
//! Invariant: an answered commit is durable. A oneway one is gathered with others (`control::commits`).

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::UpdateConsumerOffsetHeader;

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match UpdateConsumerOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let UpdateConsumerOffsetHeader { consumer_group: group, topic, queue_id, commit_offset } = header;
    let responder = request.responder();
    if responder.is_oneway() {
        if let Err(refusal) = control.commit_soon(group, topic, queue_id, commit_offset) {
            tracing::debug!(group, topic, remark = refusal.remark, "oneway commit dropped");
        }
        return Handled::Done;
    }
    if control.is_reset(group, topic, queue_id) {
        responder.answer(|out, opaque| {
            let (json, code) = (Serialization::Json, response_code::SUCCESS);
            begin_response(out, json, code, opaque, 0, Some("Offset has been previously reset")).finish(&[])
        });
        return Handled::Done;
    }
    let asked = control.may_change().and_then(|()| control.commit(group, topic, queue_id, commit_offset));
    match asked {
        Err(refusal) => responder.refuse_with(&refusal),
        Ok(entry) => {
            let control = control.clone();
            control.clone().core.env.spawn(Class::Foreground, async move {
                match control.durable(entry).await {
                    Ok(()) => responder.ok(),
                    Err(refusal) => responder.refuse_with(&refusal),
                }
            });
        }
    }
    Handled::Done
}

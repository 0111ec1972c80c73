//! DELETE_SUBSCRIPTIONGROUP (207): forget a consumer group, and its offsets if the administrator says so.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#deleteSubscriptionGroup: what is not there is deleted with success, and a group that may be made
//! by its first use comes back with default settings when it is used. Its retry topic is deleted by whoever deletes the group.
//! Invariant: answered when it is durable and published.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::DeleteSubscriptionGroupHeader;

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match DeleteSubscriptionGroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    if header.group_name.trim().is_empty() {
        return request.refuse(response_code::INVALID_PARAMETER, "The specified group is blank.");
    }
    control.remove_group(header.group_name, header.clean_offset);
    if header.clean_offset {
        control.resets.forget_group(header.group_name);
    }
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        match control.all_announced().await {
            Ok(()) => responder.ok(),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

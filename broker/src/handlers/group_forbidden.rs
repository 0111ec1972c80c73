//! UPDATE_AND_GET_GROUP_FORBIDDEN (353): may a group read a topic?
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#updateAndGetGroupForbidden, PullMessageProcessor (SUBSCRIPTION_FORBIDDEN). Kept with the group's
//! settings, and deleted with them; a group that is not there and may not be made by its first use is refused.
//! Invariant: a change is answered when it is durable and published.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::GroupTopicHeader;
use serde::Serialize;

use super::queue::bad_header;
use crate::control::attributes;
use crate::control::groups::GroupConfig;
use crate::control::{Control, group_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

#[derive(Serialize)]
struct Answer {
    group: Box<str>,
    readable: bool,
    topic: Box<str>,
}

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GroupTopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let readable = match change(control, &header) {
        Ok(readable) => readable,
        Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
    };
    let answer = Answer { group: header.group.into(), readable, topic: header.topic.into() };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        match control.all_announced().await {
            Ok(()) => responder.ok_with_body(&ringmq_wire::json_dialect::to_vec(&answer)),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

/// What holds afterwards.
fn change<E: Env>(control: &Control<E>, header: &GroupTopicHeader<'_>) -> Result<bool, Refusal> {
    let Some(group) = control.group_or_auto_created(header.group)? else {
        let remark = format!("subscription group [{}] does not exist", header.group);
        return Err(Refusal::new(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    };
    let is_readable = !attributes::forbidden(&group.attributes).any(|topic| topic == header.topic);
    let wanted = header.readable.unwrap_or(is_readable);
    if wanted != is_readable {
        if header.topic.is_empty() || header.topic.contains(',') {
            let remark = format!("{:?} is no topic", header.topic);
            return Err(Refusal::new(response_code::INVALID_PARAMETER, remark));
        }
        control.may_change()?;
        let attributes = attributes::with_readable(&group.attributes, header.topic, wanted);
        let group = GroupConfig { attributes, ..(*group).clone() };
        control.put_group(group).map_err(|error| group_refusal(&error))?;
    }
    Ok(wanted)
}

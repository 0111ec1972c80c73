//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): the offsets that each member of a group has in its memory.
//!
//! Each member, or the one that is named, is asked (221); one that does not answer is left out. RocketMQ 5.5.0
//! Broker2Client#getConsumeStatus. Difference: a group that is not online is CONSUMER_NOT_ONLINE; there it is a failure.
//! Bounded by `RELAYS_MAX`.

use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::headers::GetConsumerStatusHeader;
use ringmq_wire::json_dialect::{self, ConsumerStatusBody};
use ringmq_wire::version::ordinal;

use super::queue::bad_header;
use crate::client_call::{ClientCall, begin_relay};
use crate::control::Control;
use crate::request::{Handled, Request};

/// For each member, as there.
const TIMEOUT: Duration = Duration::from_secs(5);

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetConsumerStatusHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    // In spite of its name it is a client's id.
    let only = header.client_addr.filter(|id| !id.trim().is_empty());
    let members: Vec<_> = match control.clients.borrow().consumer_group(header.group) {
        Some(group) => group
            .members
            .iter()
            .filter(|(_, member)| only.is_none_or(|only| *only == *member.client_id))
            .map(|(conn, member)| (*conn, member.client_id.clone(), member.version))
            .collect(),
        None => Vec::new(),
    };
    if members.is_empty() {
        let remark = format!("No Any Consumer online in the consumer group: [{}]", header.group);
        return request.refuse(response_code::CONSUMER_NOT_ONLINE, &remark);
    }
    if let Some((_, id, version)) = members.iter().find(|(_, _, version)| *version < ordinal::V3_0_7_SNAPSHOT)
    {
        let remark = format!("the client does not support this feature. client={id}, version={version}");
        return request.refuse(response_code::SYSTEM_ERROR, &remark);
    }
    let under_way = match begin_relay(&control.core) {
        Ok(under_way) => under_way,
        Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
    };
    let fields = vec![("topic".into(), header.topic.to_owned()), ("group".into(), header.group.to_owned())];
    let call =
        ClientCall { code: request_code::GET_CONSUMER_STATUS_FROM_CLIENT, fields, body: Box::default() };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        let mut all = ConsumerStatusBody::default();
        for (conn, id, _) in members {
            let Ok(answer) = control.core.call_client(conn, call.clone(), TIMEOUT).await else { continue };
            let command = answer.command();
            if command.code != response_code::SUCCESS {
                continue;
            }
            match json_dialect::read::<ConsumerStatusBody>(command.body) {
                Ok(status) => drop(all.consumer_table.insert(id.to_string(), status.message_queue_table)),
                Err(error) => tracing::warn!(client = &*id, %error, "a consumer's status is not understood"),
            }
        }
        drop(under_way);
        responder.ok_with_body(&json_dialect::to_vec(&all));
    });
    Handled::Done
}

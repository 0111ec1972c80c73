//! GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309): an administrator asks a consumer through its broker.
//!
//! The request goes on to the consumer that it names, and the consumer's answer comes back as it is. For 309 the broker adds the
//! message that is to be consumed, and the flags of its topic and group. RocketMQ 5.5.0 AdminBrokerProcessor#callConsumer,
//! #consumeMessageDirectly. Difference: a message that is not there is refused here; there it fails in the broker.
//! Bounded by `RELAYS_MAX`. On failure: a consumer that is not online, or too old, is SYSTEM_ERROR; one that does not answer
//! within `TIMEOUT` is CONSUME_MSG_TIMEOUT.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_transport::OwnedFrame;
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::encode::begin_response;
use ringmq_wire::message_id::decode_offset_id;
use ringmq_wire::version::ordinal;

use crate::client_call::{CallFailed, ClientCall, begin_relay};
use crate::control::Control;
use crate::reply::{Refusal, Responder};
use crate::request::{Handled, Request};

/// RocketMQ 5.5.0 Broker2Client#callClient.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request for a consumer.
struct Relay {
    group: Box<str>,
    client_id: Box<str>,
    call: ClientCall,
    /// Of the message that goes along.
    message_id: Option<Box<str>>,
}

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let command = request.command;
    let text = |name: &str| command.ext.get(name).filter(|value| !value.is_empty());
    let (Some(group), Some(client_id)) = (text("consumerGroup"), text("clientId")) else {
        let remark = "consumerGroup and clientId say which consumer is asked; one is missing";
        return request.refuse(response_code::SYSTEM_ERROR, remark);
    };
    let direct = command.code == request_code::CONSUME_MESSAGE_DIRECTLY;
    let mut fields: Vec<(Cow<'static, str>, String)> = Vec::new();
    let known = command.ext.iter().filter(|(name, _)| *name != "brokerName" || !direct);
    fields.extend(known.map(|(name, value)| (Cow::Owned(name.to_owned()), value.to_owned())));
    if direct {
        fields.push(("brokerName".into(), control.core.config.broker_name.clone()));
        if let Some(topic) = text("topic").and_then(|topic| control.core.tables.topic(topic)) {
            fields.push(("topicSysFlag".into(), topic.settings.sys_flag.to_string()));
        }
        if let Some(group) = control.core.tables.group(group) {
            fields.push(("groupSysFlag".into(), group.sys_flag.to_string()));
        }
    }
    let message_id = text("msgId").filter(|_| direct).map(Box::from);
    if direct && message_id.is_none() {
        return request
            .refuse(response_code::SYSTEM_ERROR, "msgId says which message is consumed; it is missing");
    }
    let under_way = match begin_relay(&control.core) {
        Ok(under_way) => under_way,
        Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
    };
    let call = ClientCall { code: command.code, fields, body: command.body.into() };
    let relay = Relay { group: group.into(), client_id: client_id.into(), call, message_id };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        let answered = ask(&control, relay).await;
        drop(under_way);
        match answered {
            Ok(frame) => pass_on(responder, &frame),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

async fn ask<E: Env>(control: &Control<E>, relay: Relay) -> Result<OwnedFrame, Refusal> {
    let Relay { group, client_id, mut call, message_id } = relay;
    let failed = |remark: String| Refusal::new(response_code::SYSTEM_ERROR, remark);
    let member = control.clients.borrow().consumer_group(&group).and_then(|group| group.member(&client_id));
    let Some((conn, version)) = member else {
        return Err(failed(format!("The Consumer <{group}> <{client_id}> not online")));
    };
    if version < ordinal::V3_1_8_SNAPSHOT {
        return Err(failed(format!(
            "The Consumer <{client_id}> Version <{version}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
        )));
    }
    if let Some(id) = message_id {
        let (_, physical) = decode_offset_id(&id).map_err(|error| failed(format!("msgId {id}: {error}")))?;
        let found = control.core.record_at(physical as u64).await;
        let found = found.map_err(Refusal::unreadable)?;
        call.body = found.ok_or_else(|| failed(format!("no message has the id {id}")))?.into();
    }
    control.core.call_client(conn, call, TIMEOUT).await.map_err(|why| match why {
        CallFailed::TimedOut(_) => {
            let remark = format!("consumer <{group}> <{client_id}> Timeout: {why}");
            Refusal::new(response_code::CONSUME_MSG_TIMEOUT, remark)
        }
        CallFailed::Broken(_) => failed(format!("invoke consumer <{group}> <{client_id}> Exception: {why}")),
    })
}

/// The consumer's answer, as the administrator's.
fn pass_on<E: Env>(responder: Responder<E>, frame: &OwnedFrame) {
    let command = frame.command();
    responder.answer(|out, opaque| {
        let json = Serialization::Json;
        let mut writer = begin_response(out, json, command.code, opaque, 0, command.remark.as_deref());
        for (name, value) in command.ext.iter() {
            writer.ext(name, value);
        }
        writer.finish(command.body)
    });
}

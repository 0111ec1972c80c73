//! SEND_REPLY_MESSAGE (324) and SEND_REPLY_MESSAGE_V2 (325): a consumer answers a request; the answer goes to the client that asked.
//!
//! RocketMQ 5.5.0 ReplyMessageProcessor: the reply is pushed (326) to the producer client that property REPLY_TO_CLIENT names, and
//! then stored, unless `storeReplyMessageEnable` is false. The answer says whether the push succeeded: a requester that is gone or
//! does not answer within `PUSH_TIMEOUT` is SYSTEM_ERROR, although the reply is stored.
//! Differences: a reply may be empty, as the Go client's are; what is stored keeps the sysFlag, without which a compressed reply
//! could not be read; it is as safe as the flush mode promises when the answer comes.
//! Bounded by `REPLIES_PER_CORE_MAX`. On failure: a refusal with the reason.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::limits::REPLIES_PER_CORE_MAX;
use ringmq_io::{Class, Env};
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::encode::{SendAnswer, begin_response, send_response};
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message_id::OffsetIds;
use ringmq_wire::properties::{self, name};

use super::{queue, send_message};
use crate::ask::{Answer, Question};
use crate::client_call::ClientCall;
use crate::core::{CONTROL_CORE, Core};
use crate::own_message::{OwnMessage, StoredAt};
use crate::reply::Responder;
use crate::request::{Handled, Request};
use crate::under_way::UnderWay;

/// RocketMQ 5.5.0 Broker2Client#callClient.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match SendHeader::decode(request.command) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let Some(topic) = core.tables.topic(header.topic) else {
        return send_message::without_topic(core, request, &header);
    };
    let queue_id = match send_message::check(core, request, &header, &topic) {
        Ok(queue_id) => queue_id,
        Err(handled) => return handled,
    };
    let body = request.command.body;
    if body.len() > core.config.max_message_size as usize {
        let max = core.config.max_message_size;
        let remark = format!("a reply of {} bytes; at most {max} are allowed", body.len());
        return request.refuse(response_code::MESSAGE_ILLEGAL, &remark);
    }
    let under_way = match UnderWay::begin(core, |counters| &counters.replies_now, REPLIES_PER_CORE_MAX) {
        Ok(under_way) => under_way,
        Err(now) => {
            let remark = format!("[RINGMQ_BUSY] {now} replies are under way already on this core");
            return request.refuse(response_code::SYSTEM_BUSY, &remark);
        }
    };
    let reply = OwnMessage::of_send(request, &header, (header.topic, queue_id), header.properties);
    let push = push_of(core.identity.store_host, core.env.now_ms(), &header, &reply);
    let (core, responder) = (core.clone(), request.responder());
    core.env.clone().spawn(Class::Foreground, async move {
        let pushed = send_push(&core, push, &reply.properties).await;
        let stored =
            if core.config.store_reply_message_enable { core.store(reply).await.map(Some) } else { Ok(None) };
        drop(under_way);
        let stored = stored.unwrap_or_else(|refusal| {
            // The requester has its answer all the same.
            tracing::warn!(reason = refusal.remark, "a reply was not stored");
            None
        });
        answer(&core, responder, queue_id, pushed, stored);
    });
    Handled::Done
}

/// The request that the client gets.
fn push_of(store_host: SocketAddr, now_ms: i64, header: &SendHeader<'_>, reply: &OwnMessage) -> ClientCall {
    let mut text = String::from(reply.properties.clone());
    properties::append(&mut text, name::PUSH_REPLY_TIME, &now_ms.to_string());
    ClientCall {
        code: request_code::PUSH_REPLY_MESSAGE_TO_CLIENT,
        fields: vec![
            ("producerGroup".into(), header.producer_group.into()),
            ("topic".into(), header.topic.into()),
            ("defaultTopic".into(), header.default_topic.into()),
            ("defaultTopicQueueNums".into(), header.default_topic_queue_nums.to_string()),
            ("queueId".into(), header.queue_id.to_string()),
            ("sysFlag".into(), header.sys_flag.to_string()),
            ("bornTimestamp".into(), header.born_timestamp.to_string()),
            ("flag".into(), header.flag.to_string()),
            ("properties".into(), text),
            ("reconsumeTimes".into(), header.reconsume_times.to_string()),
            ("unitMode".into(), header.unit_mode.to_string()),
            ("bornHost".into(), reply.born_host.to_string()),
            ("storeHost".into(), store_host.to_string()),
            ("storeTimestamp".into(), now_ms.to_string()),
        ],
        body: reply.body.clone(),
    }
}

/// RocketMQ's remarks, with the reason.
async fn send_push<E: Env>(core: &Rc<Core<E>>, push: ClientCall, properties: &str) -> Result<(), String> {
    let Some(requester) = properties::get(properties, name::REPLY_TO_CLIENT) else {
        return Err(format!("reply message properties[{}] is null", name::REPLY_TO_CLIENT));
    };
    let question = Question::FindProducer { client_id: requester.into() };
    let conn = match core.ask(CONTROL_CORE, question).await {
        Answer::Producer(conn) => conn,
        other => unreachable!("asked for a producer, was answered {other:?}"),
    };
    let Some(conn) = conn else {
        return Err(format!("push reply message fail, channel of <{requester}> not found."));
    };
    let failed = |why: &str| format!("push reply message to {requester}fail. ({why})");
    let answer = core.call_client(conn, push, PUSH_TIMEOUT).await.map_err(|why| failed(&why.to_string()))?;
    let command = answer.command();
    match command.code {
        response_code::SUCCESS => Ok(()),
        code => {
            let remark = command.remark.as_deref().unwrap_or_default();
            Err(failed(&format!("it answered {code}: {remark}")))
        }
    }
}

fn answer<E: Env>(
    core: &Core<E>,
    responder: Responder<E>,
    queue_id: u32,
    pushed: Result<(), String>,
    stored: Option<StoredAt>,
) {
    let identity = &core.identity;
    responder.answer(|out, opaque| {
        if let Err(remark) = &pushed {
            let (json, code) = (Serialization::Json, response_code::SYSTEM_ERROR);
            let mut writer = begin_response(out, json, code, opaque, 0, Some(remark));
            writer.ext(name::MSG_REGION, &identity.region);
            writer.ext_bool(name::TRACE_ON, identity.trace_on);
            return writer.finish(&[]);
        }
        let id = stored.map(|at| OffsetIds::new(identity.store_host).id(at.physical as i64));
        let answer = SendAnswer {
            code: response_code::SUCCESS,
            opaque,
            remark: None,
            // What is not stored has no id, but a client wants to read one.
            msg_id: id.as_ref().map_or("0", |id| id.as_str()),
            queue_id: queue_id as i32,
            queue_offset: stored.map_or(0, |at| at.queue_offset as i64),
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
            region: &identity.region,
            trace_on: identity.trace_on,
        };
        send_response(out, Serialization::Json, &answer)
    });
}

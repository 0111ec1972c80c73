//! RECALL_MESSAGE (370): a producer takes a delayed message back.
//!
//! RocketMQ 5.5.0 RecallMessageProcessor: order of the checks, codes, remarks. The handle does not say which queue the message is
//! for, so every core looks for its unique key among the messages that wait, and settles them; the answer comes when that is
//! as safe as the flush mode promises. As in RocketMQ, a message that is not there (any more) is no error.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::RecallMessageHeader;
use ringmq_wire::message::RecordView;
use ringmq_wire::properties::name;

use super::queue;
use crate::ask::{Answer, Question};
use crate::core::{Core, LocalShard};
use crate::recall_handle::Handle;
use crate::reply::Refusal;
use crate::request::{Handled, Request};
use crate::stats::add;

/// Waiting messages with one unique key: those of a producer that sent it again, not knowing that it was stored.
const SAME_KEY_MAX: usize = 64;

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    if !core.config.recall_message_enable {
        return request.refuse(response_code::NO_PERMISSION, "recall failed, operation is forbidden");
    }
    let header = match RecallMessageHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    if core.tables.topic(header.topic).is_none() {
        let remark = format!("recall failed, the topic[{}] not exist", header.topic);
        return request.refuse(response_code::TOPIC_NOT_EXIST, &remark);
    }
    let illegal = |remark: &str| request.refuse(response_code::ILLEGAL_OPERATION, remark);
    let Some(handle) = Handle::read(header.recall_handle) else {
        return illegal("recall handle is invalid");
    };
    if handle.topic != header.topic {
        return illegal("recall failed, topic not match");
    }
    if handle.broker != core.identity.broker_name {
        return illegal("recall failed, broker service not available");
    }
    let left = handle.time_ms.saturating_sub(core.env.now_ms());
    if left <= 0 || left as u64 / 1000 >= core.config.timer_max_delay_sec {
        return illegal("recall failed, timestamp invalid");
    }
    let (core, responder) = (core.clone(), request.responder());
    core.env.clone().spawn(Class::Foreground, async move {
        for on in 0..core.placement.cores() {
            let question =
                Question::Recall { topic: handle.topic.as_str().into(), key: handle.key.as_str().into() };
            match core.ask(on, question).await {
                Answer::Recalled(Ok(_)) => {}
                Answer::Recalled(Err(refusal)) => return responder.refuse_with(&refusal),
                other => unreachable!("asked to recall, was answered {other:?}"),
            }
        }
        responder.answer(|out, opaque| {
            let mut writer =
                begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None);
            writer.ext("msgId", &handle.key);
            writer.ext("MSG_REGION", &core.identity.region);
            writer.finish(&[])
        });
    });
    Handled::Done
}

/// Takes the message out of the books of this core; gives how many there were.
pub(crate) async fn recall_here<E: Env>(core: Rc<Core<E>>, topic: &str, key: &str) -> Result<u64, Refusal> {
    let mut recalled = 0;
    for local in core.local_shards() {
        recalled += recall_in(local, topic, key).await?;
    }
    add(&core.counters.recalled, recalled);
    Ok(recalled)
}

async fn recall_in<E: Env>(local: &LocalShard<E>, topic: &str, key: &str) -> Result<u64, Refusal> {
    let failed = |error: String| {
        Refusal::new(response_code::SYSTEM_ERROR, format!("recall failed, execute error: {error}"))
    };
    let found = local
        .shard
        .query_key(local.timers.waiting_topic(), key, i64::MIN, i64::MAX, SAME_KEY_MAX)
        .await
        .map_err(|error| failed(error.to_string()))?;
    // From here to the settlement there is no await: what is pending now is pending when it is settled.
    let mut offsets: Vec<u64> = found
        .iter()
        .filter_map(|bytes| RecordView::parse(bytes).ok())
        .filter(|record| record.property(name::UNIQUE_KEY) == Some(key))
        .filter(|record| record.property(name::REAL_TOPIC) == Some(topic))
        .map(|record| record.queue_offset as u64)
        .filter(|offset| local.timers.is_pending(*offset))
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    if offsets.is_empty() {
        return Ok(0);
    }
    let end = local.timers.settle(&offsets, &[], &[]).map_err(|error| failed(error.to_string()))?;
    local.acks.until_safe(end).await?;
    Ok(offsets.len() as u64)
}

//! A consumer sends a message that it could not consume to its group's retry topic itself.
//!
//! RocketMQ 5.5.0 SendMessageProcessor#handleRetryAndDLQ: clients do so when their send-back (36) failed, and as the last step
//! of ordered consumption. A message that was tried too often, or whose group consumes in order (somebody holds a lease on one
//! of its queues), is stored as a dead letter instead. The control core knows the leases: the connection waits for its answer.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::{SendAnswer, send_response};
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message_id::OffsetIds;
use ringmq_wire::properties::{self, name};
use ringmq_wire::version::ordinal;

use super::{on_demand, send_message};
use crate::ask::{Answer, Question};
use crate::control::names;
use crate::core::{CONTROL_CORE, Core};
use crate::own_message::{OwnMessage, StoredAt};
use crate::reply::Refusal;
use crate::request::{Handled, OwnedRequest, Request, Target};
use crate::stats::add;

/// `target` is where it goes if it is tried again.
pub(super) fn handle<E: Env>(
    core: &Rc<Core<E>>,
    request: &Request<'_, '_, E>,
    header: &SendHeader<'_>,
    target: Target,
) -> Handled {
    let name = header.topic.strip_prefix(names::RETRY_PREFIX).unwrap_or_default();
    let Some(group) = core.tables.group(name) else {
        return on_demand::group(core, request, name);
    };
    let max = match header.max_reconsume_times {
        Some(max) if request.command.version >= ordinal::V3_4_9 => max,
        _ => group.retry_max_times,
    };
    let too_often = header.reconsume_times > max;
    let (core, group, mut owned) = (core.clone(), group.name.clone(), request.to_owned_request());
    Handled::Wait(Box::pin(async move {
        if too_often || in_order(&core, &group).await {
            dead_letter(&core, &owned, &group).await;
        } else if matches!(target, Target::Queue { shard, .. } if core.local(shard).is_some()) {
            owned.target = Some(target);
            core.handle_again(owned).await;
        } else {
            owned.with(|request| core.hop_to(target, &request));
        }
    }))
}

async fn in_order<E: Env>(core: &Rc<Core<E>>, group: &str) -> bool {
    match core.ask(CONTROL_CORE, Question::HoldsLocks { group: group.into() }).await {
        Answer::HoldsLocks(holds) => holds,
        other => unreachable!("asked for locks, was answered {other:?}"),
    }
}

async fn dead_letter<E: Env>(core: &Rc<Core<E>>, owned: &OwnedRequest<E>, group: &str) {
    let topic = names::dead_letter_topic(group);
    let stored = match on_demand::group_topic(core, &topic, names::DEAD_LETTER_QUEUES, false).await {
        Ok(()) => match owned.with(|request| message(core, &request, topic)) {
            Ok((message, queue_id, key)) => core.store(message).await.map(|at| (at, queue_id, key)),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    match stored {
        Ok((at, queue_id, key)) => {
            add(&core.counters.dead_letters, 1);
            answer(core, owned, at, queue_id, &key);
        }
        Err(refusal) => owned.refuse(refusal.code, &refusal.remark),
    }
}

/// The dead letter, the queue id that the answer names (RocketMQ names the one that was asked for), and its unique key.
fn message<E: Env>(
    core: &Core<E>,
    request: &Request<'_, '_, E>,
    topic: String,
) -> Result<(OwnMessage, i32, String), Refusal> {
    let header = SendHeader::decode(request.command)
        .map_err(|error| Refusal::new(response_code::SYSTEM_ERROR, error.to_string()))?;
    let body = request.command.body;
    if body.is_empty() || body.len() > core.config.max_message_size as usize {
        let remark = send_message::size_remark(&core.config, body.len(), header.properties.len());
        return Err(Refusal::new(response_code::MESSAGE_ILLEGAL, remark));
    }
    let mut text = properties::without(header.properties, |name| matches!(name, name::DELAY | name::POP_CK));
    properties::append(&mut text, name::DELAY, "-1");
    for (name, value) in properties::iter(&core.identity.added_properties) {
        properties::append(&mut text, name, value);
    }
    let key = match properties::get(header.properties, name::UNIQUE_KEY) {
        Some(key) => key.to_owned(),
        None => {
            let key = core.unique_id();
            properties::append(&mut text, name::UNIQUE_KEY, key.as_str());
            key.as_str().to_owned()
        }
    };
    let queue_id = (core.env.random() % u64::from(names::DEAD_LETTER_QUEUES)) as u32;
    let message = OwnMessage::of_send(request, &header, (&topic, queue_id), &text);
    Ok((message, header.queue_id, key))
}

fn answer<E: Env>(core: &Core<E>, owned: &OwnedRequest<E>, at: StoredAt, queue_id: i32, key: &str) {
    let id = OffsetIds::new(core.identity.store_host).id(at.physical as i64);
    owned.with(|request| {
        request.responder().answer(|out, opaque| {
            let answer = SendAnswer {
                code: response_code::SUCCESS,
                opaque,
                remark: None,
                msg_id: id.as_str(),
                queue_id: queue_id.max(0),
                queue_offset: at.queue_offset as i64,
                transaction_id: Some(key),
                batch_uniq_id: None,
                recall_handle: None,
                region: &core.identity.region,
                trace_on: core.identity.trace_on,
            };
            send_response(out, Serialization::Json, &answer)
        });
    });
}

//! HEART_BEAT (34): a client is alive, and says what it consumes and produces.
//!
//! Effects: groups come into being, each with its retry topic, which is registered at the name servers (tools find a
//! group's brokers by its route); memberships and subscriptions are kept; members are told to rebalance (40) when
//! somebody has come or topics have changed. Rules: RocketMQ 5.5.0 ClientManageProcessor#heartBeat and #heartBeatV2.
//! Invariant: the answer comes when what the beat created is durable. On failure: a beat over a limit, or one that
//! cannot be read, is refused whole; a group that may not be created is skipped, as the reference does.

use std::rc::Rc;

use ringmq_io::limits::{CLIENT_ID_BYTES_MAX, GROUPS_PER_HEARTBEAT_MAX, HEARTBEAT_BYTES_MAX};
use ringmq_io::{Class, Env};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::json_dialect::{self, ConsumeType, ConsumerData, HeartbeatData};

use crate::control::Control;
use crate::control::clients::{Client, ConsumerKind};
use crate::control::names;
use crate::reply::{Refusal, Responder};
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let bytes = request.command.body.len();
    if bytes > HEARTBEAT_BYTES_MAX {
        let remark = format!("a heartbeat of {bytes} bytes; at most {HEARTBEAT_BYTES_MAX} are allowed");
        return request.refuse(response_code::INVALID_PARAMETER, &remark);
    }
    let beat: HeartbeatData = match json_dialect::read(request.command.body) {
        Ok(beat) => beat,
        Err(error) => {
            return request
                .refuse(response_code::SYSTEM_ERROR, &format!("heartbeat not understood: {error}"));
        }
    };
    let groups = beat.consumer_data_set.len() + beat.producer_data_set.len();
    if groups > GROUPS_PER_HEARTBEAT_MAX {
        let remark =
            format!("a heartbeat with {groups} groups; at most {GROUPS_PER_HEARTBEAT_MAX} are allowed");
        return request.refuse(response_code::INVALID_PARAMETER, &remark);
    }
    if beat.client_id.len() > CLIENT_ID_BYTES_MAX {
        let remark = format!(
            "a client id of {} bytes; at most {CLIENT_ID_BYTES_MAX} are allowed",
            beat.client_id.len()
        );
        return request.refuse(response_code::INVALID_PARAMETER, &remark);
    }
    let client = Client {
        conn: request.conn(),
        id: &beat.client_id,
        addr: request.peer,
        language: request.command.language,
        version: request.command.version,
    };
    let last_entry = control.last_entry();
    let mut changed = false;
    for consumer in &beat.consumer_data_set {
        match consumer_beats(control, client, consumer, &beat) {
            Ok(moved) => changed |= moved,
            Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
        }
    }
    for producer in &beat.producer_data_set {
        // A name that cannot be a group's is not kept: it would only fill memory.
        if names::check_group(&producer.group_name).is_err() {
            continue;
        }
        let outcome =
            control.clients.borrow_mut().producer_beats(&producer.group_name, client, control.uptime_ms());
        if let Err(error) = outcome {
            return request.refuse(response_code::SYSTEM_ERROR, &error.to_string());
        }
    }
    // A beat of version 1 is always told that it was news (RocketMQ 5.5.0 ClientManageProcessor#heartBeat).
    let changed = beat.heartbeat_fingerprint == 0 || changed;
    let responder = request.responder();
    if control.last_entry() == last_entry {
        answer(responder, changed);
        return Handled::Done;
    }
    let control = control.clone();
    control.clone().core.env.spawn(Class::Foreground, async move {
        match control.settled().await {
            Ok(()) => answer(responder, changed),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

/// One consumer group of a beat; `true` if its fingerprint is another one than the last.
fn consumer_beats<E: Env>(
    control: &Rc<Control<E>>,
    client: Client<'_>,
    consumer: &ConsumerData,
    beat: &HeartbeatData,
) -> Result<bool, Refusal> {
    let name = consumer.group_name.as_str();
    if control.core.config.reject_pull_consumer_enable && consumer.consume_type == ConsumeType::Actively {
        return Ok(false);
    }
    let Some(group) = control.group_or_auto_created(name)? else { return Ok(false) };
    let order = {
        let state = control.state.borrow();
        let is_order = |topic: &str| state.topics.get(topic).is_some_and(|topic| topic.order);
        consumer.subscription_data_set.iter().any(|subscription| is_order(&subscription.topic))
    };
    if let Err(refusal) = control.ensure_retry_topic(&group, order, consumer.unit_mode) {
        // The next beat tries again.
        tracing::warn!(group = name, reason = refusal.remark, "no retry topic");
    }
    let kind = ConsumerKind {
        consume_type: consumer.consume_type,
        model: consumer.message_model,
        from_where: consumer.consume_from_where,
        fingerprint: beat.heartbeat_fingerprint,
    };
    let keep_known = beat.heartbeat_fingerprint != 0 && beat.without_sub;
    let subscriptions = (!keep_known).then(|| consumer.subscription_data_set.clone());
    let now = control.uptime_ms();
    let beaten = control.clients.borrow_mut().consumer_beats(name, client, kind, subscriptions, now);
    let change = beaten.map_err(|error| Refusal::new(response_code::SYSTEM_ERROR, error.to_string()))?;
    if change.notify {
        tracing::info!(group = name, client = client.id, "consumer group changed");
    }
    control.consumers_changed(name, change);
    Ok(change.fingerprint_moved)
}

fn answer<E: Env>(responder: Responder<E>, changed: bool) {
    responder.answer(|out, opaque| {
        let mut writer = begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None);
        writer.ext_bool("IS_SUPPORT_HEART_BEAT_V2", true);
        writer.ext_bool("IS_SUB_CHANGE", changed);
        writer.finish(&[])
    });
}

//! INVOKE_BROKER_TO_RESET_OFFSET (222): an administrator moves a group's offsets of a topic, to a place or to a time.
//!
//! With `useServerSideResetOffset` (RocketMQ's default) the broker commits the offsets and tells the group's next pull of each
//! queue (`resets`); nobody has to be online. Without it the group's consumers are told (220) and move themselves; unless it is
//! forced, only back. RocketMQ 5.5.0 AdminBrokerProcessor#resetOffsetInner and Broker2Client#resetOffset.
//! Invariant: the answer comes when the offsets are durable. On failure: a refusal; some queues may have been moved.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_io::limits::RESETS_MAX;
use ringmq_io::{Class, Env};
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::command::FLAG_ONEWAY;
use ringmq_wire::encode::begin_request;
use ringmq_wire::headers::ResetOffsetHeader;
use ringmq_wire::json_dialect::{self, MessageQueue, ResetOffsetBody};
use ringmq_wire::version::ordinal;

use super::queue::bad_header;
use crate::ask::{Answer, Question};
use crate::control::Control;
use crate::group_queue::GroupQueue;
use crate::reply::Refusal;
use crate::request::{Handled, Request};

/// What is asked for.
struct Reset {
    topic: Box<str>,
    group: Box<str>,
    /// Negative: all queues.
    queue_id: i32,
    offset: Option<i64>,
    /// Negative: the end.
    timestamp: i64,
    force: bool,
}

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ResetOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let reset = Reset {
        topic: header.topic.into(),
        group: header.group.into(),
        queue_id: header.queue_id,
        offset: header.offset.filter(|offset| *offset != -1),
        timestamp: header.timestamp,
        force: header.is_force,
    };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        let outcome = if control.core.config.use_server_side_reset_offset {
            move_offsets(&control, &reset).await
        } else {
            tell_consumers(&control, &reset).await
        };
        match outcome {
            Ok(offsets) => responder.ok_with_body(&json_dialect::to_vec(&body(&control, &reset, &offsets))),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

type Offsets = BTreeMap<u32, u64>;

fn body<E: Env>(control: &Control<E>, reset: &Reset, offsets: &Offsets) -> ResetOffsetBody {
    let broker_name = &control.core.config.broker_name;
    let entry = |(queue_id, offset): (&u32, &u64)| {
        let (broker_name, topic) = (broker_name.clone(), reset.topic.to_string());
        (MessageQueue { broker_name, queue_id: *queue_id as i32, topic }, *offset as i64)
    };
    ResetOffsetBody { offset_table: offsets.iter().map(entry).collect() }
}

fn failed(remark: String) -> Refusal {
    Refusal::new(response_code::SYSTEM_ERROR, remark)
}

/// The topic's queues; the group is there too.
fn queues<E: Env>(control: &Control<E>, reset: &Reset) -> Result<u32, Refusal> {
    let (topic, group) = (&reset.topic, &reset.group);
    let state = control.state.borrow();
    let Some(config) = state.topics.get(topic) else {
        return Err(Refusal::new(response_code::TOPIC_NOT_EXIST, format!("Topic {topic} does not exist")));
    };
    if !state.groups.contains(group) {
        let remark = format!("Group {group} does not exist");
        return Err(Refusal::new(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    Ok(u32::try_from(config.read_queue_nums).unwrap_or(0))
}

async fn offset_at<E: Env>(control: &Control<E>, reset: &Reset, queue_id: u32) -> Result<u64, Refusal> {
    let core = &control.core;
    let shard = core.placement.shard_of(&reset.topic, queue_id);
    let question = Question::OffsetAt { topic: reset.topic.clone(), queue_id, ms: reset.timestamp };
    match core.ask(core.placement.core(shard), question).await {
        Answer::Offset(outcome) => outcome.map_err(failed),
        other => unreachable!("asked for an offset, was answered {other:?}"),
    }
}

async fn move_offsets<E: Env>(control: &Rc<Control<E>>, reset: &Reset) -> Result<Offsets, Refusal> {
    let read_queues = queues(control, reset)?;
    let core = &control.core;
    let mut offsets = Offsets::new();
    match u32::try_from(reset.queue_id) {
        Ok(queue_id) => {
            let offset = match reset.offset {
                Some(offset) => {
                    let state = core.ask_queue(&reset.topic, queue_id).await;
                    let (min, max) = (state.min as i64, state.max as i64);
                    if offset < min || offset > max + 1 {
                        let remark =
                            format!("Target offset {offset} not in consume queue range [{min}-{max}]");
                        return Err(failed(remark));
                    }
                    offset as u64
                }
                None => offset_at(control, reset, queue_id).await?,
            };
            offsets.insert(queue_id, offset);
        }
        Err(_) => {
            for queue_id in 0..read_queues {
                offsets.insert(queue_id, offset_at(control, reset, queue_id).await?);
            }
        }
    }
    if offsets.is_empty() {
        return Err(failed("No queues to reset.".into()));
    }
    if control.resets.len() + offsets.len() > RESETS_MAX {
        return Err(failed(format!("{RESETS_MAX} resets wait for their consumers already")));
    }
    let mut last_entry = 0;
    for (queue_id, offset) in &offsets {
        let (group, topic) = (&reset.group, &reset.topic);
        let entry = control.commit(group, topic, *queue_id as i32, *offset as i64)?;
        last_entry = last_entry.max(entry);
        let queue = GroupQueue { group: group.clone(), topic: topic.clone(), queue_id: *queue_id };
        control.resets.set(queue, *offset);
    }
    control.durable(last_entry).await?;
    for (queue_id, offset) in &offsets {
        let queue =
            GroupQueue { group: reset.group.clone(), topic: reset.topic.clone(), queue_id: *queue_id };
        let shard = core.placement.shard_of(&reset.topic, *queue_id);
        core.ask(core.placement.core(shard), Question::SetReset { queue, offset: *offset }).await;
    }
    tracing::info!(group = &*reset.group, topic = &*reset.topic, ?offsets, "offsets were reset");
    Ok(offsets)
}

async fn tell_consumers<E: Env>(control: &Rc<Control<E>>, reset: &Reset) -> Result<Offsets, Refusal> {
    let read_queues = queues(control, reset)?;
    let mut offsets = Offsets::new();
    for queue_id in 0..read_queues {
        let found = offset_at(control, reset, queue_id).await?;
        let known = control.state.borrow().offsets.get(&reset.group, &reset.topic, queue_id);
        let known = known.and_then(|offset| u64::try_from(offset).ok());
        let Some(known) = known else {
            return Err(failed(format!("THe consumer group <{}> not exist", reset.group)));
        };
        offsets.insert(queue_id, if reset.force { found } else { found.min(known) });
    }
    let members: Vec<_> = match control.clients.borrow().consumer_group(&reset.group) {
        Some(group) => group.members.iter().map(|(conn, member)| (*conn, member.version)).collect(),
        None => {
            let remark = format!(
                "Consumer not online, so can not reset offset, Group: {} Topic: {} Timestamp: {}",
                reset.group, reset.topic, reset.timestamp
            );
            return Err(Refusal::new(response_code::CONSUMER_NOT_ONLINE, remark));
        }
    };
    if members.iter().any(|(_, version)| *version < ordinal::V3_0_7_SNAPSHOT) {
        return Err(failed("the client does not support this feature: it is older than V3_0_7".into()));
    }
    let table = json_dialect::to_vec(&body(control, reset, &offsets));
    for (conn, _) in members {
        let mut frame = Vec::with_capacity(table.len() + 256);
        let (json, code) = (Serialization::Json, request_code::RESET_CONSUMER_CLIENT_OFFSET);
        let mut writer = begin_request(&mut frame, json, code, control.number(), FLAG_ONEWAY);
        let header = ResetOffsetHeader {
            topic: &reset.topic,
            group: &reset.group,
            queue_id: -1,
            offset: None,
            timestamp: reset.timestamp,
            is_force: reset.force,
        };
        header.write(&mut writer);
        writer.finish(&table).map_err(|error| failed(format!("the table cannot be sent: {error}")))?;
        control.core.push_to_client(conn, frame);
    }
    Ok(offsets)
}

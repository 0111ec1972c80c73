//! A batch of messages in one send: one record each, with consecutive offsets, all or none.
//!
//! RocketMQ 5.5.0 SendMessageProcessor#sendBatchMessage and MessageExtEncoder#encode(MessageExtBatch): an item is stored
//! with its own properties as they came; the batch-level ones only say how to store.

use ringmq_io::Env;
use ringmq_store::{Keys, NewRecord};
use ringmq_wire::batch;
use ringmq_wire::code::response_code;
use ringmq_wire::properties::{self, name};
use ringmq_wire::tags::tag_code;

use super::message::Traits;
use super::send_message::{Placed, refuse_append, refuse_size, refuse_traits};
use crate::control::names::{RETRY_PREFIX, TOPIC_CHARS_MAX};
use crate::request::Handled;
use crate::stages::Stage;
use crate::timers;

/// Of an item's own properties only these count: the keys and the tags.
fn what_is_indexed(properties: &str) -> (Keys<'_>, Option<&str>) {
    let (mut keys, mut tags) = (Keys::default(), None);
    for (key, value) in properties::iter(properties) {
        match key {
            name::TAGS => tags = Some(value),
            _ => keys.take(key, value),
        }
    }
    (keys, tags)
}

pub(super) fn store<E: Env>(placed: &Placed<'_, '_, '_, E>) -> Handled {
    let Placed { core, request, header, .. } = *placed;
    let body = request.command.body;
    let illegal = |remark: &str| request.refuse(response_code::MESSAGE_ILLEGAL, remark);
    if header.topic.len() > TOPIC_CHARS_MAX {
        return illegal(&format!("message topic length too long {}", header.topic.len()));
    }
    if header.topic.starts_with(RETRY_PREFIX) {
        return illegal(&format!("batch request does not support retry group {}", header.topic));
    }
    if body.is_empty() || body.len() > core.config.max_message_size as usize {
        return refuse_size(placed);
    }
    let traits = Traits::read(header.properties);
    if let Some(handled) = refuse_traits(placed, &traits) {
        return handled;
    }
    // RocketMQ's clients refuse this themselves; its broker would store messages that it cannot deliver.
    if traits.prepared {
        return illegal("a batch cannot be a transaction: send its messages one by one");
    }
    match timers::when(&traits, || core.env.now_ms(), &core.config) {
        Ok(None) => {}
        Ok(Some(_)) => return illegal("a batch cannot be delayed: send its messages one by one"),
        Err(refusal) => return request.refuse(refusal.code, &refusal.remark),
    }
    let mut records: Vec<NewRecord<'_>> = Vec::with_capacity(batch::items(body).likely_count());
    for item in batch::items(body) {
        let item = match item {
            Ok(item) => item,
            Err(error) => return illegal(&error.to_string()),
        };
        let (keys, tags) = what_is_indexed(item.properties);
        let record = placed.record(item.flag, item.body, item.properties, "");
        match NewRecord::new(record, tag_code(tags), keys) {
            Ok(record) => records.push(record),
            Err(error) => return refuse_append(placed, error.into()),
        }
    }
    let began = core.stages.begin(&core.env, Stage::Append);
    match placed.local.shard.append_batch(placed.queue, &records) {
        Ok(appended) => {
            core.stages.end(&core.env, Stage::Append, began);
            placed.count(records.len() as u64, appended.bytes);
            placed.acknowledge(&appended, &traits, traits.unique_key, |pending| {
                pending.batch = Some(appended.physical_offsets(&records).collect());
            })
        }
        Err(error) => refuse_append(placed, error),
    }
}

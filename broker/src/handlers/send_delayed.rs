//! A send whose message waits for its time (delay level, timer properties): stored in the shard's timer book.
//!
//! The answer is that of any send, and comes when the flush mode's promise holds; its queue id is the real queue's, its queue
//! offset that of the waiting record, as RocketMQ 5.5.0 answers.

use ringmq_io::Env;
use ringmq_store::Keys;
use ringmq_wire::code::response_code;
use ringmq_wire::message::RecordParts;

use super::message::Traits;
use super::send_message::{Placed, refuse_append};
use crate::ack::{Pending, UniqueKey};
use crate::pending::AddError;
use crate::recall_handle;
use crate::request::Handled;
use crate::stats::add;
use crate::timers::{Wait, waiting_text};

/// `text` are the message's properties, `added` the broker's, `key` its unique key.
pub(super) fn store<E: Env>(
    placed: &Placed<'_, '_, '_, E>,
    traits: &Traits<'_>,
    wait: Wait,
    (text, added): (&str, &str),
    key: &str,
) -> Handled {
    let Placed { core, request, header, local, queue_id, .. } = *placed;
    let body = request.command.body;
    let text = waiting_text(text, header.topic, queue_id, wait);
    let parts: RecordParts<'_> = placed.record(header.flag, body, &text, added);
    let keys = Keys { unique: Some(key), words: traits.keys.unwrap_or_default() };
    match local.timers.add(parts, keys, wait.due_ms) {
        Ok(appended) => {
            add(&core.counters.put_messages, 1);
            add(&core.counters.put_bytes, body.len() as u64);
            if request.command.is_oneway() {
                return Handled::Done;
            }
            let recall = (!wait.by_level)
                .then(|| recall_handle::of(header.topic, &core.identity.broker_name, wait.due_ms, key))
                .flatten();
            let pending = Pending {
                responder: request.responder(),
                end: appended.end,
                queue_id,
                queue_offset: appended.queue_offset,
                physical: appended.physical,
                key: UniqueKey::of(Some(key)),
                batch: None,
                recall,
            };
            local.acks.push(pending, !traits.no_wait);
            Handled::Done
        }
        Err(AddError::Append(error)) => refuse_append(placed, error),
        Err(full @ AddError::Full { .. }) => {
            add(&core.counters.put_refused, 1);
            let remark = format!("timer message is under flow control: {full}");
            request.refuse(response_code::SYSTEM_ERROR, &remark)
        }
    }
}

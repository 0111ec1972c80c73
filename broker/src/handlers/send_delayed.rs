//! A send whose message waits for its time (delay level, timer properties): stored in the shard's timer book.
//!
//! The answer is that of any send, and comes when the flush mode's promise holds; its queue id is the real queue's, its queue
//! offset that of the waiting record, as RocketMQ 5.5.0 answers.

use ringmq_io::Env;
use ringmq_store::Keys;
use ringmq_wire::message::RecordParts;

use super::message::Traits;
use super::send_message::Placed;
use crate::recall_handle;
use crate::request::Handled;
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
            placed.count_put(1, appended.bytes);
            core.count_delay(wait.due_ms);
            placed.acknowledge(&appended, traits, Some(key), |pending| {
                let broker = &core.identity.broker_name;
                pending.recall = wait
                    .level
                    .is_none()
                    .then(|| recall_handle::of(header.topic, broker, wait.due_ms, key))
                    .flatten();
            })
        }
        Err(error) => placed.refuse_waiting(error, "timer message is under flow control: "),
    }
}

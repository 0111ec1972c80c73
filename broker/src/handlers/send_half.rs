//! A send that is half of a transaction (property TRAN_MSG): stored in the shard's book of half messages.
//!
//! The answer is that of any send, and comes when the flush mode's promise holds. Its queue id is the real queue's, its
//! queue offset and message id are the half's, by which the producer ends it, as RocketMQ 5.5.0 answers.

use ringmq_io::Env;
use ringmq_store::Keys;
use ringmq_wire::code::response_code;
use ringmq_wire::message::{RecordParts, sys_flag};

use super::message::Traits;
use super::send_message::Placed;
use crate::request::Handled;
use crate::transactions::{first_check_ms, half_text};

/// `text` are the message's properties, `added` the broker's, `key` its unique key.
pub(super) fn store<E: Env>(
    placed: &Placed<'_, '_, '_, E>,
    traits: &Traits<'_>,
    (text, added): (&str, &str),
    key: &str,
) -> Handled {
    let Placed { core, request, header, local, queue_id, .. } = *placed;
    if core.config.reject_transaction_message {
        let remark =
            format!("the broker[{}] sending transaction message is forbidden", core.config.broker_ip1);
        return request.refuse(response_code::NO_PERMISSION, &remark);
    }
    let body = request.command.body;
    let due_ms = first_check_ms(text, core.env.now_ms(), core.config.transaction_timeout_ms);
    let text = half_text(text, header.topic, queue_id, key);
    let parts: RecordParts<'_> = placed.record(header.flag, body, &text, added);
    let parts = RecordParts { sys_flag: parts.sys_flag & !sys_flag::TRANSACTION_MASK, ..parts };
    let keys = Keys { unique: Some(key), words: traits.keys.unwrap_or_default() };
    match local.halves.add(parts, keys, due_ms) {
        Ok(appended) => {
            placed.count_put(1, appended.bytes);
            placed.acknowledge(&appended, traits, Some(key), |_| {})
        }
        Err(error) => placed.refuse_waiting(error, ""),
    }
}

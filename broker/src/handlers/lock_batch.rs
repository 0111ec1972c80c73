//! LOCK_BATCH_MQ (41): a client takes or renews the right to consume queues in order; the answer names those it holds.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::{BROKER_NAME_BYTES_MAX, CLIENT_ID_BYTES_MAX, QUEUES_PER_LOCK_MAX};
use ringmq_wire::code::response_code;
use ringmq_wire::json_dialect::{self, LockBatch, LockBatchAnswer, MessageQueue};

use super::queue::bad_body;
use crate::control::Control;
use crate::control::locks::LockedQueue;
use crate::control::names;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let batch = match read(request) {
        Ok(batch) => batch,
        Err(handled) => return handled,
    };
    let queues = batch.mq_set.into_iter().map(locked);
    let held =
        control.locks.borrow_mut().lock(&batch.consumer_group, &batch.client_id, queues, control.uptime_ms());
    let lock_ok_mq_set = held
        .into_iter()
        .map(|queue| MessageQueue { broker_name: queue.broker, queue_id: queue.queue, topic: queue.topic })
        .collect();
    request.responder().ok_with_body(&json_dialect::to_vec(&LockBatchAnswer { lock_ok_mq_set }));
    Handled::Done
}

pub(super) fn locked(queue: MessageQueue) -> LockedQueue {
    LockedQueue { topic: queue.topic, broker: queue.broker_name, queue: queue.queue_id }
}

/// The body of 41 and 42, within its limits.
pub(super) fn read<E: Env>(request: &Request<'_, '_, E>) -> Result<LockBatch, Handled> {
    let batch: LockBatch =
        json_dialect::read(request.command.body).map_err(|error| bad_body(request, &error))?;
    // What is kept of a request that nobody checks would only fill memory.
    names::check_group(&batch.consumer_group)
        .map_err(|error| request.refuse(response_code::INVALID_PARAMETER, &error.to_string()))?;
    if batch.client_id.len() > CLIENT_ID_BYTES_MAX {
        let remark = format!(
            "a client id of {} bytes; at most {CLIENT_ID_BYTES_MAX} are allowed",
            batch.client_id.len()
        );
        return Err(request.refuse(response_code::INVALID_PARAMETER, &remark));
    }
    if batch.mq_set.len() > QUEUES_PER_LOCK_MAX {
        let remark = format!(
            "{} queues in one request; at most {QUEUES_PER_LOCK_MAX} are allowed",
            batch.mq_set.len()
        );
        return Err(request.refuse(response_code::INVALID_PARAMETER, &remark));
    }
    if let Some(queue) = batch.mq_set.iter().find(|queue| queue.broker_name.len() > BROKER_NAME_BYTES_MAX) {
        let bytes = queue.broker_name.len();
        let remark = format!("a broker name of {bytes} bytes; at most {BROKER_NAME_BYTES_MAX} are allowed");
        return Err(request.refuse(response_code::INVALID_PARAMETER, &remark));
    }
    if let Some(error) = batch.mq_set.iter().find_map(|queue| names::check_topic(&queue.topic).err()) {
        return Err(request.refuse(response_code::INVALID_PARAMETER, &error.to_string()));
    }
    Ok(batch)
}

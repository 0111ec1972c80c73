//! What the requests about one queue share: find its shard, its core, its reference.
//!
//! A topic that nobody made is an empty queue, as in RocketMQ, where these requests go straight to the store.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_store::{QueueRef, Shard};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::FieldError;
use ringmq_wire::json_dialect::BodyError;

use crate::core::Core;
use crate::reply::{Refusal, Responder};
use crate::request::{Handled, Request, Target};

/// A queue of a shard of this core.
pub struct LocalQueue<E: Env> {
    pub shard: Shard<E>,
    /// `None`: nothing was ever stored there.
    pub queue: Option<QueueRef>,
}

/// Finds the queue, or says where the request belongs.
pub fn locate<E: Env>(
    core: &Rc<Core<E>>,
    request: &Request<'_, '_, E>,
    topic: &str,
    queue_id: i32,
) -> Result<LocalQueue<E>, Handled> {
    let Ok(queue_id) = u32::try_from(queue_id) else {
        let remark = format!("queueId[{queue_id}] is illegal, topic:[{topic}]");
        return Err(request.refuse(response_code::INVALID_PARAMETER, &remark));
    };
    let shard = core.placement.shard_of(topic, queue_id);
    match core.local(shard) {
        Some(local) => {
            Ok(LocalQueue { shard: local.shard.clone(), queue: local.shard.find_queue(topic, queue_id) })
        }
        None => Err(Handled::Elsewhere(Target::Queue { shard, queue_id })),
    }
}

/// Refuses a header that cannot be read, as RocketMQ does with its decoder's text.
pub fn bad_header<E: Env>(request: &Request<'_, '_, E>, error: &FieldError) -> Handled {
    request.refuse(response_code::SYSTEM_ERROR, &error.to_string())
}

pub fn bad_body<E: Env>(request: &Request<'_, '_, E>, error: &BodyError) -> Handled {
    let refusal = not_understood(error);
    request.refuse(refusal.code, &refusal.remark)
}

/// Of a body that is read bit by bit.
pub fn not_understood(error: &BodyError) -> Refusal {
    Refusal::new(response_code::SYSTEM_ERROR, format!("body not understood: {error}"))
}

/// Answers with one number.
pub fn answer_number<E: Env>(responder: Responder<E>, field: &str, value: i64) {
    responder.answer(|out, opaque| {
        let mut writer = begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None);
        writer.ext_int(field, value);
        writer.finish(&[])
    });
}

/// Answers with one number that has to be read from the disk.
pub fn answer_later<E: Env>(
    core: &Rc<Core<E>>,
    responder: Responder<E>,
    field: &'static str,
    value: impl Future<Output = std::io::Result<i64>> + 'static,
) -> Handled {
    core.env.spawn(Class::ColdRead, async move {
        match value.await {
            Ok(value) => answer_number(responder, field, value),
            Err(error) => responder.refuse_with(&Refusal::unreadable(error)),
        }
    });
    Handled::Done
}

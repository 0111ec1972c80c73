//! GET_EARLIEST_MSG_STORETIME (32): when the queue's first kept message was stored; −1 without one.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::TopicQueueHeader;

use super::queue;
use crate::core::Core;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match TopicQueueHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let found = match queue::locate(core, request, header.topic, header.queue_id) {
        Ok(found) => found,
        Err(handled) => return handled,
    };
    let Some(queue) = found.queue else {
        queue::answer_number(request.responder(), "timestamp", -1);
        return Handled::Done;
    };
    queue::answer_later(core, request.responder(), "timestamp", async move {
        let min = found.shard.bounds(queue).min;
        Ok(found.shard.store_time(queue, min).await?.unwrap_or(-1))
    })
}

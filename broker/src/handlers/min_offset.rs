//! GET_MIN_OFFSET (31): the first offset of the queue that is still kept.

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
    let min = found.queue.map_or(0, |queue| found.shard.bounds(queue).min);
    queue::answer_number(request.responder(), "offset", min as i64);
    Handled::Done
}

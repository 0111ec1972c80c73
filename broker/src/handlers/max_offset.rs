//! GET_MAX_OFFSET (30): the offset that the queue's next message will get.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::GetMaxOffsetHeader;

use super::queue;
use crate::core::Core;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetMaxOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let found = match queue::locate(core, request, header.topic, header.queue_id) {
        Ok(found) => found,
        Err(handled) => return handled,
    };
    let max = found.queue.map_or(0, |queue| found.shard.bounds(queue).max);
    queue::answer_number(request.responder(), "offset", max as i64);
    Handled::Done
}

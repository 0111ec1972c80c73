//! SEARCH_OFFSET_BY_TIMESTAMP (29): where the queue was at a time.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::SearchOffsetHeader;

use super::queue;
use crate::core::Core;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match SearchOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let found = match queue::locate(core, request, header.topic, header.queue_id) {
        Ok(found) => found,
        Err(handled) => return handled,
    };
    let (timestamp, upper) = (header.timestamp, header.upper());
    let Some(queue) = found.queue else {
        queue::answer_number(request.responder(), "offset", 0);
        return Handled::Done;
    };
    queue::answer_later(core, request.responder(), "offset", async move {
        found.shard.offset_by_time(queue, timestamp, upper).await.map(|offset| offset as i64)
    })
}

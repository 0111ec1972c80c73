//! QUERY_CONSUMER_OFFSET (14): where does this group go on in this queue?
//!
//! A group without an offset starts a young queue (its first message is there and still in memory) at 0, whatever
//! the client's consumeFromWhere says; else it is told that nothing is known (22) and decides itself
//! (RocketMQ 5.5.0 ConsumerManageProcessor#queryConsumerOffset).

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::QueryConsumerOffsetHeader;

use super::queue::{answer_number, bad_header};
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match QueryConsumerOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let Ok(queue) = u32::try_from(header.queue_id) else { return unknown(request) };
    let (known, exists) = {
        let state = control.state.borrow();
        let known = state.offsets.get(header.consumer_group, header.topic, queue);
        let topic = state.topics.get(header.topic);
        let queues = topic.map_or(0, |topic| topic.read_queue_nums.max(topic.write_queue_nums));
        (known, header.queue_id < queues)
    };
    if let Some(offset) = known {
        return show(control, request, offset);
    }
    if header.set_zero_if_not_found == Some(false) {
        let remark = "Not found, do not set to zero, maybe this group boot first";
        return request.refuse(response_code::QUERY_NOT_FOUND, remark);
    }
    if !exists {
        return unknown(request);
    }
    let responder = request.responder();
    let (core, topic) = (control.core.clone(), header.topic.to_string());
    control.core.env.spawn(Class::Foreground, async move {
        let state = core.ask_queue(&topic, queue).await;
        match state.min == 0 && state.young {
            true => answer_number(responder, "offset", 0),
            false => responder.refuse(response_code::QUERY_NOT_FOUND, UNKNOWN),
        }
    });
    Handled::Done
}

/// Answers with a stored offset, once a crash cannot take it back: whoever has seen it may rely on it.
fn show<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>, offset: i64) -> Handled {
    let responder = request.responder();
    if control.offsets_are_journalled() {
        answer_number(responder, "offset", offset);
        return Handled::Done;
    }
    let owner = control.clone();
    control.core.env.spawn(Class::Foreground, async move {
        // A journal that is latched or has no room serves from memory: it has been reported, and consumers go on.
        let _ = owner.flush_offsets().await;
        answer_number(responder, "offset", offset);
    });
    Handled::Done
}

const UNKNOWN: &str = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";

fn unknown<E: Env>(request: &Request<'_, '_, E>) -> Handled {
    request.refuse(response_code::QUERY_NOT_FOUND, UNKNOWN)
}

//! QUERY_CONSUME_TIME_SPAN (303): from when to when the messages of each queue are, and how long the group's next one has waited.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#queryConsumeTimeSpan.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::GroupTopicHeader;
use ringmq_wire::json_dialect::{self, ConsumeTimeSpans, MessageQueue, QueueTimeSpan};

use super::queue::bad_header;
use crate::control::Control;
use crate::queue_look::{At, Look};
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GroupTopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let topic: Box<str> = header.topic.into();
    let looks: Vec<Look> = {
        let state = control.state.borrow();
        let Some(config) = state.topics.get(header.topic) else {
            return request.refuse(response_code::TOPIC_NOT_EXIST, &format!("topic[{topic}] not exist"));
        };
        let look = |queue_id| {
            // A queue without an offset begins with its first message.
            let offset = state.offsets.get(header.group, header.topic, queue_id);
            let (consumed, next) = match offset {
                Some(offset) if offset > 0 => (At::Offset(offset - 1), At::Offset(offset)),
                _ => (At::First, At::First),
            };
            Look { queue_id, times_of: vec![At::First, At::Last, consumed, next] }
        };
        (0..config.write_queue_nums as u32).map(look).collect()
    };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let seen = match control.core.look_at_queues(&topic, looks, None).await {
            Ok(seen) => seen,
            Err(refusal) => return responder.refuse_with(&refusal),
        };
        let (now, broker_name) = (control.core.env.now_ms(), &control.core.config.broker_name);
        let span = |seen: crate::queue_look::Seen| {
            let time = |at: usize| seen.times[at].unwrap_or(-1);
            let (broker_name, topic) = (broker_name.clone(), topic.to_string());
            QueueTimeSpan {
                consume_time_stamp: time(2),
                delay_time: seen.times[3].map_or(0, |stored| now - stored),
                max_time_stamp: time(1),
                message_queue: MessageQueue { broker_name, queue_id: seen.queue_id as i32, topic },
                min_time_stamp: time(0),
            }
        };
        let body = ConsumeTimeSpans { consume_time_span_set: seen.into_iter().map(span).collect() };
        responder.ok_with_body(&json_dialect::to_vec(&body));
    });
    Handled::Done
}

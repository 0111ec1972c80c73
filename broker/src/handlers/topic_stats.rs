//! GET_TOPIC_STATS_INFO (202): where each queue of a topic begins and ends, when it last got a message, and the topic's rate.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::TopicHeader;
use ringmq_wire::json_dialect::{self, MessageQueue, TopicOffset, TopicStatsTable};

use super::queue::bad_header;
use crate::control::Control;
use crate::history::What;
use crate::queue_look::{At, Look};
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match TopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let Some(config) = control.state.borrow().topics.get(header.topic).cloned() else {
        return request.refuse(response_code::TOPIC_NOT_EXIST, &format!("topic[{}] not exist", header.topic));
    };
    let queues = config.read_queue_nums.max(config.write_queue_nums);
    let looks: Vec<_> =
        (0..queues as u32).map(|queue_id| Look { queue_id, times_of: vec![At::Last] }).collect();
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let topic = &config.topic_name;
        let seen = match control.core.look_at_queues(topic, looks, None).await {
            Ok(seen) => seen,
            Err(refusal) => return responder.refuse_with(&refusal),
        };
        let broker_name = &control.core.config.broker_name;
        let rows = seen.into_iter().map(|seen| {
            let (broker_name, topic) = (broker_name.clone(), topic.clone());
            let queue = MessageQueue { broker_name, queue_id: seen.queue_id as i32, topic };
            let last_update_timestamp = seen.times[0].unwrap_or(0);
            (queue, TopicOffset { last_update_timestamp, max_offset: seen.max, min_offset: seen.min })
        });
        let body = TopicStatsTable {
            offset_table: rows.collect(),
            topic_put_tps: control.history.rate(&What::In(topic.as_str().into())),
        };
        responder.ok_with_body(&json_dialect::to_vec(&body));
    });
    Handled::Done
}

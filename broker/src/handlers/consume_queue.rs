//! QUERY_CONSUME_QUEUE (321): what the index has of a queue's messages: place, size, hash of the tag.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#queryConsumeQueue. `eval` says whether the group's tags let a message pass; there are no bit maps
//! and no extensions here, SQL92 filters look at the messages themselves. At most `QUEUE_INDEX_ENTRIES_PER_ANSWER` are told at a time.

use std::rc::Rc;

use ringmq_io::limits::QUEUE_INDEX_ENTRIES_PER_ANSWER;
use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::QueryConsumeQueueHeader;
use ringmq_wire::json_dialect::{self, ConsumeQueue, ConsumeQueueData};

use super::queue::bad_header;
use crate::ask::{Answer, Question};
use crate::control::Control;
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match QueryConsumeQueueHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let (topic, queue_id) = (header.topic.to_owned(), header.queue_id);
    let missing = format!("{queue_id}@{topic} is not exist!");
    let Ok(queue_number) = u32::try_from(queue_id) else {
        return request.refuse(response_code::SYSTEM_ERROR, &missing);
    };
    let mut body = ConsumeQueue::default();
    if let Some(group) = header.consumer_group {
        body.subscription_data = control.clients.borrow().subscription(group, header.topic).cloned();
        body.filter_data = Some(match &body.subscription_data {
            None => format!("{group}@{topic} is not online!"),
            // As there of a subscription by tags.
            Some(_) => "null".to_owned(),
        });
    }
    let count = u32::try_from(header.count).unwrap_or(0).min(QUEUE_INDEX_ENTRIES_PER_ANSWER);
    let from = u64::try_from(header.index).unwrap_or(0);
    let question = Question::Index { topic: header.topic.into(), queue_id: queue_number, from, count };
    let core = &control.core;
    let home = core.placement.core(core.placement.shard_of(header.topic, queue_number));
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let Answer::Index(found) = control.core.ask(home, question).await else {
            unreachable!("asked for an index");
        };
        let (state, entries) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return responder.refuse(response_code::SYSTEM_ERROR, &missing),
            Err(error) => return responder.refuse_with(&Refusal::unreadable(error)),
        };
        let wanted = body.subscription_data.as_ref();
        let passes = |code: i64| {
            wanted.is_some_and(|wanted| {
                wanted.code_set.is_empty() || wanted.code_set.iter().any(|known| i64::from(*known) == code)
            })
        };
        (body.min_queue_index, body.max_queue_index) = (state.min as i64, state.max as i64);
        let entry = |entry: ringmq_store::Indexed| ConsumeQueueData {
            eval: passes(entry.tags_code),
            msg: None,
            physic_offset: entry.physical as i64,
            physic_size: entry.size as i32,
            tags_code: entry.tags_code,
        };
        body.queue_data = entries.into_iter().map(entry).collect();
        responder.ok_with_body(&json_dialect::to_vec(&body));
    });
    Handled::Done
}

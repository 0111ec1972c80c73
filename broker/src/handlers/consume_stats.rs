//! GET_CONSUME_STATS (208): how far a group is in each queue of its topics.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#getConsumeStats: topics that are named in a list are looked at in any case; one topic, or those in
//! which the group has committed offsets, only if its online members still want them.
//! `pullOffset` is where the last pull ended, unless the group has committed more; it is not kept over a restart there either.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::headers::GetConsumeStatsHeader;
use ringmq_wire::json_dialect::{self, ConsumeStats, MessageQueue, OffsetWrapper};

use super::queue::bad_header;
use crate::control::Control;
use crate::history::What;
use crate::queue_look::{At, Look};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetConsumeStatsHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let group: Box<str> = header.consumer_group.into();
    let listed = header.topic_list.unwrap_or_default().split(';').filter(|topic| !topic.trim().is_empty());
    let mut topics: Vec<Box<str>> = listed.map(Box::from).collect();
    if topics.is_empty() {
        match header.topic.filter(|topic| !topic.trim().is_empty()) {
            Some(topic) => topics.push(topic.into()),
            None => {
                topics.extend(
                    control.state.borrow().offsets.topics_of(&group).map(|topic| Box::from(&**topic)),
                );
            }
        }
        topics.retain(|topic| !control.clients.borrow().has_left(&group, topic));
    }
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let mut all = ConsumeStats::default();
        for topic in topics {
            match of_topic(&control, &group, &topic, Queues::Read).await {
                Ok(Some(stats)) => {
                    all.consume_tps += stats.consume_tps;
                    all.offset_table.extend(stats.offset_table);
                }
                Ok(None) => {}
                Err(refusal) => return responder.refuse_with(&refusal),
            }
        }
        responder.ok_with_body(&json_dialect::to_vec(&all));
    });
    Handled::Done
}

/// Which queues of a topic count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queues {
    Read,
    Write,
}

/// How far the group is in the topic; `None`: there is no such topic.
pub(super) async fn of_topic<E: Env>(
    control: &Rc<Control<E>>,
    group: &str,
    topic: &str,
    queues: Queues,
) -> Result<Option<ConsumeStats>, Refusal> {
    let offsets: Vec<i64> = {
        let state = control.state.borrow();
        let Some(config) = state.topics.get(topic) else { return Ok(None) };
        let count = match queues {
            Queues::Read => config.read_queue_nums,
            Queues::Write => config.write_queue_nums,
        };
        let known = state.offsets.of_topic(group, topic);
        let offset = |queue_id| known.and_then(|known| known.get(&queue_id)).copied().unwrap_or(0).max(0);
        (0..count as u32).map(offset).collect()
    };
    // The last one consumed.
    let look = |(queue_id, offset): (u32, &i64)| Look { queue_id, times_of: vec![At::Offset(offset - 1)] };
    let looks = (0..).zip(&offsets).map(look).collect();
    let seen = control.core.look_at_queues(topic, looks, Some(group)).await?;
    let broker_name = &control.core.config.broker_name;
    let rows = seen.into_iter().zip(offsets).map(|(seen, offset)| {
        let (broker_name, topic) = (broker_name.clone(), topic.to_owned());
        let queue = MessageQueue { broker_name, queue_id: seen.queue_id as i32, topic };
        let wrapper = OffsetWrapper {
            broker_offset: seen.max,
            consumer_offset: offset,
            last_timestamp: seen.times[0].unwrap_or(0),
            pull_offset: seen.pulled.unwrap_or(0).max(offset),
        };
        (queue, wrapper)
    });
    let offset_table = rows.collect();
    let consume_tps = control.history.rate(&What::Out(topic.into(), group.into()));
    Ok(Some(ConsumeStats { consume_tps, offset_table }))
}

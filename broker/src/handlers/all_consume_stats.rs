//! GET_BROKER_CONSUME_STATS (317): how far each group is in each topic in which it has committed an offset.
//!
//! Difference: `pullOffset` is there; RocketMQ 5.5.0 leaves it at 0, so that its `totalInflightDiff` is below zero.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::json_dialect::{self, ConsumeStats, ConsumeStatsList};

use super::consume_stats::{Queues, of_topic};
use crate::control::Control;
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let only_ordered = request.command.ext.get_bool("isOrder").unwrap_or(false);
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        match gather(&control, only_ordered).await {
            Ok(all) => responder.ok_with_body(&json_dialect::to_vec(&all)),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

async fn gather<E: Env>(control: &Rc<Control<E>>, only_ordered: bool) -> Result<ConsumeStatsList, Refusal> {
    let mut all = ConsumeStatsList {
        broker_addr: control.core.identity.store_host.to_string(),
        ..ConsumeStatsList::default()
    };
    let mut at: Option<Rc<str>> = None;
    loop {
        let (group, topics) = {
            let state = control.state.borrow();
            let Some(group) = state.groups.after(at.as_deref()).next() else { return Ok(all) };
            let group: Rc<str> = Rc::from(group.group_name.as_str());
            let clients = control.clients.borrow();
            let wanted = state.offsets.topics_of(&group).filter(|topic| {
                let ordered = state.topics.get(topic).is_some_and(|topic| topic.order);
                (ordered || !only_ordered) && !clients.has_left(&group, topic)
            });
            let topics: Vec<Rc<str>> = wanted.cloned().collect();
            (group, topics)
        };
        let mut rows: Vec<ConsumeStats> = Vec::new();
        for topic in topics {
            rows.extend(of_topic(control, &group, &topic, Queues::Write).await?);
        }
        for queue in rows.iter().flat_map(|stats| stats.offset_table.values()) {
            all.total_diff += queue.broker_offset - queue.consumer_offset;
            all.total_inflight_diff += queue.pull_offset - queue.consumer_offset;
        }
        all.consume_stats_list.push(BTreeMap::from([(group.to_string(), rows)]));
        at = Some(group);
        control.core.env.yield_now().await;
    }
}

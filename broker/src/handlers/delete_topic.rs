//! DELETE_TOPIC_IN_BROKER (215): forget a topic, its messages, and what groups have consumed of it.
//!
//! The name servers are told by whoever deletes (216). Order: first the topic goes, so that no send can land in a queue
//! that is being dropped (nor can a new topic of that name be made, see `control::leaving`), then the queues; both are durable when the answer comes. A crash in between leaves messages
//! that nobody can ask for; deleting again, or retention, takes them away.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::TopicHeader;

use super::queue::bad_header;
use crate::control::{Control, names};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match TopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let topic = header.topic;
    if topic.trim().is_empty() {
        return request.refuse(response_code::INVALID_PARAMETER, "The specified topic is blank.");
    }
    if control.core.config.validate_system_topic_when_update_topic && control.system.contains(topic) {
        let remark = format!("The topic[{topic}] is conflict with system topic.");
        return request.refuse(response_code::INVALID_PARAMETER, &remark);
    }
    let topics = with_pop_retry_topics(control, topic);
    let responder = request.responder();
    let control = control.clone();
    control.clone().core.env.spawn(Class::Foreground, async move {
        match delete(&control, &topics).await {
            Ok(()) => responder.ok(),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

/// The topic and, for each group with offsets in it, the retry topics that POP made, in both of their forms
/// (RocketMQ 5.5.0 KeyBuilder).
fn with_pop_retry_topics<E: Env>(control: &Control<E>, topic: &str) -> Vec<String> {
    let state = control.state.borrow();
    let retry = state.offsets.groups_of(topic).flat_map(|group| {
        ["_", "+"].map(|separator| format!("{}{group}{separator}{topic}", names::RETRY_PREFIX))
    });
    std::iter::once(topic.to_string()).chain(retry.filter(|name| state.topics.contains(name))).collect()
}

async fn delete<E: Env>(control: &Rc<Control<E>>, topics: &[String]) -> Result<(), Refusal> {
    let _leaves: Vec<_> = topics.iter().map(|topic| control.leaving.begin(topic)).collect();
    for topic in topics {
        // Deleting what is not there succeeds, and cleans up after a deletion that was cut short.
        control.remove_topic(topic);
        control.resets.forget_topic(topic);
    }
    control.all_announced().await?;
    for topic in topics {
        let dropped = control.core.drop_queues(topic).await;
        dropped.map_err(|reason| Refusal::new(response_code::SYSTEM_ERROR, reason))?;
    }
    Ok(())
}

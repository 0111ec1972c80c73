//! CLONE_GROUP_OFFSET (314): a group gets the offsets of another one, in one topic or in all.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#cloneGroupOffset: unless it is said that the group or topic is offline, the topic has to be there,
//! and to be one that the online members of the source still want.
//! Differences: both groups have to be there, as for every commit; all topics are cloned when none is named (there, none is).
//! Invariant: answered when the offsets are durable.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::headers::CloneGroupOffsetHeader;

use super::queue::bad_header;
use crate::control::Control;
use crate::control::offsets::QueueOffsets;
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match CloneGroupOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let from: Box<str> = header.src_group.into();
    let to: Box<str> = header.dest_group.into();
    let topics: Vec<Rc<str>> = {
        let state = control.state.borrow();
        let clients = control.clients.borrow();
        let named = header.topic.filter(|topic| !topic.trim().is_empty());
        let cloned = state.offsets.topics_of(&from).filter(|topic| {
            let is_meant = named.is_none_or(|named| *named == ***topic);
            let is_used = state.topics.contains(topic) && !clients.has_left(&from, topic);
            is_meant && (header.offline || is_used)
        });
        cloned.cloned().collect()
    };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        match clone(&control, &from, &to, &topics).await {
            Ok(()) => responder.ok(),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

async fn clone<E: Env>(
    control: &Control<E>,
    from: &str,
    to: &str,
    topics: &[Rc<str>],
) -> Result<(), Refusal> {
    let mut last_entry = 0;
    for topic in topics {
        control.room().await?;
        let offsets: QueueOffsets = match control.state.borrow().offsets.of_topic(from, topic) {
            Some(offsets) => offsets.clone(),
            None => continue,
        };
        for (queue_id, offset) in offsets {
            last_entry = control.commit(to, topic, queue_id as i32, offset)?;
        }
    }
    if last_entry > 0 {
        control.durable(last_entry).await?;
    }
    tracing::info!(from, to, topics = topics.len(), "offsets were cloned");
    Ok(())
}

//! Topics and groups that are made because a client uses them.
//!
//! The control core makes them; the request waits, and so do the later ones of its connection, and is then looked at
//! again. The table change arrives before the control core's answer: same lane.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;

use crate::ask::{Answer, Question};
use crate::control_plane::WantedTopic;
use crate::core::{CONTROL_CORE, Core};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

/// Has the topic made.
pub fn topic<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>, wanted: WantedTopic) -> Handled {
    let (core, owned) = (core.clone(), request.to_owned_request());
    Handled::Wait(Box::pin(async move {
        let topic = wanted.topic.clone();
        match core.ask(CONTROL_CORE, Question::CreateTopic(wanted)).await {
            Answer::Created(Ok(())) if core.tables.topic(&topic).is_some() => core.handle_again(owned).await,
            // Made and deleted again in between.
            Answer::Created(Ok(())) => {
                let remark = format!("topic[{topic}] not exist, apply first please!");
                owned.refuse(response_code::TOPIC_NOT_EXIST, &remark);
            }
            Answer::Created(Err(refusal)) => owned.refuse(refusal.code, &refusal.remark),
            other => unreachable!("asked for a topic, was answered {other:?}"),
        }
    }))
}

/// Has a group's retry or dead letter topic made, if it is not there.
pub async fn group_topic<E: Env>(
    core: &Rc<Core<E>>,
    topic: &str,
    queues: u32,
    unit_mode: bool,
) -> Result<(), Refusal> {
    if core.tables.topic(topic).is_some() {
        return Ok(());
    }
    let question = Question::CreateGroupTopic { topic: topic.into(), queues, unit_mode };
    match core.ask(CONTROL_CORE, question).await {
        Answer::Created(outcome) => outcome,
        other => unreachable!("asked for a topic, was answered {other:?}"),
    }
}

/// Has the group made, if the broker may make groups.
pub fn group<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>, group: &str) -> Handled {
    let group: Box<str> = group.into();
    let (core, owned) = (core.clone(), request.to_owned_request());
    Handled::Wait(Box::pin(async move {
        match core.ask(CONTROL_CORE, Question::CreateGroup(group.clone())).await {
            Answer::Created(Ok(())) if core.tables.group(&group).is_some() => core.handle_again(owned).await,
            Answer::Created(Ok(())) => {
                let remark = format!("subscription group [{group}] does not exist");
                owned.refuse(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, &remark);
            }
            Answer::Created(Err(refusal)) => owned.refuse(refusal.code, &refusal.remark),
            other => unreachable!("asked for a group, was answered {other:?}"),
        }
    }))
}

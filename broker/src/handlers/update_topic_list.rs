//! UPDATE_AND_CREATE_TOPIC_LIST (18): an administrator makes or changes many topics.
//!
//! Each is checked by the rules of 17 before any is made. RocketMQ 5.5.0 AdminBrokerProcessor#updateAndCreateTopicList, except that it
//! does nothing at all if one of them is as it is to be already.
//! Invariant: answered when all are durable, published, and known to the name servers that are up. On failure: a refusal; if the
//! journal fails on the way, some may have been made, and the same request again makes the rest.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::json_dialect::ListReader;

use super::queue::{bad_body, not_understood};
use super::update_topic::prepare;
use crate::control::making::Kind;
use crate::control::topics::TopicConfig;
use crate::control::{CHANGES_PER_TURN, Control, topic_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let list = match ListReader::open(request.command.body, "topicConfigList") {
        Ok(list) => list,
        Err(error) => return bad_body(request, &error),
    };
    let (control, responder, making) = (control.clone(), request.responder(), control.making(Kind::Topics));
    control.core.env.clone().spawn(Class::Foreground, async move {
        let outcome = put(&control, list).await;
        control.answer_when_made(responder, making, outcome);
    });
    Handled::Done
}

async fn put<E: Env>(control: &Control<E>, mut list: ListReader) -> Result<(), Refusal> {
    let mut topics = Vec::new();
    while let Some(topic) = list.read_next::<TopicConfig>().map_err(|error| not_understood(&error))? {
        topics.extend(prepare(control, topic)?);
        control.core.env.yield_now().await;
    }
    for (n, topic) in topics.into_iter().enumerate() {
        control.room().await?;
        control.put_topic(topic).map_err(|error| topic_refusal(&error))?;
        if n % CHANGES_PER_TURN == CHANGES_PER_TURN - 1 {
            control.core.env.yield_now().await;
        }
    }
    Ok(())
}

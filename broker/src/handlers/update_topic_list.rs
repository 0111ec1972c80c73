//! UPDATE_AND_CREATE_TOPIC_LIST (18): an administrator makes or changes many topics.
//!
//! Each is checked by the rules of 17 before any is made. RocketMQ 5.5.0 AdminBrokerProcessor#updateAndCreateTopicList, except that it
//! does nothing at all if one of them is as it is to be already.
//! Invariant: answered when all are durable, published, and known to the name servers that are up. On failure: a refusal; if the
//! journal fails on the way, some may have been made, and the same request again makes the rest.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::json_dialect::{self, TopicConfigList};

use super::update_topic::prepare;
use crate::control::topics::TopicConfig;
use crate::control::{Control, topic_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let list: TopicConfigList = match json_dialect::read(request.command.body) {
        Ok(list) => list,
        Err(error) => {
            return request.refuse(response_code::SYSTEM_ERROR, &format!("body not understood: {error}"));
        }
    };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        match put(&control, list.topic_config_list).await {
            Ok(()) => control.answer_when_settled(responder),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

async fn put<E: Env>(control: &Control<E>, asked: Vec<TopicConfig>) -> Result<(), Refusal> {
    let mut topics = Vec::with_capacity(asked.len());
    for topic in asked {
        topics.extend(prepare(control, topic)?);
        control.core.env.yield_now().await;
    }
    for topic in topics {
        control.room().await?;
        control.put_topic(topic).map_err(|error| topic_refusal(&error))?;
    }
    Ok(())
}

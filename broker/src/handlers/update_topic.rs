//! UPDATE_AND_CREATE_TOPIC (17): an administrator makes or changes a topic.
//!
//! Invariant: answered when the topic is durable, published, and known to the name servers that are up.
//! Rules and wording: RocketMQ 5.5.0 AdminBrokerProcessor#updateAndCreateTopic.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::CreateTopicHeader;

use super::queue::bad_header;
use crate::control::attributes::{self, MESSAGE_TYPE, ONCE_WINDOW, RESERVE_TIME, TOPIC_ATTRIBUTES};
use crate::control::making::Kind;
use crate::control::topics::{TopicConfig, TopicFilterType};
use crate::control::{Control, names, topic_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match CreateTopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let (responder, making) = (request.responder(), control.making(Kind::Topics));
    let outcome =
        asked_for(&header).and_then(|asked| prepare(control, asked)).and_then(|topic| match topic {
            Some(topic) => control.put_topic(topic).map_err(|error| topic_refusal(&error)),
            None => Ok(()),
        });
    control.answer_when_made(responder, making, outcome);
    Handled::Done
}

fn asked_for(header: &CreateTopicHeader<'_>) -> Result<TopicConfig, Refusal> {
    Ok(TopicConfig {
        attributes: attributes::parse_changes(header.attributes.unwrap_or_default()).map_err(failed)?,
        order: header.order,
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type: TopicFilterType::from_name(header.topic_filter_type),
        topic_name: header.topic.to_string(),
        topic_sys_flag: header.topic_sys_flag,
        write_queue_nums: header.write_queue_nums,
    })
}

fn failed(error: attributes::AttributeError) -> Refusal {
    Refusal::new(response_code::SYSTEM_ERROR, error.to_string())
}

fn is_of_group(topic: &str) -> bool {
    topic.starts_with(names::RETRY_PREFIX) || topic.starts_with(names::DLQ_PREFIX)
}

/// The topic as it is to be, of one whose attributes are changes (`+key`, `-key`); `None`: it is so already. Nothing is changed.
pub(super) fn prepare<E: Env>(
    control: &Control<E>,
    asked: TopicConfig,
) -> Result<Option<TopicConfig>, Refusal> {
    let invalid = |remark: String| Refusal::new(response_code::INVALID_PARAMETER, remark);
    let name = asked.topic_name.as_str();
    names::check_topic(name).map_err(|error| invalid(error.to_string()))?;
    if control.core.config.validate_system_topic_when_update_topic && control.system.contains(name) {
        return Err(invalid(format!("The topic[{name}] is conflict with system topic.")));
    }
    let changes = &asked.attributes;
    let mixed = changes.get(&format!("+{MESSAGE_TYPE}")).is_some_and(|value| value == "MIXED");
    if mixed && !control.core.config.enable_mixed_message_type {
        return Err(invalid("MIXED message type is not supported.".into()));
    }
    if changes.keys().any(|key| key.trim_start_matches(['+', '-']) == RESERVE_TIME) {
        // As the reference answers without a tiered store.
        return Err(Refusal::new(response_code::SYSTEM_ERROR, "Update topic reserveTime not supported"));
    }
    let known = control.state.borrow().topics.get(name).cloned();
    let current = known.as_ref().map(|topic| &topic.attributes);
    let attributes = attributes::alter(TOPIC_ATTRIBUTES, current, changes).map_err(failed)?;
    let not_sent_to = names::is_reserved_for_broker(name) || control.system.contains(name);
    if attributes.contains_key(ONCE_WINDOW) && (not_sent_to || is_of_group(name)) {
        let remark =
            format!("{ONCE_WINDOW} has no effect on {name}: it is for topics that producers send to");
        return Err(invalid(remark));
    }
    let topic = TopicConfig { attributes, ..asked };
    if known.is_some_and(|known| *known == topic) {
        return Ok(None);
    }
    control.state.borrow().topics.check(&topic).map_err(|error| topic_refusal(&error))?;
    Ok(Some(topic))
}

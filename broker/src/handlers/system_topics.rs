//! GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305): the topics that tools leave out when they list those of users.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::json_dialect::{self, TopicList};

use crate::control::{Control, names};
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let own = control.system.topics().iter().map(|topic| topic.topic_name.as_str());
    let all: std::collections::BTreeSet<&str> = own.chain(names::SYSTEM_TOPICS).collect();
    let topic_list = all.into_iter().map(str::to_owned).collect();
    request.responder().ok_with_body(&json_dialect::to_vec(&TopicList { broker_addr: None, topic_list }));
    Handled::Done
}

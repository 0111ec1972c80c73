//! QUERY_TOPICS_BY_CONSUMER (343): the topics in which a group has committed an offset.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::GroupHeader;
use ringmq_wire::json_dialect::{self, TopicList};

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let state = control.state.borrow();
    let topic_list = state.offsets.topics_of(header.group).map(|topic| topic.to_string()).collect();
    let broker_addr = Some(control.core.identity.store_host.to_string());
    request.responder().ok_with_body(&json_dialect::to_vec(&TopicList { broker_addr, topic_list }));
    Handled::Done
}

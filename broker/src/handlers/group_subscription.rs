//! QUERY_SUBSCRIPTION_BY_CONSUMER (345): what the online members of a group want of a topic.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::GroupTopicHeader;
use ringmq_wire::json_dialect::{self, GroupSubscription};

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GroupTopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let body = GroupSubscription {
        group: header.group.into(),
        subscription_data: control.clients.borrow().subscription(header.group, header.topic).cloned(),
        topic: header.topic.into(),
    };
    request.responder().ok_with_body(&json_dialect::to_vec(&body));
    Handled::Done
}

//! QUERY_TOPIC_CONSUME_BY_WHO (300): the groups that are online with the topic, or have ever committed an offset in it.

use std::collections::BTreeSet;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::TopicHeader;
use ringmq_wire::json_dialect::{self, GroupList};

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match TopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let clients = control.clients.borrow();
    let online =
        clients.consumer_groups().filter(|(_, group)| group.subscriptions.contains_key(header.topic));
    let mut groups: BTreeSet<String> = online.map(|(name, _)| name.to_string()).collect();
    let state = control.state.borrow();
    groups.extend(state.offsets.groups_of(header.topic).map(|group| group.to_string()));
    let body = GroupList { group_list: groups.into_iter().collect() };
    request.responder().ok_with_body(&json_dialect::to_vec(&body));
    Handled::Done
}

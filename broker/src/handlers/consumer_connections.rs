//! GET_CONSUMER_CONNECTION_LIST (203): the online members of a consumer group, how they consume, and what they want.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ConsumerGroupHeader;
use ringmq_wire::json_dialect::{self, ConsumerConnection};

use super::producer_connections::connection;
use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ConsumerGroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let clients = control.clients.borrow();
    let Some(group) = clients.consumer_group(header.consumer_group) else {
        let remark = format!("the consumer group[{}] not online", header.consumer_group);
        return request.refuse(response_code::CONSUMER_NOT_ONLINE, &remark);
    };
    let body = ConsumerConnection {
        connection_set: group.members.values().map(connection).collect(),
        consume_from_where: group.from_where,
        consume_type: group.consume_type,
        message_model: group.model,
        subscription_table: group.subscriptions.clone(),
    };
    request.responder().ok_with_body(&json_dialect::to_vec(&body));
    Handled::Done
}

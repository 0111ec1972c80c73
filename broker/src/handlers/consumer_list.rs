//! GET_CONSUMER_LIST_BY_GROUP (38): the ids of a group's online clients, which rebalance sorts and shares queues by.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ConsumerGroupHeader;
use ringmq_wire::json_dialect::{self, ConsumerIdList};

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
        let remark = format!("no consumer for this group, {}", header.consumer_group);
        return request.refuse(response_code::SYSTEM_ERROR, &remark);
    };
    let consumer_id_list = group.client_ids().map(|id| id.to_string()).collect();
    request.responder().ok_with_body(&json_dialect::to_vec(&ConsumerIdList { consumer_id_list }));
    Handled::Done
}

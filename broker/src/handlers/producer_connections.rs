//! GET_PRODUCER_CONNECTION_LIST (204): the online members of a producer group.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ProducerGroupHeader;
use ringmq_wire::json_dialect::{self, ClientConnection, ProducerConnection};

use super::queue::bad_header;
use crate::control::Control;
use crate::control::clients::Member;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ProducerGroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let clients = control.clients.borrow();
    let Some(members) = clients.producer_group(header.producer_group) else {
        let remark = format!("the producer group[{}] not exist", header.producer_group);
        return request.refuse(response_code::SYSTEM_ERROR, &remark);
    };
    let body = ProducerConnection { connection_set: members.values().map(connection).collect() };
    request.responder().ok_with_body(&json_dialect::to_vec(&body));
    Handled::Done
}

/// As lists of clients show it.
pub(super) fn connection(member: &Member) -> ClientConnection {
    ClientConnection {
        client_addr: member.addr.to_string(),
        client_id: member.client_id.to_string(),
        language: member.language.name().into(),
        version: member.version,
    }
}

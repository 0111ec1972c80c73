//! GET_SUBSCRIPTIONGROUP_CONFIG (352): the settings of one group; asking for it may make it, as its first use does.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::GroupHeader;
use ringmq_wire::json_dialect;

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    match control.group_or_auto_created(header.group) {
        Ok(Some(group)) => {
            request.responder().ok_with_body(&json_dialect::to_vec(&*group));
            Handled::Done
        }
        Ok(None) => request.refuse(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker"),
        Err(refusal) => request.refuse(refusal.code, &refusal.remark),
    }
}

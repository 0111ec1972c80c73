//! GET_TOPIC_CONFIG (351): the settings of one topic on this broker.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::TopicHeader;
use ringmq_wire::json_dialect;

use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match TopicHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let topic = control.state.borrow().topics.get(header.topic).cloned();
    match topic {
        Some(topic) => {
            request.responder().ok_with_body(&json_dialect::to_vec(&*topic));
            Handled::Done
        }
        None => {
            let remark = format!("No topic in this broker. topic: {}", header.topic);
            request.refuse(response_code::TOPIC_NOT_EXIST, &remark)
        }
    }
}

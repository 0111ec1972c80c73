//! CHECK_CLIENT_CONFIG (46): would this broker take this subscription expression?

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::json_dialect::{self, CheckClientConfig};

use super::queue::bad_body;
use crate::control::Control;
use crate::filter;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Control<E>, request: &Request<'_, '_, E>) -> Handled {
    let check: CheckClientConfig = match json_dialect::read(request.command.body) {
        Ok(check) => check,
        Err(error) => return bad_body(request, &error),
    };
    let subscription = &check.subscription_data;
    if subscription.is_tags() {
        request.responder().ok();
        return Handled::Done;
    }
    if !control.core.config.enable_property_filter {
        let remark = super::pull_filter::unsupported(&subscription.expression_type);
        return request.refuse(response_code::SYSTEM_ERROR, &remark);
    }
    match filter::compile(&subscription.expression_type, &subscription.sub_string) {
        Ok(_) => {
            request.responder().ok();
            Handled::Done
        }
        Err(why) => request.refuse(response_code::SUBSCRIPTION_PARSE_FAILED, &why),
    }
}

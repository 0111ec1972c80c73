//! CHECK_CLIENT_CONFIG (46): would this broker take this subscription expression?

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::json_dialect::{self, CheckClientConfig};

use crate::request::{Handled, Request};

pub fn handle<E: Env>(request: &Request<'_, '_, E>) -> Handled {
    let check: CheckClientConfig = match json_dialect::read(request.command.body) {
        Ok(check) => check,
        Err(error) => {
            return request.refuse(response_code::SYSTEM_ERROR, &format!("body not understood: {error}"));
        }
    };
    let subscription = &check.subscription_data;
    if subscription.is_tags() {
        request.responder().ok();
        return Handled::Done;
    }
    // As a broker of the reference answers whose enablePropertyFilter is false, its default.
    let kind: String = subscription.expression_type.chars().take(64).collect();
    let remark = format!("The broker does not support consumer to filter message by {kind}");
    request.refuse(response_code::SYSTEM_ERROR, &remark)
}

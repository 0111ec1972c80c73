//! UPDATE_BROKER_CONFIG (25): an administrator changes the configuration of the running broker.
//!
//! Differences to RocketMQ 5.5.0 AdminBrokerProcessor#updateBrokerConfig: a key that is not used, that only counts at a start, or whose
//! value cannot be read is refused by name, and then nothing is changed; there it is passed over in silence.
//! Invariant: answered when the change is durable and in force on all cores, and the name servers that are up know what concerns them.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::properties_text;

use crate::config::Setting;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let text = String::from_utf8_lossy(request.command.body);
    let entries = match properties_text::parse(&text) {
        Ok(entries) => entries,
        Err(error) => return request.refuse(response_code::SYSTEM_ERROR, &error.to_string()),
    };
    let settings: Vec<Setting> =
        entries.into_iter().map(|entry| (entry.key.into(), entry.value.trim().into())).collect();
    for (key, value) in &settings {
        tracing::info!(key = &**key, value = &**value, peer = %request.peer, "a change of the configuration is asked for");
    }
    match control.change_settings(settings) {
        Ok(()) => control.answer_when_settled(request.responder()),
        Err(refusal) => request.responder().refuse_with(&refusal),
    }
    Handled::Done
}

//! GET_BROKER_CONFIG (26): every key that has an effect here, with its present value, as properties text; but not where things lie
//! on the broker's machine.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::json_dialect::{self, DataVersion};

use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let mut config = (*control.core.config).clone();
    // Port 0 in the file is another one by now.
    config.listen_port = control.core.identity.listen_port;
    let body = config.shown_text();
    let counter = control.settings_changed() as i64;
    let version = DataVersion { timestamp: control.started_ms, counter, ..DataVersion::default() };
    let version = json_dialect::to_vec(&version);
    request.responder().answer(|out, opaque| {
        let mut writer = begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None);
        writer.ext("version", std::str::from_utf8(&version).expect("JSON is UTF-8"));
        writer.finish(body.as_bytes())
    });
    Handled::Done
}

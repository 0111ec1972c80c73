//! GET_ALL_PRODUCER_INFO (328): the online members of all producer groups.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::json_dialect::{self, ProducerInfo, ProducerTable};

use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    // Beats are counted on a clock that never jumps; tools want the time of day.
    let since_epoch = control.core.env.now_ms() - control.uptime_ms();
    let clients = control.clients.borrow();
    let groups = clients.producer_groups().map(|(group, members)| {
        let members = members.values().map(|member| ProducerInfo {
            client_id: member.client_id.to_string(),
            language: member.language.name().into(),
            last_update_timestamp: since_epoch + member.beat_ms,
            remote_ip: member.addr.to_string(),
            version: member.version,
        });
        (group.to_string(), members.collect())
    });
    let body = ProducerTable { data: groups.collect() };
    request.responder().ok_with_body(&json_dialect::to_vec(&body));
    Handled::Done
}

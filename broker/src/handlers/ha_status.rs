//! GET_BROKER_HA_STATUS (907): this broker is a master without slaves.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::json_dialect::{self, HaRuntimeInfo};

use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let stats = control.core.stats_of_all().await;
        let body = HaRuntimeInfo {
            master: true,
            master_commit_log_max_offset: stats.log_end as i64,
            ..HaRuntimeInfo::default()
        };
        responder.ok_with_body(&json_dialect::to_vec(&body));
    });
    Handled::Done
}

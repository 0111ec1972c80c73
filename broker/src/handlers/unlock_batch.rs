//! UNLOCK_BATCH_MQ (42): a client gives queues back that it consumed in order.

use std::rc::Rc;

use ringmq_io::Env;

use super::lock_batch::{locked, read};
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let batch = match read(request) {
        Ok(batch) => batch,
        Err(handled) => return handled,
    };
    let queues = batch.mq_set.into_iter().map(locked);
    control.locks.borrow_mut().unlock(&batch.consumer_group, &batch.client_id, queues);
    request.responder().ok();
    Handled::Done
}

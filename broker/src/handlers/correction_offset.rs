//! QUERY_CORRECTION_OFFSET (308): how far the slowest group of a topic is in each queue, for a group that follows the others.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#queryCorrectionOffset: where the group that is compared is behind already, the answer is the
//! largest number, which means that nothing is to be corrected. Differences: there, groups that are filtered out lose their offsets by
//! the question; here they do not count. Offsets below the queue's first message do not count either.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::headers::CorrectionOffsetHeader;
use ringmq_wire::json_dialect::{self, CorrectionOffsets};

use super::queue::bad_header;
use crate::control::Control;
use crate::queue_look::Look;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match CorrectionOffsetHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let topic: Box<str> = header.topic.into();
    let without: Vec<&str> = header.filter_groups.unwrap_or_default().split(',').collect();
    let (mut by_queue, compared) = {
        let state = control.state.borrow();
        let mut by_queue: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for group in state.offsets.groups_of(&topic).filter(|group| !without.contains(&&***group)) {
            for (queue_id, offset) in state.offsets.of_topic(group, &topic).into_iter().flatten() {
                by_queue.entry(*queue_id).or_default().push(*offset);
            }
        }
        let compared = state.offsets.of_topic(header.compare_group, &topic).cloned().unwrap_or_default();
        (by_queue, compared)
    };
    let looks = by_queue.keys().map(|queue_id| Look { queue_id: *queue_id, times_of: Vec::new() }).collect();
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let seen = match control.core.look_at_queues(&topic, looks, None).await {
            Ok(seen) => seen,
            Err(refusal) => return responder.refuse_with(&refusal),
        };
        let mut body = CorrectionOffsets::default();
        for seen in seen {
            let offsets = by_queue.remove(&seen.queue_id).unwrap_or_default();
            let slowest = offsets.into_iter().filter(|offset| *offset >= seen.min).min();
            let Some(slowest) = slowest else { continue };
            let behind = compared.get(&seen.queue_id).is_some_and(|offset| *offset < slowest);
            body.correction_offsets.insert(seen.queue_id as i32, if behind { i64::MAX } else { slowest });
        }
        responder.ok_with_body(&json_dialect::to_vec(&body));
    });
    Handled::Done
}

//! END_TRANSACTION (37): commit or rollback of a half message.
//!
//! The half's shard is in its physical offset. Clients send it oneway; what is refused, or lost, is asked about again.
//! Bounded by `ENDS_PER_CORE_MAX`. RocketMQ 5.5.0 EndTransactionProcessor; one that says "unknown" is not answered there,
//! and is answered with success here.

use std::rc::Rc;

use ringmq_io::limits::ENDS_PER_CORE_MAX;
use ringmq_io::{Class, Env};
use ringmq_store::PhysicalOffset;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::EndTransactionHeader;
use ringmq_wire::message::sys_flag::{TRANSACTION_COMMIT, TRANSACTION_ROLLBACK};

use super::queue;
use crate::core::Core;
use crate::request::{Handled, Request, Target};
use crate::transactions::{self, Ending};
use crate::under_way::UnderWay;

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match EndTransactionHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let commit = match header.commit_or_rollback {
        TRANSACTION_COMMIT => true,
        TRANSACTION_ROLLBACK => false,
        _ => {
            // Its producer does not know yet, and is asked again.
            request.responder().ok();
            return Handled::Done;
        }
    };
    let place = u64::try_from(header.commit_log_offset).ok().and_then(PhysicalOffset::unpack);
    let Some(shard) = place.map(|place| place.shard).filter(|shard| *shard < core.placement.shards()) else {
        let remark =
            format!("Find prepared transaction message failed: no message at {}", header.commit_log_offset);
        return request.refuse(response_code::SYSTEM_ERROR, &remark);
    };
    if core.local(shard).is_none() {
        return Handled::Elsewhere(Target::Shard(shard));
    }
    let under_way = match UnderWay::begin(core, |counters| &counters.ends_now, ENDS_PER_CORE_MAX) {
        Ok(under_way) => under_way,
        Err(now) => {
            let remark = format!("[RINGMQ_BUSY] {now} transactions are being ended already on this core");
            return request.refuse(response_code::SYSTEM_BUSY, &remark);
        }
    };
    let ending = Ending {
        group: header.producer_group.into(),
        queue_offset: header.tran_state_table_offset,
        physical: header.commit_log_offset,
        commit,
        from_check: header.from_transaction_check,
    };
    let (core, responder) = (core.clone(), request.responder());
    core.env.clone().spawn(Class::Foreground, async move {
        let outcome = transactions::end(&core, shard, &ending).await;
        drop(under_way);
        match outcome {
            Ok(()) => responder.ok(),
            Err(refusal) => {
                tracing::warn!(?ending, reason = refusal.remark, "a transaction was not ended");
                responder.refuse_with(&refusal);
            }
        }
    });
    Handled::Done
}

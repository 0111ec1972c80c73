//! RESUME_CHECK_HALF_MESSAGE (323): a half message that was given up waits again, and its producers are asked anew.
//!
//! RocketMQ 5.5.0 AdminBrokerProcessor#resumeCheckHalfMessage copies whatever message has the id into the half topic. Here it has
//! to be one that was given up (TRANS_CHECK_MAX_TIME_TOPIC): any other would be stored and never end, or would wait twice. The
//! copy in that topic stays, so that who resumes twice has two of it, as there.
//! Invariant: what waits is in the shard of its real queue. On failure: a refusal with the reason; nothing waits.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_store::{Keys, PhysicalOffset};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ResumeCheckHeader;
use ringmq_wire::message::{RecordParts, RecordView};
use ringmq_wire::message_id::decode_offset_id;
use ringmq_wire::properties::name;

use super::queue;
use crate::control::names;
use crate::core::Core;
use crate::pending::AddError;
use crate::reply::Refusal;
use crate::request::{Handled, Request, Target};
use crate::transactions::{first_check_ms, resumed_text};
use crate::with_room::{Failed, with_room};

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ResumeCheckHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let offset = match decode_offset_id(header.msg_id) {
        Ok((_, offset)) => offset as u64,
        Err(error) => {
            let remark = format!("{} is no offset message id: {error}", header.msg_id);
            return request.refuse(response_code::SYSTEM_ERROR, &remark);
        }
    };
    let shard = match PhysicalOffset::unpack(offset) {
        Some(place) if place.shard < core.placement.shards() => place.shard,
        _ => return request.refuse(response_code::SYSTEM_ERROR, &missing(offset)),
    };
    if core.local(shard).is_none() {
        return Handled::Elsewhere(Target::Shard(shard));
    }
    let (core, responder) = (core.clone(), request.responder());
    core.env.clone().spawn(Class::Foreground, async move {
        match resume(&core, shard, offset).await {
            Ok(()) => responder.ok(),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

fn missing(offset: u64) -> String {
    format!("can not find message by the offset, {offset}")
}

async fn resume<E: Env>(core: &Core<E>, shard: u16, offset: u64) -> Result<(), Refusal> {
    let failed = |remark: String| Refusal::new(response_code::SYSTEM_ERROR, remark);
    let local = core.local(shard).expect("looked at before");
    let found = local.shard.read_at(offset).await.map_err(Refusal::unreadable)?;
    let found = found.ok_or_else(|| failed(missing(offset)))?;
    let half = RecordView::parse(&found).map_err(|error| failed(error.to_string()))?;
    if half.topic != names::CHECK_MAX_TIME_TOPIC {
        let remark = format!(
            "the message is of topic {}; only half messages that were given up ({}) are resumed",
            half.topic,
            names::CHECK_MAX_TIME_TOPIC
        );
        return Err(failed(remark));
    }
    let queue_id = half.property(name::REAL_QUEUE_ID).and_then(|id| id.parse().ok());
    let home = half.property(name::REAL_TOPIC).zip(queue_id);
    if home.is_none_or(|(topic, queue_id)| core.placement.shard_of(topic, queue_id) != shard) {
        return Err(failed("the message does not say where it belongs".to_owned()));
    }
    let text = resumed_text(half.properties);
    let parts = RecordParts { properties: &text, store_host: core.identity.store_host, ..half.parts() };
    let again = with_room(core, local, || {
        let due_ms = first_check_ms(&text, core.env.now_ms(), core.config.transaction_timeout_ms);
        local.halves.add(parts, Keys::read(&text), due_ms).map_err(|error| match error {
            AddError::Append(error) => Failed::Append(error),
            full @ AddError::Full { .. } => Failed::Refused(failed(full.to_string())),
        })
    })
    .await?;
    local.acks.until_safe(again.end).await
}

//! VIEW_MESSAGE_BY_ID (33): the record at a physical offset.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_store::PhysicalOffset;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ViewMessageHeader;

use super::queue;
use crate::core::Core;
use crate::reply::Refusal;
use crate::request::{Handled, Request, Target};

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ViewMessageHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let offset = header.offset;
    let missing = move || format!("can not find message by the offset, {offset}");
    let shard = match PhysicalOffset::unpack(offset as u64) {
        Some(place) if place.shard < core.placement.shards() => place.shard,
        _ => return request.refuse(response_code::SYSTEM_ERROR, &missing()),
    };
    let Some(local) = core.local(shard) else { return Handled::Elsewhere(Target::Shard(shard)) };
    let (shard, responder) = (local.shard.clone(), request.responder());
    core.env.spawn(Class::ColdRead, async move {
        match shard.read_at(offset as u64).await {
            Ok(Some(record)) => responder.ok_with_body(&record),
            Ok(None) => responder.refuse(response_code::SYSTEM_ERROR, &missing()),
            Err(error) => responder.refuse_with(&Refusal::unreadable(error)),
        }
    });
    Handled::Done
}

//! Delivers the messages of a shard's timer book when they are due.
//!
//! Invariants: delivered and done are in one batch, so each is delivered exactly once, whatever crashes; never before its
//! time by the wall clock; earliest first, read ahead of it. A full ring or disk is waited for: nothing is dropped because of it.
//! On failure: a message that cannot be read for damage (the store reports where), or that does not say where it belongs, is
//! logged and done; a latched shard ends the deliveries until a restart.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::{DELIVERIES_PER_TURN, DELIVERY_BYTES_PER_TURN};
use ringmq_store::{AppendError, Keys, NewRecord, QueueRef};
use ringmq_wire::message::{RecordParts, RecordView};
use ringmq_wire::properties::{self, name};
use ringmq_wire::tags::tag_code;

use super::delivered_text;
use crate::core::{Core, LocalShard};
use crate::pending::{Ahead, Book, Due, Record};
use crate::stats::add;
use crate::with_room::whenever_there_is_room;

/// The task of one shard.
pub async fn deliver<E: Env>(core: Rc<Core<E>>, shard: u16) {
    let local = core.local(shard).expect("the task is started for a local shard");
    let book = local.timers.clone();
    let bytes = DELIVERY_BYTES_PER_TURN.min(book.slice_bytes());
    let ahead = Ahead::of(&book);
    loop {
        let taken = ahead.due(DELIVERIES_PER_TURN, bytes).await;
        let late = "delayed messages wait longer";
        let attempt = || append(&core, local, &book, &taken);
        if whenever_there_is_room(&core, local, late, attempt).await.is_none() {
            return;
        }
        core.env.yield_now().await;
    }
}

/// A message on its way to its queue.
struct Delivery<'a> {
    queue: QueueRef,
    parts: RecordParts<'a>,
    properties: String,
}

/// Appends what was taken to its queues.
fn append<E: Env>(
    core: &Core<E>,
    local: &LocalShard<E>,
    book: &Book<E>,
    taken: &[(Due, Record)],
) -> Result<(), AppendError> {
    let now = core.env.now_ms();
    let mut done = Vec::with_capacity(taken.len());
    let mut deliveries = Vec::with_capacity(taken.len());
    // What was recalled, or written again, since it was taken is not pending any more.
    for (Due { offset, .. }, record) in taken.iter().filter(|(due, _)| book.is_pending(due.offset)) {
        done.push(*offset);
        let delivery = record
            .as_ref()
            .and_then(|bytes| RecordView::parse(bytes).ok())
            .and_then(|record| delivery(core, local, &record, now));
        match delivery {
            Some(delivery) => deliveries.push(delivery),
            None => {
                add(&core.counters.delayed_lost, 1);
                tracing::error!(
                    shard = local.shard.id(),
                    offset,
                    "a delayed message is lost: it is damaged, or does not say where it belongs"
                );
            }
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    done.sort_unstable();
    let records = deliveries
        .iter()
        .map(|delivery| {
            let text = &delivery.properties;
            let parts = RecordParts { properties: text, ..delivery.parts };
            NewRecord::new(parts, tag_code(properties::get(text, name::TAGS)), Keys::read(text))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let became: Vec<(QueueRef, &[NewRecord<'_>])> =
        deliveries.iter().map(|delivery| delivery.queue).zip(records.chunks(1)).collect();
    book.settle(&done, &became, &[])?;
    add(&core.counters.delayed_delivered, became.len() as u64);
    for (delivery, record) in deliveries.iter().zip(&records) {
        core.count_incoming(delivery.parts.topic, 1, record.size() as u64);
    }
    Ok(())
}

fn delivery<'a, E: Env>(
    core: &Core<E>,
    local: &LocalShard<E>,
    record: &RecordView<'a>,
    now: i64,
) -> Option<Delivery<'a>> {
    let topic = record.property(name::REAL_TOPIC)?;
    let queue_id: u32 = record.property(name::REAL_QUEUE_ID)?.parse().ok()?;
    let home = core.placement.shard_of(topic, queue_id);
    if home != local.shard.id() {
        return None;
    }
    let queue = core.queue_here(local, topic, queue_id);
    let properties = delivered_text(record.properties, record.store_timestamp, now);
    Some(Delivery { queue, parts: RecordParts { topic, ..record.parts() }, properties })
}

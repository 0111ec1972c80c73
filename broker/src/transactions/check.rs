//! Asks producers what became of half messages that nobody has ended (39).
//!
//! Invariants: a half message that is due is asked about, given up, or due again later; it is given up (moved to
//! TRANS_CHECK_MAX_TIME_TOPIC, in one batch with its end) after `transactionCheckMax` times. Any producer that is online in
//! its group is asked, another one each time.
//! On failure: what cannot be read for damage is reported and done, other read errors are tried again; a full ring is waited
//! for; a latched shard ends the checks until a restart.

use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_io::limits::{CHECKS_PER_TURN, DELIVERY_BYTES_PER_TURN};
use ringmq_store::{AppendError, Keys, NewRecord};
use ringmq_transport::ConnId;
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code;
use ringmq_wire::command::FLAG_ONEWAY;
use ringmq_wire::encode::begin_request;
use ringmq_wire::headers::CheckTransactionStateHeader;
use ringmq_wire::message::{RecordParts, RecordView};
use ringmq_wire::message_id::offset_id;
use ringmq_wire::properties::name;
use ringmq_wire::tags::tag_code;

use super::asked_text;
use crate::ask::{Answer, Question};
use crate::control::names;
use crate::core::{CONTROL_CORE, Core, LocalShard};
use crate::pending::Due;
use crate::stats::add;
use crate::with_room::{RETRY, whenever_there_is_room};

/// The task of one shard.
pub async fn check_back<E: Env>(core: Rc<Core<E>>, shard: u16) {
    let local = core.local(shard).expect("the task is started for a local shard");
    let book = local.halves.clone();
    // Who is online only the control plane knows, and it comes after the shards.
    core.lifecycle.serve.wait().await;
    loop {
        let bytes = DELIVERY_BYTES_PER_TURN.min(book.slice_bytes());
        let taken = book.due(Duration::ZERO, CHECKS_PER_TURN, bytes).await;
        let interval = i64::try_from(core.config.transaction_check_interval_ms).unwrap_or(i64::MAX / 2);
        let mut offsets: Vec<u64> = taken.iter().map(|due| due.offset).collect();
        offsets.sort_unstable();
        let records = match book.records(&offsets).await {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(shard, %error, "half messages cannot be read: tried again");
                book.put_back(taken);
                core.env.sleep(RETRY).await;
                continue;
            }
        };
        for Due { offset, .. } in taken {
            let record = records.binary_search_by_key(&offset, |(offset, _)| *offset);
            let half = record.ok().and_then(|at| RecordView::parse(&records[at].1).ok());
            let times = local.asked.times(offset);
            match half {
                Some(half) if times < core.config.transaction_check_max => {
                    if book.is_pending(offset) {
                        ask_about(&core, &half, times + 1).await;
                        local.asked.once_more(offset);
                    }
                    let due_ms = core.env.now_ms().saturating_add(interval);
                    book.put_back([Due { due_ms, offset }]);
                }
                half => {
                    if !give_up(&core, local, offset, half.as_ref()).await {
                        return;
                    }
                }
            }
        }
        local.asked.keep_short(book.len(), |offset| book.is_pending(offset));
        core.env.yield_now().await;
    }
}

/// Asks some producer of the group, if one is online. Nobody waits for the answer: an END_TRANSACTION comes, or the next
/// check.
async fn ask_about<E: Env>(core: &Rc<Core<E>>, half: &RecordView<'_>, times: u32) {
    let group = half.property(name::PRODUCER_GROUP).unwrap_or_default();
    let conn = match core.ask(CONTROL_CORE, Question::AnyProducer { group: group.into() }).await {
        Answer::Producer(conn) => conn,
        other => unreachable!("asked for a producer, was answered {other:?}"),
    };
    match conn {
        Some(conn) => {
            add(&core.counters.transaction_checks, 1);
            core.push_to_client(conn, question(core, conn, half, times));
        }
        None => tracing::debug!(group, "no producer is online to be asked about a half message"),
    }
}

fn question<E: Env>(core: &Core<E>, conn: ConnId, half: &RecordView<'_>, times: u32) -> Vec<u8> {
    let text = asked_text(half.properties, times);
    let parts = RecordParts {
        topic: half.property(name::REAL_TOPIC).unwrap_or_default(),
        queue_id: half.property(name::REAL_QUEUE_ID).and_then(|id| id.parse().ok()).unwrap_or_default(),
        properties: &text,
        ..half.parts()
    };
    let mut body = vec![0; parts.encoded_len().unwrap_or(0)];
    if !body.is_empty() {
        parts.encode_into(&mut body);
    }
    let id = offset_id(half.store_host, half.physical_offset);
    let unique = half.property(name::UNIQUE_KEY);
    let header = CheckTransactionStateHeader {
        topic: Some(half.topic),
        tran_state_table_offset: half.queue_offset,
        commit_log_offset: half.physical_offset,
        msg_id: unique,
        transaction_id: unique,
        offset_msg_id: Some(id.as_str()),
        broker_name: Some(&core.identity.broker_name),
    };
    let mut frame = Vec::with_capacity(body.len() + 512);
    // Oneway, so its number matters to nobody.
    let opaque = conn as i32;
    let code = request_code::CHECK_TRANSACTION_STATE;
    let mut writer = begin_request(&mut frame, Serialization::Json, code, opaque, FLAG_ONEWAY);
    header.write(&mut writer);
    if let Err(error) = writer.finish(&body) {
        tracing::error!(%error, "a half message cannot be asked about");
    }
    frame
}

/// Moves a half message that was asked about too often, or lets go of one that cannot be read. `false`: the shard takes
/// nothing more.
async fn give_up<E: Env>(
    core: &Rc<Core<E>>,
    local: &LocalShard<E>,
    offset: u64,
    half: Option<&RecordView<'_>>,
) -> bool {
    let attempt = || match local.halves.is_pending(offset) {
        true => move_away(core, local, offset, half).map(|_| true),
        // Its producer was quicker.
        false => Ok(false),
    };
    let moved = whenever_there_is_room(core, local, "a half message cannot be given up yet", attempt).await;
    if moved == Some(true) {
        add(&core.counters.transactions_given_up, 1);
        let shard = local.shard.id();
        match half {
            Some(_) => tracing::warn!(shard, offset, "a half message was asked about too often"),
            None => tracing::error!(shard, offset, "a half message is lost to damage"),
        }
    }
    moved.is_some()
}

fn move_away<E: Env>(
    core: &Core<E>,
    local: &LocalShard<E>,
    offset: u64,
    half: Option<&RecordView<'_>>,
) -> Result<u64, AppendError> {
    let Some(half) = half else { return local.halves.settle(&[offset], &[], &[]) };
    let topic = names::CHECK_MAX_TIME_TOPIC;
    let queue_id = core.placement.queue_in(core.placement.first_shard(topic), local.shard.id());
    let text = asked_text(half.properties, local.asked.times(offset));
    let parts = RecordParts { topic, properties: &text, ..half.parts() };
    let record = NewRecord::new(parts, tag_code(half.property(name::TAGS)), Keys::read(half.properties))?;
    let queue = local.shard.queue(topic, queue_id);
    local.halves.settle(&[offset], &[(queue, std::slice::from_ref(&record))], &[])
}

//! Commit and rollback of one half message, on the core of its shard.
//!
//! Order of the checks and their codes: RocketMQ 5.5.0 EndTransactionProcessor. Invariants: whether the half still waits is
//! looked at in the turn in which it is settled; the answer comes when the flush mode's promise holds.
//! On failure: a refusal with RocketMQ's words and what is wrong; the half waits on, and its producer is asked about it.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_store::{AppendError, Keys, NewRecord};
use ringmq_wire::code::response_code;
use ringmq_wire::message::{RecordParts, RecordView, sys_flag};
use ringmq_wire::properties::{self, name};
use ringmq_wire::tags::tag_code;

use super::{asked_text, committed_text, own_immunity_ms};
use crate::control::names;
use crate::core::{Core, LocalShard};
use crate::reply::Refusal;
use crate::stats::add;
use crate::with_room::{Failed, with_room};

/// What a producer says of a half message.
#[derive(Clone, Debug)]
pub struct Ending {
    pub group: Box<str>,
    /// Of the half, in the waiting queue.
    pub queue_offset: i64,
    pub physical: i64,
    pub commit: bool,
    /// The producer was asked.
    pub from_check: bool,
}

/// Ends a half message of this shard.
pub async fn end<E: Env>(core: &Rc<Core<E>>, shard: u16, ending: &Ending) -> Result<(), Refusal> {
    let local = core.local(shard).expect("the home of a half message has its shard");
    let failed = |remark: String| Refusal::new(response_code::SYSTEM_ERROR, remark);
    let found = local.shard.read_at(ending.physical as u64).await;
    let found = found.map_err(Refusal::unreadable)?;
    let not_found = |why: &str| failed(format!("Find prepared transaction message failed: {why}"));
    let nothing = || not_found(&format!("no message at {}", ending.physical));
    let bytes = found.ok_or_else(nothing)?;
    let half = RecordView::parse(&bytes).map_err(|_| nothing())?;
    if half.topic != names::HALF_TOPIC {
        return Err(not_found(&format!("the message at {} is of topic {}", ending.physical, half.topic)));
    }
    check(core, &half, ending)?;
    let offset = half.queue_offset as u64;
    let safe_at = with_room(core, local, || {
        if !local.halves.is_pending(offset) {
            return Err(Failed::Refused(not_found(&format!(
                "half message {offset} of shard {shard} was committed or rolled back before, or given up, or has moved \
                 (then its producer is asked again)"
            ))));
        }
        Ok(settle(core, local, &half, ending.commit)?)
    })
    .await?;
    let counter = if ending.commit {
        &core.counters.transactions_committed
    } else {
        &core.counters.transactions_rolled_back
    };
    add(counter, 1);
    if ending.commit {
        let age_ms = (core.env.now_ms() - half.born_timestamp).max(0) as u64;
        core.counters.seconds_to_commit.note(1, age_ms / 1000);
    }
    local.acks.until_safe(safe_at).await
}

fn check<E: Env>(core: &Core<E>, half: &RecordView<'_>, ending: &Ending) -> Result<(), Refusal> {
    let wrong = |remark: String| Err(Refusal::new(response_code::SYSTEM_ERROR, remark));
    let timeout = i64::try_from(core.config.transaction_timeout_ms).unwrap_or(i64::MAX);
    if !ending.from_check
        && let Some(immunity) = own_immunity_ms(half.properties, timeout)
        && core.env.now_ms() - half.born_timestamp > immunity
    {
        let remark = format!(
            "the message is older than its {} ({immunity} ms): wait for the check",
            name::CHECK_IMMUNITY_TIME_IN_SECONDS
        );
        return Err(Refusal::new(response_code::ILLEGAL_OPERATION, remark));
    }
    let group = half.property(name::PRODUCER_GROUP).unwrap_or_default();
    if *group != *ending.group {
        return wrong(format!("The producer group wrong: {} ends a message of {group}", ending.group));
    }
    if half.queue_offset != ending.queue_offset {
        return wrong(format!(
            "The transaction state table offset wrong: {} instead of {}",
            ending.queue_offset, half.queue_offset
        ));
    }
    if half.physical_offset != ending.physical {
        return wrong(format!("The commit log offset wrong: {}", ending.physical));
    }
    Ok(())
}

/// In one batch: the committed message, if it is one, and that the half is done. Gives the log position that makes it safe.
fn settle<E: Env>(
    core: &Core<E>,
    local: &LocalShard<E>,
    half: &RecordView<'_>,
    commit: bool,
) -> Result<u64, AppendError> {
    let done = [half.queue_offset as u64];
    if !commit {
        return local.halves.settle(&done, &[], &[]);
    }
    let topic = half.property(name::REAL_TOPIC).unwrap_or_default();
    let queue_id = half.property(name::REAL_QUEUE_ID).and_then(|id| id.parse().ok()).unwrap_or_default();
    let home = core.placement.shard_of(topic, queue_id);
    assert_eq!(home, local.shard.id(), "a half message is in the shard of its real queue");
    let queue = core.queue_here(local, topic, queue_id);
    let asked = local.asked.times(half.queue_offset as u64);
    let text = committed_text(&asked_text(half.properties, asked));
    let parts = RecordParts {
        topic,
        sys_flag: (half.sys_flag & !sys_flag::TRANSACTION_MASK) | sys_flag::TRANSACTION_COMMIT,
        prepared_transaction_offset: half.physical_offset,
        properties: &text,
        ..half.parts()
    };
    let record = NewRecord::new(parts, tag_code(properties::get(&text, name::TAGS)), Keys::read(&text))?;
    let end = local.halves.settle(&done, &[(queue, std::slice::from_ref(&record))], &[])?;
    core.count_incoming(topic, 1, record.size() as u64);
    Ok(end)
}

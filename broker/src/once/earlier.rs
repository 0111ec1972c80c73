//! Is the message that is there already the one that was sent again?
//!
//! Owns: looking at the earlier message on the core of its shard. Invariants: a send is taken for a repetition only if the message
//! there has its topic and unique key and is within the window, and of a batch all that follow have those of its other messages;
//! the answer comes when the earlier message is as safe as the flush mode promises.
//! On failure: a message that is gone or damaged is none; what cannot be read is an error.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_store::PhysicalOffset;
use ringmq_wire::code::response_code;
use ringmq_wire::message::RecordView;
use ringmq_wire::properties::name;

use crate::ask::{Answer, Question};
use crate::core::{Core, LocalShard};
use crate::reply::Refusal;

/// What was sent.
#[derive(Clone, Debug)]
pub struct Sought {
    pub topic: Box<str>,
    /// Unique keys: one of a message, all of a batch (of a batch's message without one, nothing).
    pub keys: Vec<Box<str>>,
    pub since_ms: i64,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub queue_id: u32,
    /// Of the first message.
    pub queue_offset: u64,
    pub physicals: Vec<u64>,
    /// As safe as an acknowledgement promises; if not, it has taken too long.
    pub safe: bool,
}

impl<E: Env> Core<E> {
    /// What was sent, if it is what is at `physical`.
    pub(crate) async fn earlier(
        self: &Rc<Self>,
        physical: u64,
        sought: &Sought,
    ) -> Result<Option<Earlier>, Refusal> {
        let Some(place) = PhysicalOffset::unpack(physical) else { return Ok(None) };
        let question = Question::Earlier { physical, sought: Box::new(sought.clone()) };
        match self.ask(self.placement.core(place.shard), question).await {
            Answer::Earlier(found) => found,
            other => unreachable!("asked for an earlier message, was answered {other:?}"),
        }
    }

    pub(crate) async fn earlier_here(
        &self,
        physical: u64,
        sought: &Sought,
    ) -> Result<Option<Earlier>, Refusal> {
        let place = PhysicalOffset::unpack(physical).expect("checked by who asks");
        let local = self.local(place.shard).expect("a shard's core was asked");
        let found = local.shard.read_at(physical).await.map_err(Refusal::unreadable)?;
        let Some(bytes) = found else { return Ok(None) };
        let Ok(first) = RecordView::parse(&bytes) else { return Ok(None) };
        let is_it = first.topic == &*sought.topic
            && has_key(&first, &sought.keys[0])
            && first.store_timestamp >= sought.since_ms;
        let Ok(queue_id) = u32::try_from(first.queue_id) else { return Ok(None) };
        if !is_it {
            return Ok(None);
        }
        let queue_offset = first.queue_offset as u64;
        let mut physicals = vec![physical];
        let mut end = place.position + bytes.len() as u64;
        if sought.keys.len() > 1 {
            let rest =
                rest_of_batch(local, queue_id, queue_offset, sought).await.map_err(Refusal::unreadable)?;
            let Some(rest) = rest else {
                let remark = format!(
                    "unique key {} was sent before, and not in this batch: send its messages one by one",
                    sought.keys[0]
                );
                return Err(Refusal::new(response_code::MESSAGE_ILLEGAL, remark));
            };
            for (physical, size) in rest {
                physicals.push(physical);
                end = PhysicalOffset::unpack(physical).map_or(end, |place| place.position + size);
            }
        }
        let safe = match local.acks.until_safe(end).await {
            Ok(()) => true,
            Err(refusal) if refusal.code == response_code::FLUSH_DISK_TIMEOUT => false,
            Err(refusal) => return Err(refusal),
        };
        Ok(Some(Earlier { queue_id, queue_offset, physicals, safe }))
    }
}

fn has_key(record: &RecordView<'_>, key: &str) -> bool {
    record.property(name::UNIQUE_KEY).unwrap_or_default() == key
}

/// Places and sizes of the messages behind the first, if they are the batch's.
async fn rest_of_batch<E: Env>(
    local: &LocalShard<E>,
    queue_id: u32,
    first: u64,
    sought: &Sought,
) -> std::io::Result<Option<Vec<(u64, u64)>>> {
    let keys = &sought.keys[1..];
    let offsets: Vec<u64> = (first + 1..).take(keys.len()).collect();
    let queue = local.shard.find_queue(&sought.topic, queue_id);
    let records = match queue {
        Some(queue) => local.shard.records_of(queue, &offsets).await?,
        None => Vec::new(),
    };
    let mut found = Vec::with_capacity(keys.len());
    for (_, bytes) in &records {
        let record = RecordView::parse(bytes).map_err(std::io::Error::other)?;
        if keys.get(found.len()).is_none_or(|key| !has_key(&record, key)) {
            return Ok(None);
        }
        found.push((record.physical_offset as u64, record.bytes.len() as u64));
    }
    Ok((found.len() == keys.len()).then_some(found))
}

//! Messages that the broker makes of others (retries, dead letters), on whatever core their queue is.
//!
//! Owns: the way of such a message from the core that made it to the shard of its queue, and the wait until it is as safe as the
//! flush mode promises. Invariants: `store` returns `Ok` only for what is so safe; a message that asks for a delay goes to
//! the timer book of the same shard. Bounded by who calls it: see `SEND_BACKS_PER_CORE_MAX`.
//! On failure: a refusal in the client's terms; a full ring is waited for as long as a send would wait.

use std::net::SocketAddr;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_store::{AppendError, Appended, Keys, NewRecord};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message::RecordParts;
use ringmq_wire::tags::tag_code;

use crate::ask::{Answer, Question};
use crate::core::{Core, LocalShard};
use crate::handlers::message::Traits;
use crate::pending::AddError;
use crate::reply::Refusal;
use crate::request::Request;
use crate::timers::{waiting_text, when};
use crate::with_room::{Failed, with_room};

/// A message on its own memory.
#[derive(Clone, Debug)]
pub struct OwnMessage {
    pub topic: Box<str>,
    pub queue_id: u32,
    pub flag: i32,
    pub sys_flag: i32,
    pub born_timestamp: i64,
    pub born_host: SocketAddr,
    pub reconsume_times: i32,
    pub body: Box<[u8]>,
    pub properties: Box<str>,
}

/// Where it was stored; of a delayed message, where it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    pub physical: u64,
    pub queue_offset: u64,
}

impl OwnMessage {
    /// What a client sent, with other properties, for a queue of the broker's choice.
    pub fn of_send<E: Env>(
        request: &Request<'_, '_, E>,
        header: &SendHeader<'_>,
        (topic, queue_id): (&str, u32),
        properties: &str,
    ) -> Self {
        Self {
            topic: topic.into(),
            queue_id,
            flag: header.flag,
            sys_flag: header.sys_flag,
            born_timestamp: header.born_timestamp,
            born_host: request.peer,
            reconsume_times: header.reconsume_times,
            body: request.command.body.into(),
            properties: properties.into(),
        }
    }
}

impl<E: Env> Core<E> {
    /// Stores the message on the core of its queue. When it returns, the message is as safe as the flush mode promises.
    pub async fn store(self: &Rc<Self>, message: OwnMessage) -> Result<StoredAt, Refusal> {
        let shard = self.placement.shard_of(&message.topic, message.queue_id);
        match self.ask(self.placement.core(shard), Question::Store(Box::new(message))).await {
            Answer::Stored(outcome) => outcome,
            other => unreachable!("asked to store a message, was answered {other:?}"),
        }
    }

    /// The record at a physical offset, from the core of its shard.
    pub async fn record_at(self: &Rc<Self>, physical: u64) -> Result<Option<Vec<u8>>, String> {
        let shard = ringmq_store::PhysicalOffset::unpack(physical).map(|place| place.shard);
        let Some(shard) = shard.filter(|shard| *shard < self.placement.shards()) else { return Ok(None) };
        match self.ask(self.placement.core(shard), Question::Record { shard, physical }).await {
            Answer::Record(outcome) => outcome,
            other => unreachable!("asked for a record, was answered {other:?}"),
        }
    }

    /// The queue's core is this one.
    pub(crate) async fn store_here(self: Rc<Self>, message: OwnMessage) -> Result<StoredAt, Refusal> {
        let shard = self.placement.shard_of(&message.topic, message.queue_id);
        let local = self.local(shard).expect("the home of a queue has its shard");
        let appended = with_room(&self, local, || self.append_own(local, &message)).await?;
        local.acks.until_safe(appended.end).await?;
        Ok(StoredAt { physical: appended.physical, queue_offset: appended.queue_offset })
    }

    fn append_own(&self, local: &LocalShard<E>, message: &OwnMessage) -> Result<Appended, Failed> {
        let traits = Traits::read(&message.properties);
        let keys = Keys { unique: traits.unique_key, words: traits.keys.unwrap_or_default() };
        let parts = RecordParts {
            queue_id: message.queue_id as i32,
            flag: message.flag,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: message.sys_flag,
            born_timestamp: message.born_timestamp,
            born_host: message.born_host,
            store_timestamp: 0,
            store_host: self.identity.store_host,
            reconsume_times: message.reconsume_times,
            prepared_transaction_offset: 0,
            body: &message.body,
            topic: &message.topic,
            properties: &message.properties,
            added_properties: "",
        };
        let wait = when(&traits, || self.env.now_ms(), &self.config).map_err(Failed::Refused)?;
        if let Some(wait) = wait {
            let text = waiting_text(&message.properties, &message.topic, message.queue_id, wait);
            let parts = RecordParts { properties: &text, ..parts };
            let added = local.timers.add(parts, keys, wait.due_ms).map_err(|error| match error {
                AddError::Append(error) => Failed::Append(error),
                full @ AddError::Full { .. } => {
                    Failed::Refused(Refusal::new(response_code::SYSTEM_ERROR, full.to_string()))
                }
            })?;
            self.count_delay(wait.due_ms);
            return Ok(added);
        }
        let queue = self.queue_here(local, &message.topic, message.queue_id);
        let record = NewRecord::new(parts, tag_code(traits.tags), keys).map_err(AppendError::from)?;
        let appended = local.shard.append(queue, &record)?;
        self.count_incoming(&message.topic, 1, appended.bytes);
        Ok(appended)
    }
}

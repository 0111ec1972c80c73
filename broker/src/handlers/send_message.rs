//! SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320): store a message, or several.
//!
//! Order of the checks and their codes: RocketMQ 5.5.0 SendMessageProcessor, AbstractSendMessageProcessor#msgCheck,
//! HookUtils. Topic, permission and queue id are checked where the connection is; the rest, and the append, on the core of
//! the queue's shard. The answer comes from `ack`.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_store::{AppendError, Appended, Keys, NewRecord, QueueRef};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message::RecordParts;
use ringmq_wire::properties::{self, name};
use ringmq_wire::tags::tag_code;

use super::message::Traits;
use super::{on_demand, queue, send_batch, send_delayed, send_half, send_once, send_retry};
use crate::ack::{Pending, UniqueKey};
use crate::config::BrokerConfig;
use crate::control::names;
use crate::control_plane::WantedTopic;
use crate::core::{Core, LocalShard};
use crate::pending::AddError;
use crate::request::{Handled, Request, Target};
use crate::stages::Stage;
use crate::stats::add;
use crate::tables::Topic;
use crate::timers;

/// sysFlag bit of a topic whose messages have several tags.
pub const MULTI_TAGS: i32 = ringmq_wire::message::sys_flag::MULTI_TAGS;

/// A send that has passed the checks of its topic and is on its shard's core.
pub(super) struct Placed<'a, 'r, 'f, E: Env> {
    pub core: &'a Rc<Core<E>>,
    pub request: &'a Request<'r, 'f, E>,
    pub header: &'a SendHeader<'a>,
    pub local: &'a LocalShard<E>,
    pub topic: Option<&'a Topic>,
    pub queue: QueueRef,
    pub queue_id: u32,
    pub sys_flag: i32,
}

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match SendHeader::decode(request.command) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let topic = core.tables.topic(header.topic);
    let (shard, queue_id) = match request.target {
        Some(Target::Queue { shard, queue_id }) => (shard, queue_id),
        _ => match &topic {
            Some(topic) => match check(core, request, &header, topic) {
                Ok(queue_id) if topic.retry && !header.batch => {
                    let target = Target::Queue { shard: core.shard_of(topic, queue_id), queue_id };
                    return send_retry::handle(core, request, &header, target);
                }
                Ok(queue_id) => {
                    let shard = core.shard_of(topic, queue_id);
                    let window_ms = topic.settings.once_ms;
                    if window_ms > 0
                        && let Some(sought) = send_once::sought(core, request, &header, window_ms)
                    {
                        let target = Target::Queue { shard, queue_id };
                        return send_once::handle(core, request, sought, window_ms, target);
                    }
                    (shard, queue_id)
                }
                Err(handled) => return handled,
            },
            None => return without_topic(core, request, &header),
        },
    };
    let Some(local) = core.local(shard) else {
        return Handled::Elsewhere(Target::Queue { shard, queue_id });
    };
    if !request.first_in_line
        && let Some(error) = local.parked.reason()
    {
        return Handled::NoRoom { shard, queue_id, error };
    }
    // Without a topic entry the tables of this core are behind those of the core that has checked it.
    let queue = match &topic {
        Some(topic) => topic.queue(&local.shard, queue_id),
        None => local.shard.queue(header.topic, queue_id),
    };
    let multi_tag = topic.as_ref().is_some_and(|topic| topic.settings.multi_tag);
    let sys_flag = if multi_tag { header.sys_flag | MULTI_TAGS } else { header.sys_flag };
    let topic = topic.as_deref();
    let placed = Placed { core, request, header: &header, local, topic, queue, queue_id, sys_flag };
    if header.batch { send_batch::store(&placed) } else { store(&placed) }
}

/// The checks of a known topic; gives the queue.
pub(super) fn check<E: Env>(
    core: &Rc<Core<E>>,
    request: &Request<'_, '_, E>,
    header: &SendHeader<'_>,
    topic: &Topic,
) -> Result<u32, Handled> {
    if topic.settings.order && !core.tables.broker_writable() {
        let remark = format!("the broker[{}] sending message is forbidden", core.config.broker_ip1);
        return Err(request.refuse(response_code::NO_PERMISSION, &remark));
    }
    if topic.reserved {
        return Err(refuse_reserved(request, header.topic));
    }
    if header.queue_id >= topic.queues_max() as i32 {
        let remark = format!(
            "request queueId[{}] is illegal, topic {} has {} read and {} write queues, Producer: {}",
            header.queue_id,
            header.topic,
            topic.settings.read_queues,
            topic.settings.write_queues,
            request.peer
        );
        return Err(request.refuse(response_code::INVALID_PARAMETER, &remark));
    }
    match u32::try_from(header.queue_id) {
        Ok(queue_id) => Ok(queue_id),
        // Negative: ours to choose.
        Err(_) => match topic.settings.write_queues {
            0 => {
                let remark = format!("topic {} has no write queue to choose from", header.topic);
                Err(request.refuse(response_code::INVALID_PARAMETER, &remark))
            }
            queues => Ok((core.env.random() % u64::from(queues)) as u32),
        },
    }
}

fn refuse_reserved<E: Env>(request: &Request<'_, '_, E>, topic: &str) -> Handled {
    request.refuse(response_code::NO_PERMISSION, &format!("Sending message to topic[{topic}] is forbidden."))
}

/// Has the control core make the topic, then looks at the request again. Later requests of the connection wait.
pub(super) fn without_topic<E: Env>(
    core: &Rc<Core<E>>,
    request: &Request<'_, '_, E>,
    header: &SendHeader<'_>,
) -> Handled {
    if let Err(error) = names::check_topic(header.topic) {
        return request.refuse(response_code::INVALID_PARAMETER, &error.to_string());
    }
    if names::is_reserved_for_broker(header.topic) {
        return refuse_reserved(request, header.topic);
    }
    let wanted = WantedTopic {
        topic: header.topic.into(),
        template: header.default_topic.into(),
        queues: header.default_topic_queue_nums,
        unit_mode: header.unit_mode,
        producer: request.peer,
    };
    on_demand::topic(core, request, wanted)
}

/// Stores a single message.
fn store<E: Env>(placed: &Placed<'_, '_, '_, E>) -> Handled {
    let Placed { core, request, header, .. } = *placed;
    let body = request.command.body;
    if body.is_empty() || body.len() > core.config.max_message_size as usize {
        return refuse_size(placed);
    }
    let removed;
    let mut text = header.properties;
    let mut traits = Traits::read(text);
    if traits.has_pop_ck {
        // RocketMQ 5.5.0 SendMessageProcessor#clearReservedProperties.
        removed = properties::remove(text, name::POP_CK);
        text = &removed;
        traits = Traits::read(text);
    }
    if let Some(handled) = refuse_traits(placed, &traits) {
        return handled;
    }
    let wait = match timers::when(&traits, || core.env.now_ms(), &core.config) {
        Ok(wait) => wait,
        Err(refusal) => return placed.refuse(refusal.code, &refusal.remark),
    };
    let made_key;
    let added_with_key;
    let (added, key) = match traits.unique_key {
        Some(key) => (core.identity.added_properties.as_str(), key),
        None => {
            made_key = core.unique_id();
            added_with_key =
                format!("{}{}\u{1}{made_key}\u{2}", core.identity.added_properties, name::UNIQUE_KEY);
            (added_with_key.as_str(), made_key.as_str())
        }
    };
    // RocketMQ's clients before 4.6.1 send retries with the property.
    let retried = header.reconsume_times > 0 && wait.is_some_and(|wait| wait.level.is_some());
    let prepared = traits.prepared && !retried;
    if prepared && wait.is_some() {
        let remark = "a transactional message cannot be delayed";
        return placed.refuse(response_code::MESSAGE_ILLEGAL, remark);
    }
    if prepared {
        return send_half::store(placed, &traits, (text, added), key);
    }
    if let Some(wait) = wait {
        return send_delayed::store(placed, &traits, wait, (text, added), key);
    }
    let keys = Keys { unique: Some(key), words: traits.keys.unwrap_or_default() };
    let record = placed.record(header.flag, body, text, added);
    let began = core.stages.begin(&core.env, Stage::Append);
    let appended = NewRecord::new(record, tag_code(traits.tags), keys)
        .map_err(AppendError::from)
        .and_then(|record| placed.local.shard.append(placed.queue, &record));
    match appended {
        Ok(appended) => {
            core.stages.end(&core.env, Stage::Append, began);
            placed.count(1, appended.bytes);
            placed.acknowledge(&appended, &traits, Some(key), |_| {})
        }
        Err(error) => refuse_append(placed, error),
    }
}

impl<'a, E: Env> Placed<'a, '_, '_, E> {
    pub fn record<'r>(
        &self,
        flag: i32,
        body: &'r [u8],
        properties: &'r str,
        added: &'r str,
    ) -> RecordParts<'r>
    where
        'a: 'r,
    {
        RecordParts {
            queue_id: self.queue_id as i32,
            flag,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: self.sys_flag,
            born_timestamp: self.header.born_timestamp,
            born_host: self.request.peer,
            store_timestamp: 0,
            store_host: self.core.identity.store_host,
            reconsume_times: self.header.reconsume_times,
            prepared_transaction_offset: 0,
            body,
            topic: self.header.topic,
            properties,
            added_properties: added,
        }
    }

    /// The answer to a send that was stored goes out when the flush mode's promise holds. `more` adds what not every answer
    /// has.
    pub fn acknowledge(
        &self,
        appended: &Appended,
        traits: &Traits<'_>,
        key: Option<&str>,
        more: impl FnOnce(&mut Pending<E>),
    ) -> Handled {
        if let Some(claim) = self.request.claim {
            claim.stored(appended.physical);
        }
        if self.request.command.is_oneway() {
            return Handled::Done;
        }
        let mut pending = Pending {
            responder: self.request.responder(),
            end: appended.end,
            queue_id: self.queue_id,
            queue_offset: appended.queue_offset,
            physical: appended.physical,
            key: UniqueKey::of(key),
            batch: None,
            recall: None,
        };
        more(&mut pending);
        self.local.acks.push(pending, !traits.no_wait);
        Handled::Done
    }

    /// Messages were stored in their queue.
    pub fn count(&self, messages: u64, stored_bytes: u64) {
        self.count_put(messages, stored_bytes);
        // Without an entry of the tables, for the moment that they are behind, it is not known which topic it is.
        if let Some(topic) = self.topic {
            self.core.count_in(topic, messages, stored_bytes);
        }
    }

    /// Messages were taken; those that wait count for their topic when they reach it. Bytes are those of whole records, as
    /// RocketMQ counts them (5.5.0 CommitLog#asyncPutMessage).
    pub fn count_put(&self, messages: u64, stored_bytes: u64) {
        add(&self.core.counters.put_messages, messages);
        add(&self.core.counters.put_bytes, stored_bytes);
    }

    /// A book did not take the message; `full` goes before the words of one that is full.
    pub fn refuse_waiting(&self, error: AddError, full: &str) -> Handled {
        match error {
            AddError::Append(error) => refuse_append(self, error),
            error @ AddError::Full { .. } => {
                self.refuse(response_code::SYSTEM_ERROR, &format!("{full}{error}"))
            }
        }
    }

    fn refuse(&self, code: i32, remark: &str) -> Handled {
        add(&self.core.counters.put_refused, 1);
        self.request.refuse(code, remark)
    }
}

/// RocketMQ's remark, with what was sent.
pub(super) fn refuse_size<E: Env>(placed: &Placed<'_, '_, '_, E>) -> Handled {
    let (body, properties) = (placed.request.command.body.len(), placed.header.properties.len());
    let remark = size_remark(&placed.core.config, body, properties);
    placed.refuse(response_code::MESSAGE_ILLEGAL, &remark)
}

pub(super) fn size_remark(config: &BrokerConfig, body: usize, properties: usize) -> String {
    format!(
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit {}B, msg \
         properties length limit 32KB. (body {body}B, properties {properties}B)",
        config.max_message_size,
    )
}

/// What this message asks for and cannot have.
pub(super) fn refuse_traits<E: Env>(placed: &Placed<'_, '_, '_, E>, traits: &Traits<'_>) -> Option<Handled> {
    if let Some((feature, remark)) = traits.unsupported(placed.sys_flag) {
        placed.core.counters.count_refused_feature(feature);
        return Some(placed.request.refuse(response_code::MESSAGE_ILLEGAL, &remark));
    }
    if traits.is_inner_batch(placed.sys_flag) {
        placed.core.counters.count_refused_feature("inner batch");
        let remark = "inner batches (property INNER_NUM, sysFlag 0x80) are not supported yet by this broker";
        return Some(placed.request.refuse(response_code::MESSAGE_ILLEGAL, remark));
    }
    None
}

pub(super) fn refuse_append<E: Env>(placed: &Placed<'_, '_, '_, E>, error: AppendError) -> Handled {
    if let AppendError::RingFull { shard, .. } = error {
        return Handled::NoRoom { shard, queue_id: placed.queue_id, error };
    }
    placed.refuse(append_code(&error), &error.to_string())
}

/// The client's code for an append that was refused.
pub(crate) fn append_code(error: &AppendError) -> i32 {
    match error {
        AppendError::RingFull { .. } => response_code::SYSTEM_BUSY,
        AppendError::DiskFull { .. } | AppendError::NoSegment { .. } | AppendError::ShuttingDown { .. } => {
            response_code::SERVICE_NOT_AVAILABLE
        }
        AppendError::TooLarge { .. } | AppendError::Record(_) => response_code::MESSAGE_ILLEGAL,
        AppendError::Latched(_) => response_code::SYSTEM_ERROR,
    }
}

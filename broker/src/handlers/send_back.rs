//! CONSUMER_SEND_MSG_BACK (36): a consumer could not consume a message; it shall come again later, or be a dead letter.
//!
//! RocketMQ 5.5.0 AbstractSendMessageProcessor#consumerSendMsgBack: order of the checks, codes, properties. The original may
//! lie on another core than the retry queue: its record comes here, what is made of it goes there. Differences: the answer comes
//! when the flush mode's promise holds; RocketMQ does not wait for the disk.

use std::rc::Rc;

use ringmq_io::limits::SEND_BACKS_PER_CORE_MAX;
use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ConsumerSendBackHeader;
use ringmq_wire::message::RecordView;
use ringmq_wire::message_id::OffsetIds;
use ringmq_wire::properties::{self, name};
use ringmq_wire::version::ordinal;

use super::{on_demand, queue};
use crate::control::names;
use crate::core::Core;
use crate::own_message::OwnMessage;
use crate::reply::Refusal;
use crate::request::{Handled, Request};
use crate::stats::add;
use crate::tables::PERM_WRITE;
use crate::under_way::UnderWay;

/// What a send-back asks for.
struct Back {
    group: Box<str>,
    physical: i64,
    delay_level: i32,
    max_reconsume_times: i32,
    retry_queues: u32,
    unit_mode: bool,
}

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ConsumerSendBackHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    let Some(group) = core.tables.group(header.group) else {
        return on_demand::group(core, request, header.group);
    };
    if !core.tables.broker_writable() {
        let remark = format!("the broker[{}] sending message is forbidden", core.config.broker_ip1);
        return request.refuse(response_code::NO_PERMISSION, &remark);
    }
    if group.retry_queues == 0 {
        // RocketMQ drops the message and says that all is well.
        request.responder().ok();
        return Handled::Done;
    }
    let under_way = match UnderWay::begin(core, |counters| &counters.send_backs_now, SEND_BACKS_PER_CORE_MAX)
    {
        Ok(under_way) => under_way,
        Err(now) => {
            let remark = format!("[RINGMQ_BUSY] {now} messages are being sent back already on this core");
            return request.refuse(response_code::SYSTEM_BUSY, &remark);
        }
    };
    let max_reconsume_times = match header.max_reconsume_times {
        Some(max) if request.command.version >= ordinal::V3_4_9 => max,
        _ => group.retry_max_times,
    };
    let back = Back {
        group: header.group.into(),
        physical: header.offset,
        delay_level: header.delay_level,
        max_reconsume_times,
        retry_queues: group.retry_queues,
        unit_mode: header.unit_mode,
    };
    let (core, responder) = (core.clone(), request.responder());
    core.env.clone().spawn(Class::Foreground, async move {
        let outcome = send_back(&core, back).await;
        drop(under_way);
        match outcome {
            Ok(()) => responder.ok(),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

async fn send_back<E: Env>(core: &Rc<Core<E>>, back: Back) -> Result<(), Refusal> {
    let failed = |remark: String| Refusal::new(response_code::SYSTEM_ERROR, remark);
    let retry_topic = names::retry_topic(&back.group);
    on_demand::group_topic(core, &retry_topic, back.retry_queues, back.unit_mode).await?;
    let writable = core.tables.topic(&retry_topic).is_some_and(|topic| topic.settings.perm & PERM_WRITE != 0);
    if !writable {
        let remark = format!("the topic[{retry_topic}] sending message is forbidden");
        return Err(Refusal::new(response_code::NO_PERMISSION, remark));
    }
    let found = core.record_at(back.physical as u64).await;
    let found = found.map_err(Refusal::unreadable)?;
    let missing = || failed(format!("look message by offset failed, {}", back.physical));
    let bytes = found.ok_or_else(missing)?;
    let record = RecordView::parse(&bytes).map_err(|_| missing())?;
    let dead = record.reconsume_times >= back.max_reconsume_times || back.delay_level < 0;
    let delay_level = match back.delay_level {
        _ if dead => 0,
        0 => record.reconsume_times.saturating_add(3),
        level => level,
    };
    let topic = if dead { names::dead_letter_topic(&back.group) } else { retry_topic };
    let queues = if dead { names::DEAD_LETTER_QUEUES } else { back.retry_queues };
    if dead {
        on_demand::group_topic(core, &topic, queues, false).await?;
        add(&core.counters.dead_letters, 1);
    }
    core.store(OwnMessage {
        topic: topic.into(),
        queue_id: (core.env.random() % u64::from(queues)) as u32,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_timestamp: record.born_timestamp,
        born_host: record.born_host,
        reconsume_times: record.reconsume_times.saturating_add(1),
        body: record.body.into(),
        properties: retry_text(&record, delay_level).into(),
    })
    .await?;
    add(&core.counters.sent_back, 1);
    Ok(())
}

/// The properties of the message that comes again.
fn retry_text(record: &RecordView<'_>, delay_level: i32) -> String {
    let mut out = properties::without(record.properties, |name| matches!(name, name::DELAY | name::WAIT));
    if record.property(name::RETRY_TOPIC).is_none() {
        properties::append(&mut out, name::RETRY_TOPIC, record.topic);
    }
    if record.property(name::ORIGIN_MESSAGE_ID).is_none_or(|id| id.trim().is_empty()) {
        let id = OffsetIds::new(record.store_host).id(record.physical_offset);
        properties::append(&mut out, name::ORIGIN_MESSAGE_ID, id.as_str());
    }
    properties::append(&mut out, name::WAIT, "false");
    properties::append(&mut out, name::DELAY, &delay_level.to_string());
    out
}

//! QUERY_MESSAGE (12): records of a topic by key or unique key, from all shards, newest first.

use std::rc::Rc;

use ringmq_io::limits::FRAME_BYTES_MAX;
use ringmq_io::{Class, Env};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::QueryMessageHeader;
use ringmq_wire::message::RecordView;

use super::queue;
use crate::ask::{Answer, Question};
use crate::core::Core;
use crate::reply::{Refusal, Responder};
use crate::request::{Handled, Request};

/// A frame, less more than any header needs.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match QueryMessageHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    // RocketMQ 5.5.0 QueryMessageProcessor#queryMessage and DefaultMessageStore#queryMessage.
    let asked = if header.unique_key { core.config.default_query_max_num as i32 } else { header.max_num };
    let max = asked.clamp(0, core.config.max_msgs_num_batch as i32) as usize;
    let question = Question::Records {
        topic: header.topic.into(),
        key: header.key.into(),
        begin_ms: header.begin_timestamp,
        end_ms: header.end_timestamp,
        max,
    };
    let (core, responder) = (core.clone(), request.responder());
    core.env.clone().spawn(Class::ColdRead, async move { answer(&core, question, max, responder).await });
    Handled::Done
}

async fn answer<E: Env>(core: &Rc<Core<E>>, question: Question, max: usize, responder: Responder<E>) {
    let mut found: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    for other in 0..core.placement.cores() {
        match core.ask(other, question.clone()).await {
            Answer::Records(Ok(records)) => found.extend(records.into_iter().filter_map(|record| {
                let view = RecordView::parse(&record).ok()?;
                let (stored, physical) = (view.store_timestamp, view.physical_offset);
                Some((stored, physical, record))
            })),
            Answer::Records(Err(error)) => {
                responder.refuse_with(&Refusal::unreadable(error));
                return;
            }
            other => unreachable!("asked for records, was answered {other:?}"),
        }
    }
    found.sort_by_key(|(stored, physical, _)| (std::cmp::Reverse(*stored), std::cmp::Reverse(*physical)));
    found.truncate(max);
    let (timestamp, offset) = found.first().map_or((0, 0), |(stored, physical, _)| (*stored, *physical));
    let mut body = Vec::new();
    for (_, _, record) in found {
        // Whole records only, as many as one frame holds.
        if body.len() + record.len() > BODY_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&record);
    }
    let (code, remark) = if body.is_empty() {
        (response_code::QUERY_NOT_FOUND, Some("can not find message, maybe time range not correct"))
    } else {
        (response_code::SUCCESS, None)
    };
    responder.answer(|out, opaque| {
        let mut writer = begin_response(out, Serialization::Json, code, opaque, 0, remark);
        writer.ext_int("indexLastUpdateTimestamp", timestamp).ext_int("indexLastUpdatePhyoffset", offset);
        writer.finish(&body)
    });
}

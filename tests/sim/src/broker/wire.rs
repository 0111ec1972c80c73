//! Requests and answers as the clients of a run need them.

use std::time::Duration;

use ringmq_simenv::SimEnv;
use ringmq_transport::{CallError, Client, OwnedFrame};
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::{PullRequest, SendRequest, begin_request, pull_request, send_request};
use ringmq_wire::headers::{PullHeader, SYS_FLAG_SUBSCRIPTION, SYS_FLAG_SUSPEND, SendHeader};
use ringmq_wire::message::{RecordView, records};

use super::books::Given;
use super::places::Place;
use super::plan::{QUEUES, TOPIC};

pub async fn send(
    client: &Client<SimEnv>,
    queue: usize,
    body: &[u8],
    timeout: Duration,
) -> Result<OwnedFrame, CallError> {
    let header = SendHeader {
        default_topic_queue_nums: QUEUES as i32,
        born_timestamp: 1_700_000_000_000,
        ..SendHeader::new("producers", TOPIC, queue as i32)
    };
    let encode = |out: &mut Vec<u8>, opaque| {
        let request = SendRequest { code: code::SEND_MESSAGE_V2, opaque, flag: 0, header, body };
        send_request(out, Serialization::Json, &request).expect("a small request");
    };
    client.call(encode, timeout).await
}

pub async fn pull(
    client: &Client<SimEnv>,
    group: &str,
    queue: usize,
    offset: u64,
    suspend: Option<Duration>,
    timeout: Duration,
) -> Result<OwnedFrame, CallError> {
    let header = PullHeader {
        sys_flag: SYS_FLAG_SUBSCRIPTION | if suspend.is_some() { SYS_FLAG_SUSPEND } else { 0 },
        suspend_timeout_millis: suspend.map_or(0, |time| time.as_millis() as i64),
        ..PullHeader::new(group, TOPIC, queue as i32, offset as i64)
    };
    let encode = |out: &mut Vec<u8>, opaque| {
        let request = PullRequest { code: code::PULL_MESSAGE, opaque, header };
        pull_request(out, Serialization::Json, &request).expect("a small request");
    };
    client.call(encode, timeout).await
}

pub async fn ask(
    client: &Client<SimEnv>,
    code: i32,
    fields: &[(&str, &str)],
    timeout: Duration,
) -> Result<OwnedFrame, CallError> {
    let encode = |out: &mut Vec<u8>, opaque| {
        let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
        for (name, value) in fields {
            writer.ext(name, value);
        }
        writer.finish(b"").expect("a small request");
    };
    client.call(encode, timeout).await
}

/// What a record has beside its body: all are alike.
const RECORD_BESIDE_BODY: u64 = 201;

/// Of the record that a broker makes of a body.
pub fn record_bytes(body: &[u8]) -> u64 {
    body.len() as u64 + RECORD_BESIDE_BODY
}

/// The messages of a pull's answer, each checked to be whole and of this queue.
pub fn messages(queue: usize, body: &[u8]) -> Vec<Given> {
    let check = |record: RecordView<'_>| {
        assert_eq!((record.topic, record.queue_id), (TOPIC, queue as i32), "a record of another queue");
        let offset = record.queue_offset as u64;
        assert!(record.verify_body_crc(), "queue {queue}: offset {offset} came with a wrong body");
        let len = record.bytes.len() as u64;
        assert_eq!(len, record_bytes(record.body), "queue {queue}: offset {offset}: {}", record.properties);
        let place = Place::new(record.physical_offset as u64, len);
        Given { offset, place, bytes: record.body.to_vec() }
    };
    records(body).map(|record| check(record.expect("a pull brings whole records"))).collect()
}

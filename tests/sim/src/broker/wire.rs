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
use super::plan::QUEUES;
use super::waits::Seen;

/// The group of all producers.
pub const PRODUCERS: &str = "producers";

pub struct Message<'a> {
    pub topic: &'a str,
    pub queue: usize,
    pub properties: &'a str,
    pub sys_flag: i32,
    pub body: &'a [u8],
}

pub struct Pull<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub queue: usize,
    pub offset: u64,
    /// How long to wait at the end.
    pub suspend: Option<Duration>,
}

pub fn property(name: &str, value: &str) -> String {
    format!("{name}\u{1}{value}\u{2}")
}

pub async fn send(
    client: &Client<SimEnv>,
    message: &Message<'_>,
    timeout: Duration,
) -> Result<OwnedFrame, CallError> {
    let Message { topic, queue, properties, sys_flag, body } = *message;
    let header = SendHeader {
        default_topic_queue_nums: QUEUES as i32,
        born_timestamp: 1_700_000_000_000,
        properties,
        sys_flag,
        ..SendHeader::new(PRODUCERS, topic, queue as i32)
    };
    let encode = |out: &mut Vec<u8>, opaque| {
        let request = SendRequest { code: code::SEND_MESSAGE_V2, opaque, flag: 0, header, body };
        send_request(out, Serialization::Json, &request).expect("a small request");
    };
    client.call(encode, timeout).await
}

pub async fn pull(
    client: &Client<SimEnv>,
    pull: &Pull<'_>,
    timeout: Duration,
) -> Result<OwnedFrame, CallError> {
    let Pull { group, topic, queue, offset, suspend } = *pull;
    let header = PullHeader {
        sys_flag: SYS_FLAG_SUBSCRIPTION | if suspend.is_some() { SYS_FLAG_SUSPEND } else { 0 },
        suspend_timeout_millis: suspend.map_or(0, |time| time.as_millis() as i64),
        ..PullHeader::new(group, topic, queue as i32, offset as i64)
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
    body: &[u8],
    timeout: Duration,
) -> Result<OwnedFrame, CallError> {
    let encode = |out: &mut Vec<u8>, opaque| {
        let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
        for (name, value) in fields {
            writer.ext(name, value);
        }
        writer.finish(body).expect("a small request");
    };
    client.call(encode, timeout).await
}

/// What a record has beside its body: all are alike.
const RECORD_BESIDE_BODY: u64 = 201;

/// Of the record that a broker makes of a body.
pub fn record_bytes(body: &[u8]) -> u64 {
    body.len() as u64 + RECORD_BESIDE_BODY
}

/// The records of a pull's answer by offset, each checked to be whole and of this queue.
fn checked<T>(topic: &str, queue: usize, body: &[u8], read: impl Fn(RecordView<'_>) -> T) -> Vec<(u64, T)> {
    let check = |record: RecordView<'_>| {
        assert_eq!((record.topic, record.queue_id), (topic, queue as i32), "a record of another queue");
        let offset = record.queue_offset as u64;
        assert!(record.verify_body_crc(), "queue {queue}: offset {offset} came with a wrong body");
        (offset, read(record))
    };
    records(body).map(|record| check(record.expect("a pull brings whole records"))).collect()
}

/// Messages of the topic whose messages are seen at once.
pub fn messages(topic: &str, queue: usize, body: &[u8]) -> Vec<(u64, Given)> {
    checked(topic, queue, body, |record| {
        let (offset, len) = (record.queue_offset as u64, record.bytes.len() as u64);
        assert_eq!(len, record_bytes(record.body), "queue {queue}: offset {offset}: {}", record.properties);
        let place = Place::new(record.physical_offset as u64, len);
        Given { offset, place, bytes: record.body.to_vec() }
    })
}

/// Messages that were not seen at once.
pub fn seen(topic: &str, queue: usize, body: &[u8]) -> Vec<(u64, Seen)> {
    checked(topic, queue, body, |record| Seen {
        bytes: record.body.to_vec(),
        stored_ms: record.store_timestamp,
        due_ms: record.property("TIMER_OUT_MS").map(|due| due.parse().expect("a time")),
    })
}

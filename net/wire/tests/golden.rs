//! Frames captured from Apache RocketMQ 5.5.0 and its clients, replayed: each is decoded, and what RingMQ claims to
//! write as the reference does is written again and compared byte for byte.
//!
//! `golden/index.jsonl` describes each `golden/*.bin` (one frame a file); its README tells how they were captured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringmq_wire::code::request_code::*;
use ringmq_wire::encode::{
    PullAnswer, SendAnswer, SendRequest, encode_command, pull_response, send_request, send_response,
};
use ringmq_wire::headers::*;
use ringmq_wire::json_dialect::*;
use ringmq_wire::message::{RecordView, body_crc, records};
use ringmq_wire::message_id::{decode_offset_id, is_id};
use ringmq_wire::{Command, Cut, Language, Serialization, batch, cut};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Entry {
    file: String,
    pair: Option<String>,
    kind: String,
    request_code: i32,
    response_code: Option<i32>,
    opaque: i32,
    client: String,
    serialization: String,
    bytes: usize,
    body_bytes: usize,
    ext: Option<BTreeMap<String, String>>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn frame_bytes(file: &str) -> Vec<u8> {
    std::fs::read(directory().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn decode(bytes: &[u8]) -> Command<'_> {
    match cut(bytes) {
        Ok(Cut::Frame { total, frame }) if total == bytes.len() => Command::decode(frame).unwrap(),
        other => panic!("not one whole frame: {other:?}"),
    }
}

/// Calls `check` for each captured frame; `what` chooses by kind and request code.
fn for_each(kind: &str, codes: &[i32], mut check: impl FnMut(&Entry, &[u8], &Command<'_>)) {
    let index = std::fs::read_to_string(directory().join("index.jsonl")).unwrap();
    let mut seen = 0;
    for line in index.lines().filter(|line| !line.trim().is_empty()) {
        let entry: Entry = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if (kind.is_empty() || entry.kind == kind)
            && (codes.is_empty() || codes.contains(&entry.request_code))
        {
            let bytes = frame_bytes(&entry.file);
            check(&entry, &bytes, &decode(&bytes));
            seen += 1;
        }
    }
    assert!(seen > 0, "no {kind} frame of {codes:?} was captured");
}

fn from_go(command: &Command<'_>) -> bool {
    command.language == Language::Go
}

/// The frame without an empty `extFields` object, which says nothing that its absence does not.
fn without_empty_ext(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let Ok(Cut::Frame { frame, .. }) = cut(bytes) else { panic!("no frame") };
    let header = match frame.serialization {
        Serialization::Json => {
            String::from_utf8(frame.header.to_vec()).unwrap().replace(r#""extFields":{},"#, "").into_bytes()
        }
        Serialization::Binary => frame.header.to_vec(),
    };
    (header, frame.body.to_vec())
}

#[test]
fn every_frame_decodes_to_what_the_capture_says() {
    for_each("", &[], |entry, bytes, command| {
        let file = &entry.file;
        assert_eq!((bytes.len(), command.body.len()), (entry.bytes, entry.body_bytes), "{file}");
        assert_eq!(command.opaque, entry.opaque, "{file}");
        assert_eq!(command.is_response(), entry.kind == "resp", "{file}");
        assert_eq!(command.code, entry.response_code.unwrap_or(entry.request_code), "{file}");
        assert_eq!(command.serialization == Serialization::Binary, entry.serialization != "JSON", "{file}");
        assert_eq!(
            from_go(command),
            entry.client == "go" && entry.kind == "req" && command.code != 40,
            "{file}"
        );
        if let Some(expected) = &entry.ext {
            let found: BTreeMap<_, _> =
                command.ext.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            // The binary header cannot tell an empty value from none.
            let binary = command.serialization == Serialization::Binary;
            let expected: BTreeMap<_, _> = expected
                .iter()
                .filter(|(_, v)| !(binary && v.is_empty()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            assert_eq!(found, expected, "{file}");
        }
        if let Some(pair) = &entry.pair {
            assert_eq!(decode(&frame_bytes(pair)).opaque, entry.opaque, "{file}");
        }
    });
}

#[test]
fn every_frame_of_java_is_written_again_byte_for_byte() {
    for_each("", &[], |entry, bytes, command| {
        let mut out = Vec::new();
        encode_command(&mut out, command).unwrap();
        if from_go(command) {
            // Another key order, and fields of its own: the same command is enough.
            let again = decode(&out);
            assert!(again.ext.iter().eq(command.ext.iter()), "{}", entry.file);
            assert_eq!(
                (again.code, again.version, again.body),
                (command.code, command.version, command.body)
            );
        } else if command.serialization == Serialization::Json
            || !bytes.windows(7).any(|w| w == b"\0\x01i\0\0\0\0")
        {
            assert_eq!(without_empty_ext(&out), without_empty_ext(bytes), "{}", entry.file);
        }
    });
}

#[test]
fn send_requests() {
    let codes = [SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE];
    for_each("req", &codes, |entry, bytes, command| {
        let file = &entry.file;
        let header = SendHeader::decode(command).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(header.topic.starts_with("golden-") || header.topic == "no such character!", "{file}");
        assert_eq!(header.batch, command.code == SEND_BATCH_MESSAGE, "{file}");
        assert!(header.born_timestamp > 1_700_000_000_000, "{file}");
        if header.batch {
            let mut again = Vec::new();
            for item in batch::items(command.body) {
                batch::put_item(&mut again, &item.unwrap());
            }
            assert_eq!(again, command.body, "{file}");
            assert!(batch::items(command.body).count() >= 2, "{file}");
        }
        // Java's own producer: the fast encoder's bytes are the captured ones.
        if !from_go(command) && !header.properties.is_empty() {
            let request = SendRequest {
                code: command.code,
                opaque: command.opaque,
                flag: command.flag,
                header,
                body: command.body,
            };
            let mut out = Vec::new();
            send_request(&mut out, command.serialization, &request).unwrap();
            assert_eq!(out, bytes, "{file}");
        }
    });
}

#[test]
fn send_answers_byte_for_byte() {
    let codes = [SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE];
    let mut stored = 0;
    for_each("resp", &codes, |entry, bytes, command| {
        if command.code != 0 {
            return;
        }
        let ext = &command.ext;
        for id in ext.get("msgId").unwrap().split(',') {
            let (host, offset) = decode_offset_id(id).unwrap();
            assert!(host.ip().is_loopback() && offset >= 0, "{}", entry.file);
        }
        assert!(ext.get("transactionId").is_none_or(is_id), "{}", entry.file);
        let answer = SendAnswer {
            code: command.code,
            opaque: command.opaque,
            remark: command.remark.as_deref(),
            msg_id: ext.get("msgId").unwrap(),
            queue_id: ext.get_i32("queueId").unwrap(),
            queue_offset: ext.get_i64("queueOffset").unwrap(),
            transaction_id: ext.get("transactionId"),
            batch_uniq_id: ext.get("batchUniqId"),
            recall_handle: ext.get("recallHandle"),
            region: ext.get("MSG_REGION").unwrap(),
            trace_on: ext.get_bool("TRACE_ON").unwrap(),
        };
        let mut out = Vec::new();
        send_response(&mut out, command.serialization, &answer).unwrap();
        assert_eq!(out, bytes, "{}", entry.file);
        stored += 1;
    });
    assert!(stored >= 4);
}

#[test]
fn pull_requests() {
    for_each("req", &[PULL_MESSAGE, LITE_PULL_MESSAGE], |entry, _, command| {
        let pull = PullHeader::decode(&command.ext).unwrap_or_else(|error| panic!("{}: {error}", entry.file));
        assert!(pull.topic.starts_with("golden-") && pull.consumer_group.starts_with("G-golden-"));
        assert_eq!(pull.expression_type, Some("TAG"), "{}", entry.file);
        assert!(pull.suspend_timeout_millis > 0 && pull.max_msg_nums > 0, "{}", entry.file);
        assert_eq!(pull.has_subscription(), !from_go(command), "{}", entry.file);
    });
}

#[test]
fn pull_answers_byte_for_byte() {
    let mut found = 0;
    for_each("resp", &[PULL_MESSAGE, LITE_PULL_MESSAGE], |entry, bytes, command| {
        let ext = &command.ext;
        let answer = PullAnswer {
            code: command.code,
            opaque: command.opaque,
            remark: command.remark.as_deref(),
            suggest_which_broker_id: ext.get_i64("suggestWhichBrokerId").unwrap(),
            next_begin_offset: ext.get_i64("nextBeginOffset").unwrap(),
            min_offset: ext.get_i64("minOffset").unwrap(),
            max_offset: ext.get_i64("maxOffset").unwrap(),
            topic_sys_flag: ext.get_i32("topicSysFlag"),
            group_sys_flag: ext.get_i32("groupSysFlag"),
            offset_delta: ext.get_i64("offsetDelta"),
            forbidden_type: ext.get_i32("forbiddenType"),
        };
        let mut out = Vec::new();
        let length = pull_response(&mut out, command.serialization, &answer, command.body.len()).unwrap();
        assert_eq!(length, out.len());
        out.extend_from_slice(command.body);
        assert_eq!(out, bytes, "{}", entry.file);

        let mut next = None;
        for record in records(command.body) {
            let record: RecordView<'_> = record.unwrap_or_else(|error| panic!("{}: {error}", entry.file));
            assert!(record.verify_body_crc(), "{}", entry.file);
            // Items of a batch keep the properties that they came with.
            assert!(record.property("CLUSTER").is_none_or(|name| name == "DefaultCluster"), "{}", entry.file);
            assert!(is_id(record.property("UNIQ_KEY").unwrap()), "{}", entry.file);
            assert!(next.is_none_or(|next| next == record.queue_offset), "{}", entry.file);
            next = Some(record.queue_offset + 1);
            let parts = record.parts();
            let mut again = vec![0; parts.encoded_len().unwrap()];
            parts.encode_into(&mut again);
            assert_eq!(again, record.bytes, "{}", entry.file);
            found += 1;
        }
        if let Some(next) = next {
            assert_eq!(next, answer.next_begin_offset, "{}", entry.file);
        }
    });
    assert!(found >= 5);
}

/// Reads a body, and writes it again if its maker is Java: sets and maps of one element have no order to differ in.
fn same_body<T>(entry: &Entry, body: &[u8], exact: bool) -> T
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let value: T = read(body).unwrap_or_else(|error| panic!("{}: {error}", entry.file));
    let again = to_vec(&value);
    if exact {
        let (again, body) = (String::from_utf8(again).unwrap(), String::from_utf8(body.to_vec()).unwrap());
        assert_eq!(again, body, "{}", entry.file);
    } else {
        assert_eq!(read::<T>(&again).unwrap(), value, "{}", entry.file);
    }
    value
}

#[test]
fn heartbeats() {
    let mut subscriptions = 0;
    for_each("req", &[HEART_BEAT], |entry, _, command| {
        let beat: HeartbeatData = same_body(entry, command.body, false);
        assert!(beat.client_id.starts_with("192.0.2.2@"), "{}", entry.file);
        assert!(!(beat.producer_data_set.is_empty() && beat.consumer_data_set.is_empty()), "{}", entry.file);
        if !from_go(command) {
            let found: BTreeMap<String, serde_json::Value> = serde_json::from_slice(command.body).unwrap();
            let again: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&to_vec(&beat)).unwrap();
            assert_eq!(found, again, "{}", entry.file);
        }
        for subscription in beat.consumer_data_set.iter().flat_map(|group| &group.subscription_data_set) {
            let codes = subscription.tags_set.iter().map(|tag| ringmq_wire::tags::java_hash(tag));
            assert_eq!(subscription.code_set, codes.collect(), "{}", entry.file);
            subscriptions += 1;
        }
    });
    assert!(subscriptions > 0);
}

#[test]
fn routes_in_the_dialect_of_the_asker() {
    let mut dialects = [0, 0];
    for_each("req", &[GET_ROUTEINFO_BY_TOPIC], |entry, _, command| {
        let header = GetRouteHeader::decode(&command.ext).unwrap();
        let answer = frame_bytes(entry.pair.as_ref().unwrap());
        let answer = decode(&answer);
        if answer.code != 0 {
            assert!(answer.remark.unwrap().contains(header.topic));
            return;
        }
        let route: TopicRouteData = read(answer.body).unwrap();
        let again = route.encode_for(command.version, header.accept_standard_json_only);
        assert_eq!(String::from_utf8(again), String::from_utf8(answer.body.to_vec()), "{}", entry.file);
        dialects[usize::from(from_go(command))] += 1;
    });
    assert!(dialects[0] > 0 && dialects[1] > 0);
}

#[test]
fn bodies_byte_for_byte() {
    for_each("resp", &[GET_BROKER_CLUSTER_INFO], |entry, _, command| {
        let info: ClusterInfo = same_body(entry, command.body, true);
        assert!(info.broker_addr_table["broker-a"].broker_addrs.contains_key(&0));
    });
    for_each("resp", &[GET_ALL_TOPIC_LIST_FROM_NAMESERVER], |entry, _, command| {
        let list: TopicList = same_body(entry, command.body, true);
        assert!(list.topic_list.iter().any(|topic| topic == "TBW102"));
    });
    for_each("resp", &[GET_CONSUMER_LIST_BY_GROUP], |entry, _, command| {
        assert_eq!(same_body::<ConsumerIdList>(entry, command.body, true).consumer_id_list.len(), 1);
    });
    for_each("req", &[LOCK_BATCH_MQ, UNLOCK_BATCH_MQ], |entry, _, command| {
        assert!(!same_body::<LockBatch>(entry, command.body, true).mq_set.is_empty());
    });
    for_each("resp", &[LOCK_BATCH_MQ], |entry, _, command| {
        assert!(!same_body::<LockBatchAnswer>(entry, command.body, true).lock_ok_mq_set.is_empty());
    });
}

#[test]
fn registrations() {
    let mut forms = BTreeMap::new();
    for_each("req", &[REGISTER_BROKER], |entry, _, command| {
        let file = &entry.file;
        let header = RegisterBrokerHeader::decode(&command.ext).unwrap();
        assert_eq!(header.body_crc32, body_crc(command.body), "{file}");
        let body = RegisterBrokerBody::decode(command.body, header.compressed, command.version).unwrap();
        let table = &body.topic_config_serialize_wrapper;
        assert!(!table.topic_config_table.is_empty(), "{file}");
        assert!(table.topic_config_table.iter().all(|(name, topic)| *name == topic.topic_name), "{file}");
        assert!(table.data_version.timestamp > 1_700_000_000_000, "{file}");
        let zlib = command.body.first() == Some(&0x78);
        if zlib {
            let again = body.encode_compressed();
            assert_eq!(RegisterBrokerBody::decode(&again, true, command.version).unwrap(), body, "{file}");
        } else {
            let found: serde_json::Value = serde_json::from_slice(command.body).unwrap();
            let again: serde_json::Value = serde_json::from_slice(&body.encode()).unwrap();
            assert_eq!(found, again, "{file}");
        }
        *forms.entry((header.compressed, zlib)).or_insert(0) += 1;
    });
    // Plain, compressed, and compressed but called plain, as the reference's broker does.
    assert_eq!(forms.into_keys().collect::<Vec<_>>(), [(false, false), (false, true), (true, true)]);
}

#[test]
fn other_request_headers() {
    let mut codes = Vec::new();
    for_each("req", &[], |entry, _, command| {
        let ext = &command.ext;
        let ok = match command.code {
            UPDATE_AND_CREATE_TOPIC => CreateTopicHeader::decode(ext).map(drop),
            GET_MAX_OFFSET => GetMaxOffsetHeader::decode(ext).map(|header| assert!(header.committed)),
            GET_MIN_OFFSET | GET_EARLIEST_MSG_STORETIME => TopicQueueHeader::decode(ext).map(drop),
            SEARCH_OFFSET_BY_TIMESTAMP => SearchOffsetHeader::decode(ext).map(drop),
            QUERY_CONSUMER_OFFSET => QueryConsumerOffsetHeader::decode(ext).map(drop),
            UPDATE_CONSUMER_OFFSET => UpdateConsumerOffsetHeader::decode(ext).map(drop),
            GET_CONSUMER_LIST_BY_GROUP | NOTIFY_CONSUMER_IDS_CHANGED => ConsumerGroupHeader::decode(ext)
                .map(|header| assert!(header.consumer_group.starts_with("G-"))),
            CONSUMER_SEND_MSG_BACK => ConsumerSendBackHeader::decode(ext).map(|header| {
                assert_eq!(header.max_reconsume_times, Some(16));
                assert!(header.origin_topic.is_some_and(|topic| topic.starts_with("golden-")));
            }),
            UNREGISTER_CLIENT => UnregisterClientHeader::decode(ext).map(drop),
            UNREGISTER_BROKER => BrokerIdentityHeader::decode(ext).map(drop),
            _ => return,
        };
        ok.unwrap_or_else(|error| panic!("{}: {error}", entry.file));
        codes.push(command.code);
    });
    codes.sort_unstable();
    codes.dedup();
    assert!(codes.len() >= 12, "only {codes:?} were captured");
}

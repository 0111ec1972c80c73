//! What the headers of a message cost: `cargo run --release -p ringmq-wire --example header_cost`.
//!
//! Decodes a producer's request, lays out its record and writes the answer, a million times, and prints nanoseconds of
//! CPU time per message (so that other load on the machine counts less) for each step alone and for all of them. The frame has the fields and lengths of a captured one.

mod timing;

use std::hint::black_box;

use ringmq_wire::encode::{PullAnswer, SendAnswer, SendRequest, pull_response, send_request, send_response};
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message::RecordParts;
use ringmq_wire::{Command, Cut, FrameParts, Scratch, Serialization, cut, message_id};
use timing::time;

fn frame(bytes: &[u8]) -> FrameParts<'_> {
    match cut(bytes) {
        Ok(Cut::Frame { frame, .. }) => frame,
        other => panic!("not a frame: {other:?}"),
    }
}

fn main() {
    let body = vec![b'x'; 1024];
    let host = "127.0.0.1:10911".parse().unwrap_or_else(|_| unreachable!());
    for serialization in [Serialization::Json, Serialization::Binary] {
        println!("{serialization:?}");
        let header = SendHeader {
            born_timestamp: 1_795_545_693_795,
            properties: "KEYS\u{1}key1 key2\u{2}UNIQ_KEY\u{1}7F0000015A3C4E0E2F2A7A7516620000\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}",
            broker_name: Some("broker-a"),
            ..SendHeader::new("G-golden-producer", "golden-topic", 0)
        };
        let request = SendRequest { code: 310, opaque: 12_345, flag: 0, header, body: &body };
        let mut bytes = Vec::new();
        let encoded = send_request(&mut bytes, serialization, &request);
        println!("  request: {} bytes, {} of them header", bytes.len(), frame(&bytes).header.len());
        assert_eq!(encoded, Ok(bytes.len()));

        let mut scratch = Scratch::default();
        let mut out = Vec::with_capacity(4096);
        let mut record = vec![0; 4096];
        time("  cut and decode command (allocating)", || {
            black_box(Command::decode(frame(black_box(&bytes))).map(|command| command.ext.len()).ok());
        });
        time("  cut and decode command (scratch)", || {
            let command = Command::decode_in(frame(black_box(&bytes)), &mut scratch);
            black_box(command.map(|command| command.ext.len()).ok());
        });
        time("  the same and decode send header", || {
            let command = Command::decode_in(frame(black_box(&bytes)), &mut scratch);
            black_box(command.map(|command| SendHeader::decode(&command).map(|header| header.queue_id)).ok());
        });
        let parts = RecordParts {
            queue_id: 0,
            flag: 0,
            queue_offset: 1,
            physical_offset: 2,
            sys_flag: 0,
            born_timestamp: 3,
            born_host: host,
            store_timestamp: 4,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            topic: header.topic,
            properties: header.properties,
            added_properties: "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}",
        };
        time("  lay out record (1 KiB body, with CRC)", || {
            let parts = black_box(&parts);
            if let Ok(length) = parts.encoded_len() {
                parts.encode_into(&mut record[..length]);
            }
            black_box(&record);
        });
        let answer = |out: &mut Vec<u8>, command: &Command<'_>| {
            out.clear();
            let id = message_id::offset_id(host, 123_456_789);
            let answer = SendAnswer {
                code: 0,
                opaque: command.opaque,
                remark: None,
                msg_id: id.as_str(),
                queue_id: 0,
                queue_offset: 123_456,
                transaction_id: Some("7F0000015A3C4E0E2F2A7A7516620000"),
                batch_uniq_id: None,
                recall_handle: None,
                region: "DefaultRegion",
                trace_on: true,
            };
            black_box(send_response(out, serialization, &answer).ok());
        };
        let command = Command::decode(frame(&bytes)).unwrap_or_else(|error| panic!("{error}"));
        time("  write send answer, with message id", || answer(&mut out, black_box(&command)));
        time("  write pull answer", || {
            out.clear();
            let answer = PullAnswer {
                opaque: black_box(7),
                remark: Some("FOUND"),
                next_begin_offset: 123_456,
                max_offset: 123_500,
                topic_sys_flag: Some(0),
                group_sys_flag: Some(0),
                ..PullAnswer::default()
            };
            black_box(pull_response(&mut out, serialization, &answer, 1024).ok());
        });
        time("  all of a send: decode, record, answer", || {
            let Ok(command) = Command::decode_in(frame(black_box(&bytes)), &mut scratch) else { return };
            let Ok(header) = SendHeader::decode(&command) else { return };
            let parts = RecordParts {
                topic: header.topic,
                properties: header.properties,
                body: command.body,
                ..parts
            };
            if let Ok(length) = parts.encoded_len() {
                parts.encode_into(&mut record[..length]);
            }
            answer(&mut out, &command);
        });
    }
}

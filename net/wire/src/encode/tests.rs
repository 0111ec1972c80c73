use super::*;
use crate::command::Command;
use crate::frame::{Cut, FrameParts, cut};
use crate::headers::{PullHeader, SendHeader};

const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::Binary];

fn frame(bytes: &[u8]) -> FrameParts<'_> {
    match cut(bytes) {
        Ok(Cut::Frame { total, frame }) if total == bytes.len() => frame,
        other => panic!("not one whole frame: {other:?}"),
    }
}

#[test]
fn responses_follow_the_reference() {
    let mut out = Vec::new();
    let mut writer = begin_response(&mut out, Serialization::Json, 17, 5, 0, Some("no \"t\""));
    writer.ext("a", "x\ny").ext_int("n", -5i64).ext_bool("b", true).ext_opt("none", None);
    writer.finish(b"body").unwrap();
    let frame = frame(&out);
    let expected = concat!(
        r#"{"code":17,"extFields":{"a":"x\ny","n":"-5","b":"true"},"flag":1,"language":"JAVA","opaque":5,"#,
        r#""remark":"no \"t\"","serializeTypeCurrentRPC":"JSON","version":513}"#
    );
    assert_eq!((std::str::from_utf8(frame.header).unwrap(), frame.body), (expected, &b"body"[..]));
}

#[test]
fn ext_fields_are_there_only_if_asked_for() {
    let mut out = Vec::new();
    begin_response(&mut out, Serialization::Json, 0, 1, 0, None).finish(&[]).unwrap();
    let plain =
        r#"{"code":0,"flag":1,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":513}"#;
    assert_eq!(frame(&out).header, plain.as_bytes());
    out.clear();
    let mut writer = begin_response(&mut out, Serialization::Json, 0, 1, 0, None);
    writer.ensure_ext();
    writer.finish(&[]).unwrap();
    assert!(frame(&out).header.starts_with(br#"{"code":0,"extFields":{},"flag":1"#));
}

#[test]
fn a_frame_follows_what_the_buffer_held() {
    for serialization in BOTH {
        let mut out = b"first".to_vec();
        let mut writer = begin_request(&mut out, serialization, 34, 9, 2).sender(Language::Go, 317);
        writer.ext("k", "v");
        let total = writer.finish(b"b").unwrap();
        assert_eq!((out.len(), &out[..5]), (5 + total, &b"first"[..]));
        let command = Command::decode(frame(&out[5..])).unwrap();
        assert_eq!((command.code, command.opaque, command.flag), (34, 9, 2));
        assert_eq!((command.language, command.version), (Language::Go, 317));
        assert_eq!((command.ext.get("k"), command.body), (Some("v"), &b"b"[..]));
    }
}

#[test]
fn an_external_body_is_counted_but_not_written() {
    for serialization in BOTH {
        let mut out = Vec::new();
        let written =
            begin_response(&mut out, serialization, 0, 1, 0, None).finish_with_external_body(1000).unwrap();
        assert_eq!(written, out.len());
        assert_eq!(cut(&out), Ok(Cut::Need(written + 1000)));
        out.resize(written + 1000, 7);
        assert_eq!(frame(&out).body.len(), 1000);
    }
}

#[test]
fn failed_and_dropped_frames_leave_no_bytes() {
    let mut out = b"x".to_vec();
    drop(begin_response(&mut out, Serialization::Json, 0, 1, 0, Some("never sent")));
    assert_eq!(out, b"x");
    let error = begin_request(&mut out, Serialization::Binary, 200_050, 1, 0).finish(&[]).unwrap_err();
    assert_eq!((error, out.len()), (EncodeError::CodeTooLarge(200_050), 1));
    let mut writer = begin_request(&mut out, Serialization::Binary, 1, 1, 0);
    writer.ext(&"k".repeat(40_000), "v");
    assert_eq!(writer.finish(&[]), Err(EncodeError::KeyTooLong(40_000)));
    let error = begin_request(&mut out, Serialization::Json, 1, 1, 0)
        .finish_with_external_body(MAX_FRAME_LENGTH)
        .unwrap_err();
    assert!(matches!(error, EncodeError::FrameTooLong(_)));
    let long = "r".repeat(MAX_HEADER_LENGTH);
    let error = begin_response(&mut out, Serialization::Json, 1, 1, 0, Some(&long)).finish(&[]).unwrap_err();
    assert!(matches!(error, EncodeError::HeaderTooLong(_)));
    let answer = PullAnswer::default();
    assert!(pull_response(&mut out, Serialization::Json, &answer, MAX_FRAME_LENGTH).is_err());
    assert_eq!(out, b"x");
}

#[test]
fn the_largest_frame_is_the_one_that_is_accepted() {
    let mut out = Vec::new();
    let header = begin_response(&mut out, Serialization::Binary, 0, 1, 0, None).finish(&[]).unwrap() - PREFIX;
    let body = MAX_FRAME_LENGTH - 4 - header;
    out.clear();
    begin_response(&mut out, Serialization::Binary, 0, 1, 0, None).finish_with_external_body(body).unwrap();
    assert_eq!(cut(&out), Ok(Cut::Need(MAX_FRAME_LENGTH + 4)));
    out.clear();
    let one_more =
        begin_response(&mut out, Serialization::Binary, 0, 1, 0, None).finish_with_external_body(body + 1);
    assert_eq!(one_more, Err(EncodeError::FrameTooLong(MAX_FRAME_LENGTH + 1)));
}

fn send_header() -> SendHeader<'static> {
    SendHeader {
        producer_group: "g\"",
        topic: "topic",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: -1,
        sys_flag: 1,
        born_timestamp: 1_700_000_000_000,
        flag: i32::MIN,
        properties: "KEYS\u{1}grün\u{2}",
        reconsume_times: 2,
        unit_mode: true,
        max_reconsume_times: Some(16),
        batch: true,
        broker_name: Some("b"),
    }
}

#[test]
fn send_requests_round_trip() {
    let bare = SendHeader {
        properties: "",
        max_reconsume_times: None,
        broker_name: None,
        unit_mode: false,
        ..send_header()
    };
    for serialization in BOTH {
        for header in [send_header(), bare] {
            let request = SendRequest { code: 310, opaque: 3, flag: 2, header, body: b"body" };
            let mut out = Vec::new();
            let total = send_request(&mut out, serialization, &request).unwrap();
            assert_eq!(total, out.len());
            let command = Command::decode(frame(&out)).unwrap();
            assert_eq!((command.code, command.opaque, command.flag, command.body), (310, 3, 2, &b"body"[..]));
            assert_eq!(SendHeader::decode(&command), Ok(header));
        }
        // The same with full names.
        let mut out = Vec::new();
        let mut writer = begin_request(&mut out, serialization, 10, 3, 0);
        send_header().write_full_names(&mut writer);
        writer.finish(b"body").unwrap();
        assert_eq!(SendHeader::decode(&Command::decode(frame(&out)).unwrap()), Ok(send_header()));
    }
}

#[test]
fn fast_and_general_encoders_agree() {
    let request = SendRequest { code: 310, opaque: 3, flag: 0, header: send_header(), body: b"body" };
    let (mut fast, mut general) = (Vec::new(), Vec::new());
    send_request(&mut fast, Serialization::Json, &request).unwrap();
    let mut writer = begin_request(&mut general, Serialization::Json, 310, 3, 0);
    send_header().write_letters(&mut writer);
    writer.finish(b"body").unwrap();
    assert_eq!(fast, general);
}

#[test]
fn send_answers_carry_what_clients_need() {
    for serialization in BOTH {
        let answer = SendAnswer {
            code: 10,
            opaque: 7,
            remark: Some("late"),
            msg_id: "ID",
            queue_id: 3,
            queue_offset: i64::MAX,
            transaction_id: Some("T"),
            batch_uniq_id: Some("B"),
            recall_handle: Some("R\\"),
            region: "DefaultRegion",
            trace_on: false,
        };
        let mut out = Vec::new();
        assert_eq!(send_response(&mut out, serialization, &answer), Ok(out.len()));
        let command = Command::decode(frame(&out)).unwrap();
        assert_eq!((command.code, command.opaque, command.flag), (10, 7, 1));
        assert_eq!(command.remark.as_deref(), Some("late"));
        let mut ext: Vec<_> = command.ext.iter().collect();
        ext.sort_unstable();
        let expected = [
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "false"),
            ("batchUniqId", "B"),
            ("msgId", "ID"),
            ("queueId", "3"),
            ("queueOffset", "9223372036854775807"),
            ("recallHandle", "R\\"),
            ("transactionId", "T"),
        ];
        assert_eq!(ext, expected);
        let mut out = Vec::new();
        let bare = SendAnswer { transaction_id: None, batch_uniq_id: None, recall_handle: None, ..answer };
        send_response(&mut out, serialization, &bare).unwrap();
        assert_eq!(Command::decode(frame(&out)).unwrap().ext.len(), 5);
    }
}

#[test]
fn pull_answers_carry_every_field() {
    for serialization in BOTH {
        let answer = PullAnswer {
            code: 21,
            opaque: 7,
            remark: Some("OFFSET_TOO_SMALL"),
            suggest_which_broker_id: 1,
            next_begin_offset: 2,
            min_offset: 3,
            max_offset: 4,
            topic_sys_flag: Some(5),
            group_sys_flag: Some(6),
            offset_delta: Some(7),
            forbidden_type: Some(8),
        };
        let mut out = Vec::new();
        assert_eq!(pull_response(&mut out, serialization, &answer, 0), Ok(out.len()));
        let command = Command::decode(frame(&out)).unwrap();
        assert_eq!((command.code, command.remark.as_deref()), (21, Some("OFFSET_TOO_SMALL")));
        let names = [
            "suggestWhichBrokerId",
            "nextBeginOffset",
            "minOffset",
            "maxOffset",
            "topicSysFlag",
            "groupSysFlag",
            "offsetDelta",
            "forbiddenType",
        ];
        assert_eq!(names.map(|name| command.ext.get_i32(name)), [1, 2, 3, 4, 5, 6, 7, 8].map(Some));
        let mut out = Vec::new();
        let bare = PullAnswer {
            topic_sys_flag: None,
            group_sys_flag: None,
            offset_delta: None,
            forbidden_type: None,
            ..answer
        };
        pull_response(&mut out, serialization, &bare, 0).unwrap();
        assert_eq!(Command::decode(frame(&out)).unwrap().ext.len(), 4);
    }
}

#[test]
fn pull_requests_round_trip() {
    let header = PullHeader {
        consumer_group: "g",
        topic: "t",
        queue_id: 1,
        queue_offset: 2,
        max_msg_nums: 32,
        sys_flag: 6,
        commit_offset: -1,
        suspend_timeout_millis: 15_000,
        subscription: Some("a || b"),
        sub_version: 9,
        expression_type: Some("TAG"),
        max_msg_bytes: None,
        request_source: Some(-1),
        proxy_forward_client_id: None,
        lite_topic: None,
        broker_name: Some("b"),
    };
    for serialization in BOTH {
        let mut out = Vec::new();
        pull_request(&mut out, serialization, &PullRequest { code: 11, opaque: 4, header }).unwrap();
        let command = Command::decode(frame(&out)).unwrap();
        assert_eq!(command.code, 11);
        let read = PullHeader::decode(&command.ext).unwrap();
        assert_eq!(read, header);
        assert!(read.may_suspend() && read.has_subscription() && !read.commits_offset());
    }
}

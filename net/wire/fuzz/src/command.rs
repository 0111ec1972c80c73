//! Bytes from a socket: frames, both header forms, typed headers. What decodes must survive being written again.

use ringmq_wire::encode::encode_command;
use ringmq_wire::headers::{
    CommonHeader, ConsumerSendBackHeader, CreateTopicHeader, EndTransactionHeader, PullHeader,
    QueryMessageHeader, RegisterBrokerHeader, SendHeader, UpdateConsumerOffsetHeader,
};
use ringmq_wire::{Command, Cut, FrameParts, Scratch, Serialization, cut};

pub fn check(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Cut::Frame { total, frame }) = cut(rest) {
        assert!(total <= rest.len());
        check_frame(frame);
        rest = &rest[total..];
    }
    // Headers without the luck of a right prefix.
    for serialization in [Serialization::Json, Serialization::Binary] {
        check_frame(FrameParts { serialization, header: bytes, body: b"body" });
    }
}

/// A header that was read before this one, with copied texts: nothing of it may be seen in the next.
const BEFORE: &[u8] =
    br#"{"code":7,"opaque":9,"remark":"\u00e9","extFields":{"a":"\u0041","topic":"before","\u0062":"1"}}"#;

pub fn check_frame(frame: FrameParts<'_>) {
    let mut scratch = Scratch::default();
    let before = FrameParts { serialization: Serialization::Json, header: BEFORE, body: &[] };
    let before = Command::decode_in(before, &mut scratch).expect("a good header");
    assert_eq!((before.ext.len(), before.ext.get("b")), (3, Some("1")));
    let Ok(command) = Command::decode(frame) else {
        assert!(Command::decode_in(frame, &mut scratch).is_err());
        return;
    };
    let with_scratch = Command::decode_in(frame, &mut scratch).expect("decoded without scratch");
    same(&command, &with_scratch);
    learnt(frame);
    assert_eq!(command.body, frame.body);
    typed_headers(&command);

    let mut out = Vec::new();
    let Ok(total) = encode_command(&mut out, &command) else {
        assert!(out.is_empty());
        return;
    };
    let Ok(Cut::Frame { total: found, frame }) = cut(&out) else { panic!("written frame is none") };
    assert_eq!(found, total);
    let again = Command::decode(frame).expect("written header is none");
    same(&command, &again);
}

/// A connection that has sent this header often reads its neighbours as any other connection would.
fn learnt(frame: FrameParts<'_>) {
    let mut scratch = Scratch::default();
    for _ in 0..6 {
        assert!(Command::decode_in(frame, &mut scratch).is_ok());
    }
    let mut header = frame.header.to_vec();
    for at in (0..header.len()).step_by(1 + header.len() / 64) {
        let byte = std::mem::replace(&mut header[at], b"\"\\0,}x"[at % 6]);
        let neighbour = FrameParts { header: &header, ..frame };
        let alone = Command::decode(neighbour);
        let with = Command::decode_in(neighbour, &mut scratch);
        match (&alone, &with) {
            (Ok(alone), Ok(with)) => same(alone, with),
            _ => assert_eq!(alone.is_err(), with.is_err()),
        }
        header[at] = byte;
    }
}

fn same(one: &Command<'_>, other: &Command<'_>) {
    assert!(one.ext.iter().eq(other.ext.iter()));
    assert_eq!((one.code, one.flag, one.opaque), (other.code, other.flag, other.opaque));
    assert_eq!((one.language, one.version), (other.language, other.version));
    // An empty remark and none are written alike.
    assert_eq!(one.remark.as_deref().unwrap_or_default(), other.remark.as_deref().unwrap_or_default());
    assert_eq!(one.body, other.body);
}

/// What a typed header gives out is what the fields say.
fn typed_headers(command: &Command<'_>) {
    let ext = &command.ext;
    if let Ok(send) = SendHeader::decode_full_names(ext) {
        assert_eq!(ext.get("topic"), Some(send.topic));
    }
    if let Ok(pull) = PullHeader::decode(ext) {
        assert_eq!(ext.get("topic"), Some(pull.topic));
        assert_eq!(ext.get_i64("queueOffset"), Some(pull.queue_offset));
    }
    if let Ok(commit) = UpdateConsumerOffsetHeader::decode(ext) {
        assert_eq!(ext.get("consumerGroup"), Some(commit.consumer_group));
        assert_eq!(ext.get_i64("commitOffset"), Some(commit.commit_offset));
    }
    let _ = SendHeader::decode(command);
    let _ = (ConsumerSendBackHeader::decode(ext), CreateTopicHeader::decode(ext), CommonHeader::decode(ext));
    let _ = (
        EndTransactionHeader::decode(ext),
        QueryMessageHeader::decode(ext),
        RegisterBrokerHeader::decode(ext),
    );
}

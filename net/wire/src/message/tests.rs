use super::*;
use proptest::prelude::*;

fn parts<'a>(topic: &'a str, body: &'a [u8]) -> RecordParts<'a> {
    RecordParts {
        queue_id: 3,
        flag: 7,
        queue_offset: 11,
        physical_offset: 13,
        sys_flag: 0,
        born_timestamp: 17,
        born_host: "10.0.0.1:4711".parse().unwrap(),
        store_timestamp: 19,
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 23,
        prepared_transaction_offset: 29,
        body,
        topic,
        properties: "TAGS\u{1}TagA\u{2}",
        added_properties: "",
    }
}

fn encode(parts: &RecordParts<'_>) -> Vec<u8> {
    let mut out = vec![0; parts.encoded_len().unwrap()];
    parts.encode_into(&mut out);
    out
}

#[test]
fn layout_is_the_documented_one() {
    let bytes = encode(&parts("topic", b"body"));
    let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let i64_at = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(i32_at(TOTAL_SIZE_AT) as usize, bytes.len());
    assert_eq!(i32_at(MAGIC_AT), MAGIC_V1);
    assert_eq!(i32_at(BODY_CRC_AT), body_crc(b"body"));
    assert_eq!((i32_at(QUEUE_ID_AT), i32_at(FLAG_AT)), (3, 7));
    assert_eq!((i64_at(QUEUE_OFFSET_AT), i64_at(PHYSICAL_OFFSET_AT)), (11, 13));
    assert_eq!((i32_at(SYS_FLAG_AT), i64_at(BORN_TIMESTAMP_AT)), (0, 17));
    assert_eq!((&bytes[48..52], i32_at(52)), (&[10, 0, 0, 1][..], 4711));
    assert_eq!((i64_at(STORE_TIMESTAMP_AT), &bytes[64..68], i32_at(68)), (19, &[10, 0, 0, 2][..], 10911));
    assert_eq!((i32_at(72), i64_at(76)), (23, 29));
    assert_eq!((i32_at(84), &bytes[88..92]), (4, &b"body"[..]));
    assert_eq!((bytes[92], &bytes[93..98]), (5, &b"topic"[..]));
    assert_eq!((&bytes[98..100], &bytes[100..]), (&[0, 10][..], &b"TAGS\x01TagA\x02"[..]));
    assert_eq!(bytes.len(), MIN_SIZE + 4 + 5 + 10);
}

#[test]
fn long_topics_make_a_v2_record() {
    let (short, long) = ("t".repeat(MAX_TOPIC_V1), "t".repeat(MAX_TOPIC_V1 + 1));
    let (short, long) = (encode(&parts(&short, b"b")), encode(&parts(&long, b"b")));
    assert_eq!(short.len() + 2, long.len());
    assert_eq!(long[4..8], MAGIC_V2.to_be_bytes());
    assert_eq!(RecordView::parse(&long).unwrap().topic.len(), MAX_TOPIC_V1 + 1);
    assert_eq!(RecordView::parse(&short).unwrap().topic.len(), MAX_TOPIC_V1);
}

#[test]
fn hosts_set_their_bits_and_patches_find_their_place() {
    for (born, store, flags) in [
        ("10.0.0.1:1", "10.0.0.2:2", 0),
        ("[fe80::1]:1", "10.0.0.2:2", sys_flag::BORN_HOST_V6),
        ("10.0.0.1:1", "[fe80::2]:2", sys_flag::STORE_HOST_V6),
        ("[fe80::1]:1", "[fe80::2]:2", sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6),
    ] {
        let mut parts = parts("t", b"b");
        parts.born_host = born.parse().unwrap();
        parts.store_host = store.parse().unwrap();
        // Bits of another record's hosts must not survive.
        parts.sys_flag = sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6 | sys_flag::COMPRESSED;
        let mut bytes = encode(&parts);
        patch::queue_offset(&mut bytes, 101);
        patch::physical_offset(&mut bytes, 102);
        patch::store_timestamp(&mut bytes, 103);
        let view = RecordView::parse(&bytes).unwrap();
        assert_eq!(view.sys_flag, flags | sys_flag::COMPRESSED);
        assert_eq!((view.born_host, view.store_host), (parts.born_host, parts.store_host));
        assert_eq!((view.queue_offset, view.physical_offset, view.store_timestamp), (101, 102, 103));
        assert_eq!((view.born_timestamp, view.reconsume_times), (17, 23));
    }
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut parts = parts("t", b"b");
    parts.born_host = "[::ffff:10.0.0.1]:4711".parse().unwrap();
    let bytes = encode(&parts);
    assert_eq!(RecordView::parse(&bytes).unwrap().born_host, "10.0.0.1:4711".parse().unwrap());
}

#[test]
fn added_properties_get_their_separator() {
    for (own, added, expected) in [
        ("a\u{1}1\u{2}", "b\u{1}2\u{2}", "a\u{1}1\u{2}b\u{1}2\u{2}"),
        ("a\u{1}1", "b\u{1}2\u{2}", "a\u{1}1\u{2}b\u{1}2\u{2}"),
        ("a\u{1}1", "", "a\u{1}1"),
        ("", "b\u{1}2\u{2}", "b\u{1}2\u{2}"),
        ("", "", ""),
    ] {
        let mut parts = parts("t", b"b");
        parts.properties = own;
        parts.added_properties = added;
        assert_eq!(RecordView::parse(&encode(&parts)).unwrap().properties, expected);
    }
}

#[test]
fn impossible_records_are_refused() {
    let long = "x".repeat(properties::MAX_LENGTH + 1);
    let mut record = parts("t", b"b");
    record.properties = &long;
    assert_eq!(record.encoded_len(), Err(RecordError::PropertiesTooLong(32_768)));
    record.properties = &long[1..];
    assert!(record.encoded_len().is_ok());
    record.added_properties = "b\u{1}2\u{2}";
    assert_eq!(record.encoded_len(), Err(RecordError::PropertiesTooLong(32_767 + 1 + 4)));
    assert_eq!(parts(&long, b"b").encoded_len(), Err(RecordError::TopicTooLong(32_768)));
}

#[test]
fn broken_records_are_refused() {
    let good = encode(&parts("topic", b"body"));
    for cut in 0..good.len() {
        assert!(matches!(RecordView::parse(&good[..cut]), Err(RecordError::Cut { .. })), "{cut}");
    }
    let broken = |at: usize, value: i32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        RecordView::parse(&bytes).unwrap_err()
    };
    assert_eq!(broken(0, -1), RecordError::TotalSize(-1));
    assert_eq!(broken(0, MIN_SIZE as i32 - 1), RecordError::TotalSize(90));
    assert_eq!(broken(4, MAGIC_FILLER), RecordError::Magic(MAGIC_FILLER));
    assert_eq!(broken(4, MAGIC_V2), RecordError::Length { field: "topic" });
    assert_eq!(broken(52, 70_000), RecordError::Port { field: "born host", port: 70_000 });
    assert_eq!(broken(84, -1), RecordError::Length { field: "body" });
    assert_eq!(broken(84, i32::MAX), RecordError::Length { field: "body" });
    assert_eq!(broken(98, 0x0009_5441), RecordError::Surplus(1));
    let mut bytes = good.clone();
    bytes[93] = 0xFF;
    assert_eq!(RecordView::parse(&bytes), Err(RecordError::Text { field: "topic" }));
    let mut bytes = good.clone();
    bytes[88] ^= 1;
    assert!(!RecordView::parse(&bytes).unwrap().verify_body_crc());
}

#[test]
fn records_end_at_the_first_error() {
    let mut bytes = encode(&parts("a", b"1"));
    bytes.extend(encode(&parts("b", b"22")));
    let whole: Vec<_> = records(&bytes).map(|record| record.unwrap().topic).collect();
    assert_eq!(whole, ["a", "b"]);
    bytes.pop();
    let cut: Vec<_> = records(&bytes).collect();
    assert_eq!(cut.len(), 2);
    assert!(matches!(cut[1], Err(RecordError::Cut { .. })));
}

#[test]
#[should_panic(expected = "slice is not the record's size")]
fn a_slice_of_another_size_is_the_callers_error() {
    parts("t", b"b").encode_into(&mut [0; 200]);
}

prop_compose! {
    fn any_parts()(
        numbers in any::<(i32, i32, i64, i64, i32, i64, i64, i32, i64)>(),
        hosts in any::<(std::net::IpAddr, u16, std::net::IpAddr, u16)>(),
        body in proptest::collection::vec(any::<u8>(), 0..40),
        topic in "[a-z%é]{0,140}",
        properties in "\\PC{0,20}",
    ) -> (RecordParts<'static>, Vec<u8>, String, String) {
        let parts = RecordParts {
            queue_id: numbers.0,
            flag: numbers.1,
            queue_offset: numbers.2,
            physical_offset: numbers.3,
            sys_flag: numbers.4,
            born_timestamp: numbers.5,
            born_host: SocketAddr::new(hosts.0, hosts.1),
            store_timestamp: numbers.6,
            store_host: SocketAddr::new(hosts.2, hosts.3),
            reconsume_times: numbers.7,
            prepared_transaction_offset: numbers.8,
            body: &[],
            topic: "",
            properties: "",
            added_properties: "",
        };
        (parts, body, topic, properties)
    }
}

proptest! {
    #[test]
    fn round_trips((fixed, body, topic, properties) in any_parts()) {
        let parts = RecordParts { body: &body, topic: &topic, properties: &properties, ..fixed };
        let bytes = encode(&parts);
        let view = RecordView::parse(&bytes).unwrap();
        prop_assert!(view.verify_body_crc());
        prop_assert_eq!((view.topic, view.body, view.properties), (&*topic, &*body, &*properties));
        prop_assert_eq!((view.queue_id, view.queue_offset), (parts.queue_id, parts.queue_offset));
        prop_assert_eq!(encode(&view.parts()), bytes);
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        records(&bytes).for_each(drop);
    }

    #[test]
    fn never_panics_on_a_damaged_record(at in 0usize..120, value: u8) {
        let mut bytes = encode(&parts("topic", b"body"));
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(view) = RecordView::parse(&bytes) {
            prop_assert_eq!(view.bytes.len(), bytes.len());
        }
    }
}

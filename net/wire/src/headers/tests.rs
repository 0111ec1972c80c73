use super::*;
use proptest::prelude::*;

fn ext<'a>(pairs: &[(&'a str, &'a str)]) -> ExtFields<'a> {
    pairs.iter().copied().collect()
}

const SEND: [(&str, &str); 8] = [
    ("a", "g"),
    ("b", "t"),
    ("c", "TBW102"),
    ("d", "4"),
    ("e", "-1"),
    ("f", "0"),
    ("g", "1700000000000"),
    ("h", "0"),
];

#[test]
fn a_send_needs_its_eight_fields() {
    let header = SendHeader::decode_letters(&ext(&SEND)).map(|header| {
        assert_eq!((header.topic, header.queue_id, header.reconsume_times), ("t", -1, 0));
        assert_eq!((header.properties, header.max_reconsume_times, header.batch), ("", None, false));
    });
    assert_eq!(header, Ok(()));
    for (missing, (name, _)) in SEND.iter().enumerate() {
        let some: Vec<_> =
            SEND.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, pair)| *pair).collect();
        let some = ext(&some);
        let error = SendHeader::decode_letters(&some).unwrap_err();
        assert_eq!((error.field, error.problem), (*name, FieldProblem::Missing));
    }
}

#[test]
fn errors_name_the_field_and_cut_its_value() {
    let long = "9".repeat(1000);
    let ext = ext(&[("topic", "t"), ("queueId", &long)]);
    let error = TopicQueueHeader::decode(&ext).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("header field queueId: \"999") && text.ends_with("is not an integer of 32 bits"),
        "{text}"
    );
    assert!(text.len() < 150);
    let none = ExtFields::new();
    assert_eq!(TopicQueueHeader::decode(&none).unwrap_err().to_string(), "header field topic: missing");
}

#[test]
fn optional_fields_have_javas_defaults() {
    let none = ExtFields::new();
    assert_eq!(GetAllTopicConfigHeader::decode(&none).map(|header| header.topic_seq), Ok(None));
    assert_eq!(GetAllSubscriptionGroupHeader::decode(&none).map(|header| header.group_seq), Ok(None));
    let topic = ext(&[("topic", "t"), ("queueId", "0")]);
    assert_eq!(GetMaxOffsetHeader::decode(&topic).map(|header| header.committed), Ok(true));
    let uncommitted = ext(&[("topic", "t"), ("queueId", "0"), ("committed", "false")]);
    assert_eq!(GetMaxOffsetHeader::decode(&uncommitted).map(|header| header.committed), Ok(false));
    let search = ext(&[("topic", "t"), ("queueId", "0"), ("timestamp", "5"), ("boundaryType", "UPPER")]);
    assert!(SearchOffsetHeader::decode(&search).unwrap().upper());
    let search = ext(&[("topic", "t"), ("queueId", "0"), ("timestamp", "5"), ("boundaryType", "x")]);
    assert!(!SearchOffsetHeader::decode(&search).unwrap().upper());
}

#[test]
fn headers_round_trip() {
    let header = EndTransactionHeader {
        topic: None,
        producer_group: "g",
        tran_state_table_offset: 1,
        commit_log_offset: i64::MAX,
        commit_or_rollback: 8,
        from_transaction_check: true,
        msg_id: Some("id"),
        transaction_id: None,
    };
    let mut out = Vec::new();
    let mut writer = crate::encode::begin_request(&mut out, crate::Serialization::Json, 37, 1, 2);
    header.write(&mut writer);
    writer.finish(&[]).unwrap();
    let Ok(crate::Cut::Frame { frame, .. }) = crate::cut(&out) else { panic!("no frame") };
    let command = crate::Command::decode(frame).unwrap();
    assert_eq!(EndTransactionHeader::decode(&command.ext), Ok(header));
    assert_eq!(command.ext.len(), 6);
}

#[test]
fn common_fields() {
    let fields = ext(&[("ns", "space"), ("nsd", "true"), ("bname", "b"), ("oway", "false"), ("lo", "true")]);
    let common = CommonHeader::decode(&fields);
    assert_eq!((common.namespace, common.namespaced, common.broker_name), (Some("space"), true, Some("b")));
    assert_eq!((common.oneway, common.local_only), (false, true));
}

proptest! {
    #[test]
    fn never_panics(pairs in proptest::collection::vec(
        ("[a-n]|topic|queueId|offset|consumerGroup|brokerId", "-?[0-9]{0,25}|\\PC{0,5}"), 0..20)) {
        let fields: ExtFields<'_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let _ = SendHeader::decode_letters(&fields);
        let _ = SendHeader::decode_full_names(&fields);
        let _ = PullHeader::decode(&fields);
        let _ = ConsumerSendBackHeader::decode(&fields);
        let _ = RegisterBrokerHeader::decode(&fields);
    }
}

//! Records, as from a commit log or a pull answer. What decodes is written again: same fields, right CRC.
use ringmq_wire::message::{RecordView, patch, records};

pub fn check(bytes: &[u8]) {
    let mut seen = 0;
    for record in records(bytes) {
        let Ok(record) = record else { break };
        seen += record.bytes.len();
        assert!(seen <= bytes.len());
        let parts = record.parts();
        let mut again = vec![0; parts.encoded_len().expect("a parsed record fits")];
        parts.encode_into(&mut again);
        patch::queue_offset(&mut again, 1);
        patch::physical_offset(&mut again, 2);
        patch::store_timestamp(&mut again, 3);
        let again = RecordView::parse(&again).expect("written record is none");
        assert!(again.verify_body_crc());
        assert_eq!((again.queue_offset, again.physical_offset, again.store_timestamp), (1, 2, 3));
        assert_eq!(
            (again.body, again.topic, again.properties),
            (record.body, record.topic, record.properties)
        );
        let _ = record.property("TAGS");
    }
}

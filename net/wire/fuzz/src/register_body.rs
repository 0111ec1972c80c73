//! Body of a broker's registration: plain, compressed, and compressed bytes that inflate to what the fuzzer chose.
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use ringmq_wire::json_dialect::RegisterBrokerBody;
use ringmq_wire::version::ordinal::CURRENT;

use super::take;

/// The first bytes say whether the body is compressed, and the client's version.
pub fn check(input: &[u8]) {
    let mut bytes = input;
    let [compressed] = take::<1>(&mut bytes);
    let (compressed, version) = (compressed % 2 == 1, i32::from_be_bytes(take::<4>(&mut bytes)));
    let _ = RegisterBrokerBody::decode(bytes, compressed, version);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("a vector takes every byte");
    let deflated = encoder.finish().expect("a vector takes every byte");
    let Ok(body) = RegisterBrokerBody::decode(&deflated, true, version) else { return };
    let plain =
        RegisterBrokerBody::decode(&body.encode(), false, CURRENT).expect("written plain body is none");
    assert_eq!(plain, body);
    // Lines keep less than JSON does: what is there must still be readable.
    let clean = |name: &String| !name.is_empty() && !name.contains(' ');
    if body.topic_config_serialize_wrapper.topic_config_table.keys().all(clean) {
        RegisterBrokerBody::decode(&body.encode_compressed(), true, CURRENT)
            .expect("written compressed body is none");
    }
}

//! Body of 103: all topics of a broker, as plain JSON or compressed.
//!
//! Compressed form (zlib): length and data version JSON; count, then length and line of each topic; length and filter
//! server list JSON; from V5_0_0 on count, then length and mapping JSON of each static topic. All numbers are i32.
//! Invariants: inflated size is bounded by `MAX_INFLATED`, and no count is believed before its items were read.
//! On failure: a `BodyError` that says which part is wrong.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::topic::{TopicConfig, TopicConfigTable, TopicQueueMappingInfo};
use super::{BodyError, read, to_vec};
use crate::version::ordinal;

/// Most bytes that a compressed body may become: two million topics. A frame of 16 MiB could inflate to 16 GiB.
pub const MAX_INFLATED: u64 = 128 * 1024 * 1024;

/// First byte of a zlib stream with the usual window; no JSON begins with it.
const ZLIB_FIRST_BYTE: u8 = 0x78;

/// What a broker tells a name server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    pub filter_server_list: Vec<String>,
    pub topic_config_serialize_wrapper: TopicConfigTable,
}

impl RegisterBrokerBody {
    /// Reads either form. `broker_version` decides whether a compressed body has the mapping part.
    ///
    /// A body that begins as zlib does is inflated even if the header calls it plain: with `compressedRegister` on, the
    /// reference's broker sends such (RocketMQ 5.5.0 BrokerOuterAPI#registerBrokerAll), and its name server fails.
    pub fn decode(body: &[u8], compressed: bool, broker_version: i32) -> Result<Self, BodyError> {
        if !compressed && body.first() != Some(&ZLIB_FIRST_BYTE) {
            return read(body);
        }
        let mut inflated = Inflated(ZlibDecoder::new(body).take(MAX_INFLATED));
        let mut table =
            TopicConfigTable { data_version: inflated.json("data version")?, ..TopicConfigTable::default() };
        for _ in 0..inflated.count("topic count")? {
            let line = inflated.bytes("topic")?;
            let topic = TopicConfig::from_line(&String::from_utf8_lossy(&line))?;
            table.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        let servers = inflated.bytes("filter server list")?;
        // The reference goes on without a list that it cannot read.
        let filter_server_list = read(&servers).unwrap_or_default();
        if broker_version >= ordinal::V5_0_0 {
            for _ in 0..inflated.count("mapping count")? {
                let info: TopicQueueMappingInfo = inflated.json("mapping")?;
                table.topic_queue_mapping_info_map.insert(info.topic.clone(), info);
            }
        }
        Ok(Self { filter_server_list, topic_config_serialize_wrapper: table })
    }

    /// Writes the plain form.
    pub fn encode(&self) -> Vec<u8> {
        to_vec(self)
    }

    /// Writes the compressed form of this version.
    pub fn encode_compressed(&self) -> Vec<u8> {
        let table = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        put(&mut plain, &to_vec(&table.data_version));
        put_count(&mut plain, table.topic_config_table.len());
        for topic in table.topic_config_table.values() {
            put(&mut plain, topic.to_line().as_bytes());
        }
        put(&mut plain, &to_vec(&self.filter_server_list));
        put_count(&mut plain, table.topic_queue_mapping_info_map.len());
        for info in table.topic_queue_mapping_info_map.values() {
            put(&mut plain, &to_vec(info));
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        // A vector takes every byte.
        let _ = encoder.write_all(&plain);
        encoder.finish().unwrap_or_default()
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as i32).to_be_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Inflated<R>(R);

impl<R: Read> Inflated<R> {
    fn count(&mut self, part: &str) -> Result<usize, BodyError> {
        let mut count = [0; 4];
        self.0.read_exact(&mut count).map_err(|error| broken(part, &error))?;
        let count = i32::from_be_bytes(count);
        usize::try_from(count).map_err(|_| BodyError::Shape(format!("register body: {part} is {count}")))
    }

    fn bytes(&mut self, part: &str) -> Result<Vec<u8>, BodyError> {
        let length = self.count(part)?;
        let mut bytes = Vec::with_capacity(length.min(4096));
        let read = self.0.by_ref().take(length as u64).read_to_end(&mut bytes);
        match read.map_err(|error| broken(part, &error))? {
            read if read < length => Err(BodyError::Shape(format!("register body: ends inside {part}"))),
            _ => Ok(bytes),
        }
    }

    fn json<T: DeserializeOwned>(&mut self, part: &str) -> Result<T, BodyError> {
        read(&self.bytes(part)?)
    }
}

fn broken(part: &str, error: &std::io::Error) -> BodyError {
    BodyError::Shape(format!("register body: cannot inflate {part}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::DataVersion;
    use super::*;
    use proptest::prelude::*;

    fn body() -> RegisterBrokerBody {
        let topic = TopicConfig { topic_name: "t".into(), perm: 6, ..Default::default() };
        let info = TopicQueueMappingInfo { topic: "s".into(), total_queues: 3, ..Default::default() };
        RegisterBrokerBody {
            filter_server_list: vec!["f".into()],
            topic_config_serialize_wrapper: TopicConfigTable {
                data_version: DataVersion { counter: 3, state_version: 0, timestamp: 1_700_000_000_000 },
                topic_config_table: [("t".into(), topic)].into(),
                topic_queue_mapping_info_map: [("s".into(), info)].into(),
                ..Default::default()
            },
        }
    }

    #[test]
    fn both_forms_round_trip() {
        assert_eq!(RegisterBrokerBody::decode(&body().encode(), false, ordinal::CURRENT), Ok(body()));
        let compressed = body().encode_compressed();
        assert_eq!(RegisterBrokerBody::decode(&compressed, true, ordinal::CURRENT), Ok(body()));
        let mut old = body();
        old.topic_config_serialize_wrapper.topic_queue_mapping_info_map.clear();
        assert_eq!(RegisterBrokerBody::decode(&compressed, true, ordinal::V4_9_4), Ok(old));
    }

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lying_counts_are_errors_and_cost_nothing() {
        let decode = |plain: &[u8]| RegisterBrokerBody::decode(&deflated(plain), true, ordinal::CURRENT);
        assert!(decode(b"").is_err());
        assert!(decode(&[0x7f, 0xff, 0xff, 0xff]).is_err());
        assert!(decode(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode(b"\0\0\0\x02{}\x7f\xff\xff\xff").is_err());
        assert!(RegisterBrokerBody::decode(b"not zlib", true, ordinal::CURRENT).is_err());
        // Of the right form, but all of it one topic line of zeros, longer than is read.
        let mut bomb = b"\0\0\0\x02{}\0\0\0\x01\x7f\xff\xff\xff".to_vec();
        bomb.resize(1 << 20, b' ');
        assert!(decode(&bomb).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), version: i32) {
            let _ = RegisterBrokerBody::decode(&deflated(&bytes), true, version);
            let _ = RegisterBrokerBody::decode(&bytes, true, version);
        }
    }
}

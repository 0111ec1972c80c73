//! Tables keyed by queue, connection lists, offsets: what administration asks of a broker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client::{ConsumeFromWhere, ConsumeType, MessageModel, MessageQueue};
use super::topic::DataVersion;
use crate::subscription::SubscriptionData;

/// Answer to 202.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsTable {
    pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
    pub topic_put_tps: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    pub last_update_timestamp: i64,
    pub max_offset: i64,
    pub min_offset: i64,
}

/// Answer to 208.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    pub consume_tps: f64,
    pub offset_table: BTreeMap<MessageQueue, OffsetWrapper>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    pub broker_offset: i64,
    pub consumer_offset: i64,
    pub last_timestamp: i64,
    pub pull_offset: i64,
}

/// Body of 220 and answer to 222.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

/// Answer to 221 and 223.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatusBody {
    pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>>,
    pub message_queue_table: BTreeMap<MessageQueue, i64>,
}

/// Answer to 43: offsets by `topic@group` and queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsetTable {
    pub data_version: DataVersion,
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Answer to 203.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    pub connection_set: Vec<ClientConnection>,
    pub consume_from_where: ConsumeFromWhere,
    pub consume_type: ConsumeType,
    pub message_model: MessageModel,
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// Answer to 204.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    pub connection_set: Vec<ClientConnection>,
}

/// A client's connection, as tools list it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConnection {
    pub client_addr: String,
    pub client_id: String,
    /// Name of a `Language`.
    pub language: String,
    pub version: i32,
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, read, to_vec, write};
    use super::*;

    #[test]
    fn queues_as_keys() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 0, topic: "t".into() };
        let body = ResetOffsetBody { offset_table: [(queue.clone(), 7)].into() };
        let text = r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:7}}"#;
        assert_eq!(String::from_utf8(to_vec(&body)).unwrap(), text);
        assert_eq!(read::<ResetOffsetBody>(text.as_bytes()).unwrap(), body);
        let mut standard = Vec::new();
        write(&mut standard, &body, Dialect::Standard);
        assert!(serde_json::from_slice::<serde_json::Value>(&standard).is_ok());
        assert_eq!(read::<ResetOffsetBody>(&standard).unwrap(), body);
    }

    #[test]
    fn stats_round_trip() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 0, topic: "t".into() };
        let stats = TopicStatsTable {
            offset_table: [(queue, TopicOffset { max_offset: 5, ..Default::default() })].into(),
            topic_put_tps: 0.0,
        };
        let text = String::from_utf8(to_vec(&stats)).unwrap();
        assert!(text.ends_with(r#""topicPutTps":0.0}"#), "{text}");
        assert_eq!(read::<TopicStatsTable>(text.as_bytes()).unwrap(), stats);
        assert!(read::<ResetOffsetBody>(br#"{"offsetTable":{"not json":1}}"#).is_err());
        let offsets: ConsumerOffsetTable = read(br#"{"offsetTable":{"t@g":{0:5,"1":6}}}"#).unwrap();
        assert_eq!(offsets.offset_table["t@g"], [(0, 5), (1, 6)].into());
    }
}

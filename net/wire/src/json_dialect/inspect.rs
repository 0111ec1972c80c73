//! What administration looks at besides offsets: raw indexes, times, producers, rates, replication.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client::MessageQueue;
use super::stats::ConsumeStats;
use crate::subscription::SubscriptionData;

/// Answer to 317: for each group what 208 tells of each of its topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    pub broker_addr: String,
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    pub total_diff: i64,
    pub total_inflight_diff: i64,
}

/// Answer to 303.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeTimeSpans {
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// Store times in a queue; −1 where there is no such message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    pub consume_time_stamp: i64,
    /// How long the next message has waited.
    pub delay_time: i64,
    pub max_time_stamp: i64,
    pub message_queue: MessageQueue,
    pub min_time_stamp: i64,
}

/// Answer to 328: producers by group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerTable {
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    pub client_id: String,
    /// Name of a `Language`.
    pub language: String,
    pub last_update_timestamp: i64,
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    pub version: i32,
}

/// Answer to 308.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorrectionOffsets {
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// Answer to 345.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSubscription {
    pub group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    pub topic: String,
}

/// Answer to 321.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueue {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    pub max_queue_index: i64,
    pub min_queue_index: i64,
    pub queue_data: Vec<ConsumeQueueData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// One message in the index of its queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueData {
    pub eval: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    pub physic_offset: i64,
    pub physic_size: i32,
    pub tags_code: i64,
}

/// Answer to 315.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStats {
    pub stats_day: StatsItem,
    pub stats_hour: StatsItem,
    pub stats_minute: StatsItem,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatsItem {
    pub avgpt: f64,
    pub sum: i64,
    pub tps: f64,
}

/// Answer to 907.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaRuntimeInfo {
    pub ha_client_runtime_info: HaClientRuntimeInfo,
    pub ha_connection_info: Vec<HaConnectionRuntimeInfo>,
    pub in_sync_slave_nums: i32,
    pub master: bool,
    pub master_commit_log_max_offset: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaClientRuntimeInfo {
    pub last_read_timestamp: i64,
    pub last_write_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_addr: Option<String>,
    pub master_flush_offset: i64,
    pub max_offset: i64,
    pub transferred_byte_in_second: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaConnectionRuntimeInfo {
    pub addr: String,
    pub diff: i64,
    pub in_sync: bool,
    pub slave_ack_offset: i64,
    pub transfer_from_where: i64,
    pub transferred_byte_in_second: i64,
}

#[cfg(test)]
mod tests {
    use super::super::{read, to_vec};
    use super::*;

    fn text<T: Serialize>(body: &T) -> String {
        String::from_utf8(to_vec(body)).unwrap()
    }

    #[test]
    fn names_are_those_that_java_reads() {
        let producer = ProducerInfo { remote_ip: "10.0.0.1:7".into(), ..Default::default() };
        let table = ProducerTable { data: [("g".to_owned(), vec![producer])].into() };
        let expected = r#"{"data":{"g":[{"clientId":"","language":"","lastUpdateTimestamp":0,"remoteIP":"10.0.0.1:7","version":0}]}}"#;
        assert_eq!(text(&table), expected);
        let offsets = CorrectionOffsets { correction_offsets: [(0, 7)].into() };
        assert_eq!(text(&offsets), r#"{"correctionOffsets":{0:7}}"#);
        let stats = BrokerStats::default();
        assert!(text(&stats).starts_with(r#"{"statsDay":{"avgpt":0.0,"sum":0,"tps":0.0}"#));
        let ha = text(&HaRuntimeInfo { master: true, ..Default::default() });
        assert!(ha.ends_with(
            r#""haConnectionInfo":[],"inSyncSlaveNums":0,"master":true,"masterCommitLogMaxOffset":0}"#
        ));
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let queue = ConsumeQueue::default();
        assert_eq!(text(&queue), r#"{"maxQueueIndex":0,"minQueueIndex":0,"queueData":[]}"#);
        let read_back: ConsumeQueue = read(text(&queue).as_bytes()).unwrap();
        assert_eq!(read_back, queue);
    }
}

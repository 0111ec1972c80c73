//! Routes, clusters and broker groups.
//!
//! Invariant: integer map keys. A client before V4_9_4 (Go among them) gets a route in the legacy dialect and cuts it as
//! text; later ones get standard JSON. Cluster info and member groups are always legacy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic::TopicQueueMappingInfo;
use super::{Dialect, write};
use crate::version::ordinal;

/// Answer to 105.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    pub broker_datas: Vec<BrokerData>,
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    pub queue_datas: Vec<QueueData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

impl TopicRouteData {
    /// The route in the dialect that this client can read.
    pub fn encode_for(&self, client_version: i32, accepts_standard_only: bool) -> Vec<u8> {
        let standard = accepts_standard_only || client_version >= ordinal::V4_9_4;
        let mut out = Vec::with_capacity(512);
        write(&mut out, self, if standard { Dialect::Standard } else { Dialect::Legacy });
        out
    }
}

/// The brokers of one name; id 0 is the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    pub broker_addrs: BTreeMap<i64, String>,
    pub broker_name: String,
    pub cluster: String,
    pub enable_acting_master: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// A topic's queues on the brokers of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    pub broker_name: String,
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

/// Answer to 106.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// Answer to 901.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroupAnswer {
    pub broker_member_group: BrokerMemberGroup,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroup {
    pub broker_addrs: BTreeMap<i64, String>,
    pub broker_name: String,
    pub cluster: String,
}

#[cfg(test)]
mod tests {
    use super::super::{read, to_vec};
    use super::*;

    fn route() -> TopicRouteData {
        let broker = BrokerData {
            broker_addrs: [(0, "10.0.0.1:10911".into()), (1, "10.0.0.2:10911".into())].into(),
            broker_name: "bé".into(),
            cluster: "c".into(),
            ..Default::default()
        };
        let queues = QueueData {
            broker_name: "bé".into(),
            perm: 6,
            read_queue_nums: 8,
            topic_sys_flag: 0,
            write_queue_nums: 8,
        };
        TopicRouteData { broker_datas: vec![broker], queue_datas: vec![queues], ..Default::default() }
    }

    #[test]
    fn old_clients_get_bare_keys() {
        let text = String::from_utf8(route().encode_for(ordinal::GO_CLIENT, false)).unwrap();
        let expected = concat!(
            r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"bé","cluster":"c","#,
            r#""enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"bé","perm":6,"#,
            r#""readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#
        );
        assert_eq!(text, expected);
        assert_eq!(read::<TopicRouteData>(text.as_bytes()).unwrap(), route());
    }

    #[test]
    fn new_clients_get_standard_json() {
        let text = String::from_utf8(route().encode_for(ordinal::V4_9_4, false)).unwrap();
        assert!(text.contains(r#""brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"}"#), "{text}");
        assert!(text.is_ascii() && text.contains(r#""b\u00E9""#), "{text}");
        assert_eq!(serde_json::from_str::<TopicRouteData>(&text).unwrap(), route());
        assert_eq!(route().encode_for(0, true), text.as_bytes());
        assert_eq!(read::<TopicRouteData>(text.as_bytes()).unwrap(), route());
    }

    #[test]
    fn cluster_info_has_bare_keys() {
        let info = ClusterInfo {
            broker_addr_table: [("b".into(), route().broker_datas[0].clone())].into(),
            cluster_addr_table: [("c".into(), vec!["b".into()])].into(),
        };
        let text = String::from_utf8(to_vec(&info)).unwrap();
        assert!(text.starts_with(r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"#), "{text}");
        assert_eq!(read::<ClusterInfo>(text.as_bytes()).unwrap(), info);
    }
}

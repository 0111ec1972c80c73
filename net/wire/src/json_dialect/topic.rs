//! Topic bodies: configuration, its version, lists, and the mapping of static topics that peers may send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client::tolerant_enum;
use super::{BodyError, read, to_vec};

/// Version of a table: compared to see whether a peer has the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    pub counter: i64,
    pub state_version: i64,
    pub timestamp: i64,
}

impl DataVersion {
    /// The order in which the reference calls one version newer: state version, then counter, then time.
    pub fn is_newer_than(&self, other: &DataVersion) -> bool {
        let rank = |version: &DataVersion| (version.state_version, version.counter, version.timestamp);
        rank(self) > rank(other)
    }
}

tolerant_enum! {
    /// Whether the messages of a topic may have several tags. Kept for the wire; nothing hangs on it.
    TopicFilterType {
        #[default]
        SingleTag = "SINGLE_TAG",
        MultiTag = "MULTI_TAG",
    }
}

/// Bits of `TopicConfig::perm`.
pub mod perm {
    pub const PRIORITY: i32 = 8;
    pub const READ: i32 = 4;
    pub const WRITE: i32 = 2;
    pub const INHERIT: i32 = 1;
}

/// A topic's settings on one broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    pub attributes: BTreeMap<String, String>,
    pub order: bool,
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_filter_type: TopicFilterType,
    pub topic_name: String,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: perm::READ | perm::WRITE,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// The topic as one line of a compressed register-broker body. System flag and order do not survive it, nor do
    /// attributes with a space in them (RocketMQ 5.5.0 TopicConfig#encode).
    pub fn to_line(&self) -> String {
        let attributes = String::from_utf8_lossy(&to_vec(&self.attributes)).into_owned();
        format!(
            "{} {} {} {} {} {attributes}",
            self.topic_name,
            self.read_queue_nums,
            self.write_queue_nums,
            self.perm,
            self.topic_filter_type.name()
        )
    }

    /// Reads such a line. Attributes that cannot be read are none.
    pub fn from_line(line: &str) -> Result<TopicConfig, BodyError> {
        let mut words = line.split(' ');
        let mut word = |what: &str| {
            words.next().ok_or_else(|| BodyError::Shape(format!("topic line without {what}: {line:.80?}")))
        };
        let topic_name = word("name")?.to_owned();
        let mut number = |what: &str| {
            let text = word(what)?;
            text.parse()
                .map_err(|_| BodyError::Shape(format!("topic line: {what} is no number: {line:.80?}")))
        };
        let read_queue_nums = number("read queues")?;
        let write_queue_nums = number("write queues")?;
        let perm = number("permission")?;
        let topic_filter_type = TopicFilterType::from_name(word("filter type")?);
        let attributes = words.next().and_then(|text| read(text.as_bytes()).ok()).unwrap_or_default();
        Ok(TopicConfig {
            attributes,
            perm,
            read_queue_nums,
            topic_filter_type,
            topic_name,
            write_queue_nums,
            ..TopicConfig::default()
        })
    }
}

/// Answer to 21 and, in a register-broker body, all topics of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigTable {
    pub data_version: DataVersion,
    pub mapping_data_version: DataVersion,
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    pub topic_queue_mapping_detail_map: BTreeMap<String, TopicQueueMappingDetail>,
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

/// Which physical queue a static topic's logical queue is on a broker now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingInfo {
    pub bname: String,
    pub curr_id_map: BTreeMap<i32, i32>,
    pub dirty: bool,
    pub epoch: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub topic: String,
    pub total_queues: i32,
}

/// The same with the history of each logical queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingDetail {
    pub bname: String,
    pub curr_id_map: BTreeMap<i32, i32>,
    pub dirty: bool,
    pub epoch: i64,
    pub hosted_queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub topic: String,
    pub total_queues: i32,
}

/// One stretch of a logical queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogicQueueMappingItem {
    pub bname: String,
    pub end_offset: i64,
    #[serde(rename = "gen")]
    pub generation: i32,
    pub logic_offset: i64,
    pub queue_id: i32,
    pub start_offset: i64,
    pub time_of_end: i64,
    pub time_of_start: i64,
}

impl Default for LogicQueueMappingItem {
    fn default() -> Self {
        Self {
            bname: String::new(),
            end_offset: -1,
            generation: 0,
            logic_offset: 0,
            queue_id: 0,
            start_offset: 0,
            time_of_end: -1,
            time_of_start: -1,
        }
    }
}

/// Body of 18.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigList {
    pub topic_config_list: Vec<TopicConfig>,
}

/// Answer to 206, 224, 304, 305, 311 to 313, 343.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    pub topic_list: Vec<String>,
}

/// Answer to 219, 28 and 103: names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvTable {
    pub table: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_config_as_java_does() {
        let config = TopicConfig { topic_name: "t".into(), ..Default::default() };
        let text = concat!(
            r#"{"attributes":{},"order":false,"perm":6,"readQueueNums":16,"topicFilterType":"SINGLE_TAG","#,
            r#""topicName":"t","topicSysFlag":0,"writeQueueNums":16}"#
        );
        assert_eq!(String::from_utf8(to_vec(&config)).unwrap(), text);
        assert_eq!(read::<TopicConfig>(text.as_bytes()).unwrap(), config);
        // Missing fields have Java's defaults.
        assert_eq!(read::<TopicConfig>(br#"{"topicName":"t"}"#).unwrap(), config);
    }

    #[test]
    fn lines_round_trip() {
        let mut config = TopicConfig { topic_name: "t".into(), perm: 4, ..Default::default() };
        assert_eq!(config.to_line(), "t 16 16 4 SINGLE_TAG {}");
        config.attributes.insert("+queue.type".into(), "BatchCQ".into());
        assert_eq!(TopicConfig::from_line(&config.to_line()).unwrap(), config);
        // Older brokers write no attributes, and Java drops what it cannot parse.
        config.attributes.clear();
        for line in ["t 16 16 4 SINGLE_TAG", "t 16 16 4 SINGLE_TAG ", "t 16 16 4 SINGLE_TAG {\"a\":\"b c\"}"]
        {
            assert_eq!(TopicConfig::from_line(line).unwrap(), config);
        }
        assert!(TopicConfig::from_line("t 16 16").is_err());
        assert!(TopicConfig::from_line("t x 16 4 SINGLE_TAG").is_err());
    }

    #[test]
    fn reads_a_static_topic_with_bare_keys() {
        let detail: TopicQueueMappingDetail = read(
            br#"{"bname":"b","currIdMap":{0:0},"hostedQueues":{0:[{"bname":"b","gen":1}]},"topic":"t"}"#,
        )
        .unwrap();
        assert_eq!(detail.curr_id_map[&0], 0);
        assert_eq!(detail.hosted_queues[&0][0].end_offset, -1);
        assert!(String::from_utf8(to_vec(&detail)).unwrap().contains(r#""hostedQueues":{0:[{"bname":"b","#));
    }

    #[test]
    fn newer_versions() {
        let old = DataVersion { counter: 5, state_version: 0, timestamp: 9 };
        assert!(DataVersion { counter: 6, timestamp: 1, ..old }.is_newer_than(&old));
        assert!(DataVersion { state_version: 1, counter: 0, timestamp: 0 }.is_newer_than(&old));
        assert!(!old.is_newer_than(&old));
    }
}

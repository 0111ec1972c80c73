//! Lists of topics, and brokers by cluster and group.

use std::collections::{BTreeMap, BTreeSet};

use ringmq_wire::json_dialect::{BrokerData, BrokerMemberGroup, ClusterInfo, TopicList};

use super::{Broker, RouteTable};

/// Bit of a topic's system flag: it belongs to a unit.
const UNIT: i32 = 1;
/// Its subscriptions are by unit.
const UNIT_SUB: i32 = 2;

/// Which topics, by their system flag.
#[derive(Clone, Copy, Debug)]
pub enum TopicFlag {
    Unit,
    UnitSub,
    UnitSubWithoutUnit,
}

impl Broker {
    pub(super) fn to_data(&self, name: &str) -> BrokerData {
        BrokerData {
            broker_addrs: self.addrs.clone(),
            broker_name: name.to_owned(),
            cluster: self.cluster.clone(),
            enable_acting_master: self.acting_master,
            zone_name: self.zone.clone(),
        }
    }
}

impl RouteTable {
    pub fn cluster_info(&self) -> ClusterInfo {
        let names = |names: &BTreeSet<super::Name>| names.iter().map(|n| n.to_string()).collect();
        ClusterInfo {
            broker_addr_table: self
                .brokers
                .iter()
                .map(|(n, broker)| (n.to_string(), broker.to_data(n)))
                .collect(),
            cluster_addr_table: self.clusters.iter().map(|(c, n)| (c.clone(), names(n))).collect(),
        }
    }

    pub fn member_group(&self, cluster: &str, name: &str) -> BrokerMemberGroup {
        let addrs: BTreeMap<_, _> = self.brokers.get(name).map(|b| b.addrs.clone()).unwrap_or_default();
        BrokerMemberGroup { broker_addrs: addrs, broker_name: name.to_owned(), cluster: cluster.to_owned() }
    }

    pub fn all_topics(&self) -> TopicList {
        TopicList {
            broker_addr: None,
            topic_list: self.topics.keys().map(|topic| topic.to_string()).collect(),
        }
    }

    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let brokers =
            self.clusters.get(cluster).into_iter().flatten().filter_map(|name| self.brokers.get(name));
        let topics: BTreeSet<_> = brokers.flat_map(|broker| &broker.topics).collect();
        TopicList {
            broker_addr: None,
            topic_list: topics.into_iter().map(|topic| topic.to_string()).collect(),
        }
    }

    /// 304: the names of clusters and brokers are topics too; and some broker to ask for its own.
    pub fn system_topics(&self) -> TopicList {
        let mut topics = BTreeSet::new();
        for (cluster, names) in &self.clusters {
            topics.insert(cluster.clone());
            topics.extend(names.iter().map(|name| name.to_string()));
        }
        let broker_addr = self.brokers.values().find_map(|broker| broker.addrs.values().next().cloned());
        TopicList { broker_addr, topic_list: topics.into_iter().collect() }
    }

    /// RocketMQ 5.5.0 RouteInfoManager#getUnitTopics and its neighbours look at the first broker's flag only.
    pub fn topics_with(&self, flag: TopicFlag) -> TopicList {
        let has = |flags: i32| match flag {
            TopicFlag::Unit => flags & UNIT != 0,
            TopicFlag::UnitSub => flags & UNIT_SUB != 0,
            TopicFlag::UnitSubWithoutUnit => flags & UNIT == 0 && flags & UNIT_SUB != 0,
        };
        let first =
            |topic: &super::Topic| topic.queues.values().next().is_some_and(|queues| has(queues.sys_flag));
        let topics = self.topics.iter().filter(|(_, topic)| first(topic)).map(|(name, _)| name.to_string());
        TopicList { broker_addr: None, topic_list: topics.collect() }
    }
}

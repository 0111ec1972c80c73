//! Lists of topics, and brokers by cluster and group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ringmq_wire::json_dialect::{BrokerData, BrokerMemberGroup, ClusterInfo, TopicList};

use super::{Broker, Name, RouteTable, Topic};

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

impl TopicFlag {
    fn is_in(self, flags: i32) -> bool {
        match self {
            Self::Unit => flags & UNIT != 0,
            Self::UnitSub => flags & UNIT_SUB != 0,
            Self::UnitSubWithoutUnit => flags & UNIT == 0 && flags & UNIT_SUB != 0,
        }
    }
}

/// Which topics a list has.
#[derive(Clone, Debug)]
pub enum Which {
    All,
    OfCluster(Box<str>),
    With(TopicFlag),
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
        let names = |names: &BTreeSet<Name>| names.iter().map(|n| n.to_string()).collect();
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

    /// The names of a list that follow `after`, in order, as far as `most` queues are looked at; and the name to go on behind, if there
    /// may be more: a cursor that stays good while the table changes.
    pub fn some_topics(&self, which: &Which, after: Option<&str>, most: usize) -> (Vec<Name>, Option<Name>) {
        let cluster = match which {
            Which::OfCluster(cluster) => self.clusters.get(&**cluster),
            _ => None,
        };
        let is_wanted = |topic: &Topic| match which {
            Which::All => true,
            Which::OfCluster(_) => {
                cluster.is_some_and(|brokers| topic.queues.keys().any(|broker| brokers.contains(broker)))
            }
            // RocketMQ 5.5.0 RouteInfoManager#getUnitTopics and its neighbours look at the first broker's flag only.
            Which::With(flag) => {
                topic.queues.values().next().is_some_and(|queues| flag.is_in(queues.sys_flag))
            }
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut names, mut looks) = (Vec::new(), 0);
        for (name, topic) in self.topics.range::<str, _>((from, Bound::Unbounded)) {
            if is_wanted(topic) {
                names.push(name.clone());
            }
            looks += topic.queues.len();
            if looks >= most {
                return (names, Some(name.clone()));
            }
        }
        (names, None)
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
}

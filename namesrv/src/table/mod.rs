//! The route table: which topics are on which brokers, and which brokers are there.
//!
//! Owns: topics with their queues by broker name, broker names with their addresses, clusters, live brokers, and the
//! mapping of static topics. Registering is in `register`, leaving in `leave`, asking in `query`, routes in `route`.
//! Invariants (`check` in tests): a broker name's `topics` are exactly the topics with queues on it; a cluster's names
//! all exist; no topic is without queues; everything is ordered, so that answers do not depend on hash seeds.
//! Failures: registrations over the bounds of `limits` are refused whole.

mod leave;
mod query;
mod register;
mod route;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringmq_transport::ConnId;
use ringmq_wire::json_dialect::{DataVersion, QueueData, TopicQueueMappingInfo};

pub use query::{TopicFlag, Which};
pub use register::{Registration, RegistrationError};
pub use route::filter_by_zone;

/// The id of a master; other ids are slaves.
pub const MASTER_ID: i64 = 0;

pub type Name = Rc<str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queues {
    read: i32,
    write: i32,
    /// What routes show.
    perm: i32,
    /// What the broker said itself; `perm` differs where it was changed here (205, 327, an acting master).
    stated_perm: i32,
    sys_flag: i32,
}

impl Queues {
    fn to_data(self, broker: &str) -> QueueData {
        QueueData {
            broker_name: broker.to_owned(),
            perm: self.perm,
            read_queue_nums: self.read,
            topic_sys_flag: self.sys_flag,
            write_queue_nums: self.write,
        }
    }
}

#[derive(Default)]
struct Topic {
    queues: BTreeMap<Name, Queues>,
    /// The route as text, until this topic or any broker changes.
    encoded: RefCell<route::Encoded>,
}

impl Topic {
    fn changed(&mut self) {
        self.encoded = RefCell::default();
    }
}

/// The brokers of one name: a master and its slaves.
#[derive(Default)]
struct Broker {
    cluster: String,
    addrs: BTreeMap<i64, String>,
    acting_master: bool,
    zone: Option<String>,
    topics: BTreeSet<Name>,
}

/// Which process: RocketMQ 5.5.0 BrokerAddrInfo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    cluster: String,
    addr: String,
}

/// A broker process that has registered and has not gone.
struct Live {
    broker: Name,
    seen_ns: u64,
    /// Gone when not seen for so long.
    patience: Duration,
    version: DataVersion,
    conn: ConnId,
    ha_addr: String,
    filter_servers: Vec<String>,
}

#[derive(Default)]
pub struct RouteTable {
    topics: BTreeMap<Name, Topic>,
    brokers: BTreeMap<Name, Broker>,
    clusters: BTreeMap<String, BTreeSet<Name>>,
    live: BTreeMap<Process, Live>,
    static_topics: BTreeMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
    /// Grows when a broker changes in a way that routes show.
    brokers_changed: u64,
}

impl RouteTable {
    fn set_queues(&mut self, topic: &str, broker: &Name, queues: Queues) {
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => topic.into(),
        };
        let entry = self.topics.entry(name.clone()).or_default();
        if entry.queues.insert(broker.clone(), queues) != Some(queues) {
            entry.changed();
        }
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.topics.insert(name);
        }
    }

    /// The topic goes with its last queues.
    fn remove_queues(&mut self, topic: &str, broker: &str) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.topics.remove(topic);
        }
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.queues.remove(broker);
            entry.changed();
            if entry.queues.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// Changes the permissions of all topics of a broker; tells how many there are.
    fn change_perms(&mut self, broker: &str, change: impl Fn(i32) -> i32) -> usize {
        let Some(entry) = self.brokers.get(broker) else { return 0 };
        for topic in &entry.topics {
            let topic = self.topics.get_mut(topic).expect("a broker's topics exist");
            let queues = topic.queues.get_mut(broker).expect("a broker has queues of its topics");
            queues.perm = change(queues.perm);
            topic.changed();
        }
        entry.topics.len()
    }

    fn brokers_changed(&mut self) {
        self.brokers_changed += 1;
    }

    #[cfg(test)]
    fn check(&self) {
        for (name, broker) in &self.brokers {
            let topics: BTreeSet<Name> = self
                .topics
                .iter()
                .filter(|(_, t)| t.queues.contains_key(name))
                .map(|(n, _)| n.clone())
                .collect();
            assert_eq!(topics, broker.topics, "topics of {name}");
            assert!(!broker.addrs.is_empty(), "{name} has no address");
            assert!(self.clusters[&broker.cluster].contains(name), "{name} is in no cluster");
        }
        for topic in self.topics.values() {
            assert!(!topic.queues.is_empty());
        }
        for names in self.clusters.values() {
            assert!(!names.is_empty() && names.iter().all(|name| self.brokers.contains_key(name)));
        }
        for live in self.live.values() {
            assert!(self.brokers.contains_key(&live.broker), "{} is live and unknown", live.broker);
        }
    }
}

#[cfg(test)]
mod tests;

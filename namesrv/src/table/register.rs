//! A broker says that it is there, and which topics it has (103, 217, 322, 904).

use std::collections::BTreeSet;
use std::time::Duration;

use ringmq_io::limits::{NAMESRV_BROKERS_MAX, NAMESRV_TOPICS_MAX};
use ringmq_transport::ConnId;
use ringmq_wire::json_dialect::{DataVersion, QueueData, TopicConfigTable, perm};
use thiserror::Error;
use tracing::{info, warn};

use super::{Live, MASTER_ID, Name, Process, Queues, RouteTable};

/// A broker that does not say otherwise is gone after so long (RocketMQ 5.5.0 RouteInfoManager).
const BROKER_PATIENCE: Duration = Duration::from_secs(120);

pub struct Registration<'a> {
    pub cluster: &'a str,
    pub addr: &'a str,
    pub name: &'a str,
    pub id: i64,
    pub ha_addr: &'a str,
    pub zone: Option<&'a str>,
    pub patience: Option<Duration>,
    /// `None`: a broker from before there were acting masters.
    pub acting_master: Option<bool>,
    pub topics: &'a TopicConfigTable,
    pub filter_servers: Vec<String>,
    pub conn: ConnId,
    pub now_ns: u64,
}

/// What a slave learns about its master.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Registered {
    pub master_addr: Option<String>,
    pub master_ha_addr: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub enum RegistrationError {
    /// Registering a single topic before the broker itself is an incremental update that came too early.
    #[error("register broker failed")]
    SingleTopicFirst,
    #[error("register broker failed: {NAMESRV_BROKERS_MAX} brokers are registered already")]
    TooManyBrokers,
    #[error("register broker failed: more than {NAMESRV_TOPICS_MAX} topics")]
    TooManyTopics,
}

impl RouteTable {
    /// RocketMQ 5.5.0 RouteInfoManager#registerBroker. `delete_missing`: topics that the broker does not name are
    /// taken from it.
    pub fn register(
        &mut self,
        new: Registration<'_>,
        delete_missing: bool,
    ) -> Result<Registered, RegistrationError> {
        let process = Process { cluster: new.cluster.to_owned(), addr: new.addr.to_owned() };
        let table = new.topics;
        let known_addr = self.brokers.get(new.name).and_then(|broker| broker.addrs.get(&new.id)).cloned();
        if let Some(known_addr) = known_addr.as_deref().filter(|known| *known != new.addr)
            && let Some(known) =
                self.live.get(&Process { cluster: new.cluster.to_owned(), addr: known_addr.to_owned() })
            && known.version.state_version > table.data_version.state_version
        {
            warn!(
                broker = new.name,
                id = new.id,
                known = known_addr,
                refused = new.addr,
                "a newer broker has this id already; the registration is ignored"
            );
            self.live.remove(&process);
            // Answered with success, as the reference does.
            return Ok(Registered::default());
        }
        if known_addr.is_none() && table.topic_config_table.len() == 1 {
            warn!(
                broker = new.name,
                id = new.id,
                addr = new.addr,
                "a single topic of a broker that is not registered"
            );
            return Err(RegistrationError::SingleTopicFirst);
        }
        if !self.live.contains_key(&process) && self.live.len() >= NAMESRV_BROKERS_MAX {
            return Err(RegistrationError::TooManyBrokers);
        }
        if self.topics.len() + table.topic_config_table.len() > NAMESRV_TOPICS_MAX {
            let fresh =
                table.topic_config_table.keys().filter(|topic| !self.topics.contains_key(topic.as_str()));
            if self.topics.len() + fresh.count() > NAMESRV_TOPICS_MAX {
                return Err(RegistrationError::TooManyTopics);
            }
        }

        let name = self.seat(&new);
        let broker = &self.brokers[&name];
        let is_master = new.id == MASTER_ID;
        let is_prime_slave = new.acting_master.is_some()
            && !is_master
            && broker.addrs.first_key_value().is_some_and(|(lowest, _)| *lowest == new.id);
        let read_only = is_prime_slave && broker.acting_master;
        let same_version = self.live.get(&process).is_some_and(|live| live.version == table.data_version);
        let takes_all = known_addr.is_none() || !same_version;
        if is_master || is_prime_slave {
            if delete_missing && table.topic_queue_mapping_info_map.is_empty() {
                self.delete_missing(&name, table);
            }
            for config in table.topic_config_table.values() {
                let stated = Queues {
                    read: config.read_queue_nums,
                    write: config.write_queue_nums,
                    perm: if read_only { config.perm & !perm::WRITE } else { config.perm },
                    stated_perm: config.perm,
                    sys_flag: config.topic_sys_flag,
                };
                if takes_all || !self.is_known(&config.topic_name, &name, stated) {
                    self.set_queues(&config.topic_name, &name, stated);
                }
            }
            if takes_all {
                for (topic, mapping) in &table.topic_queue_mapping_info_map {
                    let by_broker = self.static_topics.entry(topic.clone()).or_default();
                    by_broker.insert(mapping.bname.clone(), mapping.clone());
                    if let Some(topic) = self.topics.get_mut(topic.as_str()) {
                        topic.changed();
                    }
                }
            }
        }

        let live = Live {
            broker: name.clone(),
            seen_ns: new.now_ns,
            patience: new.patience.unwrap_or(BROKER_PATIENCE),
            version: table.data_version,
            conn: new.conn,
            ha_addr: new.ha_addr.to_owned(),
            filter_servers: new.filter_servers,
        };
        let filter_servers = live.filter_servers.clone();
        match self.live.insert(process, live) {
            None => {
                info!(broker = new.name, id = new.id, addr = new.addr, "broker registered");
                self.brokers_changed();
            }
            Some(before) if before.filter_servers != filter_servers => self.brokers_changed(),
            Some(_) => {}
        }
        Ok(self.master_of(new.id, &name, new.cluster))
    }

    /// Whether the broker has said just this of the topic before. An equal version does not prove it: of two topics that an
    /// Apache broker changes at the same time, both registrations may carry the version after the second change, and the
    /// reference then ignores the later one for good.
    fn is_known(&self, topic: &str, broker: &Name, stated: Queues) -> bool {
        let known = self.topics.get(topic).and_then(|topic| topic.queues.get(broker));
        known.is_some_and(|known| Queues { perm: stated.perm, ..*known } == stated)
    }

    /// Puts the broker's address and what routes show of it into place.
    fn seat(&mut self, new: &Registration<'_>) -> Name {
        let name = match self.brokers.get_key_value(new.name) {
            Some((name, _)) => name.clone(),
            None => new.name.into(),
        };
        let broker = self.brokers.entry(name.clone()).or_default();
        let before = (broker.addrs.clone(), broker.acting_master, broker.zone.clone());
        if broker.addrs.is_empty() {
            broker.cluster = new.cluster.to_owned();
        }
        broker.acting_master = new.acting_master.unwrap_or(false);
        broker.zone = new.zone.map(str::to_owned);
        // A slave that became the master has one address under one id, not under two.
        broker.addrs.retain(|id, addr| addr != new.addr || *id == new.id);
        broker.addrs.insert(new.id, new.addr.to_owned());
        let changed = before != (broker.addrs.clone(), broker.acting_master, broker.zone.clone());
        self.clusters.entry(new.cluster.to_owned()).or_default().insert(name.clone());
        if changed {
            self.brokers_changed();
        }
        name
    }

    fn delete_missing(&mut self, broker: &Name, table: &TopicConfigTable) {
        let known: BTreeSet<Name> = self.brokers[broker].topics.clone();
        for topic in known.iter().filter(|topic| !table.topic_config_table.contains_key(&***topic)) {
            info!(%topic, %broker, "topic deleted: its broker does not name it any more");
            self.remove_queues(topic, broker);
        }
    }

    fn master_of(&self, id: i64, name: &str, cluster: &str) -> Registered {
        if id == MASTER_ID {
            return Registered::default();
        }
        let master = self.brokers.get(name).and_then(|broker| broker.addrs.get(&MASTER_ID));
        let Some(addr) = master else { return Registered::default() };
        match self.live.get(&Process { cluster: cluster.to_owned(), addr: addr.clone() }) {
            Some(live) => {
                Registered { master_addr: Some(addr.clone()), master_ha_addr: Some(live.ha_addr.clone()) }
            }
            None => Registered::default(),
        }
    }

    /// 217: queues of one topic; none is taken if one of them is on an unknown broker.
    pub fn register_topic(&mut self, topic: &str, queues: &[QueueData]) -> Result<(), RegistrationError> {
        if let Some(stranger) = queues.iter().find(|q| !self.brokers.contains_key(q.broker_name.as_str())) {
            warn!(topic, broker = stranger.broker_name, "topic of a broker that is not registered");
            return Ok(()); // answered with success, as the reference does
        }
        if !self.topics.contains_key(topic) && self.topics.len() >= NAMESRV_TOPICS_MAX {
            return Err(RegistrationError::TooManyTopics);
        }
        for data in queues {
            let name =
                self.brokers.get_key_value(data.broker_name.as_str()).expect("checked above").0.clone();
            let queues = Queues {
                read: data.read_queue_nums,
                write: data.write_queue_nums,
                perm: data.perm,
                stated_perm: data.perm,
                sys_flag: data.topic_sys_flag,
            };
            self.set_queues(topic, &name, queues);
        }
        Ok(())
    }

    /// The version of the topics that this broker registered last; asking also counts as a sign of life.
    pub fn touch(&mut self, cluster: &str, addr: &str, now_ns: u64) -> Option<DataVersion> {
        let live = self.live.get_mut(&Process { cluster: cluster.to_owned(), addr: addr.to_owned() })?;
        live.seen_ns = now_ns;
        Some(live.version)
    }
}

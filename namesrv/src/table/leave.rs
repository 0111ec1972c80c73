//! Brokers that go (104, lost connections, silence), and topics that are deleted (216).

use std::time::Duration;

use ringmq_transport::ConnId;
use ringmq_wire::json_dialect::perm;
use tracing::{info, warn};

use super::{MASTER_ID, Process, RouteTable};

impl RouteTable {
    /// RocketMQ 5.5.0 RouteInfoManager#unRegisterBroker.
    pub fn unregister(&mut self, cluster: &str, addr: &str, name: &str) {
        let process = Process { cluster: cluster.to_owned(), addr: addr.to_owned() };
        let live = self.live.remove(&process);
        self.brokers_changed();
        self.give_up_seat(name, addr);
        // A request may name another broker than the one that this process registered as.
        if let Some(live) = live.filter(|live| &*live.broker != name) {
            self.give_up_seat(&live.broker, addr);
        }
    }

    fn give_up_seat(&mut self, name: &str, addr: &str) {
        let Some(broker) = self.brokers.get_mut(name) else { return };
        broker.addrs.retain(|_, known| known != addr);
        info!(broker = name, addr, left = broker.addrs.len(), "broker unregistered");
        if broker.addrs.is_empty() {
            for topic in broker.topics.clone() {
                self.remove_queues(&topic, name);
            }
            self.brokers.remove(name);
            self.clusters.retain(|_, names| {
                names.remove(name);
                !names.is_empty()
            });
            self.live.retain(|_, live| &*live.broker != name);
        } else if broker.acting_master && !broker.addrs.contains_key(&MASTER_ID) {
            // The acting master serves reads only.
            self.change_perms(name, |perm| perm & !perm::WRITE);
        }
    }

    /// All brokers that registered over this connection are gone.
    pub fn connection_lost(&mut self, conn: ConnId) -> usize {
        let lost: Vec<_> = self
            .live
            .iter()
            .filter(|(_, l)| l.conn == conn)
            .map(|(p, l)| (p.clone(), l.broker.clone()))
            .collect();
        for (process, broker) in &lost {
            warn!(%broker, addr = process.addr, "broker gone: its connection is closed");
            self.unregister(&process.cluster, &process.addr, broker);
        }
        lost.len()
    }

    /// Removes the brokers that were silent too long; tells their connections, to be closed.
    pub fn expire(&mut self, now_ns: u64) -> Vec<ConnId> {
        let silence = |seen_ns: u64| Duration::from_nanos(now_ns.saturating_sub(seen_ns));
        let silent: Vec<_> = self
            .live
            .iter()
            .filter(|(_, live)| silence(live.seen_ns) > live.patience)
            .map(|(process, live)| (process.clone(), live.broker.clone(), live.conn, silence(live.seen_ns)))
            .collect();
        let mut connections = Vec::new();
        for (process, broker, conn, silence) in silent {
            warn!(%broker, addr = process.addr, ?silence, "broker gone: it is silent");
            self.unregister(&process.cluster, &process.addr, &broker);
            connections.push(conn);
        }
        connections
    }

    /// Without a cluster everywhere, else on the brokers of that cluster.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(entry) = self.topics.get(topic) else { return };
        let of_cluster = |broker: &str| {
            cluster
                .is_none_or(|cluster| self.clusters.get(cluster).is_some_and(|names| names.contains(broker)))
        };
        let brokers: Vec<_> = entry.queues.keys().filter(|broker| of_cluster(broker)).cloned().collect();
        info!(topic, cluster, ?brokers, "topic deleted");
        for broker in brokers {
            self.remove_queues(topic, &broker);
        }
    }

    /// 205: clients stop writing to this broker. Tells the number of its topics.
    pub fn wipe_write_perm(&mut self, broker: &str) -> usize {
        self.change_perms(broker, |perm| perm & !perm::WRITE)
    }

    /// 327: every topic of this broker may be read and written again.
    pub fn add_write_perm(&mut self, broker: &str) -> usize {
        self.change_perms(broker, |_| perm::READ | perm::WRITE)
    }
}

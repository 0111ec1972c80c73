//! The route of a topic (105): built from the table, kept as text until something in it changes.

use std::rc::Rc;

use ringmq_wire::json_dialect::{BrokerData, Dialect, TopicRouteData, perm, write};

use super::{MASTER_ID, Process, RouteTable};

/// Topics by which the members of a broker group find each other: they must see who is really there.
const MEMBER_GROUP_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// A route as text, in each dialect that was asked for so far.
#[derive(Default)]
pub(super) struct Encoded {
    brokers_changed: u64,
    legacy: Option<Rc<[u8]>>,
    standard: Option<Rc<[u8]>>,
}

impl RouteTable {
    /// The route as bytes; `None` if there is no such topic on any broker.
    pub fn route_text(&self, topic: &str, dialect: Dialect, acting_master: bool) -> Option<Rc<[u8]>> {
        let entry = self.topics.get(topic)?;
        let mut encoded = entry.encoded.borrow_mut();
        if encoded.brokers_changed != self.brokers_changed {
            *encoded = Encoded { brokers_changed: self.brokers_changed, ..Encoded::default() };
        }
        let text = match dialect {
            Dialect::Legacy => &mut encoded.legacy,
            Dialect::Standard => &mut encoded.standard,
        };
        if text.is_none() {
            let mut bytes = Vec::with_capacity(512);
            write(&mut bytes, &self.route(topic, acting_master)?, dialect);
            *text = Some(bytes.into());
        }
        text.clone()
    }

    /// RocketMQ 5.5.0 RouteInfoManager#pickupTopicRouteData.
    pub fn route(&self, topic: &str, acting_master: bool) -> Option<TopicRouteData> {
        let entry = self.topics.get(topic)?;
        let mut route = TopicRouteData {
            topic_queue_mapping_by_broker: self.static_topics.get(topic).cloned(),
            ..TopicRouteData::default()
        };
        for (name, queues) in &entry.queues {
            route.queue_datas.push(queues.to_data(name));
            let Some(broker) = self.brokers.get(name) else { continue };
            for addr in broker.addrs.values() {
                let process = Process { cluster: broker.cluster.clone(), addr: addr.clone() };
                if let Some(live) = self.live.get(&process).filter(|live| !live.filter_servers.is_empty()) {
                    route.filter_server_table.insert(addr.clone(), live.filter_servers.clone());
                }
            }
            route.broker_datas.push(broker.to_data(name));
        }
        if route.broker_datas.is_empty() {
            return None;
        }
        if acting_master && !topic.starts_with(MEMBER_GROUP_PREFIX) {
            let TopicRouteData { broker_datas, queue_datas, .. } = &mut route;
            for broker in broker_datas {
                let queues = queue_datas.iter().find(|queues| queues.broker_name == broker.broker_name);
                if queues.is_some_and(|queues| queues.perm & perm::WRITE == 0) {
                    promote_slave(broker);
                }
            }
        }
        Some(route)
    }

    /// A setting that changes routes has changed.
    pub fn forget_texts(&mut self) {
        self.brokers_changed();
    }
}

/// Where the master is gone, the lowest slave is shown in its place.
fn promote_slave(broker: &mut BrokerData) {
    if broker.enable_acting_master
        && !broker.broker_addrs.contains_key(&MASTER_ID)
        && let Some((_, addr)) = broker.broker_addrs.pop_first()
    {
        broker.broker_addrs.insert(MASTER_ID, addr);
    }
}

/// Keeps what a client of this zone shall use: brokers of the zone, and those whose master is down (RocketMQ 5.5.0
/// ZoneRouteRPCHook).
pub fn filter_by_zone(route: &mut TopicRouteData, zone: &str) {
    let stays = |broker: &BrokerData| {
        !broker.broker_addrs.contains_key(&MASTER_ID)
            || broker.zone_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(zone))
    };
    let (kept, removed): (Vec<_>, Vec<_>) =
        std::mem::take(&mut route.broker_datas).into_iter().partition(stays);
    route.broker_datas = kept;
    for broker in removed {
        route.queue_datas.retain(|queues| queues.broker_name != broker.broker_name);
        for addr in broker.broker_addrs.values() {
            route.filter_server_table.remove(addr);
        }
    }
}

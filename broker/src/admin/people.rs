//! Who is connected, counted as RocketMQ counts producers and consumers.
//!
//! Invariant: what is counted together is so by a walk over the online clients that yields (RocketMQ 5.5.0
//! BrokerMetricsManager#initConnectionMetrics has the labels).

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::ADMIN_ROWS_PER_TURN;
use ringmq_wire::json_dialect::ConsumeType;

use crate::control::Control;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producers {
    pub language: &'static str,
    pub version: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumers {
    pub group: Rc<str>,
    pub language: &'static str,
    pub version: i32,
    pub mode: &'static str,
}

#[derive(Debug, Default)]
pub struct People {
    pub producers: BTreeMap<Producers, u64>,
    pub consumers: BTreeMap<Consumers, u64>,
}

pub async fn count<E: Env>(control: &Rc<Control<E>>) -> People {
    let mut people = People::default();
    // The groups' names first: the tables change between two yields.
    let producers: Vec<Rc<str>> =
        control.clients.borrow().producer_groups().map(|(name, _)| name.clone()).collect();
    let consumers: Vec<Rc<str>> =
        control.clients.borrow().consumer_groups().map(|(name, _)| name.clone()).collect();
    for names in producers.chunks(ADMIN_ROWS_PER_TURN) {
        control.core.env.yield_now().await;
        let clients = control.clients.borrow();
        for member in names.iter().filter_map(|name| clients.producer_group(name)).flat_map(|m| m.values()) {
            let kind = Producers { language: member.language.name(), version: member.version };
            *people.producers.entry(kind).or_default() += 1;
        }
    }
    for names in consumers.chunks(ADMIN_ROWS_PER_TURN) {
        control.core.env.yield_now().await;
        let clients = control.clients.borrow();
        for (name, group) in names.iter().filter_map(|name| Some((name, clients.consumer_group(name)?))) {
            let mode = match group.consume_type {
                ConsumeType::Actively => "pull",
                ConsumeType::Passively => "push",
                ConsumeType::Pop => "pop",
            };
            for member in group.members.values() {
                let (language, version) = (member.language.name(), member.version);
                let kind = Consumers { group: name.clone(), language, version, mode };
                *people.consumers.entry(kind).or_default() += 1;
            }
        }
    }
    people
}

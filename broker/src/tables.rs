//! This core's replica of what the control core decides: topics, groups, and what groups consume.
//!
//! Owns: read-only copies, looked up by name once for each message. Invariants: only `TableChange`s from the control
//! core change them, in the order in which it made them; an entry is replaced, never edited, so that whoever holds an
//! `Rc` of it sees one consistent state. Nothing iterates over the maps: their order is random.
//! On failure: there is none; a replica that is a moment behind answers like one a moment ago (handlers of hopped
//! requests take that into account).

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;
use ringmq_io::sync::Event;
use ringmq_io::{Env, limits};
use ringmq_store::{QueueRef, Shard};

use crate::config::Setting;
use crate::control::names;
use crate::filter::Wanted;
use crate::name_map::NameMap;
use crate::placement::Placement;
use crate::traffic::{Pulled, Row, Traffic};

/// Permission bits of a topic and of the broker.
pub const PERM_READ: u32 = 4;
pub const PERM_WRITE: u32 = 2;
pub const PERM_INHERIT: u32 = 1;

/// A topic as the data plane needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    pub name: Box<str>,
    pub read_queues: u32,
    pub write_queues: u32,
    pub perm: u32,
    pub sys_flag: i32,
    pub order: bool,
    /// `topicFilterType` MULTI_TAG: its messages are marked so.
    pub multi_tag: bool,
    /// A message with a unique key that was stored in the last so many milliseconds is not stored again; 0: it is.
    pub once_ms: i64,
}

/// A consumer group as the data plane needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    pub name: Box<str>,
    pub consume_enable: bool,
    pub consume_broadcast_enable: bool,
    pub sys_flag: i32,
    pub retry_max_times: i32,
    /// Of its retry topic; 0: messages that are sent back are dropped.
    pub retry_queues: u32,
    /// Topics that it must not read.
    pub forbidden: Vec<Box<str>>,
    /// Tells the groups apart that have had this name, one after the other. Each core's tables number them by themselves.
    pub life: u64,
}

/// What the online members of a group consume.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerSettings {
    pub group: Box<str>,
    pub broadcasting: bool,
    pub subscriptions: Vec<Subscription>,
}

/// One topic of a group's subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    pub topic: Box<str>,
    pub version: i64,
    pub wanted: Wanted,
}

/// A change that the control core tells every core.
#[derive(Clone, Debug)]
pub enum TableChange {
    Topic(TopicSettings),
    TopicGone(Box<str>),
    Group(GroupSettings),
    GroupGone(Box<str>),
    /// A group's online subscription, whole; without subscriptions the group has nobody online.
    Consumers(ConsumerSettings),
    ConsumersGone(Box<str>),
    /// Settings of the configuration, checked; what is not named stays.
    Config(Vec<Setting>),
}

/// A topic with what this core has found out about it.
#[derive(Debug)]
pub struct Topic {
    pub settings: TopicSettings,
    /// Where queue 0 lives; the others follow.
    pub first_shard: u32,
    /// Only the broker itself writes it.
    pub reserved: bool,
    /// `%RETRY%group`.
    pub retry: bool,
    /// Store references of the local queues, made when the first is asked for.
    queues: OnceCell<Box<[Cell<Option<QueueRef>>]>>,
    /// What is counted of it on this core; goes over to the entry that replaces this one.
    rows: Rc<Rows>,
}

/// The rows of traffic of one topic, made when the first message is counted.
#[derive(Debug, Default)]
struct Rows {
    incoming: OnceCell<Rc<Row>>,
    /// By group; a topic has few.
    outgoing: RefCell<HashMap<Box<str>, Rc<Row>>>,
}

impl Topic {
    fn new(settings: TopicSettings, placement: &Placement) -> Self {
        debug_assert!(settings.read_queues.max(settings.write_queues) <= limits::QUEUES_PER_TOPIC_MAX);
        Self {
            first_shard: placement.first_shard(&settings.name),
            reserved: names::is_reserved_for_broker(&settings.name),
            retry: settings.name.starts_with(names::RETRY_PREFIX),
            queues: OnceCell::new(),
            rows: Rc::default(),
            settings,
        }
    }

    /// Where messages that come in are counted.
    pub fn incoming(&self, traffic: &Traffic) -> &Row {
        self.rows.incoming.get_or_init(|| traffic.row(&self.settings.name, None))
    }

    /// Where messages are counted that go out to a group.
    pub fn outgoing(&self, traffic: &Traffic, group: &str) -> Rc<Row> {
        let mut rows = self.rows.outgoing.borrow_mut();
        match rows.get(group) {
            Some(row) => row.clone(),
            None => {
                let row = traffic.row(&self.settings.name, Some(group));
                rows.insert(group.into(), row.clone());
                row
            }
        }
    }

    fn forget_rows(&self, traffic: &Traffic) {
        self.rows.incoming.get().into_iter().for_each(|row| traffic.forget(row));
        self.rows.outgoing.borrow().values().for_each(|row| traffic.forget(row));
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Queue ids are below this: RocketMQ checks against the larger of both counts when it stores.
    pub fn queues_max(&self) -> u32 {
        self.settings.read_queues.max(self.settings.write_queues)
    }

    pub fn readable(&self) -> bool {
        self.settings.perm & PERM_READ != 0
    }

    /// The store's reference of a queue that lives in `shard`.
    pub fn queue<E: Env>(&self, shard: &Shard<E>, queue_id: u32) -> QueueRef {
        let queues = self.queues.get_or_init(|| (0..self.queues_max()).map(|_| Cell::new(None)).collect());
        match queues.get(queue_id as usize) {
            Some(known) => known.get().unwrap_or_else(|| {
                let queue = shard.queue(&self.settings.name, queue_id);
                known.set(Some(queue));
                queue
            }),
            None => shard.queue(&self.settings.name, queue_id),
        }
    }
}

/// What the online members of one group consume, for look-up by topic.
#[derive(Debug)]
pub struct Consumers {
    pub broadcasting: bool,
    subscriptions: HashMap<Box<str>, Rc<Subscription>>,
}

impl Consumers {
    pub fn subscription(&self, topic: &str) -> Option<&Rc<Subscription>> {
        self.subscriptions.get(topic)
    }
}

/// The replica.
pub struct Tables {
    placement: Placement,
    topics: RefCell<NameMap<Rc<Topic>>>,
    groups: RefCell<NameMap<Rc<GroupSettings>>>,
    consumers: RefCell<NameMap<Rc<Consumers>>>,
    /// Groups that there have been.
    lives: Cell<u64>,
    broker_permission: Cell<u32>,
    changed: Event,
    /// What is counted by topic and group.
    pub traffic: Traffic,
}

impl Tables {
    pub fn new(placement: Placement, broker_permission: u32) -> Self {
        Self {
            placement,
            topics: RefCell::default(),
            groups: RefCell::default(),
            consumers: RefCell::default(),
            lives: Cell::new(0),
            broker_permission: Cell::new(broker_permission),
            changed: Event::new(),
            traffic: Traffic::default(),
        }
    }

    pub fn topic(&self, name: &str) -> Option<Rc<Topic>> {
        self.topics.borrow().get(name).cloned()
    }

    pub fn group(&self, name: &str) -> Option<Rc<GroupSettings>> {
        self.groups.borrow().get(name).cloned()
    }

    pub fn consumers(&self, group: &str) -> Option<Rc<Consumers>> {
        self.consumers.borrow().get(group).cloned()
    }

    pub fn broker_readable(&self) -> bool {
        self.broker_permission.get() & PERM_READ != 0
    }

    pub fn broker_writable(&self) -> bool {
        self.broker_permission.get() & PERM_WRITE != 0
    }

    /// Notified after each change.
    pub fn changed(&self) -> &Event {
        &self.changed
    }

    /// Only for what the control core says.
    pub fn apply(&self, change: TableChange) {
        match change {
            TableChange::Topic(settings) => {
                let mut topic = Topic::new(settings, &self.placement);
                let mut topics = self.topics.borrow_mut();
                if let Some(before) = topics.get(&topic.settings.name) {
                    topic.rows = before.rows.clone();
                }
                topics.insert(topic.settings.name.clone(), Rc::new(topic));
            }
            TableChange::TopicGone(name) => {
                if let Some(topic) = self.topics.borrow_mut().remove(&name) {
                    topic.forget_rows(&self.traffic);
                }
            }
            TableChange::Group(mut settings) => {
                let before = self.group(&settings.name);
                settings.life = before.map_or_else(|| self.next_life(), |before| before.life);
                self.groups.borrow_mut().insert(settings.name.clone(), Rc::new(settings));
            }
            TableChange::GroupGone(name) => {
                self.groups.borrow_mut().remove(&name);
            }
            TableChange::Consumers(settings) => {
                let subscriptions =
                    settings.subscriptions.into_iter().map(|s| (s.topic.clone(), Rc::new(s))).collect();
                let consumers = Consumers { broadcasting: settings.broadcasting, subscriptions };
                self.consumers.borrow_mut().insert(settings.group, Rc::new(consumers));
            }
            TableChange::ConsumersGone(group) => {
                self.consumers.borrow_mut().remove(&group);
            }
            TableChange::Config(_) => debug_assert!(false, "the configuration is the core's"),
        }
        self.changed.notify();
    }

    fn next_life(&self) -> u64 {
        let life = self.lives.get() + 1;
        self.lives.set(life);
        life
    }

    /// How far a group was given a queue of this core, if it ever was.
    pub fn pulled(&self, group: &str, topic: &str, queue_id: u32) -> Option<u64> {
        let life = self.group(group)?.life;
        let topic = self.topic(topic)?;
        let rows = topic.rows.outgoing.borrow();
        rows.get(group)?.pulled(life, queue_id)
    }

    /// What a group was given of a queue says nothing any more: it starts somewhere else.
    pub fn forget_pulled(&self, group: &str, topic: &str, queue_id: u32) {
        let Some(topic) = self.topic(topic) else { return };
        if let Some(row) = topic.rows.outgoing.borrow().get(group) {
            self.traffic.forget_pulled(row, queue_id);
        }
    }

    /// How far groups were given queues of this core: the next rows from `cursor` on, and where to go on, if there are more.
    pub fn some_pulled(&self, cursor: usize) -> (Vec<Pulled>, Option<usize>) {
        self.traffic.some_pulled(cursor, |group| self.group(group).map(|group| group.life))
    }

    /// `brokerPermission`.
    pub fn set_broker_permission(&self, perm: u32) {
        self.broker_permission.set(perm);
        self.changed.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(read_queues: u32, write_queues: u32) -> TopicSettings {
        TopicSettings {
            name: "orders".into(),
            read_queues,
            write_queues,
            perm: PERM_READ | PERM_WRITE,
            sys_flag: 0,
            order: false,
            multi_tag: false,
            once_ms: 0,
        }
    }

    #[test]
    fn changes_replace_entries() {
        let tables = Tables::new(Placement::new(4, 2), 6);
        let mut settings = orders(4, 8);
        tables.apply(TableChange::Topic(settings.clone()));
        let before = tables.topic("orders").unwrap();
        assert_eq!(before.queues_max(), 8);
        settings.perm = PERM_WRITE;
        tables.apply(TableChange::Topic(settings));
        assert!(before.readable() && !tables.topic("orders").unwrap().readable());
        tables.apply(TableChange::TopicGone("orders".into()));
        assert!(tables.topic("orders").is_none());

        assert!(tables.broker_writable());
        tables.set_broker_permission(PERM_READ);
        assert!(!tables.broker_writable() && tables.broker_readable());
    }

    #[test]
    fn a_group_that_is_made_again_has_pulled_nothing() {
        let tables = Tables::new(Placement::new(1, 1), 6);
        tables.apply(TableChange::Topic(orders(1, 1)));
        let group = |retries| {
            TableChange::Group(GroupSettings {
                name: "g".into(),
                consume_enable: true,
                consume_broadcast_enable: true,
                sys_flag: 0,
                retry_max_times: retries,
                retry_queues: 1,
                forbidden: Vec::new(),
                life: 0,
            })
        };
        let pulled = || tables.pulled("g", "orders", 0);
        let pull = |end| {
            let row = tables.topic("orders").unwrap().outgoing(&tables.traffic, "g");
            tables.traffic.note_pull(&row, tables.group("g").unwrap().life, 0, end);
        };
        tables.apply(group(16));
        pull(5);
        tables.apply(group(3));
        assert_eq!(pulled(), Some(5), "only changed");
        assert_eq!(tables.some_pulled(0).0.len(), 1);
        tables.apply(TableChange::GroupGone("g".into()));
        assert_eq!((pulled(), tables.some_pulled(0).0), (None, vec![]));
        tables.apply(group(3));
        assert_eq!((pulled(), tables.some_pulled(0).0), (None, vec![]));
        pull(7);
        assert_eq!(pulled(), Some(7));
        tables.forget_pulled("g", "orders", 0);
        assert_eq!(pulled(), None);
    }

    #[test]
    fn what_is_counted_of_a_topic_outlives_a_change_of_it_but_not_the_topic() {
        let tables = Tables::new(Placement::new(1, 1), 6);
        let mut settings = orders(1, 1);
        let count = |settings: &TopicSettings| {
            tables.apply(TableChange::Topic(settings.clone()));
            let topic = tables.topic("orders").unwrap();
            topic.incoming(&tables.traffic).count(1, 10);
            topic.outgoing(&tables.traffic, "g").count(2, 20);
            let (rows, _) = tables.traffic.some(0);
            let mut counted: Vec<_> =
                rows.iter().map(|row| (row.group.is_some(), row.messages, row.bytes)).collect();
            counted.sort_unstable();
            counted
        };
        assert_eq!(count(&settings), [(false, 1, 10), (true, 2, 20)]);
        settings.write_queues = 2;
        assert_eq!(count(&settings), [(false, 2, 20), (true, 4, 40)]);
        tables.apply(TableChange::TopicGone("orders".into()));
        assert_eq!(tables.traffic.some(0).0, []);
        assert_eq!(count(&settings), [(false, 1, 10), (true, 2, 20)]);
    }
}

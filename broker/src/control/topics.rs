//! The topics of this broker: what each is, and the rules that create, change and remove them.
//!
//! Owns: the table that all cores hold replicas of. Pure state: the caller journals a change, tells the other cores and
//! the name servers. Invariants: every name passed `names::check_topic`; queue counts are within
//! `QUEUES_PER_TOPIC_MAX`; `version` moves with every change.
//! On failure: a typed error that names the topic and the limit.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use thiserror::Error;

use ringmq_io::limits::{QUEUES_PER_TOPIC_MAX, TOPICS_MAX};
pub use ringmq_wire::json_dialect::{TopicConfig, TopicFilterType, perm};

use super::names;
use super::version::{self, DataVersion};

/// RocketMQ 5.5.0 PermName: read, write, inherit, and 8 for priority.
pub const PERM_MAX: i32 = perm::READ | perm::WRITE | perm::INHERIT | perm::PRIORITY;

/// A readable and writable topic.
pub fn plain(name: impl Into<String>, queues: u32) -> TopicConfig {
    with_perm(name, queues, perm::READ | perm::WRITE)
}

pub fn with_perm(name: impl Into<String>, queues: u32, perm: i32) -> TopicConfig {
    assert!(queues <= QUEUES_PER_TOPIC_MAX);
    let queues = queues as i32;
    TopicConfig {
        topic_name: name.into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}

/// Read and write queues of a topic that passed `Topics::check`.
pub fn queues(topic: &TopicConfig) -> (u32, u32) {
    let count = |queues| u32::try_from(queues).expect("checked when the topic was put");
    (count(topic.read_queue_nums), count(topic.write_queue_nums))
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    #[error(transparent)]
    Name(#[from] names::NameError),
    #[error("topic {name}: {what} {count} is outside of 0..={QUEUES_PER_TOPIC_MAX}")]
    Queues { name: String, what: &'static str, count: i32 },
    #[error("topic {name}: perm {perm} is outside of 0..={PERM_MAX}")]
    Perm { name: String, perm: i32 },
    #[error("topic {name} cannot be created: this broker has {TOPICS_MAX} topics already")]
    TooMany { name: String },
    #[error("[RINGMQ_BUSY] topic {name} is being deleted; try again when its queues are gone")]
    BeingDeleted { name: String },
    /// RocketMQ's answer to a sender is code 17 with this text in front.
    #[error("topic[{name}] not exist, apply first please! ({reason})")]
    NotCreatable { name: String, reason: String },
}

#[derive(Debug, Default)]
pub struct Topics {
    by_name: BTreeMap<Rc<str>, Rc<TopicConfig>>,
    version: DataVersion,
}

impl Topics {
    pub fn version(&self) -> DataVersion {
        self.version
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Rc<TopicConfig>> {
        self.by_name.get(name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<TopicConfig>> {
        self.by_name.values()
    }

    /// Topics whose names follow `name`, in order: a cursor that stays good while the table changes.
    pub fn after(&self, name: Option<&str>) -> impl Iterator<Item = &Rc<TopicConfig>> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_name.range::<str, _>((from, Bound::Unbounded)).map(|(_, topic)| topic)
    }

    /// A page of the sorted table, as administration reads it. A page other than the first is only given to a caller
    /// that has seen this version; to others the table starts anew (RocketMQ 5.5.0 TopicConfigManager#subTopicConfigTable).
    pub fn page(&self, from: usize, count: usize, seen: Option<DataVersion>) -> Vec<&Rc<TopicConfig>> {
        let from = if from > 0 && seen != Some(self.version) { 0 } else { from };
        self.by_name.values().skip(from).take(count).collect()
    }

    /// Is there room for this topic, and is it well formed?
    pub fn check(&self, topic: &TopicConfig) -> Result<(), TopicError> {
        names::check_topic(&topic.topic_name)?;
        for (what, count) in
            [("readQueueNums", topic.read_queue_nums), ("writeQueueNums", topic.write_queue_nums)]
        {
            if !(0..=QUEUES_PER_TOPIC_MAX as i32).contains(&count) {
                return Err(TopicError::Queues { name: topic.topic_name.clone(), what, count });
            }
        }
        if !(0..=PERM_MAX).contains(&topic.perm) {
            return Err(TopicError::Perm { name: topic.topic_name.clone(), perm: topic.perm });
        }
        if self.by_name.len() >= TOPICS_MAX && !self.contains(&topic.topic_name) {
            return Err(TopicError::TooMany { name: topic.topic_name.clone() });
        }
        Ok(())
    }

    /// Takes a checked topic; the new version goes into the journal with it.
    pub fn put(&mut self, topic: Rc<TopicConfig>, now_ms: i64) -> DataVersion {
        self.version = version::next(self.version, now_ms);
        self.by_name.insert(Rc::from(topic.topic_name.as_str()), topic);
        self.version
    }

    pub fn remove(&mut self, name: &str, now_ms: i64) -> Option<DataVersion> {
        self.by_name.remove(name)?;
        self.version = version::next(self.version, now_ms);
        Some(self.version)
    }

    /// Puts what the journal says.
    pub fn restore(&mut self, topic: TopicConfig, version: DataVersion) {
        self.version = version;
        self.by_name.insert(Rc::from(topic.topic_name.as_str()), Rc::new(topic));
    }

    pub fn restore_removal(&mut self, name: &str, version: DataVersion) {
        self.version = version;
        self.by_name.remove(name);
    }

    pub fn restore_version(&mut self, version: DataVersion) {
        self.version = version;
    }

    /// The topic that a send to an unknown name makes after the model of `template`
    /// (RocketMQ 5.5.0 TopicConfigManager#createTopicInSendMessageMethod).
    pub fn from_template(
        &self,
        name: &str,
        template: &str,
        client_queues: i32,
        sys_flag: i32,
        auto_create: bool,
    ) -> Result<TopicConfig, TopicError> {
        let refused = |reason: String| TopicError::NotCreatable { name: name.to_string(), reason };
        let model =
            self.get(template).ok_or_else(|| refused(format!("default topic {template} does not exist")))?;
        let off = template == names::AUTO_CREATE_TOPIC && !auto_create;
        if off || model.perm & perm::INHERIT == 0 {
            return Err(refused(format!("default topic {template} has no inherit permission")));
        }
        let queues = client_queues.clamp(0, model.write_queue_nums);
        Ok(TopicConfig {
            topic_name: name.to_string(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: model.perm & !perm::INHERIT,
            topic_filter_type: model.topic_filter_type,
            topic_sys_flag: sys_flag,
            ..TopicConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Topics {
        let mut topics = Topics::default();
        topics.put(Rc::new(with_perm(names::AUTO_CREATE_TOPIC, 8, 7)), 1);
        topics.put(Rc::new(plain("closed", 8)), 2);
        topics
    }

    #[test]
    fn a_topic_is_made_after_its_template() {
        let topics = table();
        let topic = topics.from_template("t", "TBW102", 4, 1, true).unwrap();
        assert_eq!(topic, TopicConfig { topic_sys_flag: 1, ..plain("t", 4) });
        assert_eq!(topics.from_template("t", "TBW102", 100, 0, true).unwrap().write_queue_nums, 8);
        assert_eq!(topics.from_template("t", "TBW102", -1, 0, true).unwrap().read_queue_nums, 0);
        for (template, auto) in [("TBW102", false), ("closed", true), ("absent", true)] {
            let error = topics.from_template("t", template, 4, 0, auto).unwrap_err();
            assert!(error.to_string().starts_with("topic[t] not exist, apply first please!"), "{error}");
        }
    }

    #[test]
    fn every_change_moves_the_version() {
        let mut topics = table();
        let first = topics.version();
        let second = topics.put(Rc::new(plain("a", 1)), 2);
        assert_eq!(second.counter, first.counter + 1);
        assert_eq!(topics.remove("a", 2).unwrap().counter, second.counter + 1);
        assert_eq!(topics.remove("a", 3), None);
    }

    #[test]
    fn pages_are_sorted_and_start_anew_for_a_stale_reader() {
        let mut topics = table();
        topics.put(Rc::new(plain("zeta", 1)), 3);
        let names =
            |page: Vec<&Rc<TopicConfig>>| page.iter().map(|t| t.topic_name.clone()).collect::<Vec<_>>();
        let seen = Some(topics.version());
        assert_eq!(names(topics.page(0, 2, None)), ["TBW102", "closed"]);
        assert_eq!(names(topics.page(2, 2, seen)), ["zeta"]);
        assert_eq!(names(topics.page(2, 2, None)), ["TBW102", "closed"]);
        assert!(topics.page(9, 2, seen).is_empty());
    }

    #[test]
    fn a_malformed_topic_is_refused_with_its_limit() {
        let topics = table();
        assert!(topics.check(&plain("ok", QUEUES_PER_TOPIC_MAX)).is_ok());
        let error = topics.check(&TopicConfig { read_queue_nums: 65_537, ..plain("big", 1) }).unwrap_err();
        assert!(error.to_string().contains("65536"), "{error}");
        assert!(topics.check(&with_perm("p", 1, 16)).is_err());
        assert!(topics.check(&TopicConfig { write_queue_nums: -1, ..plain("n", 1) }).is_err());
        assert!(topics.check(&plain("a b", 1)).is_err());
    }
}

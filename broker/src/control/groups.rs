//! The consumer groups of this broker and their settings.
//!
//! Owns: the table that all cores hold replicas of; the rule of automatic creation. Pure state: the caller journals a
//! change and tells the other cores. Invariants: every name passed `names::check_group`; `version` moves with every
//! change. On failure: a typed error whose text is the remark.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use thiserror::Error;

use ringmq_io::limits::{GROUPS_MAX, META_ENTRY_BYTES_MAX, QUEUES_PER_TOPIC_MAX};
use ringmq_wire::json_dialect;
pub use ringmq_wire::json_dialect::SubscriptionGroupConfig as GroupConfig;

use super::names;
use super::version::{self, DataVersion};

/// Groups that RocketMQ's own tools use, there from boot (RocketMQ 5.5.0 SubscriptionGroupManager#init).
pub const SYSTEM_GROUPS: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Settings as JSON: their retry policy and static subscriptions may be of any length.
const GROUP_BYTES_MAX: usize = META_ENTRY_BYTES_MAX / 2;

pub fn named(name: impl Into<String>) -> GroupConfig {
    GroupConfig { group_name: name.into(), ..GroupConfig::default() }
}

/// Queues of the group's retry topic.
pub fn retry_queues(group: &GroupConfig) -> u32 {
    u32::try_from(group.retry_queue_nums).unwrap_or(0).min(QUEUES_PER_TOPIC_MAX)
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    #[error(transparent)]
    Name(#[from] names::NameError),
    #[error("group {0} cannot be created: this broker has {GROUPS_MAX} groups already")]
    TooMany(String),
    #[error("group {group}: settings of {bytes} bytes are over the {GROUP_BYTES_MAX} that the journal takes")]
    TooLarge { group: String, bytes: usize },
    #[error("group {group}: retryQueueNums {count} is over {QUEUES_PER_TOPIC_MAX}")]
    RetryQueues { group: String, count: i32 },
}

#[derive(Debug, Default)]
pub struct Groups {
    by_name: BTreeMap<Rc<str>, Rc<GroupConfig>>,
    version: DataVersion,
}

impl Groups {
    pub fn version(&self) -> DataVersion {
        self.version
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Rc<GroupConfig>> {
        self.by_name.get(name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<GroupConfig>> {
        self.by_name.values()
    }

    /// Groups whose names follow `name`, in order: a cursor that stays good while the table changes.
    pub fn after(&self, name: Option<&str>) -> impl Iterator<Item = &Rc<GroupConfig>> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_name.range::<str, _>((from, Bound::Unbounded)).map(|(_, group)| group)
    }

    /// As `Topics::page`.
    pub fn page(&self, from: usize, count: usize, seen: Option<DataVersion>) -> Vec<&Rc<GroupConfig>> {
        let from = if from > 0 && seen != Some(self.version) { 0 } else { from };
        self.by_name.values().skip(from).take(count).collect()
    }

    pub fn check(&self, group: &GroupConfig) -> Result<(), GroupError> {
        names::check_group(&group.group_name)?;
        if group.retry_queue_nums > QUEUES_PER_TOPIC_MAX as i32 {
            let (group, count) = (group.group_name.clone(), group.retry_queue_nums);
            return Err(GroupError::RetryQueues { group, count });
        }
        let bytes = json_dialect::to_vec(group).len();
        if bytes > GROUP_BYTES_MAX {
            return Err(GroupError::TooLarge { group: group.group_name.clone(), bytes });
        }
        if self.by_name.len() >= GROUPS_MAX && !self.contains(&group.group_name) {
            return Err(GroupError::TooMany(group.group_name.clone()));
        }
        Ok(())
    }

    /// Takes a checked group; the new version goes into the journal with it.
    pub fn put(&mut self, group: Rc<GroupConfig>, now_ms: i64) -> DataVersion {
        self.version = version::next(self.version, now_ms);
        self.by_name.insert(Rc::from(group.group_name.as_str()), group);
        self.version
    }

    pub fn remove(&mut self, name: &str, now_ms: i64) -> Option<DataVersion> {
        self.by_name.remove(name)?;
        self.version = version::next(self.version, now_ms);
        Some(self.version)
    }

    pub fn restore(&mut self, group: GroupConfig, version: DataVersion) {
        self.version = version;
        self.by_name.insert(Rc::from(group.group_name.as_str()), Rc::new(group));
    }

    pub fn restore_removal(&mut self, name: &str, version: DataVersion) {
        self.version = version;
        self.by_name.remove(name);
    }

    pub fn restore_version(&mut self, version: DataVersion) {
        self.version = version;
    }
}

/// May this group come into being by its first use (RocketMQ 5.5.0 SubscriptionGroupManager#findSubscriptionGroupConfig)?
pub fn may_be_auto_created(name: &str, auto_create: bool, system_groups: bool) -> bool {
    (auto_create || (system_groups && name.starts_with(SYSTEM_GROUP_PREFIX)))
        && names::check_group(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_creation_has_its_switches() {
        assert!(may_be_auto_created("g", true, false));
        assert!(!may_be_auto_created("g", false, true));
        assert!(may_be_auto_created("CID_RMQ_SYS_X", false, true));
        assert!(!may_be_auto_created("CID_RMQ_SYS_X", false, false));
        assert!(!may_be_auto_created("g.g", true, true));
    }

    #[test]
    fn limits_are_named() {
        let groups = Groups::default();
        let many = GroupConfig { retry_queue_nums: 70_000, ..named("g") };
        assert!(groups.check(&many).unwrap_err().to_string().contains("65536"));
        assert_eq!(retry_queues(&GroupConfig { retry_queue_nums: -1, ..named("g") }), 0);
    }
}

//! Changes of topics and groups: state, journal, replicas and name servers in step.
//!
//! Invariants: a change is in the state at once, in the journal with the number that orders it, and with everybody else
//! when the journal has it (`announce`). A caller that owes an answer waits with `settled`.
//! On failure: a refusal in the client's terms; nothing was changed.

use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env, deadline};
use ringmq_wire::code::response_code;

use super::groups::{self, GroupConfig, GroupError};
use super::topics::{self, TopicConfig, TopicError, perm};
use super::{Control, convert, journal, names};
use crate::control_plane::WantedTopic;
use crate::reply::{Refusal, Responder};
use crate::tables::TableChange;

/// Topics or groups that are changed, or published, before other tasks run: some 100 us.
pub const CHANGES_PER_TURN: usize = 32;

/// How long an answer waits for name servers that are up: a client's request times out after 3 s.
const REGISTRATION_WAIT: Duration = Duration::from_millis(1000);

/// RocketMQ 5.5.0 TopicSysFlag.
const SYS_FLAG_UNIT: i32 = 1;
const SYS_FLAG_UNIT_SUB: i32 = 2;

impl<E: Env> Control<E> {
    pub fn put_topic(&self, topic: TopicConfig) -> Result<(), TopicError> {
        if self.leaving.contains(&topic.topic_name) {
            return Err(TopicError::BeingDeleted { name: topic.topic_name });
        }
        let topic = Rc::new(topic);
        let version = {
            let mut state = self.state.borrow_mut();
            state.topics.check(&topic)?;
            state.topics.put(topic.clone(), self.core.env.now_ms())
        };
        tracing::info!(
            topic = topic.topic_name,
            queues = topic.write_queue_nums,
            perm = topic.perm,
            "topic put"
        );
        let entry = self.append(&journal::entry(|out| journal::topic(out, &topic, version)));
        self.announce(entry, TableChange::Topic(convert::topic(&topic)));
        Ok(())
    }

    /// Removes the topic with its offsets; `false` if there was none. Its messages go with `Core::drop_queues`.
    pub fn remove_topic(&self, name: &str) -> bool {
        let version = {
            let mut state = self.state.borrow_mut();
            let Some(version) = state.topics.remove(name, self.core.env.now_ms()) else { return false };
            state.offsets.remove_topic(name);
            version
        };
        tracing::info!(topic = name, "topic deleted");
        let entry = self.append(&journal::entry(|out| journal::topic_gone(out, name, version)));
        self.announce(entry, TableChange::TopicGone(name.into()));
        true
    }

    pub fn put_group(&self, group: GroupConfig) -> Result<(), GroupError> {
        let group = Rc::new(group);
        let version = {
            let mut state = self.state.borrow_mut();
            state.groups.check(&group)?;
            state.groups.put(group.clone(), self.core.env.now_ms())
        };
        tracing::info!(group = group.group_name, "consumer group put");
        let entry = self.append(&journal::entry(|out| journal::group(out, &group, version)));
        self.announce(entry, TableChange::Group(convert::group(&group)));
        Ok(())
    }

    /// Removes the group's settings, and its offsets if they shall go too; `false` if there was nothing to remove.
    pub fn remove_group(&self, name: &str, with_offsets: bool) -> bool {
        let version = {
            let mut state = self.state.borrow_mut();
            let now = self.core.env.now_ms();
            let had_offsets = with_offsets && state.offsets.remove_group(name);
            match state.groups.remove(name, now) {
                Some(version) => version,
                // Offsets of a group that is no more, say since it was deleted without them.
                None if had_offsets => state.groups.version(),
                None => return false,
            }
        };
        tracing::info!(group = name, with_offsets, "consumer group deleted");
        let entry = self.append(&journal::entry(|out| journal::group_gone(out, name, with_offsets, version)));
        self.announce(entry, TableChange::GroupGone(name.into()));
        true
    }

    /// The group, made with default settings if it may make itself by its first use. Refused if the journal takes none.
    pub fn group_or_auto_created(&self, name: &str) -> Result<Option<Rc<GroupConfig>>, Refusal> {
        if let Some(group) = self.state.borrow().groups.get(name) {
            return Ok(Some(group.clone()));
        }
        let config = &self.core.config;
        if !groups::may_be_auto_created(
            name,
            config.auto_create_subscription_group,
            config.enable_create_sys_group,
        ) {
            return Ok(None);
        }
        self.may_change()?;
        if let Err(error) = self.put_group(groups::named(name)) {
            tracing::warn!(group = name, %error, "group not created");
            return Ok(None);
        }
        Ok(self.state.borrow().groups.get(name).cloned())
    }

    /// The group's retry topic must be there, with this order flag: clients subscribe to it, and tools find a group's
    /// brokers by its route (RocketMQ 5.5.0 TopicConfigManager#createTopicInSendMessageBackMethod).
    pub fn ensure_retry_topic(
        &self,
        group: &GroupConfig,
        order: bool,
        unit_mode: bool,
    ) -> Result<(), Refusal> {
        let name = names::retry_topic(&group.group_name);
        let known = self.state.borrow().topics.get(&name).cloned();
        let topic = match known {
            Some(topic) if topic.order == order => return Ok(()),
            Some(topic) => TopicConfig { order, ..(*topic).clone() },
            None => TopicConfig {
                order,
                topic_sys_flag: if unit_mode { SYS_FLAG_UNIT_SUB } else { 0 },
                ..topics::plain(name, groups::retry_queues(group))
            },
        };
        self.may_change()?;
        self.put_topic(topic).map_err(|error| topic_refusal(&error))
    }

    /// A retry or dead letter topic that a message needs
    /// (RocketMQ 5.5.0 TopicConfigManager#createTopicInSendMessageBackMethod).
    pub(super) fn make_group_topic(&self, name: &str, queues: u32, unit_mode: bool) -> Result<(), Refusal> {
        if self.state.borrow().topics.contains(name) {
            return Ok(());
        }
        let topic_sys_flag = if unit_mode { SYS_FLAG_UNIT_SUB } else { 0 };
        let topic = TopicConfig { topic_sys_flag, ..topics::plain(name, queues) };
        self.put_topic(topic).map_err(|error| topic_refusal(&error))
    }

    /// A send to a topic that does not exist (RocketMQ 5.5.0 AbstractSendMessageProcessor#msgCheck).
    pub(super) fn make_wanted_topic(&self, wanted: &WantedTopic) -> Result<(), Refusal> {
        if self.state.borrow().topics.contains(&wanted.topic) {
            return Ok(());
        }
        let is_retry = wanted.topic.starts_with(names::RETRY_PREFIX);
        let sys_flag = match (wanted.unit_mode, is_retry) {
            (false, _) => 0,
            (true, true) => SYS_FLAG_UNIT_SUB,
            (true, false) => SYS_FLAG_UNIT,
        };
        let auto_create = self.core.config.auto_create_topic_enable;
        let by_template = self.state.borrow().topics.from_template(
            &wanted.topic,
            &wanted.template,
            wanted.queues,
            sys_flag,
            auto_create,
        );
        let topic = match by_template {
            Err(_) if is_retry => Ok(TopicConfig {
                topic_sys_flag: sys_flag,
                ..topics::with_perm(&*wanted.topic, 1, perm::READ | perm::WRITE)
            }),
            by_template => by_template,
        };
        topic.and_then(|topic| self.put_topic(topic)).map_err(|error| {
            tracing::info!(topic = &*wanted.topic, producer = %wanted.producer, %error, "topic not created");
            topic_refusal(&error)
        })
    }

    /// Everything changed so far is durable, published, and known to the name servers that are up.
    pub async fn settled(&self) -> Result<(), Refusal> {
        self.all_announced().await?;
        let registered = self.registration.all_registered();
        if deadline(&self.core.env, REGISTRATION_WAIT, registered).await.is_err() {
            tracing::warn!("name servers are slow: answered before the change was registered everywhere");
        }
        Ok(())
    }
}

impl<E: Env> Control<E> {
    pub fn answer_when_settled(self: &Rc<Self>, responder: Responder<E>) {
        let control = self.clone();
        self.core.env.spawn(Class::Foreground, async move {
            match control.settled().await {
                Ok(()) => responder.ok(),
                Err(refusal) => responder.refuse_with(&refusal),
            }
        });
    }
}

pub fn topic_refusal(error: &TopicError) -> Refusal {
    let code = match error {
        TopicError::NotCreatable { .. } => response_code::TOPIC_NOT_EXIST,
        TopicError::TooMany { .. } => response_code::SYSTEM_ERROR,
        TopicError::BeingDeleted { .. } => response_code::SYSTEM_BUSY,
        TopicError::Name(_) | TopicError::Queues { .. } | TopicError::Perm { .. } => {
            response_code::INVALID_PARAMETER
        }
    };
    Refusal::new(code, error.to_string())
}

pub fn group_refusal(error: &GroupError) -> Refusal {
    let code = match error {
        GroupError::TooMany(_) => response_code::SYSTEM_ERROR,
        GroupError::Name(_) | GroupError::RetryQueues { .. } | GroupError::TooLarge { .. } => {
            response_code::INVALID_PARAMETER
        }
    };
    Refusal::new(code, error.to_string())
}

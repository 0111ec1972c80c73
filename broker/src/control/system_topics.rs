//! The topics that exist on every broker, made at each start (RocketMQ 5.5.0 TopicConfigManager#init).
//!
//! Invariant: what an administrator cannot change is put back as it must be at each start; a topic that follows
//! from configuration (queues of TBW102, permission of the cluster's topic) follows it again.

use super::names;
use super::topics::{TopicConfig, perm, plain, with_perm};
use crate::config::BrokerConfig;

/// One queue for each of the 18 delay levels.
pub const DELAY_LEVELS: u32 = 18;

/// What makes a topic "system" besides the fixed names: the broker's own names.
#[derive(Clone, Debug)]
pub struct SystemTopics {
    topics: Vec<TopicConfig>,
}

impl SystemTopics {
    /// The topics of messages that wait have a queue for each of the store's shards.
    pub fn of(config: &BrokerConfig, shards: u16) -> Self {
        const ALL: i32 = perm::READ | perm::WRITE | perm::INHERIT;
        let own =
            |name: &str, queues, open: bool| with_perm(name, queues, if open { ALL } else { perm::INHERIT });
        let (cluster, broker) = (&config.broker_cluster_name, &config.broker_name);
        let mut topics = vec![
            plain(names::SELF_TEST_TOPIC, 1),
            plain(names::BENCHMARK_TOPIC, 1024),
            own(cluster, 16, config.cluster_topic_enable),
            own(broker, 1, config.broker_topic_enable),
            plain(names::OFFSET_MOVED_TOPIC, 1),
            plain(names::SCHEDULE_TOPIC, DELAY_LEVELS),
            plain(format!("{cluster}_REPLY_TOPIC"), 1),
            plain(format!("{}REVIVE_LOG_{cluster}", names::SYSTEM_PREFIX), 8),
            own(&format!("{}SYNC_BROKER_MEMBER_{broker}", names::SYSTEM_PREFIX), 1, false),
            plain(names::HALF_TOPIC, shards.into()),
            plain(names::HALF_OP_TOPIC, shards.into()),
            plain(names::CHECK_MAX_TIME_TOPIC, shards.into()),
            plain(names::TIMER_TOPIC, shards.into()),
            plain(names::TIMER_DONE_TOPIC, shards.into()),
        ];
        if config.auto_create_topic_enable {
            let queues = config.default_topic_queue_nums;
            topics.push(with_perm(names::AUTO_CREATE_TOPIC, queues, ALL));
        }
        if config.trace_topic_enable {
            topics.push(plain(config.msg_trace_topic_name.as_str(), 1));
        }
        Self { topics }
    }

    pub fn topics(&self) -> &[TopicConfig] {
        &self.topics
    }

    /// May no administrator change or delete this topic?
    pub fn contains(&self, name: &str) -> bool {
        names::is_fixed_system_topic(name) || self.topics.iter().any(|topic| topic.topic_name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    fn config(text: &str) -> BrokerConfig {
        let host = HostFacts { host_name: "b1".into(), address: [127, 0, 0, 1].into(), data: "d".into() };
        BrokerConfig::parse(text, &host).unwrap().0
    }

    fn shown(system: &SystemTopics, name: &str) -> Option<(i32, i32)> {
        system.topics().iter().find(|t| t.topic_name == name).map(|t| (t.write_queue_nums, t.perm))
    }

    #[test]
    fn the_names_and_queues_of_the_reference() {
        let system = SystemTopics::of(&config(""), 3);
        for (name, expected) in [
            ("TBW102", (8, 7)),
            ("DefaultCluster", (16, 7)),
            ("b1", (1, 7)),
            ("BenchmarkTest", (1024, 6)),
            ("SCHEDULE_TOPIC_XXXX", (18, 6)),
            ("DefaultCluster_REPLY_TOPIC", (1, 6)),
            ("rmq_sys_REVIVE_LOG_DefaultCluster", (8, 6)),
            ("rmq_sys_SYNC_BROKER_MEMBER_b1", (1, 1)),
            ("rmq_sys_wheel_timer", (3, 6)),
            ("rmq_sys_timer_done", (3, 6)),
        ] {
            assert_eq!(shown(&system, name), Some(expected), "{name}");
            assert!(system.contains(name), "{name}");
        }
        assert_eq!(shown(&system, "RMQ_SYS_TRACE_TOPIC"), None);
        assert!(system.contains("RMQ_SYS_TRACE_TOPIC"));
        assert!(!system.contains("orders"));
        assert!(system.topics().iter().all(|t| names::check_topic(&t.topic_name).is_ok()));
    }

    #[test]
    fn configuration_decides() {
        let text = "autoCreateTopicEnable=false\nclusterTopicEnable=false\ntraceTopicEnable=true";
        let system = SystemTopics::of(&config(text), 1);
        assert_eq!(shown(&system, "TBW102"), None);
        assert_eq!(shown(&system, "DefaultCluster"), Some((16, 1)));
        assert_eq!(shown(&system, "RMQ_SYS_TRACE_TOPIC"), Some((1, 6)));
    }
}

//! From what the control core keeps to what every core's replica holds.

use crate::filter::Wanted;
use crate::tables::{ConsumerSettings, GroupSettings, Subscription, TopicSettings};

use super::attributes;
use super::clients::ConsumerGroup;
use super::groups::{self, GroupConfig};
use super::topics::{self, TopicConfig, TopicFilterType};

use ringmq_wire::subscription::SubscriptionData;

pub fn topic(topic: &TopicConfig) -> TopicSettings {
    let (read_queues, write_queues) = topics::queues(topic);
    TopicSettings {
        name: topic.topic_name.as_str().into(),
        read_queues,
        write_queues,
        perm: u32::try_from(topic.perm).expect("checked when the topic was put"),
        sys_flag: topic.topic_sys_flag,
        order: topic.order,
        multi_tag: topic.topic_filter_type == TopicFilterType::MultiTag,
        once_ms: attributes::once_ms(&topic.attributes),
    }
}

pub fn group(group: &GroupConfig) -> GroupSettings {
    GroupSettings {
        name: group.group_name.as_str().into(),
        consume_enable: group.consume_enable,
        consume_broadcast_enable: group.consume_broadcast_enable,
        sys_flag: group.group_sys_flag,
        retry_max_times: group.retry_max_times,
        retry_queues: groups::retry_queues(group),
        forbidden: attributes::forbidden(&group.attributes).map(Box::from).collect(),
        life: 0,
    }
}

pub fn consumers(name: &str, group: &ConsumerGroup) -> ConsumerSettings {
    ConsumerSettings {
        group: name.into(),
        broadcasting: group.is_broadcasting(),
        subscriptions: group.subscriptions.values().map(subscription).collect(),
    }
}

fn subscription(data: &SubscriptionData) -> Subscription {
    Subscription { topic: data.topic.as_str().into(), version: data.sub_version, wanted: Wanted::of(data) }
}

//! The header of pull (11) and lite pull (361).
//!
//! Invariant: required are the fields that RocketMQ 5.5.0 PullMessageRequestHeader#decode insists on.

use super::header;

/// sysFlag: commit `commit_offset` first.
pub const SYS_FLAG_COMMIT_OFFSET: i32 = 1;
/// sysFlag: the broker may hold the request until messages arrive.
pub const SYS_FLAG_SUSPEND: i32 = 2;
/// sysFlag: `subscription` is in the header.
pub const SYS_FLAG_SUBSCRIPTION: i32 = 4;
/// sysFlag: filter by class on a filter server (no longer supported by the reference).
pub const SYS_FLAG_CLASS_FILTER: i32 = 8;
/// sysFlag: sent by a lite pull consumer.
pub const SYS_FLAG_LITE_PULL: i32 = 16;

header! {
    /// What a consumer wants next from one queue.
    PullHeader {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        queue_offset: i64 = "queueOffset",
        max_msg_nums: i32 = "maxMsgNums",
        sys_flag: i32 = "sysFlag",
        commit_offset: i64 = "commitOffset",
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        subscription: Option<&'a str> = "subscription",
        sub_version: i64 = "subVersion",
        /// `TAG` or `SQL92`; absent means `TAG`.
        expression_type: Option<&'a str> = "expressionType",
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        request_source: Option<i32> = "requestSource",
        /// The name is misspelled on the wire.
        proxy_forward_client_id: Option<&'a str> = "proxyFrowardClientId",
        lite_topic: Option<&'a str> = "liteTopic",
        broker_name: Option<&'a str> = "bname",
    }
}

impl<'a> PullHeader<'a> {
    /// What is in a queue now, of all tags: as many as RocketMQ's consumers ask for, not held if there is nothing.
    pub fn new(consumer_group: &'a str, topic: &'a str, queue_id: i32, queue_offset: i64) -> Self {
        Self {
            consumer_group,
            topic,
            queue_id,
            queue_offset,
            max_msg_nums: 32,
            sys_flag: SYS_FLAG_SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_millis: 0,
            subscription: Some("*"),
            sub_version: 0,
            expression_type: None,
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            lite_topic: None,
            broker_name: None,
        }
    }

    pub fn commits_offset(&self) -> bool {
        self.sys_flag & SYS_FLAG_COMMIT_OFFSET != 0
    }

    pub fn may_suspend(&self) -> bool {
        self.sys_flag & SYS_FLAG_SUSPEND != 0
    }

    pub fn has_subscription(&self) -> bool {
        self.sys_flag & SYS_FLAG_SUBSCRIPTION != 0
    }
}

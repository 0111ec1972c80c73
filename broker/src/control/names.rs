//! Which names topics and groups may have, and which belong to the system.
//!
//! Owns: the character set, the length limits, the fixed system names. The wording of a refusal follows
//! RocketMQ 5.5.0 TopicValidator, since operators search for it.
//! On failure: `NameError` is the remark that the client gets (code 29 INVALID_PARAMETER).

/// The template of auto-created topics.
pub use ringmq_wire::headers::AUTO_CREATE_TOPIC;
use thiserror::Error;

/// Longest ordinary topic name: its length must fit the one-byte field of a V1 record with room to spare.
pub const TOPIC_CHARS_MAX: usize = 127;
/// Longest `%RETRY%` or `%DLQ%` topic name.
pub const RETRY_TOPIC_CHARS_MAX: usize = 255;
/// Longest group name: a retry topic is made of it.
pub const GROUP_CHARS_MAX: usize = 120;

pub const RETRY_PREFIX: &str = "%RETRY%";
pub const DLQ_PREFIX: &str = "%DLQ%";
pub const SYSTEM_PREFIX: &str = "rmq_sys_";

pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
pub const HALF_OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
pub const ROCKSDB_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
pub const ROCKSDB_HALF_OP_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
pub const CHECKPOINT_TOPIC: &str = "CHECKPOINT_TOPIC";
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Ours: which messages of the timer topic are done.
pub const TIMER_DONE_TOPIC: &str = "rmq_sys_timer_done";

/// System on every broker, whatever its name and cluster. Sorted.
pub const SYSTEM_TOPICS: [&str; 12] = [
    BENCHMARK_TOPIC,
    CHECKPOINT_TOPIC,
    OFFSET_MOVED_TOPIC,
    ROCKSDB_HALF_TOPIC,
    ROCKSDB_HALF_OP_TOPIC,
    TRACE_TOPIC,
    HALF_TOPIC,
    HALF_OP_TOPIC,
    SCHEDULE_TOPIC,
    SELF_TEST_TOPIC,
    AUTO_CREATE_TOPIC,
    CHECK_MAX_TIME_TOPIC,
];

/// Topics that only the broker itself writes. RocketMQ 5.5.0 lets clients write to the timer topic, where their messages
/// are taken for timers of its own.
const NOT_FOR_CLIENTS: [&str; 10] = [
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    HALF_OP_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
    ROCKSDB_HALF_TOPIC,
    ROCKSDB_HALF_OP_TOPIC,
    TIMER_TOPIC,
    TIMER_DONE_TOPIC,
];

/// Why a name is refused; its text is the remark.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("The specified {kind} is blank.")]
    Blank { kind: &'static str },
    #[error("The specified {kind}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    Illegal { kind: &'static str, name: String },
    #[error("The specified topic: {name}, is longer than topic max length: {TOPIC_CHARS_MAX}")]
    TopicTooLong { name: String },
    #[error(
        "The specified topic is DLQ or Retry topic: {name}, and it's longer than topic max length: \
         {RETRY_TOPIC_CHARS_MAX}"
    )]
    RetryTopicTooLong { name: String },
    #[error("The specified group: {name}, is longer than group max length: {GROUP_CHARS_MAX}")]
    GroupTooLong { name: String },
}

pub fn check_topic(name: &str) -> Result<(), NameError> {
    check_characters("topic", name)?;
    let special = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    match (special, name.len()) {
        (true, n) if n > RETRY_TOPIC_CHARS_MAX => Err(NameError::RetryTopicTooLong { name: shortened(name) }),
        (false, n) if n > TOPIC_CHARS_MAX => Err(NameError::TopicTooLong { name: shortened(name) }),
        _ => Ok(()),
    }
}

pub fn check_group(name: &str) -> Result<(), NameError> {
    check_characters("group", name)?;
    if name.len() > GROUP_CHARS_MAX {
        return Err(NameError::GroupTooLong { name: shortened(name) });
    }
    Ok(())
}

/// A topic that no administrator may change or delete, by its name alone. The cluster's and the broker's own topics
/// come on top: see `SystemTopics`.
pub fn is_fixed_system_topic(name: &str) -> bool {
    name.starts_with(SYSTEM_PREFIX) || SYSTEM_TOPICS.contains(&name)
}

/// A topic that clients may not send to (code 16).
pub fn is_reserved_for_broker(name: &str) -> bool {
    NOT_FOR_CLIENTS.contains(&name)
}

/// Queues of a dead letter topic (RocketMQ 5.5.0 AbstractSendMessageProcessor#DLQ_NUMS_PER_GROUP).
pub const DEAD_LETTER_QUEUES: u32 = 1;

pub fn dead_letter_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

fn check_characters(kind: &'static str, name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank { kind });
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'|' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(NameError::Illegal { kind, name: shortened(name) });
    }
    Ok(())
}

/// A remark quotes a name; a name of megabytes must not make it long.
fn shortened(name: &str) -> String {
    const QUOTED_CHARS_MAX: usize = 300;
    name.chars().take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_reference() {
        assert_eq!(check_topic(&"t".repeat(127)), Ok(()));
        assert!(matches!(check_topic(&"t".repeat(128)), Err(NameError::TopicTooLong { .. })));
        let retry = |n: usize| format!("{RETRY_PREFIX}{}", "g".repeat(n - RETRY_PREFIX.len()));
        assert_eq!(check_topic(&retry(255)), Ok(()));
        assert!(matches!(check_topic(&retry(256)), Err(NameError::RetryTopicTooLong { .. })));
        assert_eq!(check_group(&"g".repeat(120)), Ok(()));
        assert!(matches!(check_group(&"g".repeat(121)), Err(NameError::GroupTooLong { .. })));
    }

    #[test]
    fn characters_are_those_of_the_reference() {
        assert_eq!(check_topic("aZ09_-|%"), Ok(()));
        assert_eq!(check_topic(" "), Err(NameError::Blank { kind: "topic" }));
        for bad in ["a b", "a.b", "a@b", "thème", "a/b"] {
            assert!(matches!(check_topic(bad), Err(NameError::Illegal { kind: "topic", .. })), "{bad}");
            assert!(matches!(check_group(bad), Err(NameError::Illegal { kind: "group", .. })), "{bad}");
        }
        let remark = check_topic("a b").unwrap_err().to_string();
        let expected =
            "The specified topic: a b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$";
        assert_eq!(remark, expected);
        let long = check_topic(&"é".repeat(100_000)).unwrap_err().to_string();
        assert!(long.len() < 1000);
    }

    #[test]
    fn system_names() {
        for name in ["TBW102", "rmq_sys_anything", "SELF_TEST_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC"] {
            assert!(is_fixed_system_topic(name), "{name}");
        }
        assert!(!is_fixed_system_topic("orders"));
        assert!(is_reserved_for_broker("SCHEDULE_TOPIC_XXXX"));
        assert!(!is_reserved_for_broker("TBW102"));
    }
}

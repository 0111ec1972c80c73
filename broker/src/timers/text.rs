//! The properties of a message while it waits, and when it is delivered.
//!
//! Owns: which properties come and go on the way. RocketMQ 5.5.0: HookUtils#transformTimerMessage and
//! #transformDelayLevelMessage while it waits; TimerMessageStore#convert and ScheduleMessageService#messageTimeUp when it is
//! delivered. Invariants: where the message belongs is in REAL_TOPIC and REAL_QID, once each, whatever the producer sent.

use ringmq_wire::properties::{self, name};

use super::Wait;

/// What does not come from a producer.
const REPLACED: [&str; 2] = [name::REAL_TOPIC, name::REAL_QUEUE_ID];
/// A delay level beats them: RocketMQ takes them away.
const BEATEN_BY_LEVEL: [&str; 3] = [name::TIMER_DELIVER_MS, name::TIMER_DELAY_SEC, name::TIMER_DELAY_MS];

/// Of a message that waits for queue `queue_id` of `topic`.
pub fn waiting_text(text: &str, topic: &str, queue_id: u32, wait: Wait) -> String {
    let goes = |name: &str| REPLACED.contains(&name) || (wait.by_level && BEATEN_BY_LEVEL.contains(&name));
    let mut out = properties::without(text, goes);
    if !wait.by_level {
        properties::append(&mut out, name::TIMER_OUT_MS, &wait.due_ms.to_string());
    }
    properties::append(&mut out, name::REAL_TOPIC, topic);
    properties::append(&mut out, name::REAL_QUEUE_ID, &queue_id.to_string());
    out
}

/// Of the message that is delivered: stored to wait at `stored_ms`, delivered at `now_ms`.
pub fn delivered_text(text: &str, stored_ms: i64, now_ms: i64) -> String {
    if waits_by_level(text) {
        let goes = |name: &str| matches!(name, name::DELAY | name::TIMER_DELIVER_MS | name::TIMER_DELAY_SEC);
        return properties::without(text, goes);
    }
    let replaced = [name::REAL_TOPIC, name::REAL_QUEUE_ID, name::TIMER_ENQUEUE_MS, name::TIMER_DEQUEUE_MS];
    let mut out = properties::without(text, |name| replaced.contains(&name));
    properties::append(&mut out, name::TIMER_ENQUEUE_MS, &stored_ms.to_string());
    properties::append(&mut out, name::TIMER_DEQUEUE_MS, &now_ms.to_string());
    out
}

fn waits_by_level(text: &str) -> bool {
    properties::get(text, name::DELAY)
        .and_then(|level| level.parse::<i32>().ok())
        .is_some_and(|level| level > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pairs: &[(&str, &str)]) -> String {
        pairs.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
    }

    fn pairs(text: &str) -> Vec<(&str, &str)> {
        properties::iter(text).collect()
    }

    #[test]
    fn a_timer_loses_its_home_when_it_is_delivered() {
        let sent = text(&[("KEYS", "k"), ("TIMER_DELAY_MS", "5"), ("REAL_TOPIC", "forged")]);
        let waiting = waiting_text(&sent, "orders", 3, Wait { due_ms: 77, by_level: false });
        let expected = [
            ("KEYS", "k"),
            ("TIMER_DELAY_MS", "5"),
            ("TIMER_OUT_MS", "77"),
            ("REAL_TOPIC", "orders"),
            ("REAL_QID", "3"),
        ];
        assert_eq!(pairs(&waiting), expected);
        let expected = [
            ("KEYS", "k"),
            ("TIMER_DELAY_MS", "5"),
            ("TIMER_OUT_MS", "77"),
            ("TIMER_ENQUEUE_MS", "70"),
            ("TIMER_DEQUEUE_MS", "78"),
        ];
        assert_eq!(pairs(&delivered_text(&waiting, 70, 78)), expected);
    }

    #[test]
    fn a_delay_level_loses_its_level_and_keeps_its_home() {
        let sent = text(&[("DELAY", "3"), ("TIMER_DELIVER_MS", "9"), ("TAGS", "a")]);
        let waiting = waiting_text(&sent, "%RETRY%g", 0, Wait { due_ms: 77, by_level: true });
        let expected = [("DELAY", "3"), ("TAGS", "a"), ("REAL_TOPIC", "%RETRY%g"), ("REAL_QID", "0")];
        assert_eq!(pairs(&waiting), expected);
        assert_eq!(pairs(&delivered_text(&waiting, 1, 2)), expected[1..]);
    }
}

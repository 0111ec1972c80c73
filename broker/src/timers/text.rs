//! The properties of a message while it waits, and when it is delivered.
//!
//! Owns: which properties come and go on the way. RocketMQ 5.5.0: HookUtils#transformTimerMessage and
//! #transformDelayLevelMessage while it waits; TimerMessageStore#convert and ScheduleMessageService#messageTimeUp when it is
//! delivered. These two make the text before they take DELAY, REAL_TOPIC and REAL_QID away, so consumers see them: here too.
//! Invariants: where the message belongs is in REAL_TOPIC and REAL_QID, once each, whatever the producer sent; what could wait
//! can be delivered: a text that has no room for more is delivered as it waited.

use ringmq_wire::properties::{self, name};

use super::Wait;

/// What does not come from a producer.
const REPLACED: [&str; 2] = [name::REAL_TOPIC, name::REAL_QUEUE_ID];
/// A delay level beats them: RocketMQ takes them away.
const BEATEN_BY_LEVEL: [&str; 3] = [name::TIMER_DELIVER_MS, name::TIMER_DELAY_SEC, name::TIMER_DELAY_MS];

/// Of a message that waits for queue `queue_id` of `topic`.
pub fn waiting_text(text: &str, topic: &str, queue_id: u32, wait: Wait) -> String {
    let by_level = |name: &str| name == name::DELAY || BEATEN_BY_LEVEL.contains(&name);
    let goes = |name: &str| REPLACED.contains(&name) || (wait.level.is_some() && by_level(name));
    let mut out = properties::without(text, goes);
    match wait.level {
        Some(level) => properties::append(&mut out, name::DELAY, &level.to_string()),
        None => properties::append(&mut out, name::TIMER_OUT_MS, &wait.due_ms.to_string()),
    }
    properties::append(&mut out, name::REAL_TOPIC, topic);
    properties::append(&mut out, name::REAL_QUEUE_ID, &queue_id.to_string());
    out
}

/// Of the message that is delivered: stored to wait at `stored_ms`, delivered at `now_ms`.
pub fn delivered_text(text: &str, stored_ms: i64, now_ms: i64) -> String {
    if waits_by_level(text) {
        return text.to_owned();
    }
    let replaced = [name::TIMER_ENQUEUE_MS, name::TIMER_DEQUEUE_MS];
    let mut out = properties::without(text, |name| replaced.contains(&name));
    properties::append(&mut out, name::TIMER_ENQUEUE_MS, &stored_ms.to_string());
    properties::append(&mut out, name::TIMER_DEQUEUE_MS, &now_ms.to_string());
    if out.len() > properties::MAX_LENGTH { text.to_owned() } else { out }
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
    fn a_timer_tells_where_and_how_long_it_waited() {
        let sent = text(&[("KEYS", "k"), ("TIMER_DELAY_MS", "5"), ("REAL_TOPIC", "forged")]);
        let waiting = waiting_text(&sent, "orders", 3, Wait { due_ms: 77, level: None });
        let expected = [
            ("KEYS", "k"),
            ("TIMER_DELAY_MS", "5"),
            ("TIMER_OUT_MS", "77"),
            ("REAL_TOPIC", "orders"),
            ("REAL_QID", "3"),
        ];
        assert_eq!(pairs(&waiting), expected);
        let delivered = delivered_text(&waiting, 70, 78);
        let delivered = pairs(&delivered);
        let (kept, added) = delivered.split_at(expected.len());
        assert_eq!(kept, expected);
        assert_eq!(added, [("TIMER_ENQUEUE_MS", "70"), ("TIMER_DEQUEUE_MS", "78")]);
    }

    #[test]
    fn a_delay_level_beats_timers_and_is_seen_as_it_was_taken() {
        let sent =
            text(&[("DELAY", "300"), ("TIMER_DELIVER_MS", "9"), ("TAGS", "a"), ("TIMER_DELAY_MS", "9")]);
        let waiting = waiting_text(&sent, "%RETRY%g", 0, Wait { due_ms: 77, level: Some(18) });
        let expected = [("TAGS", "a"), ("DELAY", "18"), ("REAL_TOPIC", "%RETRY%g"), ("REAL_QID", "0")];
        assert_eq!(pairs(&waiting), expected);
        assert_eq!(delivered_text(&waiting, 1, 2), waiting);
    }
}

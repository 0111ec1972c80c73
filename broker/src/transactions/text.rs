//! The properties of a half message, and of what it becomes.
//!
//! RocketMQ 5.5.0 TransactionalMessageBridge#parseHalfMessageInner and EndTransactionProcessor#endMessageTransaction.
//! TRAN_MSG stays: RocketMQ takes it away when the text is made already.
//! Invariant: where the message belongs is in REAL_TOPIC and REAL_QID, once each, whatever the producer sent.

use std::borrow::Cow;

use ringmq_wire::properties::{self, name};

/// Of the half of a message for queue `queue_id` of `topic`.
pub fn half_text(text: &str, topic: &str, queue_id: u32, key: &str) -> String {
    let replaced = [name::REAL_TOPIC, name::REAL_QUEUE_ID, name::TRANSACTION_ID];
    let mut out = properties::without(text, |name| replaced.contains(&name));
    if properties::is_value(key) && !key.is_empty() {
        properties::append(&mut out, name::TRANSACTION_ID, key);
    }
    properties::append(&mut out, name::REAL_TOPIC, topic);
    properties::append(&mut out, name::REAL_QUEUE_ID, &queue_id.to_string());
    out
}

/// Of the message that is committed.
pub fn committed_text(text: &str) -> String {
    properties::without(text, |name| matches!(name, name::REAL_TOPIC | name::REAL_QUEUE_ID))
}

/// Of a half message whose producers were asked about it so many times; RocketMQ counts in the message. As it is if it has no
/// room for more: it has to be storable.
pub fn asked_text(text: &str, times: u32) -> Cow<'_, str> {
    if times == 0 {
        return Cow::Borrowed(text);
    }
    counted_text(text, times)
}

fn counted_text(text: &str, times: u32) -> Cow<'_, str> {
    let mut out = properties::remove(text, name::TRANSACTION_CHECK_TIMES).into_owned();
    properties::append(&mut out, name::TRANSACTION_CHECK_TIMES, &times.to_string());
    if out.len() > properties::MAX_LENGTH { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// Of a half message that was given up and waits again: its count begins anew.
pub fn resumed_text(text: &str) -> Cow<'_, str> {
    counted_text(text, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_was_asked_is_told_once() {
        let sent = "TRANSACTION_CHECK_TIMES\u{1}15\u{2}KEYS\u{1}k\u{2}";
        assert_eq!(asked_text(sent, 0), sent);
        assert_eq!(resumed_text(sent), "KEYS\u{1}k\u{2}TRANSACTION_CHECK_TIMES\u{1}0\u{2}");
        assert_eq!(asked_text(sent, 2), "KEYS\u{1}k\u{2}TRANSACTION_CHECK_TIMES\u{1}2\u{2}");
    }

    #[test]
    fn a_half_knows_its_home_and_what_is_committed_does_not() {
        let sent = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}REAL_TOPIC\u{1}forged\u{2}KEYS\u{1}k\u{2}";
        let half = half_text(sent, "orders", 3, "U1");
        let pairs: Vec<_> = properties::iter(&half).collect();
        let expected = [
            ("TRAN_MSG", "true"),
            ("PGROUP", "p"),
            ("KEYS", "k"),
            ("__transactionId__", "U1"),
            ("REAL_TOPIC", "orders"),
            ("REAL_QID", "3"),
        ];
        assert_eq!(pairs, expected);
        let committed = committed_text(&half);
        let pairs: Vec<_> = properties::iter(&committed).collect();
        assert_eq!(pairs, expected[..4]);
    }
}

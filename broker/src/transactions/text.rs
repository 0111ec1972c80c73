//! The properties of a half message, and of what it becomes.
//!
//! RocketMQ 5.5.0 TransactionalMessageBridge#parseHalfMessageInner and EndTransactionProcessor#endMessageTransaction.
//! Invariant: where the message belongs is in REAL_TOPIC and REAL_QID, once each, whatever the producer sent.

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
    let gone = [name::REAL_TOPIC, name::REAL_QUEUE_ID, name::TRANSACTION_PREPARED];
    properties::without(text, |name| gone.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(pairs, [("PGROUP", "p"), ("KEYS", "k"), ("__transactionId__", "U1")]);
    }
}

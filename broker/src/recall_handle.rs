//! The handle by which a producer takes a delayed message back.
//!
//! RocketMQ 5.5.0 RecallMessageHandle.HandleV1: base64 (URL alphabet, padded) of `v1 topic brokerName time uniqueKey`. Clients
//! treat it as opaque; it has to be the same text all the same, since a proxy may read it.

use crate::control::names;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// For a message that is due at `due_ms`; none for a retry, which is the consumer's. RocketMQ adds 1 to the time, having floored
/// it.
pub fn of(topic: &str, broker: &str, due_ms: i64, key: &str) -> Option<Box<str>> {
    let raw = || format!("v1 {topic} {broker} {} {key}", due_ms.saturating_add(1));
    (!topic.starts_with(names::RETRY_PREFIX)).then(|| encode(raw().as_bytes()).into())
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = (number >> (18 - 6 * at) & 63) as usize;
            out.push(if at <= chunk.len() { ALPHABET[digit].into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_reference_s_text() {
        // Java: RecallMessageHandle.HandleV1.buildHandle("orders", "broker-a", "1700000000001", "7F00")
        let handle = of("orders", "broker-a", 1_700_000_000_000, "7F00").unwrap();
        assert_eq!(&*handle, "djEgb3JkZXJzIGJyb2tlci1hIDE3MDAwMDAwMDAwMDEgN0YwMA==");
        assert_eq!(of("%RETRY%g", "broker-a", 1, "k"), None);
    }

    #[test]
    fn encodes_the_published_vectors() {
        for (raw, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode(raw.as_bytes()), expected);
        }
        assert_eq!(encode(&[0xFB, 0xFF]), "-_8=");
    }
}

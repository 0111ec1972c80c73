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

/// A handle that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    pub topic: String,
    pub broker: String,
    /// When the message is due, or a millisecond later. RocketMQ takes what is no number for -1, which is past.
    pub time_ms: i64,
    pub key: String,
}

impl Handle {
    /// Words behind the fifth do not count, as in RocketMQ.
    pub fn read(text: &str) -> Option<Self> {
        let raw = String::from_utf8(decode(text)?).ok()?;
        let mut words = raw.split(' ');
        let version = words.next()?;
        let (topic, broker, time, key) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (version == "v1").then(|| Self {
            topic: topic.into(),
            broker: broker.into(),
            time_ms: time.parse().unwrap_or(-1),
            key: key.into(),
        })
    }
}

/// Padding may be absent, but not be wrong.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.as_bytes().chunks(4) {
        let mut number = 0u32;
        for byte in chunk {
            let digit = ALPHABET.iter().position(|known| known == byte)?;
            number = number << 6 | digit as u32;
        }
        number <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&number.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_come_back_and_any_text_is_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..50),
            text in "[A-Za-z0-9_=+/ü-]{0,30}",
        ) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
            let _ = Handle::read(&text);
            if let Some(raw) = decode(&text) {
                prop_assert_eq!(raw.len(), text.trim_end_matches('=').len() * 3 / 4);
            }
        }
    }

    #[test]
    fn is_the_reference_s_text() {
        // Java: RecallMessageHandle.HandleV1.buildHandle("orders", "broker-a", "1700000000001", "7F00")
        let handle = of("orders", "broker-a", 1_700_000_000_000, "7F00").unwrap();
        assert_eq!(&*handle, "djEgb3JkZXJzIGJyb2tlci1hIDE3MDAwMDAwMDAwMDEgN0YwMA==");
        assert_eq!(of("%RETRY%g", "broker-a", 1, "k"), None);
        let read = Handle::read(&handle).unwrap();
        assert_eq!((read.topic.as_str(), read.broker.as_str()), ("orders", "broker-a"));
        assert_eq!((read.time_ms, read.key.as_str()), (1_700_000_000_001, "7F00"));
        assert_eq!(Handle::read(&encode(b"v1 t b x k")).unwrap().time_ms, -1);
        for bad in ["", "v1 t b 1", "v2 t b 1 k"] {
            assert_eq!(Handle::read(&encode(bad.as_bytes())), None, "{bad}");
        }
    }

    #[test]
    fn encodes_the_published_vectors() {
        for (raw, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode(raw.as_bytes()), expected);
            assert_eq!(decode(expected).as_deref(), Some(raw.as_bytes()));
            assert_eq!(decode(expected.trim_end_matches('=')).as_deref(), Some(raw.as_bytes()));
        }
        assert_eq!(encode(&[0xFB, 0xFF]), "-_8=");
        for bad in ["Z", "Zg=", "Zg===", "Z+==", "Zm9vY", "====", "ü"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}

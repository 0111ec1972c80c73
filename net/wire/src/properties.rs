//! Message properties as text: `name` 0x01 `value` 0x02, repeated.
//!
//! Owns: reading and editing the text without building a map, and the names that the broker itself uses.
//! Invariants: an entry with an empty name or an empty value does not count, wherever it stands; of a repeated name the
//! last entry counts; the last separator may be absent. Nothing here fails: text that is not entries has none.

use std::borrow::Cow;

use memchr::memchr;

use crate::marks::Marks;

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Behind each value.
pub const PROPERTY_SEPARATOR: char = '\u{2}';
/// Longest properties text: its length is a signed 16-bit number on the wire and in a record.
pub const MAX_LENGTH: usize = i16::MAX as usize;

/// Iterates over the entries in the order of the text.
#[inline]
pub fn iter(text: &str) -> Entries<'_> {
    Entries { text, at: 0, separators: Marks::new(text.as_bytes()) }
}

/// See `iter`.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    text: &'a str,
    /// Where the next entry begins.
    at: usize,
    separators: Marks<'a, 1, 2>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.text.len() {
            let start = self.at;
            let mut name_end = None;
            let end = loop {
                let at = self.separators.take();
                match self.text.as_bytes().get(at) {
                    // Only the first separates: a value may have more of them.
                    Some(1) => name_end = name_end.or(Some(at)),
                    _ => break at,
                }
            };
            self.at = end + 1;
            if let Some(middle) = name_end
                && start < middle
                && middle + 1 < end
            {
                return Some((&self.text[start..middle], &self.text[middle + 1..end]));
            }
        }
        None
    }
}

/// The value of `name`; of several entries the last one's.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(found, _)| *found == name).last().map(|(_, value)| value)
}

/// Appends an entry to properties text. Writes the separator that may be absent before it.
pub fn append(text: &mut String, name: &str, value: &str) {
    debug_assert!(is_name(name) && is_value(value), "a property that would be read as another");
    if !text.is_empty() && !text.ends_with(PROPERTY_SEPARATOR) {
        text.push(PROPERTY_SEPARATOR);
    }
    text.push_str(name);
    text.push(NAME_VALUE_SEPARATOR);
    text.push_str(value);
    text.push(PROPERTY_SEPARATOR);
}

/// Whether text can be a property's name.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && memchr::memchr2(1, 2, text.as_bytes()).is_none()
}

/// Whether text can be a property's value: only the first 0x01 of an entry separates.
pub fn is_value(text: &str) -> bool {
    memchr(2, text.as_bytes()).is_none()
}

/// The text without any entry of this name; borrowed if there is none.
pub fn remove<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    if !iter(text).any(|(found, _)| found == name) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(without(text, |found| found == name))
}

/// Room that edited text is given for what is appended to it next.
const ROOM_TO_APPEND: usize = 128;

/// The text without the entries whose name `goes`.
pub fn without(text: &str, goes: impl Fn(&str) -> bool) -> String {
    let mut kept = String::with_capacity(text.len() + ROOM_TO_APPEND);
    for (name, value) in iter(text).filter(|(name, _)| !goes(name)) {
        append(&mut kept, name, value);
    }
    kept
}

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident = $value:literal;)*) => {
        /// Names of the properties that brokers and clients give a meaning to.
        pub mod name {
            $($(#[$meta])* pub const $name: &str = $value;)*

            /// All of them: a user may not set one as a property of his own.
            pub const ALL: &[&str] = &[$($value,)*];
        }
    };
}

names! {
    KEYS = "KEYS";
    TAGS = "TAGS";
    WAIT = "WAIT";
    DELAY = "DELAY";
    RETRY_TOPIC = "RETRY_TOPIC";
    REAL_TOPIC = "REAL_TOPIC";
    REAL_QUEUE_ID = "REAL_QID";
    TRANSACTION_PREPARED = "TRAN_MSG";
    PRODUCER_GROUP = "PGROUP";
    MIN_OFFSET = "MIN_OFFSET";
    MAX_OFFSET = "MAX_OFFSET";
    BUYER_ID = "BUYER_ID";
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    TRANSFER_FLAG = "TRANSFER_FLAG";
    CORRECTION_FLAG = "CORRECTION_FLAG";
    MQ2_FLAG = "MQ2_FLAG";
    RECONSUME_TIME = "RECONSUME_TIME";
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    MSG_REGION = "MSG_REGION";
    TRACE_ON = "TRACE_ON";
    UNIQUE_KEY = "UNIQ_KEY";
    CLUSTER = "CLUSTER";
    CONSUME_START_TIME = "CONSUME_START_TIME";
    INNER_NUM = "INNER_NUM";
    INNER_BASE = "INNER_BASE";
    EXTEND_UNIQ_INFO = "EXTEND_UNIQ_INFO";
    TRAN_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    TRANSACTION_ID = "__transactionId__";
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    CHECK_IMMUNITY_TIME_IN_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    INSTANCE_ID = "INSTANCE_ID";
    CORRELATION_ID = "CORRELATION_ID";
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    TTL = "TTL";
    ARRIVE_TIME = "ARRIVE_TIME";
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    MSG_TYPE = "MSG_TYPE";
    POP_CK = "POP_CK";
    POP_CK_OFFSET = "POP_CK_OFFSET";
    FIRST_POP_TIME = "1ST_POP_TIME";
    SHARDING_KEY = "__SHARDINGKEY";
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    TIMER_OUT_MS = "TIMER_OUT_MS";
    TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
    TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
    TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
    TIMER_DEL_UNIQUE_KEY = "TIMER_DEL_UNIQKEY";
    TIMER_DELAY_LEVEL = "TIMER_DELAY_LEVEL";
    INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
    INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
    BORN_HOST = "__BORNHOST";
    BORN_TIMESTAMP = "BORN_TIMESTAMP";
    CRC32 = "__CRC32#";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_entries() {
        let text =
            "KEYS\u{1}k1 k2\u{2}TAGS\u{1}TagA\u{2}empty\u{1}\u{2}\u{1}x\u{2}\u{2}junk\u{2}w\u{1}a\u{1}b";
        let all: Vec<_> = iter(text).collect();
        assert_eq!(all, [("KEYS", "k1 k2"), ("TAGS", "TagA"), ("w", "a\u{1}b")]);
        assert_eq!(get(text, "TAGS"), Some("TagA"));
        assert_eq!(get(text, "KEYS"), Some("k1 k2"));
        assert_eq!(get(text, "w"), Some("a\u{1}b"));
        assert_eq!(get(text, "KEY"), None);
        assert_eq!(get(text, "empty"), None);
        assert_eq!(get("", "a"), None);
    }

    #[test]
    fn the_last_of_a_repeated_name_counts() {
        assert_eq!(get("a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3\u{2}", "a"), Some("3"));
        // An empty entry does not hide an earlier one.
        assert_eq!(get("a\u{1}1\u{2}a\u{1}\u{2}", "a"), Some("1"));
    }

    #[test]
    fn edits() {
        let mut text = "a\u{1}1".to_owned();
        append(&mut text, "b", "2");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}");
        assert_eq!(remove(&text, "a"), "b\u{1}2\u{2}");
        assert!(matches!(remove(&text, "c"), Cow::Borrowed(_)));
        assert_eq!(remove(&remove(&text, "a"), "b"), "");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c\u{1}\u{2}é]{0,40}", name in "[a-c]{0,2}") {
            let last = iter(&text).filter(|(n, _)| *n == name).last().map(|(_, v)| v);
            prop_assert_eq!(get(&text, &name), last);
            let removed = remove(&text, &name);
            prop_assert_eq!(get(&removed, &name), None);
            let others: Vec<_> = iter(&text).filter(|(n, _)| *n != name).collect();
            prop_assert_eq!(iter(&removed).collect::<Vec<_>>(), others);
        }

        #[test]
        fn round_trips(pairs in proptest::collection::vec(("[a-zé]{1,8}", "[a-z ü]{1,8}"), 0..8)) {
            let mut text = String::new();
            for (name, value) in &pairs {
                append(&mut text, name, value);
            }
            let read: Vec<_> = iter(&text).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}

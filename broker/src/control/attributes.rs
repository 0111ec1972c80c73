//! Attributes of topics and groups: which exist, which values they take, and how a request changes them.
//!
//! Owns: the request's text form (`+key=value,-key`) and the rules of RocketMQ 5.5.0 AttributeUtil#alterCurrentAttributes.
//! Invariant: stored attributes have no sign and passed their check. On failure: `AttributeError` is the remark of a
//! SYSTEM_ERROR, worded as the reference words it.

use std::collections::BTreeMap;

use thiserror::Error;

use ringmq_io::limits::ATTRIBUTES_MAX;

pub type Attributes = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttributeError {
    #[error("add/alter attribute format is wrong: {0}")]
    AddFormat(String),
    #[error("delete attribute format is wrong: {0}")]
    DeleteFormat(String),
    #[error("key duplication: {0}")]
    Duplicate(String),
    #[error("kv string format wrong.")]
    Format,
    #[error("only add attribute is supported while creating topic. key: {0}")]
    OnlyAdd(String),
    #[error("attempt to delete a nonexistent key: {0}")]
    Absent(String),
    #[error("wrong format key: {0}")]
    Sign(String),
    #[error("unsupported key: {0}")]
    Unsupported(String),
    #[error("attempt to update an unchangeable attribute. key: {0}")]
    Unchangeable(String),
    #[error("value is not in set: {0:?}")]
    NotInSet(&'static [&'static str]),
    #[error("value is not in range({0}, {1})")]
    NotInRange(i64, i64),
    #[error("{0:?} is not a number")]
    NotANumber(String),
    #[error("boolean attribute format is wrong.")]
    NotABoolean,
    #[error(
        "value {0:?} is not a time from {ONCE_MS_MIN} ms to {ONCE_HOURS_MAX} hours: a number with ms, s, m or h behind it, \
         such as 60s"
    )]
    NotAWindow(String),
    #[error("more than {ATTRIBUTES_MAX} attributes")]
    TooMany,
}

#[derive(Clone, Copy)]
enum Check {
    Text,
    Boolean,
    OneOf(&'static [&'static str]),
    Range(i64, i64),
    Window,
}

#[derive(Clone, Copy)]
pub struct Attribute {
    key: &'static str,
    changeable: bool,
    check: Check,
}

const fn attribute(key: &'static str, changeable: bool, check: Check) -> Attribute {
    Attribute { key, changeable, check }
}

const MESSAGE_TYPES: &[&str] =
    &["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE", "MIXED"];

pub const MESSAGE_TYPE: &str = "message.type";
/// Refused by the reference unless its store is tiered; ours is not.
pub const RESERVE_TIME: &str = "reserve.time";

/// Ours: a message whose unique key was stored within the window is not stored again (see `once`).
pub const ONCE_WINDOW: &str = "ringmq.dedup.window";
/// Keys are forgotten by the second.
const ONCE_MS_MIN: i64 = 1_000;
const ONCE_HOURS_MAX: i64 = 24;

pub const TOPIC_ATTRIBUTES: &[Attribute] = &[
    attribute("queue.type", false, Check::OneOf(&["BatchCQ", "SimpleCQ"])),
    attribute("cleanup.policy", false, Check::OneOf(&["DELETE", "COMPACTION"])),
    attribute(MESSAGE_TYPE, true, Check::OneOf(MESSAGE_TYPES)),
    attribute(RESERVE_TIME, true, Check::Range(-1, i64::MAX)),
    attribute("lite.topic.expiration", true, Check::Range(-1, 30 * 24 * 60)),
    attribute(ONCE_WINDOW, true, Check::Window),
];

pub const GROUP_ATTRIBUTES: &[Attribute] = &[
    attribute("priority.factor", true, Check::Range(0, 100)),
    attribute("lite.bind.topic", true, Check::Text),
    attribute("lite.sub.model", true, Check::OneOf(&["Shared", "Exclusive"])),
    attribute("lite.sub.reset.offset.exclusive", true, Check::Boolean),
    attribute("lite.sub.reset.offset.unsubscribe", true, Check::Boolean),
    attribute("lite.sub.client.quota", true, Check::Range(-1, i64::MAX)),
    attribute("lite.sub.client.max.event.cnt", true, Check::Range(10, i64::MAX)),
    attribute("lite.sub.wildcard", true, Check::Text),
];

/// Reads `+key=value,-key` as RocketMQ 5.5.0 AttributeParser#parseToMap does; keys keep their sign.
pub fn parse_changes(text: &str) -> Result<Attributes, AttributeError> {
    let mut changes = Attributes::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) if key.contains('+') && !value.is_empty() => {
                (key, value.split('=').next().unwrap_or(value))
            }
            Some((key, _)) => return Err(AttributeError::AddFormat(key.into())),
            None if item.contains('-') => (item, ""),
            None => return Err(AttributeError::DeleteFormat(item.into())),
        };
        if changes.insert(key.into(), value.into()).is_some() {
            return Err(AttributeError::Duplicate(key.into()));
        }
        if changes.len() > ATTRIBUTES_MAX {
            return Err(AttributeError::TooMany);
        }
    }
    Ok(changes)
}

/// What the attributes are after `changes` (signed keys). `current` is `None` for something that does not exist yet.
pub fn alter(
    known: &[Attribute],
    current: Option<&Attributes>,
    changes: &Attributes,
) -> Result<Attributes, AttributeError> {
    if changes.len() > ATTRIBUTES_MAX {
        return Err(AttributeError::TooMany);
    }
    let create = current.is_none();
    let mut next = current.cloned().unwrap_or_default();
    let mut seen = Vec::new();
    for (signed, value) in changes {
        let sign = signed.chars().next().ok_or(AttributeError::Format)?;
        let key = &signed[sign.len_utf8()..];
        if key.is_empty() || key.contains(['+', '-']) {
            return Err(AttributeError::Format);
        }
        if seen.contains(&key) {
            return Err(AttributeError::Duplicate(key.into()));
        }
        seen.push(key);
        match sign {
            '+' => {
                let attribute = find(known, key)?;
                if !create && !attribute.changeable {
                    return Err(AttributeError::Unchangeable(key.into()));
                }
                verify(attribute, value)?;
                next.insert(key.into(), value.clone());
            }
            _ if create => return Err(AttributeError::OnlyAdd(key.into())),
            '-' => {
                if !next.contains_key(key) {
                    return Err(AttributeError::Absent(key.into()));
                }
                if !find(known, key)?.changeable {
                    return Err(AttributeError::Unchangeable(key.into()));
                }
                next.remove(key);
            }
            _ => return Err(AttributeError::Sign(key.into())),
        }
    }
    Ok(next)
}

fn find(known: &[Attribute], key: &str) -> Result<Attribute, AttributeError> {
    known.iter().find(|a| a.key == key).copied().ok_or_else(|| AttributeError::Unsupported(key.into()))
}

fn verify(attribute: Attribute, value: &str) -> Result<(), AttributeError> {
    match attribute.check {
        Check::Text => Ok(()),
        Check::Boolean if ["true", "false"].iter().any(|b| value.eq_ignore_ascii_case(b)) => Ok(()),
        Check::Boolean => Err(AttributeError::NotABoolean),
        Check::OneOf(values) if values.contains(&value) => Ok(()),
        Check::OneOf(values) => Err(AttributeError::NotInSet(values)),
        Check::Range(min, max) => {
            let number: i64 = value.parse().map_err(|_| AttributeError::NotANumber(value.into()))?;
            if number < min || number > max { Err(AttributeError::NotInRange(min, max)) } else { Ok(()) }
        }
        Check::Window if window_ms(value).is_some() => Ok(()),
        Check::Window => Err(AttributeError::NotAWindow(value.into())),
    }
}

/// Ours, of groups: topics that the group must not read, with commas; request 353 alone changes it.
const FORBIDDEN: &str = "ringmq.forbidden.topics";

pub fn forbidden(attributes: &Attributes) -> impl Iterator<Item = &str> {
    attributes.get(FORBIDDEN).into_iter().flat_map(|topics| topics.split(','))
}

/// The attributes of a group that may read a topic, or must not.
pub fn with_readable(attributes: &Attributes, topic: &str, readable: bool) -> Attributes {
    let mut next = attributes.clone();
    let mut topics: Vec<&str> = forbidden(attributes).filter(|other| *other != topic).collect();
    if !readable {
        topics.push(topic);
    }
    if topics.is_empty() {
        next.remove(FORBIDDEN);
    } else {
        next.insert(FORBIDDEN.into(), topics.join(","));
    }
    next
}

/// The window of `ONCE_WINDOW`; 0 without one.
pub fn once_ms(attributes: &Attributes) -> i64 {
    attributes.get(ONCE_WINDOW).and_then(|value| window_ms(value)).unwrap_or(0)
}

fn window_ms(value: &str) -> Option<i64> {
    let digits = value.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = value.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let ms = number.parse::<i64>().ok()?.checked_mul(unit_ms)?;
    (ONCE_MS_MIN..=ONCE_HOURS_MAX * 3_600_000).contains(&ms).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn parses_additions_and_deletions() {
        assert_eq!(parse_changes("").unwrap(), of(&[]));
        let changes = parse_changes("+message.type=FIFO,-reserve.time").unwrap();
        assert_eq!(changes, of(&[("+message.type", "FIFO"), ("-reserve.time", "")]));
        assert_eq!(parse_changes("a=b"), Err(AttributeError::AddFormat("a".into())));
        assert_eq!(parse_changes("a"), Err(AttributeError::DeleteFormat("a".into())));
        assert_eq!(parse_changes("+a=1,+a=2"), Err(AttributeError::Duplicate("+a".into())));
    }

    #[test]
    fn creation_takes_additions_only() {
        let alter = |changes: &str| alter(TOPIC_ATTRIBUTES, None, &parse_changes(changes).unwrap());
        assert_eq!(alter("+queue.type=BatchCQ").unwrap(), of(&[("queue.type", "BatchCQ")]));
        assert_eq!(alter("-message.type"), Err(AttributeError::OnlyAdd("message.type".into())));
        assert_eq!(alter("+color=red"), Err(AttributeError::Unsupported("color".into())));
        assert!(matches!(alter("+message.type=LOUD"), Err(AttributeError::NotInSet(_))));
        assert_eq!(alter("+reserve.time=-2"), Err(AttributeError::NotInRange(-1, i64::MAX)));
    }

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        let current = of(&[("message.type", "FIFO"), ("queue.type", "SimpleCQ")]);
        let alter = |changes: &str| alter(TOPIC_ATTRIBUTES, Some(&current), &parse_changes(changes).unwrap());
        assert_eq!(alter("").unwrap(), current);
        let expected = of(&[("message.type", "DELAY"), ("queue.type", "SimpleCQ")]);
        assert_eq!(alter("+message.type=DELAY").unwrap(), expected);
        assert_eq!(alter("-message.type").unwrap(), of(&[("queue.type", "SimpleCQ")]));
        assert_eq!(alter("+queue.type=BatchCQ"), Err(AttributeError::Unchangeable("queue.type".into())));
        assert_eq!(alter("-reserve.time"), Err(AttributeError::Absent("reserve.time".into())));
    }

    #[test]
    fn topics_are_forbidden_and_allowed_again() {
        let none = of(&[("lite.bind.topic", "x")]);
        let one = with_readable(&none, "a|b", false);
        let two = with_readable(&with_readable(&one, "c", false), "c", false);
        assert_eq!(forbidden(&two).collect::<Vec<_>>(), ["a|b", "c"]);
        assert_eq!(with_readable(&two, "c", true), one);
        assert_eq!(with_readable(&one, "a|b", true), none);
        assert_eq!(with_readable(&none, "c", true), none);
        assert!(alter(GROUP_ATTRIBUTES, Some(&one), &of(&[("+ringmq.forbidden.topics", "c")])).is_err());
        assert_eq!(alter(GROUP_ATTRIBUTES, Some(&one), &of(&[])), Ok(one));
    }

    #[test]
    fn a_window_is_a_time_with_its_unit() {
        let window = |value: &str| {
            let changes = parse_changes(&format!("+{ONCE_WINDOW}={value}")).unwrap();
            alter(TOPIC_ATTRIBUTES, None, &changes).map(|attributes| once_ms(&attributes))
        };
        for (value, ms) in
            [("1s", 1_000), ("1500ms", 1_500), ("60s", 60_000), ("10m", 600_000), ("24h", 86_400_000)]
        {
            assert_eq!(window(value), Ok(ms));
        }
        for wrong in ["60", "s", "-1s", "1.5s", "999ms", "25h", "60 s", "99999999999999999999s", "1d"] {
            let error = window(wrong).unwrap_err();
            assert_eq!(error, AttributeError::NotAWindow(wrong.into()));
            assert!(
                error.to_string().ends_with(
                    "from 1000 ms to 24 hours: a number with ms, s, m or h behind it, such as 60s"
                ),
                "{error}"
            );
        }
        assert_eq!(once_ms(&of(&[])), 0);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[+\\-=,a-zé.]{0,40}") {
            if let Ok(changes) = parse_changes(&text) {
                let _ = alter(TOPIC_ATTRIBUTES, None, &changes);
                let _ = alter(GROUP_ATTRIBUTES, Some(&of(&[("lite.bind.topic", "x")])), &changes);
            }
        }
    }
}

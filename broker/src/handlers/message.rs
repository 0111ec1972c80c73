//! What the broker reads out of a message's properties before it stores it.
//!
//! Invariants: one pass over the text; of a repeated name the last value counts. A message that asks for something that
//! this broker cannot do yet (a priority, …) is refused by name, never stored as an ordinary one.

use ringmq_wire::message::sys_flag;
use ringmq_wire::properties::{self, name};

/// RocketMQ 5.5.0 MessageConst#PROPERTY_PRIORITY and #PROPERTY_LITE_TOPIC.
const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
const LITE_TOPIC: &str = "__LITE_TOPIC";

/// The properties that decide how a message is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits<'a> {
    pub unique_key: Option<&'a str>,
    pub tags: Option<&'a str>,
    /// KEYS: words.
    pub keys: Option<&'a str>,
    /// WAIT=false: the producer does not wait for the disk.
    pub no_wait: bool,
    pub has_pop_ck: bool,
    has_inner_num: bool,
    /// DELAY: a delay level.
    pub delay: Option<&'a str>,
    pub timer_delay_sec: Option<&'a str>,
    pub timer_delay_ms: Option<&'a str>,
    pub timer_deliver_ms: Option<&'a str>,
    /// TIMER_OUT_MS: a timer has delivered it already.
    pub was_timer: bool,
    /// TRAN_MSG: half of a transaction.
    pub prepared: bool,
    /// First of the properties that ask for something that is not built yet.
    unsupported: Option<(&'static str, &'a str)>,
}

impl<'a> Traits<'a> {
    pub fn read(text: &'a str) -> Self {
        let mut traits = Self::default();
        for (key, value) in properties::iter(text) {
            match key {
                name::UNIQUE_KEY => traits.unique_key = Some(value),
                name::TAGS => traits.tags = Some(value),
                name::KEYS => traits.keys = Some(value),
                name::WAIT => traits.no_wait = !value.eq_ignore_ascii_case("true"),
                name::POP_CK => traits.has_pop_ck = true,
                name::INNER_NUM => traits.has_inner_num = true,
                name::DELAY => traits.delay = Some(value),
                name::TIMER_DELIVER_MS => traits.timer_deliver_ms = Some(value),
                name::TIMER_DELAY_SEC => traits.timer_delay_sec = Some(value),
                name::TIMER_DELAY_MS => traits.timer_delay_ms = Some(value),
                name::TIMER_OUT_MS => traits.was_timer = true,
                name::TIMER_DEL_UNIQUE_KEY => traits.ask(name::TIMER_DEL_UNIQUE_KEY, value, true),
                name::TRANSACTION_PREPARED => traits.prepared = value.eq_ignore_ascii_case("true"),
                PRIORITY => traits.ask(PRIORITY, value, true),
                LITE_TOPIC => traits.ask(LITE_TOPIC, value, true),
                _ => {}
            }
        }
        traits
    }

    fn ask(&mut self, property: &'static str, value: &'a str, asks: bool) {
        if asks && self.unsupported.is_none() {
            self.unsupported = Some((property, value));
        }
    }

    /// It may ask to be kept elsewhere first: delayed, or half of a transaction.
    pub fn may_wait(&self) -> bool {
        let timers = [self.delay, self.timer_delay_sec, self.timer_delay_ms, self.timer_deliver_ms];
        self.prepared || timers.iter().any(Option::is_some)
    }

    /// What this message asks for and cannot have, in words for the producer; with the counter's key.
    pub fn unsupported(&self, flags: i32) -> Option<(&'static str, String)> {
        if let Some((property, value)) = self.unsupported {
            let value: String = value.chars().take(64).collect();
            let what = format!("property {property}={value} is not supported yet by this broker");
            return Some((property, what));
        }
        if flags & sys_flag::TRANSACTION_MASK != 0 && !self.prepared {
            let what = format!(
                "a transactional message (sysFlag {flags:#x}) without property {}=true",
                name::TRANSACTION_PREPARED
            );
            return Some(("transactional sysFlag", what));
        }
        None
    }

    /// RocketMQ 5.5.0 HookUtils#checkInnerBatch: what only the broker writes is not taken from a client, and there are
    /// no topics of batch queues here yet.
    pub fn is_inner_batch(&self, flags: i32) -> bool {
        self.has_inner_num || flags & sys_flag::INNER_BATCH != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pairs: &[(&str, &str)]) -> String {
        pairs.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
    }

    #[test]
    fn finds_what_it_looks_for() {
        let text = text(&[("KEYS", "k"), ("TAGS", "a"), ("UNIQ_KEY", "U"), ("WAIT", "false"), ("TAGS", "b")]);
        let traits = Traits::read(&text);
        assert_eq!((traits.unique_key, traits.tags, traits.no_wait), (Some("U"), Some("b"), true));
        assert_eq!(traits.unsupported(0), None);
        assert!(!Traits::read("WAIT\u{1}true\u{2}").no_wait);
        assert!(!Traits::read("").no_wait);
    }

    #[test]
    fn nothing_that_is_not_built_passes_as_ordinary() {
        for (name, value) in [("TIMER_DEL_UNIQKEY", "k"), ("_SYS_MSG_PRIORITY_", "1"), ("__LITE_TOPIC", "l")]
        {
            let text = text(&[("KEYS", "k"), (name, value)]);
            let (counter, remark) = Traits::read(&text).unsupported(0).unwrap();
            assert_eq!(counter, name);
            assert!(remark.contains(&format!("{name}={value}")), "{remark}");
        }
        assert_eq!(Traits::read(&text(&[("TRAN_MSG", "false")])).unsupported(0), None);
        assert!(Traits::default().unsupported(sys_flag::TRANSACTION_PREPARED).is_some());
        assert!(Traits::default().is_inner_batch(sys_flag::INNER_BATCH));
        assert!(Traits::read("INNER_NUM\u{1}2\u{2}").is_inner_batch(0));
    }
}

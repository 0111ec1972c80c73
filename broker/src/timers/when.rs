//! When a message is due: delay levels and timer properties, in RocketMQ's order of precedence.
//!
//! RocketMQ 5.5.0 HookUtils#handleScheduleMessage: a delay level above 0 comes first, then TIMER_DELAY_SEC, TIMER_DELAY_MS,
//! TIMER_DELIVER_MS; a time that is past makes an ordinary message, and so does TIMER_OUT_MS, which only a message has that
//! was delivered by a timer before. Differences: times are not floored to a second, and the longest delay is
//! `timerMaxDelaySec`, ten years unless configured.
//! On failure: a value that is no number, or too far away, is refused with what it was.

use ringmq_wire::code::response_code;
use ringmq_wire::properties::name;

use crate::config::BrokerConfig;
use crate::handlers::message::Traits;
use crate::reply::Refusal;

/// `messageDelayLevel`: the delay of each level, in milliseconds; level 1 is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels(Box<[(i64, Box<str>)]>);

impl DelayLevels {
    /// `1s 5s 10m 2h 1d`, separated by blanks; `None` if it is not like this.
    pub fn read(text: &str) -> Option<Self> {
        let level = |word: &str| {
            let (number, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
            let unit_ms = match unit {
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            let number: i64 = number.parse().ok().filter(|number| *number >= 0)?;
            Some((number.checked_mul(unit_ms)?, word.into()))
        };
        let levels: Option<Box<[_]>> = text.split_ascii_whitespace().map(level).collect();
        levels.filter(|levels| !levels.is_empty()).map(Self)
    }

    pub fn show(&self) -> String {
        self.0.iter().map(|(_, word)| &**word).collect::<Vec<_>>().join(" ")
    }

    /// A level above the highest is the highest. Gives it, and its delay.
    fn level(&self, asked: i32) -> (i32, i64) {
        let level = usize::try_from(asked).expect("levels begin at 1").min(self.0.len());
        (level as i32, self.0[level - 1].0)
    }
}

/// A message has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub due_ms: i64,
    /// The delay level that it asks by, one that there is; without, it asks by a timer property.
    pub level: Option<i32>,
}

/// Whether a message waits, and until when. Most do not, and for them nobody looks at the clock.
pub fn when(
    traits: &Traits<'_>,
    now_ms: impl Fn() -> i64,
    config: &BrokerConfig,
) -> Result<Option<Wait>, Refusal> {
    if let Some(level) = traits.delay {
        let level: i32 = level.parse().map_err(|_| no_number(name::DELAY, level))?;
        if level > 0 {
            let (level, delay_ms) = config.message_delay_level.level(level);
            return Ok(Some(Wait { due_ms: now_ms().saturating_add(delay_ms), level: Some(level) }));
        }
    }
    if traits.was_timer {
        return Ok(None);
    }
    let Some((property, value, unit)) = asked(traits) else { return Ok(None) };
    if !config.timer_wheel_enable {
        let remark = "accurate timer message is not enabled, timerWheelEnable is false";
        return Err(Refusal::new(response_code::SYSTEM_ERROR, remark));
    }
    let number: i64 = value.parse().map_err(|_| no_number(property, value))?;
    let now_ms = now_ms();
    let due_ms = match unit {
        None => Some(number),
        Some(unit_ms) => number.checked_mul(unit_ms).and_then(|delay| now_ms.checked_add(delay)),
    };
    let max_ms = i64::try_from(config.timer_max_delay_sec.saturating_mul(1000)).unwrap_or(i64::MAX);
    match due_ms {
        Some(due_ms) if due_ms <= now_ms => Ok(None),
        Some(due_ms) if due_ms - now_ms <= max_ms => Ok(Some(Wait { due_ms, level: None })),
        _ => {
            let remark = format!(
                "timer message illegal, the delay time should not be bigger than the max delay {max_ms}ms \
                 ({property}={value})"
            );
            Err(Refusal::new(response_code::MESSAGE_ILLEGAL, remark))
        }
    }
}

/// The timer property that counts, and the milliseconds of its unit; `None` for a point in time.
fn asked<'a>(traits: &Traits<'a>) -> Option<(&'static str, &'a str, Option<i64>)> {
    if let Some(value) = traits.timer_delay_sec {
        return Some((name::TIMER_DELAY_SEC, value, Some(1000)));
    }
    if let Some(value) = traits.timer_delay_ms {
        return Some((name::TIMER_DELAY_MS, value, Some(1)));
    }
    traits.timer_deliver_ms.map(|value| (name::TIMER_DELIVER_MS, value, None))
}

fn no_number(property: &str, value: &str) -> Refusal {
    let value: String = value.chars().take(64).collect();
    Refusal::new(response_code::MESSAGE_ILLEGAL, format!("property {property}={value} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    const NOW: i64 = 1_700_000_000_123;

    fn config(text: &str) -> BrokerConfig {
        let host = HostFacts { host_name: "b".into(), address: [127, 0, 0, 1].into(), data: "d".into() };
        BrokerConfig::parse(text, &host).unwrap().0
    }

    fn asked_of(pairs: &[(&str, &str)], text: &str) -> Result<Option<Wait>, Refusal> {
        let properties: String = pairs.iter().map(|(n, v)| format!("{n}\u{1}{v}\u{2}")).collect();
        when(&Traits::read(&properties), || NOW, &config(text))
    }

    fn timer(due_ms: i64) -> Result<Option<Wait>, Refusal> {
        Ok(Some(Wait { due_ms, level: None }))
    }

    fn level(level: i32, delay_ms: i64) -> Result<Option<Wait>, Refusal> {
        Ok(Some(Wait { due_ms: NOW + delay_ms, level: Some(level) }))
    }

    #[test]
    fn levels_are_those_of_the_reference_and_clamped() {
        assert_eq!(asked_of(&[("DELAY", "1")], ""), level(1, 1000));
        assert_eq!(asked_of(&[("DELAY", "5")], ""), level(5, 60_000));
        for above in ["18", "19", "2147483647"] {
            assert_eq!(asked_of(&[("DELAY", above)], ""), level(18, 7_200_000));
        }
        for none in ["0", "-1"] {
            assert_eq!(asked_of(&[("DELAY", none)], ""), Ok(None));
        }
        assert_eq!(asked_of(&[("DELAY", "2")], "messageDelayLevel=1s 3d"), level(2, 3 * 86_400_000));
        assert_eq!(asked_of(&[("DELAY", "x")], "").unwrap_err().code, response_code::MESSAGE_ILLEGAL);
    }

    #[test]
    fn the_order_of_precedence() {
        let all = [("TIMER_DELIVER_MS", "1700000009999"), ("TIMER_DELAY_MS", "77"), ("TIMER_DELAY_SEC", "2")];
        assert_eq!(asked_of(&all, ""), timer(NOW + 2000));
        assert_eq!(asked_of(&all[..2], ""), timer(NOW + 77));
        assert_eq!(asked_of(&all[..1], ""), timer(1_700_000_009_999));
        let with_level = [all[0], ("DELAY", "1")];
        assert_eq!(asked_of(&with_level, ""), level(1, 1000));
        assert_eq!(asked_of(&[all[0], ("DELAY", "0")], ""), timer(1_700_000_009_999));
        assert_eq!(asked_of(&[all[0], ("TIMER_OUT_MS", "5")], ""), Ok(None));
        assert_eq!(asked_of(&[], ""), Ok(None));
    }

    #[test]
    fn the_past_is_now_and_the_far_future_is_refused() {
        for (property, value) in [
            ("TIMER_DELIVER_MS", "1700000000123"),
            ("TIMER_DELIVER_MS", "-5"),
            ("TIMER_DELAY_MS", "0"),
            ("TIMER_DELAY_SEC", "-1"),
        ] {
            assert_eq!(asked_of(&[(property, value)], ""), Ok(None), "{property}={value}");
        }
        let max = "9223372036854775807";
        for (property, value) in [
            ("TIMER_DELIVER_MS", max),
            ("TIMER_DELAY_MS", max),
            ("TIMER_DELAY_SEC", max),
            ("TIMER_DELAY_SEC", "315360001"),
            ("TIMER_DELAY_SEC", "many"),
        ] {
            let refused = asked_of(&[(property, value)], "").unwrap_err();
            assert_eq!(refused.code, response_code::MESSAGE_ILLEGAL);
            assert!(refused.remark.contains(&format!("{property}={value}")), "{}", refused.remark);
        }
        assert_eq!(asked_of(&[("TIMER_DELAY_SEC", "315360000")], ""), timer(NOW + 315_360_000_000));
        assert!(asked_of(&[("TIMER_DELAY_SEC", "61")], "timerMaxDelaySec=60").is_err());
        let off = asked_of(&[("TIMER_DELAY_SEC", "1")], "timerWheelEnable=false").unwrap_err();
        assert_eq!(off.code, response_code::SYSTEM_ERROR);
    }

    #[test]
    fn levels_read_back() {
        let text = "1s 5s 10s 2m 1h 1d 0s";
        assert_eq!(DelayLevels::read(text).unwrap().show(), text);
        for bad in ["", " ", "s", "5", "1w", "-1s", "1s,2s", "99999999999999999d"] {
            assert_eq!(DelayLevels::read(bad), None, "{bad}");
        }
    }
}

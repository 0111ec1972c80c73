//! Transactions: half messages, how they end, and checking back with their producers.
//!
//! A half message waits in the book of the shard of its real queue (`pending`, kind `HALVES`); its due time is when its
//! producer group is asked next. What ends it (`end`) is in one batch with its end in the book: a committed message is there
//! once, and its half waits no more; a crash leaves either both or neither. Rules: RocketMQ 5.5.0 EndTransactionProcessor,
//! TransactionalMessageServiceImpl, AbstractTransactionalMessageCheckListener.
//! Differences: a half message is asked about at its time and not up to an interval later; asking does not write it again,
//! so an end that comes late still finds it; how often it was asked about is forgotten by a restart, which asks anew.

mod asked;
mod check;
mod end;
mod text;

pub use asked::Asked;
pub use check::check_back;
pub use end::{Ending, end};
pub use text::{asked_text, committed_text, half_text, resumed_text};

use ringmq_wire::properties::{self, name};

/// How long a half message is left alone at most: CHECK_IMMUNITY_TIME_IN_SECONDS may say anything.
const IMMUNITY_MS_MAX: i64 = 10 * 365 * 86_400_000;

/// What the message itself says about how long its producer is not to be asked, in ms.
pub fn own_immunity_ms(text: &str, timeout_ms: i64) -> Option<i64> {
    let value = properties::get(text, name::CHECK_IMMUNITY_TIME_IN_SECONDS)?;
    Some(match value.parse::<i64>() {
        Ok(-1) | Err(_) => timeout_ms,
        Ok(seconds) => seconds.saturating_mul(1000).clamp(0, IMMUNITY_MS_MAX),
    })
}

/// When the producer of a half message that is stored now is asked first.
pub fn first_check_ms(text: &str, now_ms: i64, timeout_ms: u64) -> i64 {
    let timeout = i64::try_from(timeout_ms).unwrap_or(i64::MAX).min(IMMUNITY_MS_MAX);
    now_ms + own_immunity_ms(text, timeout).unwrap_or(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_say_how_long_nobody_is_asked() {
        let with = |value: &str| format!("CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}{value}\u{2}");
        assert_eq!(first_check_ms("", 1000, 6000), 7000);
        assert_eq!(first_check_ms(&with("60"), 1000, 6000), 61_000);
        assert_eq!(first_check_ms(&with("-1"), 1000, 6000), 7000);
        assert_eq!(first_check_ms(&with("soon"), 1000, 6000), 7000);
        assert_eq!(first_check_ms(&with("-5"), 1000, 6000), 1000);
        assert_eq!(first_check_ms(&with("9223372036854775807"), 1000, 6000), 1000 + IMMUNITY_MS_MAX);
    }
}

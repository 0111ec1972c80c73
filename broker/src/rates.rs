//! How many a second, over the last 10, 60 and 600 seconds: what RocketMQ's tools show as TPS.
//!
//! Owns: one sample of the totals a second, of the last ten minutes (RocketMQ 5.5.0 StoreStatsService). Invariant: samples
//! are in the order of a clock that never jumps. A broker that runs for less than a period tells the rate since its
//! start; RocketMQ tells nothing, which some tools cannot read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;

use crate::control::Control;
use crate::stats::CoreStats;

const EVERY: Duration = Duration::from_secs(1);
/// Ten minutes and the sample before.
const SAMPLES: usize = 601;

const PERIODS_SECS: [u64; 3] = [10, 60, 600];

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ns: u64,
    puts: u64,
    found: u64,
    missed: u64,
    transferred: u64,
}

/// See the module.
#[derive(Default)]
pub struct Rates(RefCell<VecDeque<Sample>>);

/// Totals at the last two midnights (RocketMQ 5.5.0 BrokerStats): 0 as long as the broker has not lived through one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mornings {
    day: Option<i64>,
    pub yesterday: Totals,
    pub today: Totals,
}

/// Messages that came in and went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub put: u64,
    pub got: u64,
}

impl Mornings {
    fn look(&mut self, local_ms: i64, now: Totals) {
        const DAY_MS: i64 = 24 * 3600 * 1000;
        let day = local_ms.div_euclid(DAY_MS);
        // A clock that is set back begins no day.
        if self.day.is_some_and(|known| day > known) {
            self.yesterday = std::mem::replace(&mut self.today, now);
        }
        self.day = Some(self.day.map_or(day, |known| known.max(day)));
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Puts,
    /// Pulls that found something, that did not, and all.
    Found,
    Missed,
    Gets,
    /// Messages that pulls were given.
    Transferred,
}

impl Sample {
    fn value(&self, rate: Rate) -> u64 {
        match rate {
            Rate::Puts => self.puts,
            Rate::Found => self.found,
            Rate::Missed => self.missed,
            Rate::Gets => self.found + self.missed,
            Rate::Transferred => self.transferred,
        }
    }
}

impl Rates {
    fn add(&self, at_ns: u64, stats: &CoreStats) {
        let mut samples = self.0.borrow_mut();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample {
            at_ns,
            puts: stats.put_messages,
            found: stats.pulls_found,
            missed: stats.pulls_missed,
            transferred: stats.get_messages,
        });
    }

    /// In one second, over the period.
    fn over(&self, rate: Rate, period: Duration) -> f64 {
        let samples = self.0.borrow();
        let Some(last) = samples.back() else { return 0.0 };
        let begin = last.at_ns.saturating_sub(period.as_nanos() as u64);
        // The last one at or before the period's begin.
        let after = samples.partition_point(|sample| sample.at_ns <= begin);
        let Some(first) = samples.get(after.saturating_sub(1)) else { return 0.0 };
        let passed = (last.at_ns - first.at_ns) as f64 / 1e9;
        if passed == 0.0 { 0.0 } else { (last.value(rate) - first.value(rate)) as f64 / passed }
    }

    /// As RocketMQ's runtime information has it: three numbers of Java's form.
    pub fn shown(&self, rate: Rate) -> String {
        PERIODS_SECS.map(|secs| java_double(self.over(rate, Duration::from_secs(secs)))).join(" ")
    }
}

/// Java always shows a fraction.
fn java_double(value: f64) -> String {
    format!("{value:?}")
}

/// The task of the control core.
pub async fn sample<E: Env>(control: Rc<Control<E>>) {
    let core = &control.core;
    let stop = &core.lifecycle.stop;
    while !stop.is_signalled() {
        let asked_ns = core.env.monotonic_ns();
        let stats = core.stats_of_all().await;
        control.rates.add(asked_ns, &stats);
        let mut mornings = control.mornings.get();
        let local_ms = core.env.now_ms() + i64::from(control.utc_offset_secs) * 1000;
        mornings.look(local_ms, Totals { put: stats.put_messages, got: stats.get_messages });
        control.mornings.set(mornings);
        core.env.sleep(EVERY).or(stop.wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64, puts: u64) -> (u64, CoreStats) {
        (secs * 1_000_000_000, CoreStats { put_messages: puts, pulls_found: secs, ..CoreStats::default() })
    }

    #[test]
    fn rates_are_of_their_period_or_of_the_time_since_the_start() {
        let rates = Rates::default();
        assert_eq!(rates.shown(Rate::Puts), "0.0 0.0 0.0");
        let add = |(at_ns, stats): (u64, CoreStats)| rates.add(at_ns, &stats);
        add(at(0, 0));
        assert_eq!(rates.shown(Rate::Puts), "0.0 0.0 0.0");
        (1..=5).for_each(|s| add(at(s, s * 10)));
        assert_eq!(rates.shown(Rate::Puts), "10.0 10.0 10.0", "since the start");
        (6..=100).for_each(|s| add(at(s, 50 + (s - 5) * 100)));
        assert_eq!(rates.over(Rate::Puts, Duration::from_secs(10)), 100.0);
        assert_eq!(rates.over(Rate::Puts, Duration::from_secs(60)), 100.0);
        assert_eq!(rates.over(Rate::Puts, Duration::from_secs(600)), 9550.0 / 100.0);
        assert_eq!(rates.shown(Rate::Gets), "1.0 1.0 1.0");
        // Nothing comes any more.
        (101..=1000).for_each(|s| add(at(s, 9550)));
        assert_eq!(rates.shown(Rate::Puts), "0.0 0.0 0.0");
        assert_eq!(rates.0.borrow().len(), SAMPLES);
    }

    #[test]
    fn totals_are_noted_at_midnight() {
        let totals = |put| Totals { put, got: put / 2 };
        let mut mornings = Mornings::default();
        let hour = |hours: i64| hours * 3_600_000;
        mornings.look(hour(23), totals(100));
        assert_eq!((mornings.yesterday, mornings.today), (totals(0), totals(0)));
        mornings.look(hour(24), totals(200));
        mornings.look(hour(47), totals(300));
        assert_eq!((mornings.yesterday, mornings.today), (totals(0), totals(200)));
        mornings.look(hour(48), totals(400));
        mornings.look(hour(40), totals(500));
        mornings.look(hour(49), totals(600));
        assert_eq!((mornings.yesterday, mornings.today), (totals(200), totals(400)));
    }

    #[test]
    fn numbers_are_shown_as_java_shows_them() {
        assert_eq!(java_double(12.0), "12.0");
        assert_eq!(java_double(0.5), "0.5");
        assert!(java_double(100.0 / 3.0).starts_with("33.3333"));
    }
}

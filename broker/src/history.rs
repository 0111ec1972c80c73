//! How much has moved in each topic, and to each group, over the last minute, hour and day.
//!
//! Owns: samples of all cores' traffic: each 10 s for a minute, each ten minutes for an hour, each hour for a day
//! (RocketMQ 5.5.0 StatsItem). Invariants: samples of a window are of the same moments for everything; what appeared
//! since a sample was at 0 then, since counters begin there; at most `HISTORY_ROWS_MAX` topics and groups are kept.
//! On failure: what finds no room has no history, as if it were idle; a core that does not answer makes a round fail, which is
//! reported, and the next is as good as any.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;
use ringmq_io::limits::HISTORY_ROWS_MAX;
use ringmq_wire::json_dialect::StatsItem;

use crate::admin::gather::{self, Moved, breathe};
use crate::control::Control;

/// The shortest distance of two samples.
const EVERY: Duration = Duration::from_secs(10);

/// Rounds between two samples, and how many are kept.
const WINDOWS: [(u64, usize); 3] = [(1, 7), (60, 7), (360, 25)];

/// Of what: messages that came into a topic, or went from it to a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    In(Box<str>),
    Out(Box<str>, Box<str>),
    AllIn,
    AllOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Messages,
    Bytes,
}

/// What moved over a minute, an hour, a day.
pub type Items = [StatsItem; 3];

#[derive(Debug, Default)]
struct Row {
    /// By window, the newest last. Older ones than there are were 0.
    samples: [VecDeque<Moved>; 3],
    /// The round in which it was last there.
    round: u64,
}

#[derive(Default)]
pub struct History {
    rows: RefCell<BTreeMap<What, Row>>,
    /// When the samples of each window were taken, in nanoseconds.
    taken: RefCell<[VecDeque<u64>; 3]>,
    rounds: Cell<u64>,
    /// Topics and groups without room, in the last round.
    without_room: Cell<usize>,
}

fn push<T>(samples: &mut VecDeque<T>, sample: T, most: usize) {
    if samples.len() == most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

fn is_due(round: u64, window: usize) -> bool {
    round.is_multiple_of(WINDOWS[window].0)
}

impl History {
    fn begin(&self, at_ns: u64) -> u64 {
        let round = self.rounds.get();
        self.rounds.set(round + 1);
        self.without_room.set(0);
        let mut taken = self.taken.borrow_mut();
        for (window, (_, most)) in WINDOWS.iter().enumerate().filter(|(window, _)| is_due(round, *window)) {
            push(&mut taken[window], at_ns, *most);
        }
        round
    }

    fn note(&self, round: u64, what: What, moved: Moved) {
        let mut rows = self.rows.borrow_mut();
        if rows.len() >= HISTORY_ROWS_MAX && !rows.contains_key(&what) {
            self.without_room.set(self.without_room.get() + 1);
            return;
        }
        let row = rows.entry(what).or_default();
        row.round = round;
        for (window, (_, most)) in WINDOWS.iter().enumerate().filter(|(window, _)| is_due(round, *window)) {
            push(&mut row.samples[window], moved, *most);
        }
    }

    /// What was not there in this round is gone.
    fn end(&self, round: u64) {
        self.rows.borrow_mut().retain(|_, row| row.round == round);
    }

    /// `None`: nothing is known of it.
    pub fn of(&self, what: &What, unit: Unit) -> Option<Items> {
        let rows = self.rows.borrow();
        let row = rows.get(what)?;
        let taken = self.taken.borrow();
        let mut items = Items::default();
        for (window, item) in items.iter_mut().enumerate() {
            let (samples, taken) = (&row.samples[window], &taken[window]);
            let value = |moved: &Moved| match unit {
                Unit::Messages => moved.messages,
                Unit::Bytes => moved.bytes,
            };
            let Some(last) = samples.back().map(value) else { continue };
            // Not there yet when the window begins: it was at 0.
            let first = if samples.len() < taken.len() { 0 } else { samples.front().map_or(0, value) };
            let passed_ns = taken.back().unwrap_or(&0) - taken.front().unwrap_or(&0);
            let sum = last.saturating_sub(first);
            item.sum = sum as i64;
            item.tps = if passed_ns == 0 { 0.0 } else { sum as f64 / (passed_ns as f64 / 1e9) };
        }
        Some(items)
    }

    /// Messages a second over the last minute.
    pub fn rate(&self, what: &What) -> f64 {
        self.of(what, Unit::Messages).map_or(0.0, |items| items[0].tps)
    }
}

async fn round<E: Env>(control: &Control<E>) -> Result<(), String> {
    let env = &control.core.env;
    let mut traffic = gather::traffic(&control.core).await?;
    let history = &control.history;
    let round = history.begin(env.monotonic_ns());
    let (mut all_in, mut all_out, mut rows) = (Moved::default(), Moved::default(), 0);
    while let Some((topic, moved)) = traffic.incoming.pop_first() {
        all_in += moved;
        history.note(round, What::In(topic), moved);
        breathe(env, rows).await;
        rows += 1;
    }
    while let Some(((topic, group), moved)) = traffic.outgoing.pop_first() {
        all_out += moved;
        history.note(round, What::Out(topic, group), moved);
        breathe(env, rows).await;
        rows += 1;
    }
    history.note(round, What::AllIn, all_in);
    history.note(round, What::AllOut, all_out);
    history.end(round);
    if history.without_room.get() > 0 {
        tracing::debug!(
            rows = history.without_room.get(),
            most = HISTORY_ROWS_MAX,
            "topics and groups without a history of their rates"
        );
    }
    Ok(())
}

/// The task of the control core.
pub async fn sample<E: Env>(control: Rc<Control<E>>) {
    let stop = &control.core.lifecycle.stop;
    while !stop.is_signalled() {
        if let Err(error) = round(&control).await {
            tracing::warn!(error, "rates of topics are not counted this time");
        }
        control.core.env.sleep(EVERY).or(stop.wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(history: &History, secs: u64, rows: &[(&What, u64)]) {
        let round = history.begin(secs * 1_000_000_000);
        for (what, messages) in rows {
            history.note(round, (*what).clone(), Moved { messages: *messages, bytes: messages * 10 });
        }
        history.end(round);
    }

    fn sums(history: &History, what: &What) -> Option<[i64; 3]> {
        history.of(what, Unit::Messages).map(|items| items.map(|item| item.sum))
    }

    #[test]
    fn a_window_tells_what_moved_in_it() {
        let (history, old) = (History::default(), What::In("t".into()));
        take(&history, 0, &[(&old, 1000)]);
        // What was counted before the first sample is in no window.
        assert_eq!(sums(&history, &old), Some([0, 0, 0]));
        (1..=6).for_each(|i| take(&history, i * 10, &[(&old, 1000 + i * 20)]));
        assert_eq!(sums(&history, &old), Some([120, 0, 0]));
        assert_eq!(history.rate(&old), 2.0);
        (7..=60).for_each(|i| take(&history, i * 10, &[(&old, 1120)]));
        assert_eq!(sums(&history, &old), Some([0, 120, 0]));
        assert_eq!(history.of(&old, Unit::Bytes).unwrap()[1].sum, 1200);
        (61..=720).for_each(|i| take(&history, i * 10, &[(&old, 1120)]));
        assert_eq!(sums(&history, &old), Some([0, 0, 120]));
    }

    #[test]
    fn what_appears_was_at_nothing_before_and_what_goes_is_forgotten() {
        let history = History::default();
        let (old, new) = (What::In("t".into()), What::Out("t".into(), "g".into()));
        take(&history, 0, &[(&old, 5)]);
        take(&history, 10, &[(&old, 5), (&new, 30)]);
        assert_eq!(sums(&history, &new), Some([30, 0, 0]));
        assert_eq!(history.rate(&new), 3.0);
        take(&history, 20, &[(&old, 5)]);
        assert_eq!(sums(&history, &new), None);
        assert_eq!(history.rate(&new), 0.0);
    }
}

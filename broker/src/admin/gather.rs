//! Asks all cores for their figures.
//!
//! Invariants: what grows with topics and queues comes in slices, with a yield between them, so that a broker with
//! 100,000 queues serves its clients meanwhile; nothing is borrowed over a wait. On failure: a core that does not answer
//! within `ADMIN_GATHER_SECS_MAX` makes the whole an error that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::limits::{ADMIN_GATHER_SECS_MAX, ADMIN_ROWS_PER_TURN};
use ringmq_io::{Env, deadline};

use crate::ask::{Answer, Question};
use crate::control::Control;
use crate::core::Core;
use crate::lag_look::Place;
use crate::snapshot::CoreSnapshot;

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub messages: u64,
    pub bytes: u64,
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

#[derive(Debug, Default)]
pub struct Traffic {
    pub incoming: BTreeMap<Box<str>, Moved>,
    /// By topic and group.
    pub outgoing: BTreeMap<(Box<str>, Box<str>), Moved>,
}

/// How far a group is behind in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLag {
    pub place: Place,
    /// Stored and not committed.
    pub messages: u64,
    /// Given to the group and not committed.
    pub in_flight: u64,
    /// Stored and not given to the group.
    pub ready: u64,
}

/// A group's lag in a topic, by queue.
#[derive(Debug)]
pub struct Lag {
    pub group: Rc<str>,
    pub topic: Rc<str>,
    pub queues: Vec<QueueLag>,
    /// When the oldest message was stored that the group has not committed, and that it was not given; `None`: nobody has looked.
    pub oldest_ms: Option<[Option<i64>; 2]>,
}

impl Lag {
    pub fn messages(&self) -> u64 {
        self.queues.iter().map(|queue| queue.messages).sum()
    }

    pub fn in_flight(&self) -> u64 {
        self.queues.iter().map(|queue| queue.in_flight).sum()
    }

    pub fn ready(&self) -> u64 {
        self.queues.iter().map(|queue| queue.ready).sum()
    }
}

/// Lets others run after so many rows.
pub async fn breathe<E: Env>(env: &E, rows: usize) {
    if (rows + 1).is_multiple_of(ADMIN_ROWS_PER_TURN) {
        env.yield_now().await;
    }
}

/// Frees a large map bit by bit: 100,000 entries at once hold a core up for milliseconds.
pub async fn let_go<E: Env, K: Ord, V>(env: &E, mut map: BTreeMap<K, V>) {
    let mut freed = 0;
    while map.pop_first().is_some() {
        breathe(env, freed).await;
        freed += 1;
    }
}

pub(super) async fn ask<E: Env>(core: &Rc<Core<E>>, of: usize, question: Question) -> Result<Answer, String> {
    let limit = Duration::from_secs(ADMIN_GATHER_SECS_MAX);
    let answer = deadline(&core.env, limit, core.ask(of, question)).await;
    answer.map_err(|_| format!("core {of} does not answer within {limit:?}"))
}

/// A snapshot of each core.
pub async fn snapshots<E: Env>(core: &Rc<Core<E>>) -> Result<Vec<CoreSnapshot>, String> {
    let mut all = Vec::new();
    for of in 0..core.placement.cores() {
        match ask(core, of, Question::Snapshot).await? {
            Answer::Snapshot(snapshot) => all.push(*snapshot),
            other => unreachable!("asked for a snapshot, was answered {other:?}"),
        }
    }
    Ok(all)
}

pub async fn traffic<E: Env>(core: &Rc<Core<E>>) -> Result<Traffic, String> {
    let mut all = Traffic::default();
    for of in 0..core.placement.cores() {
        let mut next = Some(0);
        while let Some(cursor) = next {
            let Answer::Traffic(rows, more) = ask(core, of, Question::Traffic { cursor }).await? else {
                unreachable!("asked for traffic");
            };
            for row in rows {
                let moved = Moved { messages: row.messages, bytes: row.bytes };
                match row.group {
                    None => *all.incoming.entry(row.topic).or_default() += moved,
                    Some(group) => *all.outgoing.entry((row.topic, group)).or_default() += moved,
                }
            }
            next = more;
            core.env.yield_now().await;
        }
    }
    Ok(all)
}

type Ends = BTreeMap<Box<str>, BTreeMap<u32, u64>>;

/// The next offset of each queue that has ever had a message.
async fn queue_ends<E: Env>(core: &Rc<Core<E>>) -> Result<Ends, String> {
    let mut all = Ends::new();
    for shard in 0..core.placement.shards() {
        let mut next = Some(0);
        while let Some(cursor) = next {
            let question = Question::QueueEnds { shard, cursor, most: ADMIN_ROWS_PER_TURN };
            let Answer::QueueEnds(ends, more) = ask(core, core.placement.core(shard), question).await? else {
                unreachable!("asked for the ends of queues");
            };
            for end in ends {
                all.entry(end.topic).or_default().insert(end.queue_id, end.bounds.max);
            }
            next = more;
            core.env.yield_now().await;
        }
    }
    Ok(all)
}

/// How far groups were given queues, by group and topic.
type Pulls = BTreeMap<(Box<str>, Box<str>), Vec<(u16, u64)>>;

async fn pulls<E: Env>(core: &Rc<Core<E>>) -> Result<Pulls, String> {
    let mut all = Pulls::new();
    for of in 0..core.placement.cores() {
        let mut next = Some(0);
        while let Some(cursor) = next {
            let Answer::Pulled(rows, more) = ask(core, of, Question::Pulled { cursor }).await? else {
                unreachable!("asked what was pulled");
            };
            for row in rows {
                all.entry((row.group, row.topic)).or_default().extend(row.queues);
            }
            next = more;
            core.env.yield_now().await;
        }
    }
    Ok(all)
}

/// Every topic whose offsets have moved since it was made.
pub async fn topics_with_messages<E: Env>(core: &Rc<Core<E>>) -> Result<BTreeSet<Box<str>>, String> {
    let mut ends = queue_ends(core).await?;
    let mut topics = BTreeSet::new();
    let mut rows = 0;
    while let Some((topic, queues)) = ends.pop_first() {
        if queues.values().any(|end| *end > 0) {
            topics.insert(topic);
        }
        breathe(&core.env, rows).await;
        rows += 1;
    }
    Ok(topics)
}

/// How far each group is behind in each topic that it has ever committed an offset of.
pub async fn lags<E: Env>(control: &Rc<Control<E>>) -> Result<Vec<Lag>, String> {
    let ends = queue_ends(&control.core).await?;
    let pulls = pulls(&control.core).await?;
    let env = &control.core.env;
    let mut lags = Vec::new();
    let mut after = None;
    loop {
        let some = some_lags(control, &ends, &pulls, after.as_ref());
        let Some(last) = some.last() else {
            let_go(env, ends).await;
            let_go(env, pulls).await;
            super::lag::look_closer(control, &mut lags).await?;
            return Ok(lags);
        };
        after = Some((last.group.clone(), last.topic.clone()));
        lags.extend(some);
        env.yield_now().await;
    }
}

/// The lags behind the one of this group and topic, as many as are looked at in one go.
fn some_lags<E: Env>(
    control: &Control<E>,
    ends: &Ends,
    pulls: &Pulls,
    after: Option<&(Rc<str>, Rc<str>)>,
) -> Vec<Lag> {
    let state = control.state.borrow();
    let mut lags = Vec::new();
    let mut queues_seen = 0;
    let mut position = after.map(|(group, topic)| (&**group, &**topic));
    while let Some((group, topic, offsets)) = state.offsets.after(position) {
        position = Some((&**group, &**topic));
        let ends = ends.get(&**topic);
        let pulled: BTreeMap<u32, u64> = pulls
            .get(&(Box::from(&**group), Box::from(&**topic)))
            .into_iter()
            .flatten()
            .map(|(id, end)| (u32::from(*id), *end))
            .collect();
        let lag = |(queue_id, offset): (&u32, &i64)| {
            // A queue without a message is at 0; an offset that is ahead was set by hand.
            let end = ends.and_then(|ends| ends.get(queue_id)).copied().unwrap_or(0);
            let offset = u64::try_from(*offset).unwrap_or(0);
            let pulled = pulled.get(queue_id).copied().unwrap_or(offset);
            QueueLag {
                place: Place { queue_id: *queue_id, committed: offset, pulled, end },
                messages: end.saturating_sub(offset),
                in_flight: pulled.saturating_sub(offset),
                ready: end.saturating_sub(pulled),
            }
        };
        let queues: Vec<_> = offsets.iter().map(lag).collect();
        queues_seen += queues.len();
        lags.push(Lag { group: group.clone(), topic: topic.clone(), queues, oldest_ms: None });
        if queues_seen >= ADMIN_ROWS_PER_TURN {
            break;
        }
    }
    lags
}

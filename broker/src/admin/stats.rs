//! Makes the document of `/stats`.
//!
//! Owns: what the topics had at the last look, to find the busy ones. Invariant: one document names at most
//! `BUSY_TOPICS` topics, however many there are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_io::Env;

use super::document::{CorePart, Document, ShardPart, Times, TopicPart};
use super::gather::{self, Moved, Traffic, breathe, let_go};
use crate::control::Control;
use crate::snapshot::CoreSnapshot;

/// Two screens full.
const BUSY_TOPICS: usize = 100;

/// What went in and out of a topic.
type Both = [Moved; 2];

/// What each topic had had at the last look.
#[derive(Default)]
pub struct LastLook(RefCell<BTreeMap<Box<str>, Both>>);

pub async fn document<E: Env>(control: &Rc<Control<E>>, last: &LastLook) -> Result<Document, String> {
    let snapshots = gather::snapshots(&control.core).await?;
    let traffic = gather::traffic(&control.core).await?;
    let core = &control.core;
    let (topics, groups) = {
        let state = control.state.borrow();
        (state.topics.len() as u64, state.groups.len() as u64)
    };
    Ok(Document {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: core.identity.cluster.clone(),
        broker: core.identity.broker_name.clone(),
        at_ns: core.env.monotonic_ns(),
        uptime_secs: ((core.env.now_ms() - control.started_ms) / 1000).max(0) as u64,
        topics,
        groups,
        cores: snapshots.iter().map(core_part).collect(),
        busy_topics: last.busiest(&core.env, traffic).await,
    })
}

fn core_part(snapshot: &CoreSnapshot) -> CorePart {
    let stats = &snapshot.stats;
    let full: u64 = snapshot.full.iter().map(|(_, count)| count).sum();
    CorePart {
        core: snapshot.core as u64,
        messages_in: stats.put_messages,
        bytes_in: stats.put_bytes,
        messages_out: stats.get_messages,
        bytes_out: stats.get_bytes,
        requests: stats.frames_in,
        connections: stats.connections,
        holds: stats.holds,
        turns: snapshot.vitals.turns,
        sleeps: snapshot.vitals.sleeps,
        stalls: snapshot.vitals.stalls,
        preempted: snapshot.vitals.preempted,
        refused: stats.put_refused + stats.lanes_full + stats.unsupported + full,
        turn_ns: Times::of(&snapshot.vitals.turn_ns),
        lanes_out: snapshot.lanes.iter().map(|lane| lane.in_lane as u64).sum(),
        outboxes: snapshot.lanes.iter().map(|lane| lane.in_outbox as u64).sum(),
        stages: snapshot.stages.0.iter().map(|(stage, times)| ((*stage).into(), Times::of(times))).collect(),
        shards: snapshot
            .shards
            .iter()
            .map(|shard| ShardPart {
                shard: u64::from(shard.shard),
                ring_bytes: shard.stats.ring_bytes,
                unsynced_bytes: shard.stats.unsynced_bytes,
                log_bytes: shard.stats.log_end - shard.stats.log_start,
                flush_ns: Times::of(&shard.flush_ns),
                latched: shard.latched.clone(),
            })
            .collect(),
    }
}

impl LastLook {
    async fn busiest<E: Env>(&self, env: &E, mut traffic: Traffic) -> Vec<TopicPart> {
        // Of two looks at a time the later one finds all topics new, which costs it the order and nothing else.
        let before = self.0.take();
        let mut now: BTreeMap<Box<str>, Both> = BTreeMap::new();
        let mut rows = 0;
        while let Some((topic, moved)) = traffic.incoming.pop_first() {
            now.entry(topic).or_default()[0] += moved;
            breathe(env, rows).await;
            rows += 1;
        }
        while let Some(((topic, _), moved)) = traffic.outgoing.pop_first() {
            now.entry(topic).or_default()[1] += moved;
            breathe(env, rows).await;
            rows += 1;
        }
        let mut busy = Busy::default();
        for (n, (topic, both)) in now.iter().enumerate() {
            let total = messages(both);
            let moved = total.saturating_sub(before.get(topic).map_or(0, messages));
            busy.add(moved, total, topic, both);
            breathe(env, n).await;
        }
        let busiest = busy.busiest();
        self.0.replace(now);
        let_go(env, before).await;
        busiest
    }
}

fn messages(both: &Both) -> u64 {
    both.iter().map(|moved| moved.messages).sum()
}

/// The busiest of many, without keeping all.
#[derive(Default)]
struct Busy<'a>(Vec<(u64, u64, &'a str, Both)>);

impl<'a> Busy<'a> {
    fn add(&mut self, moved: u64, total: u64, topic: &'a str, both: &Both) {
        self.0.push((moved, total, topic, *both));
        if self.0.len() >= 4 * BUSY_TOPICS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        // Of equals the one that has had more in all.
        self.0.sort_by_key(|(moved, total, ..)| std::cmp::Reverse((*moved, *total)));
        self.0.truncate(BUSY_TOPICS);
    }

    fn busiest(mut self) -> Vec<TopicPart> {
        self.cut();
        let part = |(_, _, topic, [incoming, outgoing]): (u64, u64, &str, Both)| TopicPart {
            topic: topic.to_owned(),
            messages_in: incoming.messages,
            bytes_in: incoming.bytes,
            messages_out: outgoing.messages,
            bytes_out: outgoing.bytes,
        };
        self.0.into_iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use ringmq_simenv::World;

    use super::*;

    #[test]
    fn the_busiest_since_the_last_look_come_first() {
        World::simulate(5, |env| async move {
            let last = LastLook::default();
            let moved = |messages| Moved { messages, bytes: messages * 10 };
            let traffic = |changed: &[(&str, u64)], pulled: u64| {
                let mut traffic = Traffic::default();
                for i in 0..10 * BUSY_TOPICS as u64 {
                    traffic.incoming.insert(format!("t{i}").into(), moved(10_000 - i));
                }
                for (topic, messages) in changed {
                    traffic.incoming.insert((*topic).into(), moved(*messages));
                }
                traffic.outgoing.insert(("t7".into(), "g".into()), moved(pulled));
                traffic
            };
            let first = last.busiest(&env, traffic(&[], 0)).await;
            assert_eq!((first.len(), first[0].topic.as_str()), (BUSY_TOPICS, "t0"));
            let second = last.busiest(&env, traffic(&[("t950", 15_000)], 6000)).await;
            assert_eq!([&*second[0].topic, &*second[1].topic, &*second[2].topic], ["t7", "t950", "t0"]);
            assert_eq!((second[0].messages_in, second[0].messages_out), (9993, 6000));
            assert_eq!(second.len(), BUSY_TOPICS);
        });
    }
}

//! Where queues of a topic begin and end, and when messages in them were stored, from the cores that have them.
//!
//! Owns: gathering that for administration. Invariants: each core is asked once for at most `ADMIN_ROWS_PER_TURN` queues at a time,
//! and other tasks run between two of them; what comes back is in the order of what was asked.
//! On failure: a store that cannot be read makes the whole a refusal with its reason.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::ADMIN_ROWS_PER_TURN;

use crate::ask::{Answer, Question};
use crate::core::Core;
use crate::reply::Refusal;

/// A message of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    First,
    Last,
    Offset(i64),
}

/// What is asked of one queue.
#[derive(Clone, Debug)]
pub struct Look {
    pub queue_id: u32,
    /// Whose store times are wanted.
    pub times_of: Vec<At>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub queue_id: u32,
    pub min: i64,
    pub max: i64,
    /// Of the messages that were asked for, in their order; `None` of one that is not there.
    pub times: Vec<Option<i64>>,
    /// Where the last pull of the group that was asked for ended, if it has ever pulled.
    pub pulled: Option<i64>,
}

impl<E: Env> Core<E> {
    /// Looks at queues of a topic, wherever they are, and at how much of them the group has pulled.
    pub async fn look_at_queues(
        self: &Rc<Self>,
        topic: &str,
        looks: Vec<Look>,
        group: Option<&str>,
    ) -> Result<Vec<Seen>, Refusal> {
        let first_shard = self.placement.first_shard(topic);
        let mut by_core: Vec<Vec<Look>> = (0..self.placement.cores()).map(|_| Vec::new()).collect();
        for look in looks {
            let shard = self.placement.shard(first_shard, look.queue_id);
            by_core[self.placement.core(shard)].push(look);
        }
        let mut all = Vec::new();
        for (core, looks) in by_core.into_iter().enumerate() {
            for some in looks.chunks(ADMIN_ROWS_PER_TURN) {
                let (topic, looks, group) = (topic.into(), some.to_vec(), group.map(Box::from));
                let question = Question::LookAtQueues { topic, looks, group };
                match self.ask(core, question).await {
                    Answer::Seen(Ok(seen)) => all.extend(seen),
                    Answer::Seen(Err(error)) => return Err(Refusal::unreadable(error)),
                    other => unreachable!("asked to look at queues, was answered {other:?}"),
                }
                self.env.yield_now().await;
            }
        }
        all.sort_by_key(|seen| seen.queue_id);
        Ok(all)
    }

    /// The queues are of shards of this core.
    pub(crate) async fn look_here(
        &self,
        topic: &str,
        looks: &[Look],
        group: Option<&str>,
    ) -> Result<Vec<Seen>, String> {
        let first_shard = self.placement.first_shard(topic);
        let mut all = Vec::with_capacity(looks.len());
        for look in looks {
            let shard = self.placement.shard(first_shard, look.queue_id);
            let shard = &self.local(shard).expect("a queue's core has its shard").shard;
            let pulled = group.and_then(|group| self.tables.pulled(group, topic, look.queue_id));
            let pulled = pulled.map(|end| end as i64);
            let mut seen = Seen { queue_id: look.queue_id, pulled, ..Seen::default() };
            let Some(queue) = shard.find_queue(topic, look.queue_id) else {
                seen.times = vec![None; look.times_of.len()];
                all.push(seen);
                continue;
            };
            let bounds = shard.bounds(queue);
            (seen.min, seen.max) = (bounds.min as i64, bounds.max as i64);
            for at in &look.times_of {
                let offset = match at {
                    At::First => seen.min,
                    At::Last => seen.max - 1,
                    At::Offset(offset) => *offset,
                };
                let there = (seen.min..seen.max).contains(&offset);
                let time = match there {
                    true => {
                        shard.store_time(queue, offset as u64).await.map_err(|error| error.to_string())?
                    }
                    false => None,
                };
                seen.times.push(time);
            }
            all.push(seen);
        }
        Ok(all)
    }
}

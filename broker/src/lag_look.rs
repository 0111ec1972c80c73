//! What a group is behind with, message by message: how old it is, and how much of it the group wants.
//!
//! Owns: that question to the cores that have the queues. Invariants: two look-ups in the index a queue, and for a group that wants some
//! tags at most `LAG_SAMPLE_MAX` entries more of each span: of longer ones it is told what these let expect (RocketMQ 5.5.0
//! ConsumeQueue#estimateMessageCount). Other tasks run between two queues that are looked at for tags.
//! On failure: an index that cannot be read is an error with its reason.

use std::ops::Range;

use ringmq_io::Env;
use ringmq_io::limits::LAG_SAMPLE_MAX;
use ringmq_store::{QueueRef, Shard};

use crate::core::Core;

/// A group's place in a queue of the core that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue_id: u32,
    pub committed: u64,
    pub pulled: u64,
    pub end: u64,
}

/// What is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// When the oldest message was stored that is not committed, and the oldest that was not pulled.
    pub unconsumed_ms: Option<i64>,
    pub unpulled_ms: Option<i64>,
    /// Messages that the group wants, if it wants some tags.
    pub wanted: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub messages: u64,
    pub in_flight: u64,
    pub ready: u64,
}

impl<E: Env> Core<E> {
    /// In the order of `places`. `tags`: codes of those that the group wants, if not all.
    pub(crate) async fn lag_here(
        &self,
        topic: &str,
        places: &[Place],
        tags: Option<&[i64]>,
    ) -> Result<Vec<Behind>, String> {
        let first_shard = self.placement.first_shard(topic);
        let mut all = Vec::with_capacity(places.len());
        for place in places {
            let shard = self.placement.shard(first_shard, place.queue_id);
            let shard = &self.local(shard).expect("a queue's core has its shard").shard;
            let Some(queue) = shard.find_queue(topic, place.queue_id) else {
                all.push(Behind::default());
                continue;
            };
            let behind = behind(shard, queue, place, tags).await;
            all.push(behind.map_err(|error| error.to_string())?);
            if tags.is_some() {
                self.env.yield_now().await;
            }
        }
        Ok(all)
    }
}

async fn behind<E: Env>(
    shard: &Shard<E>,
    queue: QueueRef,
    place: &Place,
    tags: Option<&[i64]>,
) -> std::io::Result<Behind> {
    let bounds = shard.bounds(queue);
    // What retention has taken is waited for by nobody: the oldest one that is there counts.
    let stored = async |offset: u64| match offset.max(bounds.min) {
        offset if offset < bounds.max => shard.store_time(queue, offset).await,
        _ => Ok(None),
    };
    let (unconsumed_ms, unpulled_ms) = (stored(place.committed).await?, stored(place.pulled).await?);
    let wanted = match tags {
        None => None,
        Some(tags) => {
            let count = async |span: Range<u64>| chosen(shard, queue, span, tags).await;
            let in_flight = count(place.committed..place.pulled).await?;
            let ready = count(place.pulled..place.end).await?;
            let in_between = (place.committed..=place.end).contains(&place.pulled);
            let messages =
                if in_between { in_flight + ready } else { count(place.committed..place.end).await? };
            Some(Wanted { messages, in_flight, ready })
        }
    };
    Ok(Behind { unconsumed_ms, unpulled_ms, wanted })
}

/// How many messages of the span have one of the tags.
async fn chosen<E: Env>(
    shard: &Shard<E>,
    queue: QueueRef,
    span: Range<u64>,
    tags: &[i64],
) -> std::io::Result<u64> {
    let from = span.start.max(shard.bounds(queue).min);
    let all = span.end.saturating_sub(from);
    let sample = u32::try_from(all).unwrap_or(u32::MAX).min(LAG_SAMPLE_MAX);
    if sample == 0 {
        return Ok(0);
    }
    shard.make_legible(queue, from, sample).await?;
    let (mut looked, mut hits) = (0, 0);
    shard.look(queue, from, sample, |entry| {
        looked += 1;
        hits += u64::from(tags.contains(&entry.tags_code));
    });
    Ok(match all > u64::from(sample) && looked > 0 {
        true => (u128::from(hits) * u128::from(all) / looked) as u64,
        false => hits,
    })
}

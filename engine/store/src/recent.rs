//! The keys of a topic's youngest messages, without reading a message.
//!
//! Owns: the join of a topic's index entries with the keys that the append noted at their positions. Invariants: each message of
//! the topic stored from the given time on is given with each of its keys, at least once; no other topic's is. No step between
//! two yields looks at more than a chunk.
//! On failure: a damaged index is mended first; an I/O error is the caller's.

use std::io;

use ringmq_io::Env;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;

use crate::inner::Inner;
use crate::keys::KeyEntry;
use crate::physical::PhysicalOffset;
use crate::sorting::sort_in_turns;

/// A key of a message; see [`crate::key_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecentKey {
    pub hash: u64,
    pub physical: u64,
    pub store_time_ms: i64,
}

/// Where a message lies and when it was stored.
type Place = (u64, i64);

impl<E: Env> Inner<E> {
    /// `None`: there are more than `max` messages.
    pub async fn recent_keys(
        &self,
        topic: &str,
        since_ms: i64,
        max: usize,
    ) -> io::Result<Option<Vec<RecentKey>>> {
        let Some(places) = self.places_since(topic, since_ms, max).await? else { return Ok(None) };
        if places.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let places = sort_in_turns(&self.env, places, Ord::cmp).await;
        let mut found = Vec::with_capacity(places.len());
        // Memory first: sealing moves keys from there to a file, never back.
        self.each_open_key(|key| found.extend(self.recent(key, &places))).await;
        self.join_sealed(since_ms, &places, &mut found).await?;
        Ok(Some(found))
    }

    async fn places_since(&self, topic: &str, since_ms: i64, max: usize) -> io::Result<Option<Vec<Place>>> {
        let mut places = Vec::new();
        let queues = self.queues.borrow().of_topic(topic);
        for queue in queues {
            let mut at = self.offset_by_time(queue, since_ms, false).await?;
            loop {
                self.make_legible(queue, at, STORE_ITEMS_PER_TURN as u32).await?;
                let next = self.look(queue, at, STORE_ITEMS_PER_TURN as u32, |entry| {
                    places.push((entry.physical, entry.store_time_ms));
                });
                if places.len() > max {
                    return Ok(None);
                }
                if next == at {
                    break;
                }
                at = next;
                self.env.yield_now().await;
            }
        }
        Ok(Some(places))
    }

    async fn join_sealed(
        &self,
        since_ms: i64,
        places: &[Place],
        found: &mut Vec<RecentKey>,
    ) -> io::Result<()> {
        let mut number = self.segments.first().map_or(0, |segment| segment.number);
        while let Some(segment) = self.segments.get(number) {
            number += 1;
            let Some(index) = segment.index() else { continue };
            if index.newest_ms < since_ms {
                continue;
            }
            let (blocks, mut block) = (index.key_blocks(), 0);
            drop(index);
            while block < blocks
                && let Some(index) = segment.index()
            {
                index.bring_key_block(block).await;
                match index.key_block(block) {
                    Ok(keys) => found.extend(keys.filter_map(|key| self.recent(&key, places))),
                    Err(_) => {
                        self.mend(&segment).await?;
                        continue;
                    }
                }
                block += 1;
                self.env.yield_now().await;
            }
        }
        Ok(())
    }

    fn recent(&self, key: &KeyEntry, places: &[Place]) -> Option<RecentKey> {
        let physical = PhysicalOffset::pack(self.id.shard, key.position);
        let at = places.binary_search_by_key(&physical, |(physical, _)| *physical).ok()?;
        Some(RecentKey { hash: key.hash, physical, store_time_ms: places[at].1 })
    }
}

//! What the index says of a queue's messages, in order and without reading them.
//!
//! Owns: walks over index entries, for whoever rebuilds a state of its own from a queue. Invariants: entries are given in
//! the order of their offsets, each once; what is lost to damage is not given.
//! On failure: a block of a sealed index that does not check is passed over, reported and counted: whoever cannot have that has it
//! made anew first (`make_legible`).

use ringmq_io::Env;

use crate::entry::Entry;
use crate::inner::{Inner, add};
use crate::physical::PhysicalOffset;
use crate::queues::Found;
use crate::shard::QueueRef;

/// What the index knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    pub queue_offset: u64,
    pub physical: u64,
    pub tags_code: i64,
    pub store_time_ms: i64,
    /// Of the record.
    pub size: u32,
}

impl<E: Env> Inner<E> {
    fn indexed(&self, queue_offset: u64, entry: &Entry) -> Indexed {
        Indexed {
            queue_offset,
            physical: PhysicalOffset::pack(self.id.shard, entry.position),
            tags_code: entry.tags_code,
            store_time_ms: entry.store_time_ms,
            size: entry.size,
        }
    }

    pub fn glance(&self, queue: QueueRef, offset: u64) -> Option<Indexed> {
        let entry = self.entry(self.queues.borrow().get(queue), offset).ok()??;
        (!entry.is_lost()).then(|| self.indexed(offset, &entry))
    }

    pub fn look(&self, queue: QueueRef, from: u64, max: u32, mut look: impl FnMut(Indexed)) -> u64 {
        let queues = self.queues.borrow();
        let queue = queues.get(queue);
        let mut at = from.max(queue.min());
        let end = at.saturating_add(max.into()).min(queue.next());
        let mut give = |offset, entry: &Entry| {
            if !entry.is_lost() {
                look(self.indexed(offset, entry));
            }
        };
        while at < end {
            match queue.locate(at) {
                None => break,
                Some(Found::Open) => {
                    for entry in queue.open.run_from(at).iter().take((end - at) as usize) {
                        give(at, entry);
                        at += 1;
                    }
                }
                Some(Found::Sealed { segment, index, left }) => {
                    let left = u64::from(left).min(end - at);
                    let Some(sealed) = self.segments.get(segment).and_then(|segment| segment.index()) else {
                        // Its segment is being recycled.
                        at += left;
                        continue;
                    };
                    match sealed.entries_from(index) {
                        Ok(entries) => {
                            for entry in entries.take(left as usize) {
                                give(at, &entry);
                                at += 1;
                            }
                        }
                        Err(damaged) => {
                            let lost = u64::from(damaged).min(left);
                            add(&self.counters.damaged, lost);
                            tracing::error!(
                                segment,
                                "damaged block: {lost} messages of {} queue {} from offset {at} are passed over",
                                queue.topic,
                                queue.id
                            );
                            at += lost;
                        }
                    }
                }
            }
        }
        at.max(from)
    }
}

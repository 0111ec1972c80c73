//! Builds the queues' index while the log is walked.
//!
//! Owns: what a batch means for the index. Invariants: queue offsets are dense; a gap is only believed where
//! damage was quarantined, and is filled with entries marked lost, also before a queue's first record that is left: so
//! a later open, which reads the sealed index and not the damage, finds no gap; where segments were recycled, a queue
//! may begin anywhere.
//! On failure: a contradiction is [`OpenError::Damaged`] with the position: the log is intact by checksum, so
//! this is a defect, not rot, and nothing is guessed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ringmq_io::Env;
use ringmq_wire::message::{MIN_SIZE, RecordView};

use super::LostRange;
use super::traces::Traces;
use crate::OpenError;
use crate::batch::{Control, HEADER_BYTES, Header, Kind, Slot};
use crate::entry::Entry;
use crate::entry_log::EntryLog;
use crate::floor::Floor;
use crate::inner::TopicDrop;
use crate::keys::{KeyEntry, Keys, OpenKeys};
use crate::queues::{Queue, Queues, Run};
use crate::sealed::SealedIndex;
use crate::shard::QueueRef;

pub struct IndexBuilder {
    dir: PathBuf,
    pub queues: Queues,
    pub drops: Vec<TopicDrop>,
    /// Of the records that were walked.
    pub keys: OpenKeys,
    pub records: u64,
    pub lost: Vec<LostRange>,
    pub traces: Traces,
    recycled: bool,
    /// Damaged ranges, in log order.
    holes: Vec<Range<u64>>,
}

/// Whether a sealed index could be used.
pub enum Loaded {
    Whole,
    Damaged,
}

impl IndexBuilder {
    pub fn new(dir: &Path, floor: &Floor) -> Self {
        let mut queues = Queues::default();
        for start in &floor.queues {
            let queue = queues.intern(&start.topic, start.queue_id);
            queues.get_mut(queue).open = EntryLog::starting_at(start.first);
        }
        Self {
            dir: dir.into(),
            queues,
            drops: Vec::new(),
            keys: OpenKeys::default(),
            records: 0,
            lost: Vec::new(),
            traces: Traces::default(),
            recycled: floor.log_start > 0,
            holes: Vec::new(),
        }
    }

    pub fn quarantined(&mut self, start: u64, bytes: u64) {
        self.holes.push(start..start + bytes);
    }

    /// Those that may have what is missing behind the last known message of a queue.
    fn holes_behind(&self, queue: Option<&Queue>) -> impl Iterator<Item = &Range<u64>> {
        let known = queue.and_then(|queue| queue.open.last()).map(|entry| entry.position);
        self.holes.iter().filter(move |hole| known.is_none_or(|known| hole.start > known))
    }

    /// So many messages of a queue may be missing behind the last known one. Holes before that one do not count: a later open, to
    /// which a sealed index hides them, has to come to the same.
    fn lost_most(&self, queue: Option<&Queue>) -> u64 {
        self.holes_behind(queue).map(|hole| (hole.end - hole.start) / MIN_SIZE as u64).sum()
    }

    /// Where what is missing behind the last known message of a queue was: in the first hole behind it. It must be a hole's
    /// segment whose sealed index says so: a later open takes that index and does not see the hole.
    fn gap_position(&self, queue: &Queue, otherwise: u64) -> u64 {
        self.holes_behind(Some(queue)).next().map_or(otherwise, |hole| hole.start)
    }

    /// Takes offsets that only damaged ranges have, so that they are given to no other message.
    pub fn keep_traces(&mut self) {
        for ((topic, queue_id), trace) in std::mem::take(&mut self.traces).0 {
            let known = self.queues.find(&topic, queue_id).map(|queue| self.queues.get(queue));
            let next = known.map_or(0, Queue::next);
            let unknown = known.is_none_or(is_new);
            let lost_most = self.lost_most(known);
            let from = if unknown && self.recycled { trace.first } else { next };
            // What a flipped bit makes of an offset is not believed.
            if trace.last < from || trace.last - from >= lost_most {
                continue;
            }
            let queue = self.queues.intern(&topic, queue_id);
            if from != next {
                self.queues.get_mut(queue).open = EntryLog::starting_at(from);
            }
            self.lose(queue, trace.last + 1, trace.position, trace.store_time_ms);
        }
    }

    /// The next messages of the queue, up to `to`, are lost.
    fn lose(&mut self, number: QueueRef, to: u64, position: u64, store_time_ms: i64) {
        let queue = self.queues.get(number);
        let (first, position) = (queue.next(), self.gap_position(queue, position));
        let (topic, queue_id) = (Box::from(&*queue.topic), queue.id);
        self.lost.push(LostRange { topic, queue_id, first, count: to - first });
        let open = &mut self.queues.get_mut(number).open;
        (first..to).for_each(|_| open.push(Entry::lost(position, store_time_ms)));
    }

    fn contradiction(&self, what: String) -> OpenError {
        OpenError::Damaged { path: self.dir.clone(), what }
    }

    /// Offset of the next message of a queue; `None` where it may begin anywhere.
    pub fn next(&self, topic: &str, queue_id: u32) -> Option<u64> {
        let known = self.queues.find(topic, queue_id).map(|number| self.queues.get(number));
        match known {
            Some(queue) if !(is_new(queue) && self.recycled) => Some(queue.next()),
            None if !self.recycled => Some(0),
            _ => None,
        }
    }

    /// Takes over a sealed index. All its pages are checked before the first is used.
    pub async fn load<E: Env>(
        &mut self,
        env: &E,
        sealed: &SealedIndex<E>,
        segment: u32,
    ) -> Result<Loaded, OpenError> {
        if let Err(error) = sealed.bring_catalog().await {
            tracing::error!(segment, "the catalog of an index is not read: {error}");
            return Ok(Loaded::Damaged);
        }
        let mut pages = Vec::new();
        let mut at = 0;
        loop {
            match sealed.page(at) {
                Err(_) => return Ok(Loaded::Damaged),
                Ok(None) => break,
                Ok(Some((page, next))) => pages.push((page, next)),
            }
            at = pages.last().expect("pushed").1;
            env.yield_now().await;
        }
        for (page, _) in pages {
            for drop in &page.drops {
                self.queues.drop_topic(&drop.topic, drop.position);
            }
            for row in &page.rows {
                let topic = &page.topics[row.topic as usize];
                let number = self.queues.intern(topic, row.queue_id);
                let queue = self.queues.get_mut(number);
                let may_begin = is_new(queue) && self.recycled;
                if row.first_offset != queue.next() && !may_begin {
                    let what = format!(
                        "the sealed index of segment {segment} continues {topic} queue {} at offset {} instead of {}",
                        row.queue_id,
                        row.first_offset,
                        queue.next()
                    );
                    return Err(self.contradiction(what));
                }
                queue.runs.push_back(Run {
                    first: row.first_offset,
                    start: row.start,
                    count: row.count,
                    segment,
                });
                queue.open = EntryLog::starting_at(row.first_offset + u64::from(row.count));
            }
            env.yield_now().await;
        }
        Ok(Loaded::Whole)
    }

    pub fn batch(&mut self, header: &Header, bytes: &[u8], slots: &[Slot]) -> Result<(), OpenError> {
        match header.kind {
            Kind::Filler => Ok(()),
            Kind::Hole => {
                self.quarantined(header.base, header.length.into());
                Ok(())
            }
            Kind::Control => self.control(header, &bytes[HEADER_BYTES..HEADER_BYTES + header.body as usize]),
            Kind::Records => slots.iter().try_for_each(|slot| self.record(header, bytes, slot)),
        }
    }

    fn control(&mut self, header: &Header, body: &[u8]) -> Result<(), OpenError> {
        let position = header.base;
        match Control::decode(body) {
            Some(Control::DropTopic(topic)) => {
                self.queues.drop_topic(&topic, position);
                self.traces.drop_topic(&topic);
                self.drops.push(TopicDrop { position, topic: topic.as_str().into() });
                Ok(())
            }
            None => {
                let what =
                    format!("the control batch at {position} is of a kind that this version does not know");
                Err(self.contradiction(what))
            }
        }
    }

    fn record(&mut self, header: &Header, bytes: &[u8], slot: &Slot) -> Result<(), OpenError> {
        let position = header.base + u64::from(slot.at);
        let at = slot.at as usize;
        let record = RecordView::parse(&bytes[at..at + slot.size as usize])
            .map_err(|error| self.contradiction(format!("record at {position}: {error}")))?;
        let offset = record.queue_offset as u64;
        let queue_id = u32::try_from(record.queue_id)
            .map_err(|_| self.contradiction(format!("record at {position} has queue {}", record.queue_id)))?;
        let number = self.queues.intern(record.topic, queue_id);
        let expected = self.queues.get(number).next();
        if offset != expected {
            let lost_most = self.lost_most(Some(self.queues.get(number)));
            let queue = self.queues.get_mut(number);
            if is_new(queue) && self.recycled {
                queue.open = EntryLog::starting_at(offset);
            } else if offset > expected && offset - expected <= lost_most {
                self.lose(number, offset, position, record.store_timestamp);
            } else if offset < expected && lost_most > 0 {
                // The batch that dropped the topic is among what was lost. The drop is noted as if it stood in the hole: the
                // sealed index has to say it to the next open, which does not see the damage.
                let position = self.gap_position(self.queues.get(number), position);
                self.queues.drop_topic(record.topic, position);
                self.drops.push(TopicDrop { position, topic: record.topic.into() });
                self.queues.get_mut(number).open = EntryLog::starting_at(offset);
            } else {
                let what = format!(
                    "record at {position} has offset {offset} of {} queue {queue_id}, expected {expected}",
                    record.topic
                );
                return Err(self.contradiction(what));
            }
        }
        let queue = self.queues.get_mut(number);
        for key in Keys::read(record.properties).iter() {
            self.keys.push(KeyEntry { hash: queue.topic_hash.key(key), position });
        }
        queue.open.push(slot.entry(position, record.store_timestamp));
        self.records += 1;
        Ok(())
    }
}

fn is_new(queue: &Queue) -> bool {
    queue.next() == 0 && queue.runs.is_empty()
}

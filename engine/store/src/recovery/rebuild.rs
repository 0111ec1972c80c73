//! Makes the index of one sealed segment anew, from that segment alone.
//!
//! Owns: the index of a segment whose file is damaged while there is one behind it. Without this, all segments behind it would be
//! scanned, and the entries of all of them kept in memory until they are sealed again: more than a large store's machine has.
//! Invariants: memory is what one segment has; what is written is what sealing wrote. All batches of the segment are there (the next one
//! would not be sealed otherwise, and each is checked), and their offsets go on where those of the segments before end.
//! On failure: no contents where the segment alone does not say it all (damage, holes, offsets that do not follow): then, and where there
//! is no room for the file, recovery scans from it on. The error is the device's.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ringmq_io::limits::STORE_ITEMS_PER_TURN;
use ringmq_io::{Env, File};
use ringmq_wire::message::RecordView;

use super::source::{Checked, SegmentSource};
use crate::batch::{Control, HEADER_BYTES, Header, Kind, LogId, Slot};
use crate::entry::Entry;
use crate::keys::{KeyEntry, Keys, TopicHash};
use crate::sealed::format::{Drop, Page, Row};
use crate::sealed::write::IndexWriter;
use crate::sorting::sort_in_turns;
use crate::walk::{Piece, walk};

/// What an index says of a segment.
#[derive(Default)]
pub struct Contents {
    topics: BTreeMap<String, Topic>,
    keys: Vec<KeyEntry>,
    drops: Vec<Drop>,
    /// It cannot be told from the segment alone.
    is_partial: bool,
}

struct Topic {
    hash: TopicHash,
    queues: BTreeMap<u32, Part>,
}

/// The messages of a queue, without a gap.
struct Part {
    first: u64,
    entries: Vec<Entry>,
}

/// The contents of the segment at `base`, if it has all of them.
pub async fn contents<E: Env, F: File>(
    env: &E,
    source: &mut SegmentSource<F>,
    base: u64,
) -> io::Result<Option<Contents>> {
    let mut contents = Contents::default();
    walk(env, source, base, |piece| match piece {
        Piece::Batch(header, checked) if contents.take(header, checked).is_some() => {}
        Piece::Batch(..) | Piece::Nothing { .. } => contents.is_partial = true,
    })
    .await?;
    Ok((!contents.is_partial).then_some(contents))
}

impl Contents {
    /// `None`: not as a segment has it that was never damaged.
    fn take(&mut self, header: &Header, checked: &Checked) -> Option<()> {
        match header.kind {
            Kind::Filler => Some(()),
            Kind::Hole => None,
            Kind::Control => {
                let body = &checked.bytes()[HEADER_BYTES..HEADER_BYTES + header.body as usize];
                let Control::DropTopic(topic) = Control::decode(body)?;
                self.topics.remove(&topic);
                self.drops.push(Drop { position: header.base, topic });
                Some(())
            }
            Kind::Records => checked.slots.iter().try_for_each(|slot| self.record(header, checked, slot)),
        }
    }

    fn record(&mut self, header: &Header, checked: &Checked, slot: &Slot) -> Option<()> {
        let record = RecordView::parse(&checked.bytes()[slot.at as usize..][..slot.size as usize]).ok()?;
        let position = header.base + u64::from(slot.at);
        let offset = record.queue_offset as u64;
        if !self.topics.contains_key(record.topic) {
            let topic = Topic { hash: TopicHash::new(record.topic), queues: BTreeMap::new() };
            self.topics.insert(record.topic.to_owned(), topic);
        }
        let topic = self.topics.get_mut(record.topic).expect("put there");
        for key in Keys::read(record.properties).iter() {
            self.keys.push(KeyEntry { hash: topic.hash.key(key), position });
        }
        let queue_id = u32::try_from(record.queue_id).ok()?;
        let part = topic.queues.entry(queue_id).or_insert(Part { first: offset, entries: Vec::new() });
        part.entries.push(slot.entry(position, record.store_timestamp));
        (offset == part.first + part.entries.len() as u64 - 1).then_some(())
    }

    /// Whether each queue goes on here: `next` gives the offset of its next message, as far as it is known where it begins.
    pub fn follow(&self, next: impl Fn(&str, u32) -> Option<u64>) -> bool {
        self.topics.iter().all(|(name, topic)| {
            let is_anew = self.drops.iter().any(|drop| drop.topic == *name);
            topic.queues.iter().all(|(id, part)| match (is_anew, next(name, *id)) {
                (true, _) => part.first == 0,
                (false, next) => next.is_none_or(|next| part.first == next),
            })
        })
    }

    /// Writes the index of the segment at `base`.
    pub async fn write<E: Env>(
        self,
        env: &E,
        path: &Path,
        id: LogId,
        base: u64,
        segment_bytes: u64,
    ) -> io::Result<()> {
        let mut writer = IndexWriter::create(env, path, id, base, segment_bytes).await?;
        let mut rows = Vec::new();
        for (name, topic) in &self.topics {
            for (queue_id, part) in &topic.queues {
                let start =
                    u32::try_from(writer.next_entry()).expect("a segment has fewer than 2^32 messages");
                let (queue_id, first_offset, count) = (*queue_id, part.first, part.entries.len() as u32);
                rows.push((name.as_str(), Row { topic: 0, queue_id, first_offset, start, count }));
                for entries in part.entries.chunks(STORE_ITEMS_PER_TURN) {
                    writer.entries(entries).await?;
                }
            }
        }
        writer.keys(&sort_in_turns(env, self.keys, Ord::cmp).await).await?;
        writer.drops(&self.drops).await?;
        for rows in rows.chunks(STORE_ITEMS_PER_TURN) {
            writer.page(&Page::of_rows(rows.iter().copied())).await?;
        }
        writer.finish().await
    }
}

//! Makes damaged blocks of a sealed index anew from the segment, in memory: what rot takes from an index, it takes from no reader.
//!
//! Owns: what such a block has to list. Invariants: a block that checks is left alone; one that was made anew is never empty, and
//! lists what the intact batches of the segment have for its place, in the index's order; an entry that they do not have is marked, so
//! that reads count it. Memory: the damaged blocks. The file stays as it is, for `dump verify` and whoever restores it.
//! On failure: the I/O error; nothing has changed, and who needs the block next tries again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use hashbrown::HashMap;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;
use ringmq_io::sync::Event;
use ringmq_io::{AlignedBuf, BLOCK, Env, File};
use ringmq_wire::message::RecordView;

use crate::batch::{Header, Kind};
use crate::entry::Entry;
use crate::inner::{Inner, add};
use crate::keys::{KeyEntry, Keys, TopicHash};
use crate::queues::Found;
use crate::recovery::LostRange;
use crate::recovery::source::{Checked, SegmentSource};
use crate::sealed::SealedIndex;
use crate::sealed::format::{
    ENTRIES_PER_BLOCK, KEYS_PER_BLOCK, Page, encode_entry, encode_keys, seal_entries,
};
use crate::segments::Segment;
use crate::shard::QueueRef;
use crate::walk::{Piece, walk};

/// What was found damaged and made anew.
#[derive(Debug, Default)]
pub struct Mended {
    pub entry_blocks: Vec<usize>,
    pub key_blocks: Vec<usize>,
    /// Messages of those blocks that the segment does not have either.
    pub lost: Vec<LostRange>,
}

/// One mend at a time in a shard.
#[derive(Default)]
pub struct Turn {
    is_taken: Cell<bool>,
    free: Event,
}

struct Taken<'t>(&'t Turn);

impl Turn {
    async fn take(&self) -> Taken<'_> {
        while self.is_taken.replace(true) {
            self.free.wait().await;
        }
        Taken(self)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        self.0.free.notify();
    }
}

impl<E: Env> Inner<E> {
    /// Has the index of a segment checked, and its damaged blocks made anew. Look again for what did not check before. Whoever
    /// holds the segment holds its file, also when it has left the log since: a look that is tried again comes to an end.
    pub async fn mend(&self, segment: &Rc<Segment<E>>) -> io::Result<()> {
        let _turn = self.mending.take().await;
        let Some(index) = segment.index() else { return Ok(()) };
        let file = self.segments.file(&self.env, segment).await?;
        let source = SegmentSource::new(file, self.id, index.base(), self.segments.bytes);
        let Some((index, mended)) = make_anew(&self.env, &index, source).await? else { return Ok(()) };
        segment.set_index(index);
        let path = segment.path.with_extension("idx");
        let (entries, keys) = (mended.entry_blocks.len(), mended.key_blocks.len());
        add(&self.counters.mended, (entries + keys) as u64);
        tracing::error!(
            path = %path.display(),
            "damaged index: {entries} blocks of entries and {keys} of keys do not check, and were made anew in memory from the segment"
        );
        for lost in &mended.lost {
            let (first, end) = (lost.first, lost.first + lost.count);
            tracing::error!(
                path = %path.display(),
                "messages {first} to {end} (not included) of {} queue {} are damaged in index and segment: lost",
                lost.topic, lost.queue_id
            );
        }
        Ok(())
    }

    /// Brings the block with an entry into memory, and mends it if it does not check.
    pub async fn make_entry_legible(&self, segment: &Rc<Segment<E>>, index: u32) -> io::Result<()> {
        let Some(sealed) = segment.index() else { return Ok(()) };
        sealed.bring_entry(index).await;
        if !sealed.has_entry_block(index as usize / ENTRIES_PER_BLOCK) {
            self.mend(segment).await?;
        }
        Ok(())
    }

    /// Brings and mends what a look at `count` messages of a queue from `from` on would pass over.
    pub async fn make_legible(&self, queue: QueueRef, from: u64, count: u32) -> io::Result<()> {
        let mut at = from.max(self.bounds(queue).min);
        let end = at.saturating_add(count.into());
        while at < end {
            let found = self.queues.borrow().get(queue).locate(at);
            let Some(Found::Sealed { segment, index, left }) = found else { return Ok(()) };
            let within = index as usize % ENTRIES_PER_BLOCK;
            if let Some(segment) = self.segments.get(segment) {
                self.make_entry_legible(&segment, index).await?;
            }
            at += u64::from(left.min((ENTRIES_PER_BLOCK - within) as u32));
        }
        Ok(())
    }
}

/// The index with its damaged blocks made anew; `None` if all of them check.
pub async fn make_anew<E: Env, F: File>(
    env: &E,
    index: &SealedIndex<E>,
    mut source: SegmentSource<F>,
) -> io::Result<Option<(SealedIndex<E>, Mended)>> {
    let (entry_blocks, key_blocks) = damaged(env, index).await;
    if entry_blocks.is_empty() && key_blocks.is_empty() {
        return Ok(None);
    }
    index.bring_catalog().await?;
    let pages = index.pages().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the catalog of an index was damaged since it was read")
    })?;
    let mut sought = Sought {
        topics: topics(&pages),
        entries: entry_blocks
            .iter()
            .map(|block| (*block, vec![None; index.place_of_entries(*block).1]))
            .collect(),
        keys: stretches(index, &key_blocks),
    };
    let walked = walk(env, &mut source, index.base(), |piece| {
        if let Piece::Batch(header, checked) = piece {
            sought.batch(header, checked);
        }
    });
    walked.await?;
    let lost = sought.lost(&pages);
    let blocks = sought.blocks(index);
    Ok(Some((index.with_mended(blocks), Mended { entry_blocks, key_blocks, lost })))
}

async fn damaged<E: Env>(env: &E, index: &SealedIndex<E>) -> (Vec<usize>, Vec<usize>) {
    let (mut entries, mut keys) = (Vec::new(), Vec::new());
    let (entry_blocks, key_blocks) = (index.entry_blocks(), index.key_blocks());
    for looked_at in 0..entry_blocks + key_blocks {
        // A block is some microsecond of summing.
        if looked_at.is_multiple_of(STORE_ITEMS_PER_TURN / 16) {
            env.yield_now().await;
        }
        match looked_at.checked_sub(entry_blocks) {
            None => {
                index.bring_entry((looked_at * ENTRIES_PER_BLOCK) as u32).await;
                if !index.has_entry_block(looked_at) {
                    entries.push(looked_at);
                }
            }
            Some(block) => {
                index.bring_key_block(block).await;
                if index.key_block(block).is_err() {
                    keys.push(block);
                }
            }
        }
    }
    (entries, keys)
}

struct Topic {
    hash: TopicHash,
    /// What lies before was dropped, and is not in the index.
    dropped_at: u64,
    /// By queue: first offset, count, and the index of the first entry.
    queues: HashMap<u32, (u64, u64, u64)>,
}

fn topics(pages: &[Page]) -> HashMap<String, Topic> {
    let mut topics = HashMap::new();
    let new = |name: &str| Topic { hash: TopicHash::new(name), dropped_at: 0, queues: HashMap::new() };
    for page in pages {
        for drop in &page.drops {
            let topic = topics.entry(drop.topic.clone()).or_insert_with(|| new(&drop.topic));
            topic.dropped_at = topic.dropped_at.max(drop.position);
        }
        for row in &page.rows {
            let name = &page.topics[row.topic as usize];
            let topic = topics.entry(name.clone()).or_insert_with(|| new(name));
            topic.queues.insert(row.queue_id, (row.first_offset, row.count.into(), row.start.into()));
        }
    }
    topics
}

/// Neighbouring blocks of keys, and the keys that go there: those between the keys of their neighbours.
struct Stretch {
    blocks: Range<usize>,
    above: Option<KeyEntry>,
    below: Option<KeyEntry>,
    found: Vec<KeyEntry>,
}

fn stretches<E: Env>(index: &SealedIndex<E>, damaged: &[usize]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for block in damaged.iter().copied() {
        match stretches.last_mut() {
            Some(last) if last.blocks.end == block => last.blocks.end += 1,
            _ => stretches.push(Stretch {
                blocks: block..block + 1,
                above: None,
                below: None,
                found: Vec::new(),
            }),
        }
    }
    for stretch in &mut stretches {
        let intact = |block: usize| index.key_block(block).ok();
        stretch.above = stretch.blocks.start.checked_sub(1).and_then(intact).and_then(Iterator::last);
        stretch.below = Some(stretch.blocks.end)
            .filter(|block| *block < index.key_blocks())
            .and_then(intact)
            .and_then(|mut keys| keys.next());
    }
    stretches
}

struct Sought {
    topics: HashMap<String, Topic>,
    entries: BTreeMap<usize, Vec<Option<Entry>>>,
    /// In the order of their keys.
    keys: Vec<Stretch>,
}

impl Sought {
    fn batch(&mut self, header: &Header, checked: &Checked) {
        if header.kind != Kind::Records {
            return;
        }
        for slot in &checked.slots {
            let position = header.base + u64::from(slot.at);
            let Ok(record) = RecordView::parse(&checked.bytes()[slot.at as usize..][..slot.size as usize])
            else {
                continue;
            };
            let topic = self.topics.get(record.topic);
            if !self.keys.is_empty() {
                let hash = topic.map_or_else(|| TopicHash::new(record.topic), |topic| topic.hash);
                for key in Keys::read(record.properties).iter() {
                    take_key(&mut self.keys, KeyEntry { hash: hash.key(key), position });
                }
            }
            let Some(topic) = topic.filter(|topic| position >= topic.dropped_at) else { continue };
            let queue = u32::try_from(record.queue_id).ok().and_then(|id| topic.queues.get(&id));
            let Some((first, count, start)) = queue else { continue };
            let Some(within) =
                (record.queue_offset as u64).checked_sub(*first).filter(|within| within < count)
            else {
                continue;
            };
            let at = (start + within) as usize;
            if let Some(block) = self.entries.get_mut(&(at / ENTRIES_PER_BLOCK)) {
                block[at % ENTRIES_PER_BLOCK] = Some(slot.entry(position, record.store_timestamp));
            }
        }
    }

    /// The messages that were not found, by queue.
    fn lost(&self, pages: &[Page]) -> Vec<LostRange> {
        let mut lost: Vec<LostRange> = Vec::new();
        for page in pages {
            for row in &page.rows {
                let (start, end) = (row.start as usize, row.start as usize + row.count as usize);
                if start == end {
                    continue;
                }
                let blocks = start / ENTRIES_PER_BLOCK..=(end - 1) / ENTRIES_PER_BLOCK;
                let mut run: Option<LostRange> = None;
                for (block, entries) in self.entries.range(blocks) {
                    let places = (block * ENTRIES_PER_BLOCK..).zip(entries);
                    for (at, _) in places.filter(|(at, entry)| (start..end).contains(at) && entry.is_none()) {
                        let offset = row.first_offset + (at - start) as u64;
                        match &mut run {
                            Some(run) if run.first + run.count == offset => run.count += 1,
                            _ => {
                                let topic = page.topics[row.topic as usize].as_str().into();
                                let new =
                                    LostRange { topic, queue_id: row.queue_id, first: offset, count: 1 };
                                lost.extend(run.replace(new));
                            }
                        }
                    }
                }
                lost.extend(run);
            }
        }
        lost
    }

    fn blocks<E: Env>(self, index: &SealedIndex<E>) -> Vec<(usize, AlignedBuf)> {
        let mut blocks = Vec::new();
        for (number, entries) in self.entries {
            let mut block = AlignedBuf::zeroed(BLOCK);
            let missing = Entry::missing(index.base(), index.oldest_ms);
            for (at, entry) in entries.iter().enumerate() {
                encode_entry(&mut block, at, entry.as_ref().unwrap_or(&missing));
            }
            seal_entries(&mut block, index.sums(), (number * ENTRIES_PER_BLOCK) as u64, entries.len());
            blocks.push((index.place_of_entries(number).0, block));
        }
        for mut stretch in self.keys {
            stretch.found.sort_unstable();
            let mut rest = &stretch.found[..];
            let nothing = KeyEntry { hash: 0, position: index.base() };
            let mut last = stretch.above.or(stretch.below).unwrap_or(nothing);
            for number in stretch.blocks {
                let (own, behind) = rest.split_at(rest.len().min(KEYS_PER_BLOCK));
                rest = behind;
                // The search by halves wants a key in each block: where too few are left, the last one again.
                let own = if own.is_empty() { std::slice::from_ref(&last) } else { own };
                let mut block = AlignedBuf::zeroed(BLOCK);
                encode_keys(&mut block, index.sums(), (number * KEYS_PER_BLOCK) as u64, own);
                last = own[own.len() - 1];
                blocks.push((index.place_of_keys(number), block));
            }
            debug_assert!(rest.is_empty(), "an index has all keys of its segment");
        }
        blocks
    }
}

fn take_key(stretches: &mut [Stretch], key: KeyEntry) {
    let at = stretches.partition_point(|stretch| stretch.below.is_some_and(|below| below <= key));
    if let Some(stretch) = stretches.get_mut(at)
        && stretch.above.is_none_or(|above| above < key)
    {
        stretch.found.push(key);
    }
}

//! What damage to a node's disk may take from its readers, byte for byte.
//!
//! Owns: the oracle's own reading of docs/internals/recovery.md, worked out from the files as they were meant to be and from
//! where they are not so. Nothing of the code under test is used for it.
//! - A record of a sealed segment is lost if one of its bytes was hit.
//! - In a segment that will be scanned (its index, or one before it, is missing or does not check) a hit batch is lost as a whole
//!   (row 5). If no intact batch behind it says that it was durable, the log ends at it (rows 3 and 4).
//! - A hit block of a sealed index is made anew from the segment's intact batches: where a hit batch meets a hit block of
//!   entries, its records that the block lists may be lost, and where it meets one of keys, look-ups by key may miss its records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use ringmq_simenv::{Damage, Host};

const BLOCK: u64 = 4096;
const BATCH_HEAD: u64 = 64;
const TAGS_BYTES: u64 = 8;
const RECORDS: u16 = 1;
const CONTROL: u16 = 3;
const ENTRIES_PER_BLOCK: u64 = 127;
const KEYS_PER_BLOCK: u64 = 255;

#[derive(Debug, Default)]
pub struct Hits {
    /// Ranges of the log whose records may be gone.
    pub lost: Vec<Range<u64>>,
    /// Ranges of the log whose bytes are others.
    pub bytes: Vec<Range<u64>>,
    /// Positions of records that may be gone because the index has forgotten them.
    pub forgotten: BTreeSet<u64>,
    /// Ranges of the log (hit batches) whose records may not be found by their keys.
    pub unfindable: Vec<Range<u64>>,
    /// A file of the metadata journal was hit.
    pub journal: bool,
}

type Ranges = Vec<Range<u64>>;

/// Segments and indexes by the number of the segment, with the damage in each.
#[derive(Default)]
struct Files {
    segments: BTreeMap<u64, Ranges>,
    indexes: BTreeMap<u64, Ranges>,
}

struct Shard<'h> {
    host: &'h Host,
    dir: &'h Path,
    segment_bytes: u64,
    files: Files,
}

/// Adds to `known` what damage was done to a machine's disk, by every name that the files had and have; `false` if none was.
pub fn gather(host: &Host, known: &mut Vec<Damage>) -> bool {
    let done = host.damages();
    if done.is_empty() {
        return false;
    }
    for damage in done.into_iter().chain(host.damaged_now()) {
        if !known.contains(&damage) {
            known.push(damage);
        }
    }
    true
}

/// Looks at one shard of the store in `data`, and at its metadata journal.
pub fn hits(host: &Host, data: &Path, shard: u16, segment_bytes: u64) -> Hits {
    let dir = data.join(format!("shard-{shard:02}"));
    let mut hits = Hits::default();
    let mut files = Files::default();
    for (path, _) in host.files() {
        if let Some((number, of)) = files.of(&path, &dir, segment_bytes) {
            of.insert(number, Vec::new());
        }
    }
    for damage in host.damaged_now() {
        hits.journal |= damage.path.starts_with(data.join("meta"));
        if let Some((number, of)) = files.of(&damage.path, &dir, segment_bytes) {
            of.entry(number).or_default().push(damage.offset..damage.offset + damage.len);
        }
    }
    let shard = Shard { host, dir: &dir, segment_bytes, files };
    let sealed_until = shard.sealed_until();
    for (number, ranges) in shard.files.segments.iter().filter(|(_, ranges)| !ranges.is_empty()) {
        let base = number * segment_bytes;
        // As long as the process lives, records are read one by one, sealed or not.
        hits.bytes.extend(ranges.iter().map(|range| base + range.start..base + range.end));
        if *number >= sealed_until {
            shard.scanned(*number, ranges, &mut hits);
        }
    }
    // A write that went elsewhere while a start wrote what only the ring had: the start writes the block again, as it reads it, and from
    // then on it is what it was meant to be.
    for damage in host.damages() {
        let end = damage.offset + damage.len;
        if let Some(number) = shard.files.segment(&damage.path, &dir, segment_bytes) {
            let base = number * segment_bytes;
            hits.bytes.push(base + damage.offset..base + end);
        }
    }
    hits.lost.extend(hits.bytes.iter().cloned());
    for (number, ranges) in shard.files.indexes.iter().filter(|(_, ranges)| !ranges.is_empty()) {
        shard.index(*number, ranges, &mut hits);
    }
    hits
}

impl Files {
    /// The number of a segment that is there.
    fn segment(&self, path: &Path, dir: &Path, segment_bytes: u64) -> Option<u64> {
        let (number, extension) = file(path, dir, segment_bytes)?;
        (extension == "seg" && self.segments.contains_key(&number)).then_some(number)
    }

    fn of(
        &mut self,
        path: &Path,
        dir: &Path,
        segment_bytes: u64,
    ) -> Option<(u64, &mut BTreeMap<u64, Ranges>)> {
        match file(path, dir, segment_bytes)? {
            (number, "seg") => Some((number, &mut self.segments)),
            (number, "idx") => Some((number, &mut self.indexes)),
            _ => None,
        }
    }
}

/// The number of the segment that a file of a shard is of, and what it is.
fn file<'p>(path: &'p Path, dir: &Path, segment_bytes: u64) -> Option<(u64, &'p str)> {
    let inside = path.parent() == Some(dir);
    let base = u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok().filter(|_| inside)?;
    Some((base / segment_bytes, path.extension()?.to_str()?))
}

fn word(bytes: &[u8], at: u64) -> u64 {
    bytes
        .get(at as usize..at as usize + 8)
        .map_or(0, |word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
}

fn half(bytes: &[u8], at: u64) -> u32 {
    word(bytes, at) as u32
}

pub fn meet(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// A batch as it was meant to be. Positions count from the begin of its segment.
struct Batch {
    range: Range<u64>,
    /// What its checksum covers.
    checked: Range<u64>,
    durable: u64,
    is_intact: bool,
}

impl Shard<'_> {
    fn meant(&self, number: u64, extension: &str) -> Vec<u8> {
        let name = format!("{:016x}.{extension}", number * self.segment_bytes);
        self.host.meant_file(self.dir.join(name)).unwrap_or_default()
    }

    /// The first segment that a start has to scan.
    fn sealed_until(&self) -> u64 {
        let is_sound = |number: &u64| {
            let Some(ranges) = self.files.indexes.get(number) else { return false };
            let catalog = catalog_at(&self.meant(*number, "idx"));
            ranges.iter().all(|range| range.start >= BLOCK && range.end <= catalog)
        };
        self.files.segments.keys().copied().find(|number| !is_sound(number)).unwrap_or(u64::MAX)
    }

    fn batches(&self, number: u64) -> Vec<Batch> {
        let bytes = self.meant(number, "seg");
        let (mut batches, mut at, mut epoch) = (Vec::new(), 0, 0);
        while at + BATCH_HEAD <= bytes.len() as u64 && bytes[at as usize..].starts_with(b"RMQB") {
            let length = u64::from(half(&bytes, at + 12));
            let is_next =
                word(&bytes, at + 32) == number * self.segment_bytes + at && half(&bytes, at + 56) >= epoch;
            if !is_next || length < BATCH_HEAD || at + length > bytes.len() as u64 {
                break;
            }
            epoch = half(&bytes, at + 56);
            let (body, records) = (u64::from(half(&bytes, at + 16)), u64::from(half(&bytes, at + 20)));
            let covered = match half(&bytes, at + 8) as u16 {
                RECORDS => body + records * TAGS_BYTES,
                CONTROL => body,
                _ => 0,
            };
            batches.push(Batch {
                range: at..at + length,
                checked: at..at + BATCH_HEAD + covered,
                durable: word(&bytes, at + 40),
                is_intact: is_intact(&bytes[at as usize..(at + length) as usize]),
            });
            at += length;
        }
        batches
    }

    fn scanned(&self, number: u64, ranges: &[Range<u64>], hits: &mut Hits) {
        let base = number * self.segment_bytes;
        let is_hit =
            |batch: &Batch, ranges: &[Range<u64>]| ranges.iter().any(|range| meet(range, &batch.checked));
        let behind = || self.files.segments.range(number + 1..);
        let later = behind().any(|(number, ranges)| {
            self.batches(*number).iter().any(|batch| batch.is_intact && !is_hit(batch, ranges))
        });
        let batches = self.batches(number);
        for (at, batch) in batches.iter().enumerate().filter(|(_, batch)| is_hit(batch, ranges)) {
            let start = base + batch.range.start;
            let says_durable =
                |batch: &Batch| batch.is_intact && batch.durable > start && !is_hit(batch, ranges);
            let end = match later || batches[at + 1..].iter().any(says_durable) {
                true => base + batch.range.end,
                false => u64::MAX,
            };
            hits.lost.push(start..end);
        }
    }

    fn index(&self, number: u64, ranges: &[Range<u64>], hits: &mut Hits) {
        let bytes = self.meant(number, "idx");
        let entries_end = (1 + word(&bytes, 40).div_ceil(ENTRIES_PER_BLOCK)) * BLOCK;
        let catalog = catalog_at(&bytes);
        let hit = self.hit_batches(number);
        let is_hit = |position: &u64| hit.iter().any(|batch| batch.contains(position));
        for at in (BLOCK..catalog).step_by(BLOCK as usize) {
            if !ranges.iter().any(|range| meet(range, &(at..at + BLOCK))) {
                continue;
            }
            let count = u64::from(half(&bytes, at + 4));
            if at < entries_end {
                let positions = (0..count.min(ENTRIES_PER_BLOCK)).map(|i| word(&bytes, at + 32 + i * 32));
                hits.forgotten.extend(positions.filter(is_hit));
            } else {
                hits.unfindable.extend(hit.iter().cloned());
            }
        }
    }

    /// In the log.
    fn hit_batches(&self, number: u64) -> Ranges {
        let base = number * self.segment_bytes;
        let none = Vec::new();
        let ranges = self.files.segments.get(&number).unwrap_or(&none);
        let batches = self.batches(number).into_iter();
        let hit = batches.filter(|batch| ranges.iter().any(|range| meet(range, &batch.checked)));
        hit.map(|batch| base + batch.range.start..base + batch.range.end).collect()
    }
}

fn catalog_at(index: &[u8]) -> u64 {
    let blocks = 1 + word(index, 40).div_ceil(ENTRIES_PER_BLOCK) + word(index, 48).div_ceil(KEYS_PER_BLOCK);
    blocks.saturating_mul(BLOCK)
}

/// The checksum of a batch: over the crc32c of each record, the tags codes and the header.
fn is_intact(batch: &[u8]) -> bool {
    let (body, records) = (half(batch, 16) as usize, half(batch, 20) as usize);
    let mut sum = 0;
    let body_end = BATCH_HEAD as usize + body;
    match half(batch, 8) as u16 {
        RECORDS => {
            let tags_end = body_end + records * TAGS_BYTES as usize;
            let Some(tags) = batch.get(body_end..tags_end) else { return false };
            let mut at = BATCH_HEAD as usize;
            for _ in 0..records {
                let Some(size) = batch.get(at..at + 4) else { return false };
                let size = u32::from_be_bytes(size.try_into().expect("4 bytes")) as usize;
                let Some(record) = batch.get(at..at + size).filter(|_| at + size <= body_end) else {
                    return false;
                };
                sum = crc32c::crc32c_append(sum, &crc32c::crc32c(record).to_le_bytes());
                at += size;
            }
            sum = crc32c::crc32c_append(sum, tags);
        }
        CONTROL => {
            let Some(body) = batch.get(BATCH_HEAD as usize..body_end) else { return false };
            sum = crc32c::crc32c_append(sum, &crc32c::crc32c(body).to_le_bytes());
        }
        _ => {}
    }
    let header = &batch[8..BATCH_HEAD as usize];
    half(batch, 4) == crc32c::crc32c_append(sum, header)
}

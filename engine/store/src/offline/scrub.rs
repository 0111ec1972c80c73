//! Checks a sealed segment against its index, every byte that means something.
//!
//! Owns: which messages are lost when something does not check. Invariants: a message counts as lost exactly if a read of
//! it would leave it out: its entry is gone, or its record does not have the checksum that the entry says, or is another
//! message's. Memory: 16 bytes a record of one segment.

use std::path::{Path, PathBuf};

use ringmq_io::{Env, File};
use ringmq_wire::message::RecordView;

use super::{Finding, SegmentInfo, open_index, open_segment};
use crate::batch::{Header, Kind};
use crate::entry::Entry;
use crate::mend::make_anew;
use crate::recovery::LostRange;
use crate::recovery::source::{Checked, SegmentSource};
use crate::sealed::SealedIndex;
use crate::sealed::format::Page;
use crate::walk::{Piece, walk};
use crate::{OpenError, StoreLayout};

/// What was looked at, and what of it does not check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    pub batches: u64,
    pub records: u64,
    pub entries: u64,
    pub keys: u64,
    pub findings: Vec<Finding>,
}

/// A record of an intact batch.
struct Seen {
    /// From the segment's start.
    at: u32,
    size: u32,
    crc: u32,
    identity: u32,
}

/// Checks a segment that has an index; `None` if the index cannot be used at all: a start scans the segment then.
pub async fn scrub<E: Env>(
    env: &E,
    layout: &StoreLayout,
    shard: u16,
    segment: &SegmentInfo,
) -> Result<Option<Scrubbed>, OpenError> {
    let Some(sealed) = open_index(env, layout, shard, segment.base).await? else {
        return Ok(None);
    };
    sealed.bring_catalog().await.map_err(OpenError::io(&segment.path))?;
    let Some(pages) = sealed.pages() else {
        return Ok(None);
    };
    let mut source = open_segment(env, layout, shard, segment).await?;
    // What a broker does when it needs such a block.
    let again = open_segment(env, layout, shard, segment).await?;
    let mended = make_anew(env, &sealed, again).await.map_err(OpenError::io(&segment.path))?;
    let mut scrub = Scrub {
        base: segment.base,
        index_path: segment.path.with_extension("idx"),
        segment_path: &segment.path,
        seen: Vec::new(),
        out: Scrubbed::default(),
    };
    let walked = walk(env, &mut source, segment.base, |piece| match piece {
        Piece::Batch(header, checked) => scrub.batch(header, checked),
        Piece::Nothing { start, end } => {
            scrub.find(segment.path.clone(), format!("no intact batch from position {start} to {end}"), None);
        }
    });
    walked.await.map_err(OpenError::io(&segment.path))?;
    let sealed = match mended {
        None => sealed,
        Some((sealed, mended)) => {
            for (blocks, of) in [(&mended.entry_blocks, "entries"), (&mended.key_blocks, "keys")] {
                for block in blocks {
                    let what = format!(
                        "block {block} of {of} does not check: a broker makes it anew from the segment"
                    );
                    scrub.find(scrub.index_path.clone(), what, None);
                }
            }
            sealed
        }
    };
    for page in &pages {
        scrub.entries(&sealed, page, &mut source).await.map_err(OpenError::io(&segment.path))?;
    }
    scrub.keys(&sealed);
    Ok(Some(scrub.out))
}

struct Scrub<'s> {
    base: u64,
    index_path: PathBuf,
    segment_path: &'s Path,
    /// In order of `at`.
    seen: Vec<Seen>,
    out: Scrubbed,
}

/// One number for whose message a record is.
fn identity(topic: &str, queue_id: u32, offset: u64) -> u32 {
    let number = crc32c::crc32c_append(queue_id, &offset.to_le_bytes());
    crc32c::crc32c_append(number, topic.as_bytes())
}

fn identity_of(record: &[u8]) -> Option<u32> {
    let record = RecordView::parse(record).ok()?;
    let queue_id = u32::try_from(record.queue_id).ok()?;
    Some(identity(record.topic, queue_id, record.queue_offset as u64))
}

impl Scrub<'_> {
    fn find(&mut self, path: PathBuf, what: String, lost: Option<LostRange>) {
        // Neighbours that are lost for the same reason are one finding.
        if let (Some(lost), Some(Finding { path: last_path, what: last_what, lost: Some(last) })) =
            (&lost, self.out.findings.last_mut())
            && (last.topic == lost.topic && last.queue_id == lost.queue_id)
            && (last.first + last.count == lost.first && *last_path == path && *last_what == what)
        {
            last.count += lost.count;
            return;
        }
        self.out.findings.push(Finding { path, what, lost });
    }

    fn batch(&mut self, header: &Header, checked: &Checked) {
        self.out.batches += 1;
        if header.kind == Kind::Hole {
            let what = format!(
                "positions {} to {} were set aside by an earlier recovery (quarantine/)",
                header.base,
                header.end()
            );
            self.find(self.segment_path.to_owned(), what, None);
        }
        for slot in &checked.slots {
            self.out.records += 1;
            let at = slot.at as usize;
            let at_segment = (header.base - self.base) as u32 + slot.at;
            match identity_of(&checked.bytes()[at..at + slot.size as usize]) {
                Some(identity) => {
                    self.seen.push(Seen { at: at_segment, size: slot.size, crc: slot.crc, identity });
                }
                None => {
                    let position = self.base + u64::from(at_segment);
                    let what = format!("the record at position {position} is none, in an intact batch");
                    self.find(self.segment_path.to_owned(), what, None);
                }
            }
        }
    }

    async fn entries<E: Env, F: File>(
        &mut self,
        sealed: &SealedIndex<E>,
        page: &Page,
        source: &mut SegmentSource<F>,
    ) -> std::io::Result<()> {
        for row in &page.rows {
            let topic: &str = &page.topics[row.topic as usize];
            let lost = |offset, count| {
                Some(LostRange { topic: topic.into(), queue_id: row.queue_id, first: offset, count })
            };
            let mut done = 0;
            while done < row.count {
                let offset = row.first_offset + u64::from(done);
                let entries = match sealed.entries_from(row.start + done) {
                    Ok(entries) => entries,
                    // It was damaged since it was made anew.
                    Err(damaged) => {
                        let damaged = damaged.min(row.count - done);
                        let what = "a block of entries does not check".to_owned();
                        self.find(self.index_path.clone(), what, lost(offset, damaged.into()));
                        done += damaged;
                        continue;
                    }
                };
                let before = done;
                for (offset, entry) in (offset..).zip(entries.take((row.count - done) as usize)) {
                    self.out.entries += 1;
                    if let Some(what) =
                        self.entry(&entry, identity(topic, row.queue_id, offset), source).await?
                    {
                        self.find(self.segment_path.to_owned(), what.to_owned(), lost(offset, 1));
                    }
                    done += 1;
                }
                if done == before {
                    let what = "a block has fewer entries than the catalog says".to_owned();
                    let left = row.count - done;
                    self.find(self.index_path.clone(), what, lost(offset, left.into()));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Why the message of an entry cannot be read.
    async fn entry<F: File>(
        &self,
        entry: &Entry,
        identity: u32,
        source: &mut SegmentSource<F>,
    ) -> std::io::Result<Option<&'static str>> {
        if entry.is_missing() {
            return Ok(Some("neither the index nor an intact batch has it"));
        }
        if entry.is_lost() {
            return Ok(Some("lost to damage that an earlier recovery set aside"));
        }
        let inside = entry.position >= self.base && entry.position < source.end();
        let at = (entry.position.saturating_sub(self.base)) as u32;
        let found = self.seen.binary_search_by_key(&at, |seen| seen.at).ok().map(|i| &self.seen[i]);
        let (size, crc, own) = match found {
            Some(seen) if inside => (seen.size, seen.crc, Some(seen.identity)),
            // Its batch does not check, which need not be this record's fault.
            _ if inside => match source.bytes(entry.position, entry.size as usize).await? {
                Some(bytes) => (entry.size, crc32c::crc32c(bytes), identity_of(bytes)),
                None => return Ok(Some("its entry reaches past the segment")),
            },
            _ => return Ok(Some("its entry points out of the segment")),
        };
        Ok(match () {
            () if (size, crc) != (entry.size, entry.crc) => Some("the record does not check"),
            () if own != Some(identity) => Some("its entry points to another message"),
            () => None,
        })
    }

    fn keys<E: Env>(&mut self, sealed: &SealedIndex<E>) {
        for block in 0..sealed.key_blocks() {
            match sealed.key_block(block) {
                Ok(keys) => self.out.keys += keys.count() as u64,
                Err(_) => {
                    self.find(self.index_path.clone(), format!("block {block} of keys does not check"), None)
                }
            }
        }
    }
}

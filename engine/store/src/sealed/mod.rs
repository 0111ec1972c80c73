//! The sealed index of a full segment: mapped, checked block by block as it is looked at.
//!
//! Owns: reading such a file. Invariants: a block whose checksum fails, or that speaks of another segment (a misdirected
//! write), is never used: whoever needs it has it made anew from the segment first (`mend`), in memory.
//! On failure: a file that does not open is rebuilt from its segment by recovery.

pub mod format;
pub mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ringmq_io::{AlignedBuf, BLOCK, Disk, Env, Mapped};

use crate::batch::LogId;
use crate::entry::Entry;
use crate::keys::KeyEntry;
use format::{ENTRIES_PER_BLOCK, IndexHeader, KEYS_PER_BLOCK, Page};

type MappedOf<E> = <<E as Env>::Disk as Disk>::Mapped;

pub struct SealedIndex<E: Env> {
    mapped: Rc<MappedOf<E>>,
    header: IndexHeader,
    /// Blocks that were made anew, by their place in the file.
    mended: BTreeMap<usize, AlignedBuf>,
    keys_at: usize,
    pub oldest_ms: i64,
    pub newest_ms: i64,
}

/// A block that does not check.
#[derive(Debug, PartialEq, Eq)]
pub struct DamagedBlock;

impl<E: Env> SealedIndex<E> {
    /// Maps the index of the segment at `base`. `Ok(None)`: the file is damaged or another segment's.
    pub async fn open(
        env: &E,
        path: &Path,
        id: LogId,
        base: u64,
        segment_bytes: u64,
    ) -> io::Result<Option<Self>> {
        let mapped = env.disk().map(path).await?;
        let Some(header) = IndexHeader::decode(mapped.bytes()) else {
            return Ok(None);
        };
        let own = header.id == id && header.base == base && header.segment_bytes == segment_bytes;
        if !own || header.file_bytes() != Some(mapped.bytes().len()) {
            return Ok(None);
        }
        let keys_at = header.keys_at().expect("the file's size was made of it");
        let (oldest_ms, newest_ms) = (header.oldest_ms, header.newest_ms);
        let mended = BTreeMap::new();
        Ok(Some(Self { mapped: Rc::new(mapped), header, mended, keys_at, oldest_ms, newest_ms }))
    }

    /// The same index with some blocks made anew.
    pub fn with_mended(&self, blocks: impl IntoIterator<Item = (usize, AlignedBuf)>) -> Self {
        let mut mended: BTreeMap<usize, AlignedBuf> =
            self.mended.iter().map(|(at, block)| (*at, AlignedBuf::copy_of(block))).collect();
        mended.extend(blocks);
        debug_assert!(mended.values().all(|block| block.len() == BLOCK));
        let (mapped, header, keys_at) = (Rc::clone(&self.mapped), self.header, self.keys_at);
        Self { mapped, header, mended, keys_at, oldest_ms: self.oldest_ms, newest_ms: self.newest_ms }
    }

    /// The catalog page at `at` bytes into the catalog and where the next one begins; `None` behind the last.
    pub fn page(&self, at: usize) -> Result<Option<(Page, usize)>, DamagedBlock> {
        let catalog_at = self.header.catalog_at().expect("the file's size was made of it");
        let catalog = &self.mapped.bytes()[catalog_at..][..self.header.catalog_bytes as usize];
        if at >= catalog.len() {
            return Ok(None);
        }
        let (page, used) = Page::decode(&catalog[at..]).ok_or(DamagedBlock)?;
        let fits = |start: u32, count: u32| u64::from(start) + u64::from(count) <= self.header.entries;
        if page.rows.iter().any(|row| !fits(row.start, row.count)) {
            return Err(DamagedBlock);
        }
        Ok(Some((page, at + used)))
    }

    /// All pages; `None` if one does not check.
    pub fn pages(&self) -> Option<Vec<Page>> {
        let (mut pages, mut at) = (Vec::new(), 0);
        while let Some((page, next)) = self.page(at).ok()? {
            pages.push(page);
            at = next;
        }
        Some(pages)
    }

    fn block(&self, at: usize) -> &[u8] {
        match self.mended.get(&at) {
            Some(block) => block,
            None => &self.mapped.bytes()[at..at + BLOCK],
        }
    }

    fn is_inside(&self, position: u64) -> bool {
        (self.header.base..self.header.base + self.header.segment_bytes).contains(&position)
    }

    pub fn base(&self) -> u64 {
        self.header.base
    }

    pub fn entry_blocks(&self) -> usize {
        (self.header.entries as usize).div_ceil(ENTRIES_PER_BLOCK)
    }

    /// Where a block of entries lies in the file, and how many it has to have.
    pub fn place_of_entries(&self, block: usize) -> (usize, usize) {
        let left = self.header.entries as usize - block * ENTRIES_PER_BLOCK;
        ((1 + block) * BLOCK, left.min(ENTRIES_PER_BLOCK))
    }

    /// Where a block of keys lies in the file.
    pub fn place_of_keys(&self, block: usize) -> usize {
        self.keys_at + block * BLOCK
    }

    fn entry_block(&self, block: usize) -> Option<impl Iterator<Item = Entry>> {
        let (at, count) = self.place_of_entries(block);
        let entries = format::entries(self.block(at), (block * ENTRIES_PER_BLOCK) as u64, count)?;
        let own =
            entries.clone().find(|entry| !entry.is_lost()).is_none_or(|entry| self.is_inside(entry.position));
        own.then_some(entries)
    }

    pub fn has_entry_block(&self, block: usize) -> bool {
        self.entry_block(block).is_some()
    }

    /// Entries and keys.
    pub fn counts(&self) -> (u64, u64) {
        (self.header.entries, self.header.keys)
    }

    /// The entries from `index` to the end of its block. `Err` says how many entries the damage takes away.
    pub fn entries_from(&self, index: u32) -> Result<impl Iterator<Item = Entry>, u32> {
        let (block, within) = (index as usize / ENTRIES_PER_BLOCK, index as usize % ENTRIES_PER_BLOCK);
        let entries = self.entry_block(block).ok_or((ENTRIES_PER_BLOCK - within) as u32)?;
        Ok(entries.skip(within))
    }

    pub fn entry(&self, index: u32) -> Result<Option<Entry>, DamagedBlock> {
        Ok(self.entries_from(index).map_err(|_| DamagedBlock)?.next())
    }

    pub fn key_blocks(&self) -> usize {
        (self.header.keys as usize).div_ceil(KEYS_PER_BLOCK)
    }

    pub fn key_block(&self, block: usize) -> Result<impl Iterator<Item = KeyEntry>, DamagedBlock> {
        let bytes = self.block(self.place_of_keys(block));
        let keys = format::keys(bytes, (block * KEYS_PER_BLOCK) as u64).ok_or(DamagedBlock)?;
        // None is empty, and all of a block are of one segment.
        let first = keys.clone().next().ok_or(DamagedBlock)?;
        if self.is_inside(first.position) { Ok(keys) } else { Err(DamagedBlock) }
    }

    /// Positions of the records that have a key of this hash, in log order.
    pub fn positions(&self, hash: u64) -> Result<Vec<u64>, DamagedBlock> {
        let blocks = self.key_blocks();
        // The first block whose last hash is not below: what is sought begins there.
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            let last = self.key_block(middle)?.last().ok_or(DamagedBlock)?;
            if last.hash < hash { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        for block in low..blocks {
            for key in self.key_block(block)? {
                match key.hash.cmp(&hash) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => found.push(key.position),
                    std::cmp::Ordering::Greater => return Ok(found),
                }
            }
        }
        Ok(found)
    }
}

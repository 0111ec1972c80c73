//! The sealed index of a full segment: mapped, checked block by block as it is looked at.
//!
//! Owns: reading such a file. Invariants: a block whose checksum fails, that the device cannot read, or that speaks of another
//! segment (a misdirected write), is never used: whoever needs it has it made anew from the segment first (`mend`), in memory.
//! No look waits for the device, with all of the core: who finds that a block is not in memory has it brought, and looks again.
//! On failure: a file that does not open is rebuilt from its segment by recovery.

pub mod format;
pub mod write;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use ringmq_io::{AlignedBuf, BLOCK, Disk, Env, Mapped};

use crate::batch::LogId;
use crate::entry::Entry;
use crate::keys::KeyEntry;
use format::{ENTRIES_PER_BLOCK, IndexHeader, KEYS_PER_BLOCK, Page, Sums};

/// Read along with a block that is not in memory: who needs it will mostly need its neighbours.
const BROUGHT_BYTES: usize = 32 * BLOCK;

type MappedOf<E> = <<E as Env>::Disk as Disk>::Mapped;

pub struct SealedIndex<E: Env> {
    mapped: Rc<MappedOf<E>>,
    header: IndexHeader,
    sums: Sums,
    /// Blocks that were made anew, by their place in the file.
    mended: BTreeMap<usize, AlignedBuf>,
    /// Blocks that the device does not read; to be mended.
    unreadable: RefCell<BTreeSet<usize>>,
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
        let block = 0..BLOCK.min(mapped.len());
        if let Err(error) = mapped.bring(block.clone()).await {
            tracing::error!(path = %path.display(), "the first block of an index is not read: {error}");
            return Ok(None);
        }
        let Some(header) = IndexHeader::decode(mapped.look(block)) else {
            return Ok(None);
        };
        let own = header.id == id && header.base == base && header.segment_bytes == segment_bytes;
        if !own || header.file_bytes() != Some(mapped.len()) {
            return Ok(None);
        }
        let keys_at = header.keys_at().expect("the file's size was made of it");
        let (oldest_ms, newest_ms) = (header.oldest_ms, header.newest_ms);
        let sums = header.sums();
        let (mended, unreadable) = (BTreeMap::new(), RefCell::default());
        Ok(Some(Self {
            mapped: Rc::new(mapped),
            header,
            sums,
            mended,
            unreadable,
            keys_at,
            oldest_ms,
            newest_ms,
        }))
    }

    /// The same index with some blocks made anew.
    pub fn with_mended(&self, blocks: impl IntoIterator<Item = (usize, AlignedBuf)>) -> Self {
        let mut mended: BTreeMap<usize, AlignedBuf> =
            self.mended.iter().map(|(at, block)| (*at, AlignedBuf::copy_of(block))).collect();
        mended.extend(blocks);
        debug_assert!(mended.values().all(|block| block.len() == BLOCK));
        let (mapped, header, keys_at) = (Rc::clone(&self.mapped), self.header, self.keys_at);
        let sums = self.sums;
        let (unreadable, oldest_ms, newest_ms) = (self.unreadable.clone(), self.oldest_ms, self.newest_ms);
        Self { mapped, header, sums, mended, unreadable, keys_at, oldest_ms, newest_ms }
    }

    fn catalog(&self) -> Range<usize> {
        let start = self.header.catalog_at().expect("the file's size was made of it");
        start..start + self.header.catalog_bytes as usize
    }

    /// Has the catalog read. The error is the device's.
    pub async fn bring_catalog(&self) -> io::Result<()> {
        self.mapped.bring(self.catalog()).await
    }

    /// Whether a look at the block there does not wait.
    fn is_at_hand(&self, at: usize) -> bool {
        self.mended.contains_key(&at)
            || self.unreadable.borrow().contains(&at)
            || self.mapped.is_in_memory(at..at + BLOCK)
    }

    /// Has the block there read, and some behind it, if it is not in memory. What the device does not read is taken for damaged from then on.
    async fn bring(&self, at: usize) {
        if self.is_at_hand(at) {
            return;
        }
        let end = (at + BROUGHT_BYTES).min(self.mapped.len());
        if self.mapped.bring(at..end).await.is_ok() {
            return;
        }
        for at in (at..end).step_by(BLOCK) {
            if let Err(error) = self.mapped.bring(at..(at + BLOCK).min(end)).await {
                let base = self.header.base;
                tracing::error!(base, at, "a block of an index is not read: {error}");
                self.unreadable.borrow_mut().insert(at);
            }
        }
    }

    /// Whether the block with this entry is in memory.
    pub fn has_at_hand(&self, index: u32) -> bool {
        self.is_at_hand(self.place_of_entries(index as usize / ENTRIES_PER_BLOCK).0)
    }

    /// Has the block with this entry read.
    pub async fn bring_entry(&self, index: u32) {
        self.bring(self.place_of_entries(index as usize / ENTRIES_PER_BLOCK).0).await;
    }

    pub async fn bring_key_block(&self, block: usize) {
        self.bring(self.place_of_keys(block)).await;
    }

    /// After [`Self::bring_catalog`]: the catalog page at `at` bytes into the catalog and where the next one begins; `None` behind the last.
    pub fn page(&self, at: usize) -> Result<Option<(Page, usize)>, DamagedBlock> {
        let catalog = self.mapped.look(self.catalog());
        if at >= catalog.len() {
            return Ok(None);
        }
        let (page, used) = Page::decode(&catalog[at..], self.sums).ok_or(DamagedBlock)?;
        let fits = |start: u32, count: u32| u64::from(start) + u64::from(count) <= self.header.entries;
        if page.rows.iter().any(|row| !fits(row.start, row.count)) {
            return Err(DamagedBlock);
        }
        Ok(Some((page, at + used)))
    }

    /// After [`Self::bring_catalog`]: all pages; `None` if one does not check.
    pub fn pages(&self) -> Option<Vec<Page>> {
        let (mut pages, mut at) = (Vec::new(), 0);
        while let Some((page, next)) = self.page(at).ok()? {
            pages.push(page);
            at = next;
        }
        Some(pages)
    }

    fn block(&self, at: usize) -> &[u8] {
        // Nothing checks in it.
        const UNREADABLE: [u8; BLOCK] = [0; BLOCK];
        match self.mended.get(&at) {
            Some(block) => block,
            None if self.unreadable.borrow().contains(&at) => &UNREADABLE,
            None => self.mapped.look(at..at + BLOCK),
        }
    }

    pub fn sums(&self) -> Sums {
        self.sums
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
        let entries = format::entries(self.block(at), self.sums, (block * ENTRIES_PER_BLOCK) as u64, count)?;
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
        let keys = format::keys(bytes, self.sums, (block * KEYS_PER_BLOCK) as u64).ok_or(DamagedBlock)?;
        // None is empty, and all of a block are of one segment.
        let first = keys.clone().next().ok_or(DamagedBlock)?;
        if self.is_inside(first.position) { Ok(keys) } else { Err(DamagedBlock) }
    }

    /// Positions of the records that have a key of this hash, in log order.
    pub async fn positions(&self, hash: u64) -> Result<Vec<u64>, DamagedBlock> {
        let blocks = self.key_blocks();
        // The first block whose last hash is not below: what is sought begins there.
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            self.bring_key_block(middle).await;
            let last = self.key_block(middle)?.last().ok_or(DamagedBlock)?;
            if last.hash < hash { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        for block in low..blocks {
            self.bring_key_block(block).await;
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

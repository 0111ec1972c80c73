//! The sealed index of a full segment: mapped, checked block by block as it is looked at.
//!
//! Owns: reading such a file. Invariants: a block whose checksum fails is never used: its entries count as lost,
//! its keys as absent, and both are reported by the caller.
//! On failure: a file that does not open is rebuilt from its segment by recovery.

pub mod format;
pub mod write;

use std::io;
use std::path::Path;

use ringmq_io::{BLOCK, Disk, Env, Mapped};

use crate::batch::LogId;
use crate::entry::Entry;
use format::{ENTRIES_PER_BLOCK, IndexHeader, KEYS_PER_BLOCK, Page};

type MappedOf<E> = <<E as Env>::Disk as Disk>::Mapped;

pub struct SealedIndex<E: Env> {
    mapped: MappedOf<E>,
    header: IndexHeader,
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
        Ok(Some(Self { mapped, header, keys_at, oldest_ms, newest_ms }))
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

    fn block(&self, at: usize) -> &[u8] {
        &self.mapped.bytes()[at..at + BLOCK]
    }

    /// Entries and keys.
    pub fn counts(&self) -> (u64, u64) {
        (self.header.entries, self.header.keys)
    }

    /// The entries from `index` to the end of its block. `Err` says how many entries the damage takes away.
    pub fn entries_from(&self, index: u32) -> Result<impl Iterator<Item = Entry>, u32> {
        let (block, within) = (index as usize / ENTRIES_PER_BLOCK, index as usize % ENTRIES_PER_BLOCK);
        let first = block * ENTRIES_PER_BLOCK;
        let bytes = self.block((1 + block) * BLOCK);
        let entries = format::entries(bytes, first as u64).ok_or((ENTRIES_PER_BLOCK - within) as u32)?;
        Ok(entries.skip(within))
    }

    pub fn entry(&self, index: u32) -> Option<Entry> {
        self.entries_from(index).ok()?.next()
    }

    pub fn key_blocks(&self) -> usize {
        (self.header.keys as usize).div_ceil(KEYS_PER_BLOCK)
    }

    pub fn key_block(
        &self,
        block: usize,
    ) -> Result<impl Iterator<Item = crate::keys::KeyEntry>, DamagedBlock> {
        let bytes = self.block(self.keys_at + block * BLOCK);
        format::keys(bytes, (block * KEYS_PER_BLOCK) as u64).ok_or(DamagedBlock)
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

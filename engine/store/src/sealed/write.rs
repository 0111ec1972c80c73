//! Writes a sealed index file piece by piece.
//!
//! Owns: the order of the sections and the temporary file. Invariants: memory in use stays at one buffer; the
//! file appears under its name only when all of it is durable.
//! On failure: the error; a temporary file may be left, which the next attempt or open removes.

use std::io;
use std::path::{Path, PathBuf};

use ringmq_io::limits::STORE_ITEMS_PER_TURN;
use ringmq_io::{AlignedBuf, BLOCK, Disk, Env, File};

use super::format::{
    Drop, ENTRIES_PER_BLOCK, IndexHeader, KEYS_PER_BLOCK, Page, Sums, VERSION, encode_entry, encode_keys,
    seal_entries,
};
use crate::batch::LogId;
use crate::entry::Entry;
use crate::envelope::{create_anew, temporary_name};
use crate::keys::KeyEntry;
use crate::segments::FileOf;

/// One write. Under full load each of them waits its turn behind the log's own writes, and while a segment is not
/// sealed, its index stays in memory: with writes of a quarter of this, sealing could not keep up with small messages.
const BUFFER: usize = 1024 * 1024;
/// Made between two yields: 64 blocks with their checksums take some 0.2 ms.
const BYTES_PER_TURN: usize = 256 * 1024;

pub struct IndexWriter<E: Env> {
    env: E,
    path: PathBuf,
    /// With what was written so far.
    header: IndexHeader,
    sums: Sums,
    file: FileOf<E>,
    buffer: AlignedBuf,
    used: usize,
    written: u64,
    /// Entries of the block at `used` that is not full yet.
    in_block: usize,
}

impl<E: Env> IndexWriter<E> {
    /// For the segment of `segment_bytes` at `base`.
    pub async fn create(env: &E, path: &Path, id: LogId, base: u64, segment_bytes: u64) -> io::Result<Self> {
        let header = IndexHeader {
            version: VERSION,
            id,
            base,
            segment_bytes,
            entries: 0,
            keys: 0,
            catalog_bytes: 0,
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
        };
        let file = create_anew(env.disk(), &temporary_name(path)).await?;
        Ok(Self {
            env: env.clone(),
            path: path.into(),
            sums: header.sums(),
            header,
            file,
            buffer: AlignedBuf::zeroed(BUFFER),
            used: 0,
            written: BLOCK as u64,
            in_block: 0,
        })
    }

    /// Index that the next entry gets.
    pub fn next_entry(&self) -> u64 {
        self.header.entries
    }

    pub async fn entries(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            encode_entry(&mut self.buffer[self.used..][..BLOCK], self.in_block, entry);
            self.in_block += 1;
            self.header.entries += 1;
            self.header.oldest_ms = self.header.oldest_ms.min(entry.store_time_ms);
            self.header.newest_ms = self.header.newest_ms.max(entry.store_time_ms);
            if self.in_block == ENTRIES_PER_BLOCK {
                self.entry_block().await?;
            }
        }
        Ok(())
    }

    async fn entry_block(&mut self) -> io::Result<()> {
        let count = std::mem::take(&mut self.in_block);
        let first = self.header.entries - count as u64;
        seal_entries(&mut self.buffer[self.used..][..BLOCK], self.sums, first, count);
        self.advance(BLOCK).await
    }

    /// All keys, sorted. After the last entry.
    pub async fn keys(&mut self, keys: &[KeyEntry]) -> io::Result<()> {
        if self.in_block > 0 {
            self.entry_block().await?;
        }
        for chunk in keys.chunks(KEYS_PER_BLOCK) {
            let used = self.used;
            encode_keys(&mut self.buffer[used..used + BLOCK], self.sums, self.header.keys, chunk);
            self.header.keys += chunk.len() as u64;
            self.advance(BLOCK).await?;
        }
        Ok(())
    }

    /// The next page of the catalog. After the keys.
    pub async fn page(&mut self, page: &Page) -> io::Result<()> {
        let bytes = page.encode(self.sums);
        self.header.catalog_bytes += bytes.len() as u64;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let now = rest.len().min(self.buffer.len() - self.used);
            let used = self.used;
            self.buffer[used..used + now].copy_from_slice(&rest[..now]);
            rest = &rest[now..];
            self.advance(now).await?;
        }
        Ok(())
    }

    async fn advance(&mut self, bytes: usize) -> io::Result<()> {
        self.used += bytes;
        if self.used == self.buffer.len() {
            return self.drain().await;
        }
        if self.used.is_multiple_of(BYTES_PER_TURN) {
            self.env.yield_now().await;
        }
        Ok(())
    }

    async fn drain(&mut self) -> io::Result<()> {
        let len = self.used.next_multiple_of(BLOCK);
        self.buffer[self.used..len].fill(0);
        if len == BUFFER {
            let full = std::mem::replace(&mut self.buffer, AlignedBuf::zeroed(0));
            self.buffer = self.file.write_at(self.written, full).await?;
        } else {
            self.file.write_at(self.written, AlignedBuf::copy_of(&self.buffer[..len])).await?;
        }
        self.written += len as u64;
        self.used = 0;
        self.env.yield_now().await;
        Ok(())
    }

    /// The topics that were dropped in the segment. Before the rows of the catalog.
    pub async fn drops(&mut self, drops: &[Drop]) -> io::Result<()> {
        for drops in drops.chunks(STORE_ITEMS_PER_TURN) {
            self.page(&Page { drops: drops.to_vec(), ..Page::default() }).await?;
        }
        Ok(())
    }

    /// Writes the header and puts the file in its place, durable.
    pub async fn finish(mut self) -> io::Result<()> {
        assert!(self.in_block == 0, "keys come between entries and catalog");
        if self.used > 0 {
            self.drain().await?;
        }
        if self.header.entries == 0 {
            (self.header.oldest_ms, self.header.newest_ms) = (self.env.now_ms(), self.env.now_ms());
        }
        assert_eq!(self.header.file_bytes().map(|bytes| bytes as u64), Some(self.written));
        self.file.write_at(0, AlignedBuf::copy_of(&self.header.encode())).await?;
        self.file.sync().await?;
        let disk = self.env.disk();
        disk.rename(&temporary_name(&self.path), &self.path).await?;
        disk.sync_dir(self.path.parent().expect("a shard's directory")).await
    }
}

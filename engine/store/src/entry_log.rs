//! Entries of one queue that are not yet sealed: appended behind, removed in front, found by offset.
//!
//! Owns: the memory of the open index. Chunks instead of one growing buffer: a doubling copy of a busy queue's
//! entries would stall the core for milliseconds. An idle queue owns no chunk.
//! Invariants: offsets are dense from `first()` to `next()`; no chunk is empty.

use std::collections::VecDeque;

use crate::entry::Entry;

const CHUNK_MIN: usize = 4;
const CHUNK_MAX: usize = 512;

#[derive(Default)]
pub struct EntryLog {
    chunks: VecDeque<Chunk>,
    next: u64,
}

struct Chunk {
    first: u64,
    entries: Vec<Entry>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

impl EntryLog {
    /// Empty, with the next offset at `next`.
    pub fn starting_at(next: u64) -> Self {
        Self { chunks: VecDeque::new(), next }
    }

    pub fn first(&self) -> u64 {
        self.chunks.front().map_or(self.next, |chunk| chunk.first)
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn last(&self) -> Option<&Entry> {
        self.chunks.back().and_then(|chunk| chunk.entries.last())
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    #[inline]
    pub fn push(&mut self, entry: Entry) {
        match self.chunks.back_mut() {
            Some(chunk) if chunk.entries.len() < chunk.entries.capacity() => chunk.entries.push(entry),
            last => {
                let size = last.map_or(CHUNK_MIN, |chunk| (chunk.entries.capacity() * 4).min(CHUNK_MAX));
                let mut entries = Vec::with_capacity(size);
                entries.push(entry);
                self.chunks.push_back(Chunk { first: self.next, entries });
            }
        }
        self.next += 1;
    }

    fn chunk_of(&self, offset: u64) -> Option<&Chunk> {
        let last = self.chunks.back()?;
        if offset >= last.first {
            return (offset < last.end()).then_some(last);
        }
        let after = self.chunks.partition_point(|chunk| chunk.first <= offset);
        after.checked_sub(1).map(|at| &self.chunks[at])
    }

    pub fn get(&self, offset: u64) -> Option<Entry> {
        let chunk = self.chunk_of(offset)?;
        chunk.entries.get((offset - chunk.first) as usize).copied()
    }

    /// The entries at `offset` and behind it that lie side by side in memory; empty past the end.
    pub fn run_from(&self, offset: u64) -> &[Entry] {
        self.chunk_of(offset).map_or(&[], |chunk| &chunk.entries[(offset - chunk.first) as usize..])
    }

    /// Number of entries in front whose position is below `position`.
    pub fn count_below(&self, position: u64) -> u64 {
        let whole = self.chunks.partition_point(|c| c.entries.last().is_some_and(|e| e.position < position));
        let partial = self
            .chunks
            .get(whole)
            .map_or(0, |chunk| chunk.entries.partition_point(|e| e.position < position) as u64);
        self.chunks.get(whole).map_or(self.next, |chunk| chunk.first) + partial - self.first()
    }

    /// Removes the entries before `offset`.
    pub fn forget_before(&mut self, offset: u64) {
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.end() <= offset {
                self.chunks.pop_front();
                continue;
            }
            if chunk.first < offset {
                chunk.entries.drain(..(offset - chunk.first) as usize);
                chunk.first = offset;
            }
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(position: u64) -> Entry {
        Entry { position, tags_code: 0, store_time_ms: 0, size: 1, crc: 0 }
    }

    proptest! {
        #[test]
        fn behaves_like_a_plain_list(start in 0u64..10, steps in proptest::collection::vec((0u8..4, 0u64..2000), 1..60)) {
            let mut log = EntryLog::starting_at(start);
            let mut model: Vec<(u64, u64)> = Vec::new();
            let mut next = start;
            for (what, amount) in steps {
                match what {
                    0..=1 => for _ in 0..amount {
                        log.push(entry(next * 10));
                        model.push((next, next * 10));
                        next += 1;
                    },
                    2 => {
                        let to = log.first() + amount.min(log.next() - log.first());
                        log.forget_before(to);
                        model.retain(|(offset, _)| *offset >= to);
                    }
                    _ => {
                        let position = (log.first() + amount) * 10 + 5;
                        let count = model.iter().filter(|(_, p)| *p < position).count() as u64;
                        prop_assert_eq!(log.count_below(position), count);
                    }
                }
                prop_assert_eq!(log.next(), next);
                prop_assert_eq!(log.first(), model.first().map_or(next, |(offset, _)| *offset));
                prop_assert_eq!(log.is_empty(), model.is_empty());
                for probe in [log.first(), (log.first() + next) / 2, next.saturating_sub(1), next] {
                    let expected = model.iter().find(|(offset, _)| *offset == probe).map(|(_, p)| *p);
                    prop_assert_eq!(log.get(probe).map(|e| e.position), expected);
                    prop_assert_eq!(log.run_from(probe).first().map(|e| e.position), expected);
                }
            }
        }
    }
}

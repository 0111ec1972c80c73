//! Bytes of a sealed index file.
//!
//! ```text
//! block 0   header  0 "RINGMQIX"  8 u32 version  12 u32 crc32c of 16..96   16 u64 store id   24 u64 base position
//!                   32 u64 segment bytes  40 u64 entries  48 u64 keys  56 u64 catalog bytes
//!                   64 i64 oldest, 72 i64 newest store time, ms  80 u16 shard  84 u32 0  88 u64 0
//! block 1.. entries 0 u32 sum of 4..4096     4 u32 count  8 u64 index of the first  16 zeros  32 127 x entry (32)
//! then      keys    0 u32 sum of 4..4096     4 u32 count  8 u64 index of the first  16 255 x (u64 hash, u64 position)
//! then      catalog pages, each 16-byte aligned: 0 u32 bytes  4 u32 sum  8 zeros     16 rkyv archive of a `Page`
//! ```
//! A sum is a crc32c that goes on from one of the kind and of the segment it is about (`Sums`): what a misdirected write brings from
//! another index, or from another place in this one, does not check.
//! Invariants: entries of a queue lie together, queues sorted by (topic, queue id); keys sorted by (hash,
//! position); each block and page carries its own checksum and is looked at only after it was checked, so that
//! opening a store reads the catalogs alone.
//! On failure: `None`; nothing here panics on any bytes.

use ringmq_io::BLOCK;
use rkyv::{Archive, Deserialize, Serialize};

use crate::batch::LogId;
use crate::entry::{ENTRY_BYTES, Entry};
use crate::keys::KeyEntry;

const MAGIC: [u8; 8] = *b"RINGMQIX";
pub const VERSION: u32 = 2;
/// Its sums are of the bytes alone. It is read as it is: to make all indexes of a large store anew would take its memory.
const VERSION_WITHOUT_PLACE: u32 = 1;
const HEADER_USED: usize = 96;

/// What blocks of entries and of keys begin with alike.
const BLOCK_HEAD: usize = 16;
const ENTRY_HEAD: usize = 32;
pub const ENTRIES_PER_BLOCK: usize = (BLOCK - ENTRY_HEAD) / ENTRY_BYTES;
const KEY_BYTES: usize = 16;
const KEY_HEAD: usize = 16;
pub const KEYS_PER_BLOCK: usize = (BLOCK - KEY_HEAD) / KEY_BYTES;
/// Bytes before a catalog page's archive; pages begin at multiples of it.
pub const PAGE_HEAD: usize = 16;

const _: () = assert!(ENTRIES_PER_BLOCK == 127 && KEYS_PER_BLOCK == 255);

/// Where the checksums of an index file begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    pub entries: u32,
    pub keys: u32,
    pub pages: u32,
}

impl Sums {
    /// Of the index of the segment at `base`.
    pub fn of(id: LogId, base: u64) -> Self {
        let own = crc32c::crc32c(&id.store_id.to_le_bytes());
        let own = crc32c::crc32c_append(own, &id.shard.to_le_bytes());
        let own = crc32c::crc32c_append(own, &base.to_le_bytes());
        let kind = |kind: &[u8]| crc32c::crc32c_append(own, kind);
        Self { entries: kind(b"entries"), keys: kind(b"keys"), pages: kind(b"pages") }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    pub version: u32,
    pub id: LogId,
    pub base: u64,
    pub segment_bytes: u64,
    pub entries: u64,
    pub keys: u64,
    pub catalog_bytes: u64,
    pub oldest_ms: i64,
    pub newest_ms: i64,
}

impl IndexHeader {
    pub fn encode(&self) -> [u8; HEADER_USED] {
        let mut out = [0; HEADER_USED];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        let words = [
            self.id.store_id,
            self.base,
            self.segment_bytes,
            self.entries,
            self.keys,
            self.catalog_bytes,
            self.oldest_ms as u64,
            self.newest_ms as u64,
        ];
        for (slot, word) in out[16..80].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out[80..82].copy_from_slice(&self.id.shard.to_le_bytes());
        let crc = crc32c::crc32c(&out[16..]);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_USED] = bytes.first_chunk()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let is_known = [VERSION, VERSION_WITHOUT_PLACE].contains(&half(8));
        if bytes[0..8] != MAGIC || !is_known || half(12) != crc32c::crc32c(&bytes[16..]) {
            return None;
        }
        Some(Self {
            version: half(8),
            id: LogId { store_id: word(16), shard: u16::from_le_bytes([bytes[80], bytes[81]]) },
            base: word(24),
            segment_bytes: word(32),
            entries: word(40),
            keys: word(48),
            catalog_bytes: word(56),
            oldest_ms: word(64) as i64,
            newest_ms: word(72) as i64,
        })
    }

    pub fn sums(&self) -> Sums {
        match self.version {
            VERSION_WITHOUT_PLACE => Sums { entries: 0, keys: 0, pages: 0 },
            _ => Sums::of(self.id, self.base),
        }
    }

    pub fn keys_at(&self) -> Option<usize> {
        let blocks = self.entries.div_ceil(ENTRIES_PER_BLOCK as u64).checked_add(1)?;
        usize::try_from(blocks.checked_mul(BLOCK as u64)?).ok()
    }

    pub fn catalog_at(&self) -> Option<usize> {
        let bytes = self.keys.div_ceil(KEYS_PER_BLOCK as u64).checked_mul(BLOCK as u64)?;
        self.keys_at()?.checked_add(usize::try_from(bytes).ok()?)
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> Option<usize> {
        let catalog = usize::try_from(self.catalog_bytes).ok()?;
        self.catalog_at()?.checked_add(catalog)?.checked_next_multiple_of(BLOCK)
    }
}

/// One page of the catalog.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub topics: Vec<String>,
    pub rows: Vec<Row>,
    /// Topics dropped by batches of this segment, in log order.
    pub drops: Vec<Drop>,
}

/// A queue's entries in this index.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Index into the page's topics.
    pub topic: u32,
    pub queue_id: u32,
    pub first_offset: u64,
    pub start: u32,
    pub count: u32,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Drop {
    pub position: u64,
    pub topic: String,
}

impl Page {
    /// Rows by the names of their topics, in the index's order; the rows' own `topic` is filled in.
    pub fn of_rows<'a>(rows: impl Iterator<Item = (&'a str, Row)>) -> Self {
        let mut page = Self::default();
        for (name, row) in rows {
            if page.topics.last().is_none_or(|last| last != name) {
                page.topics.push(name.to_owned());
            }
            page.rows.push(Row { topic: page.topics.len() as u32 - 1, ..row });
        }
        page
    }

    /// The page with its head and padding.
    pub fn encode(&self, sums: Sums) -> Vec<u8> {
        let archive = rkyv::to_bytes::<rkyv::rancor::Error>(self).expect("a page has no failing part");
        let mut out = vec![0; PAGE_HEAD];
        out[0..4].copy_from_slice(&(archive.len() as u32).to_le_bytes());
        out[4..8].copy_from_slice(&crc32c::crc32c_append(sums.pages, &archive).to_le_bytes());
        out.extend_from_slice(&archive);
        out.resize(out.len().next_multiple_of(PAGE_HEAD), 0);
        out
    }

    /// The page that `bytes` begins with, and how many bytes it took.
    pub fn decode(bytes: &[u8], sums: Sums) -> Option<(Self, usize)> {
        let head: &[u8; PAGE_HEAD] = bytes.first_chunk()?;
        let len = u32::from_le_bytes(head[0..4].try_into().expect("4 bytes")) as usize;
        let crc = u32::from_le_bytes(head[4..8].try_into().expect("4 bytes"));
        let archive = bytes[PAGE_HEAD..].get(..len)?;
        if crc32c::crc32c_append(sums.pages, archive) != crc {
            return None;
        }
        // A mapping may lie anywhere; an archive wants its own alignment.
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(len);
        aligned.extend_from_slice(archive);
        let page: Page = rkyv::from_bytes::<Page, rkyv::rancor::Error>(&aligned).ok()?;
        if page.rows.iter().any(|row| row.topic as usize >= page.topics.len()) {
            return None;
        }
        Some((page, (PAGE_HEAD + len).next_multiple_of(PAGE_HEAD)))
    }
}

/// Writes entry number `at` of a block.
pub fn encode_entry(block: &mut [u8], at: usize, entry: &Entry) {
    block[ENTRY_HEAD + at * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(&entry.encode());
}

/// Completes a block of `count` entries; `first` is the index of the first.
pub fn seal_entries(block: &mut [u8], sums: Sums, first: u64, count: usize) {
    assert!(count <= ENTRIES_PER_BLOCK);
    block[BLOCK_HEAD..ENTRY_HEAD].fill(0);
    seal_block(block, sums.entries, first, count, ENTRY_HEAD + count * ENTRY_BYTES);
}

/// Writes a block of keys; `first` is the index of the first.
pub fn encode_keys(block: &mut [u8], sums: Sums, first: u64, keys: &[KeyEntry]) {
    assert!(keys.len() <= KEYS_PER_BLOCK);
    for (slot, key) in block[KEY_HEAD..].chunks_exact_mut(KEY_BYTES).zip(keys) {
        slot[..8].copy_from_slice(&key.hash.to_le_bytes());
        slot[8..].copy_from_slice(&key.position.to_le_bytes());
    }
    seal_block(block, sums.keys, first, keys.len(), KEY_HEAD + keys.len() * KEY_BYTES);
}

/// Head and checksum of a block of which `used` bytes are written; the rest may have held anything.
fn seal_block(block: &mut [u8], sum: u32, first: u64, count: usize, used: usize) {
    assert_eq!(block.len(), BLOCK);
    block[used..].fill(0);
    block[4..8].copy_from_slice(&(count as u32).to_le_bytes());
    block[8..16].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c_append(sum, &block[4..]);
    block[0..4].copy_from_slice(&crc.to_le_bytes());
}

/// Checks a block that must begin at index `first`; gives how many items it has.
fn open_block(block: &[u8], sum: u32, first: u64, most: usize) -> Option<usize> {
    if block.len() != BLOCK || block[0..4] != crc32c::crc32c_append(sum, &block[4..]).to_le_bytes() {
        return None;
    }
    let count = u32::from_le_bytes(block[4..8].try_into().expect("4 bytes")) as usize;
    let own_first = u64::from_le_bytes(block[8..16].try_into().expect("8 bytes"));
    (own_first == first && count <= most).then_some(count)
}

/// The entries of a checked block, which must have so many.
pub fn entries(
    block: &[u8],
    sums: Sums,
    first: u64,
    count: usize,
) -> Option<impl Iterator<Item = Entry> + Clone> {
    let count = open_block(block, sums.entries, first, ENTRIES_PER_BLOCK).filter(|own| *own == count)?;
    let items = block[ENTRY_HEAD..].chunks_exact(ENTRY_BYTES).take(count);
    Some(items.map(|item| Entry::decode(item.try_into().expect("an entry's size"))))
}

/// The keys of a checked block.
pub fn keys(block: &[u8], sums: Sums, first: u64) -> Option<impl Iterator<Item = KeyEntry> + Clone> {
    let count = open_block(block, sums.keys, first, KEYS_PER_BLOCK)?;
    let items = block[KEY_HEAD..].chunks_exact(KEY_BYTES).take(count);
    Some(items.map(|item| KeyEntry {
        hash: u64::from_le_bytes(item[..8].try_into().expect("8 bytes")),
        position: u64::from_le_bytes(item[8..].try_into().expect("8 bytes")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUMS: Sums = Sums { entries: 1, keys: 2, pages: 3 };

    fn page(rows: usize) -> Page {
        Page {
            topics: vec!["a".into(), "Tür".into()],
            rows: (0..rows as u32)
                .map(|i| Row { topic: i % 2, queue_id: i, first_offset: 1 << 40, start: i, count: 3 })
                .collect(),
            drops: vec![Drop { position: 64, topic: "gone".into() }],
        }
    }

    proptest! {
        #[test]
        fn headers_round_trip_and_damage_is_seen(words in proptest::array::uniform7(any::<u64>()), shard: u16, bit in 16usize * 8..96 * 8) {
            let header = IndexHeader {
                version: if shard.is_multiple_of(2) { VERSION } else { VERSION_WITHOUT_PLACE },
                id: LogId { store_id: words[0], shard },
                base: words[1],
                segment_bytes: words[2],
                entries: words[3],
                keys: words[4],
                catalog_bytes: words[5],
                oldest_ms: words[6] as i64,
                newest_ms: -1,
            };
            let mut bytes = header.encode();
            prop_assert_eq!(IndexHeader::decode(&bytes), Some(header));
            let _ = header.file_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(IndexHeader::decode(&bytes), None);
        }

        #[test]
        fn pages_round_trip_and_damage_is_seen(rows in 0usize..50, at: prop::sample::Index, bit in 0u8..8) {
            let page = page(rows);
            let mut bytes = page.encode(SUMS);
            prop_assert_eq!(Page::decode(&bytes, SUMS), Some((page, bytes.len())));
            let len = u32::from_le_bytes(bytes[0..4].try_into().unwrap()) as usize;
            let at = at.index(PAGE_HEAD + len);
            prop_assume!(!(8..PAGE_HEAD).contains(&at));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Page::decode(&bytes, SUMS), None);
        }

        #[test]
        fn blocks_round_trip_and_damage_is_seen(count in 0usize..=127, first: u64, bit in 0usize..4096 * 8) {
            let list: Vec<Entry> = (0..count as u64)
                .map(|i| Entry { position: i * 100, tags_code: -1, store_time_ms: 5, size: 9, crc: 7 })
                .collect();
            let mut block = vec![0xAA; BLOCK];
            for (at, entry) in list.iter().enumerate() {
                encode_entry(&mut block, at, entry);
            }
            seal_entries(&mut block, SUMS, first, list.len());
            prop_assert_eq!(entries(&block, SUMS, first, list.len()).unwrap().collect::<Vec<_>>(), &list[..]);
            prop_assert!(entries(&block, SUMS, first.wrapping_add(1), list.len()).is_none());
            block[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(entries(&block, SUMS, first, list.len()).is_none());
        }

        #[test]
        fn a_sum_of_an_old_file_is_of_the_bytes_alone(bytes in proptest::collection::vec(any::<u8>(), BLOCK), base: u64) {
            let id = LogId { store_id: 7, shard: 1 };
            let (entries, keys, catalog_bytes, oldest_ms, newest_ms) = (1, 1, 16, 0, 0);
            let version = VERSION_WITHOUT_PLACE;
            let header = IndexHeader { version, id, base, segment_bytes: 1 << 20, entries, keys, catalog_bytes, oldest_ms, newest_ms };
            let sums = IndexHeader::decode(&header.encode()).unwrap().sums();
            for sum in [sums.entries, sums.keys, sums.pages] {
                prop_assert_eq!(crc32c::crc32c_append(sum, &bytes), crc32c::crc32c(&bytes));
            }
        }

        #[test]
        fn what_is_of_another_place_does_not_check(base: u64, other: u64, shard: u16, store_id: u64, other_store: u64) {
            prop_assume!(base != other && store_id != other_store);
            let id = LogId { store_id, shard };
            let sums = Sums::of(id, base);
            let others = [
                Sums::of(id, other),
                Sums::of(LogId { store_id: other_store, shard }, base),
                Sums::of(LogId { store_id, shard: shard.wrapping_add(1) }, base),
            ];
            let (mut of_keys, mut of_entries) = (vec![0; BLOCK], vec![0; BLOCK]);
            encode_keys(&mut of_keys, sums, 0, &[KeyEntry { hash: 0, position: 0 }]);
            seal_entries(&mut of_entries, sums, 0, 1);
            prop_assert!(entries(&of_keys, sums, 0, 1).is_none() && keys(&of_entries, sums, 0).is_none());
            let page = page(3).encode(sums);
            for other in others {
                prop_assert!(entries(&of_entries, other, 0, 1).is_none() && keys(&of_keys, other, 0).is_none());
                prop_assert!(Page::decode(&page, other).is_none());
            }
        }

        #[test]
        fn key_blocks_round_trip(count in 0usize..=255, first: u64) {
            let list: Vec<KeyEntry> = (0..count as u64).map(|i| KeyEntry { hash: i << 40, position: i }).collect();
            let mut block = vec![0xAA; BLOCK];
            encode_keys(&mut block, SUMS, first, &list);
            prop_assert_eq!(keys(&block, SUMS, first).unwrap().collect::<Vec<_>>(), list);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = IndexHeader::decode(&bytes);
            let _ = Page::decode(&bytes, SUMS);
            let _ = entries(&bytes, SUMS, 0, 1).is_some();
        }
    }
}

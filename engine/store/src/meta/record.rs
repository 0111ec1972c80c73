//! The layout of a record and of the two file headers; see the drawing in the module's head.
//!
//! Invariants: what is encoded parses back; anything else is `None` or an error, never a panic.

use std::path::Path;

use ringmq_io::limits::META_ENTRY_BYTES_MAX;
use ringmq_io::{AlignedBuf, BLOCK};

use super::OpenError;

pub const RECORD_HEAD: usize = 32;
pub const ALIGN: usize = 8;
const VERSION: u32 = 1;
pub const LOG_MAGIC: [u8; 8] = *b"RINGMLOG";
pub const SNAPSHOT_MAGIC: [u8; 8] = *b"RINGMSNP";

const _: () = assert!(RECORD_HEAD.is_multiple_of(ALIGN) && BLOCK.is_multiple_of(ALIGN));

/// Bytes a record takes.
pub const fn size(entry: usize) -> usize {
    (RECORD_HEAD + entry).next_multiple_of(ALIGN)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    pub lsn: u64,
    pub group: u64,
    pub entry: &'b [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Writes a record to the begin of `out`, which is zeroed, and gives its size.
pub fn encode(out: &mut [u8], store_id: u64, lsn: u64, group: u64, entry: &[u8]) -> usize {
    assert!(group <= lsn && group > 0, "entry {lsn} of group {group}");
    let len = RECORD_HEAD + entry.len();
    out[4..8].copy_from_slice(&(entry.len() as u32).to_le_bytes());
    out[8..16].copy_from_slice(&lsn.to_le_bytes());
    out[16..24].copy_from_slice(&store_id.to_le_bytes());
    out[24..32].copy_from_slice(&group.to_le_bytes());
    out[RECORD_HEAD..len].copy_from_slice(entry);
    let crc = crc32c::crc32c(&out[4..len]);
    out[0..4].copy_from_slice(&crc.to_le_bytes());
    size(entry.len())
}

/// The record at the begin of `bytes`, if an intact one of this store is there.
pub fn parse(bytes: &[u8], store_id: u64) -> Option<Record<'_>> {
    if bytes.len() < RECORD_HEAD || u64_at(bytes, 16) != store_id {
        return None;
    }
    let entry = u32_at(bytes, 4) as usize;
    let (lsn, group) = (u64_at(bytes, 8), u64_at(bytes, 24));
    if entry > META_ENTRY_BYTES_MAX || size(entry) > bytes.len() || group == 0 || group > lsn {
        return None;
    }
    let len = RECORD_HEAD + entry;
    (crc32c::crc32c(&bytes[4..len]) == u32_at(bytes, 0)).then(|| Record {
        lsn,
        group,
        entry: &bytes[RECORD_HEAD..len],
    })
}

/// The words of a file header that are checked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub store_id: u64,
    /// Of a log its first lsn, of a snapshot the lsn it goes up to.
    pub lsn: u64,
    /// Of a log its safe lsn, of a snapshot the bytes of its body.
    pub extent: u64,
    /// Of a snapshot the crc32c of its body.
    pub check: u64,
}

pub fn encode_header(magic: [u8; 8], header: Header) -> AlignedBuf {
    let mut out = AlignedBuf::zeroed(BLOCK);
    out[0..8].copy_from_slice(&magic);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    for (i, word) in [header.store_id, header.lsn, header.extent, header.check].into_iter().enumerate() {
        out[16 + 8 * i..24 + 8 * i].copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[16..48]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

pub fn parse_header(magic: [u8; 8], path: &Path, bytes: &[u8]) -> Result<Header, OpenError> {
    let damaged =
        |offset, what: &str| OpenError::Damaged { path: path.to_owned(), offset, what: what.to_owned() };
    if bytes.len() < BLOCK || bytes[0..8] != magic {
        return Err(damaged(0, "it does not begin with its magic"));
    }
    let found = u32_at(bytes, 8);
    if found != VERSION {
        return Err(OpenError::FormatVersion { path: path.to_owned(), found, expected: VERSION });
    }
    if crc32c::crc32c(&bytes[16..48]) != u32_at(bytes, 12) {
        return Err(damaged(12, "the checksum of its header does not match"));
    }
    let word = |i: usize| u64_at(bytes, 16 + 8 * i);
    Ok(Header { store_id: word(0), lsn: word(1), extent: word(2), check: word(3) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip_and_damage_is_seen(
            entry in proptest::collection::vec(any::<u8>(), 0..100),
            group in 1u64..50,
            more in 0u64..50,
            at in 0usize..132,
            bit in 0u8..8,
        ) {
            let mut bytes = vec![0; size(entry.len())];
            prop_assert_eq!(encode(&mut bytes, 7, group + more, group, &entry), bytes.len());
            let record = parse(&bytes, 7);
            prop_assert_eq!(record, Some(Record { lsn: group + more, group, entry: &entry[..] }));
            prop_assert_eq!(parse(&bytes, 8), None);
            prop_assume!(at < RECORD_HEAD + entry.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(parse(&bytes, 7), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), id: u64) {
            let _ = parse(&bytes, id);
            let _ = parse_header(LOG_MAGIC, Path::new("x"), &bytes);
        }

        #[test]
        fn headers_round_trip_and_damage_is_seen(words: [u64; 4], at in 0usize..48, bit in 0u8..8) {
            let header = Header { store_id: words[0], lsn: words[1], extent: words[2], check: words[3] };
            let mut bytes = encode_header(LOG_MAGIC, header).to_vec();
            prop_assert_eq!(parse_header(LOG_MAGIC, Path::new("x"), &bytes).unwrap(), header);
            bytes[at] ^= 1 << bit;
            prop_assert!(parse_header(LOG_MAGIC, Path::new("x"), &bytes).is_err());
        }
    }
}

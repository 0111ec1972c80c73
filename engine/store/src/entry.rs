//! The consume-queue entry: where a message of a queue lies, and what is needed to choose and to check it.
//!
//! ```text
//!  0 u64 position   8 i64 tags code   16 i64 store time, ms   24 u32 size   28 u32 crc32c of the record
//! ```
//! Invariants: 32 bytes, little-endian on disk; size 0 marks a message that was lost to damage (its offset stays
//! taken); one that a mended index could not find is marked apart, in memory alone. The crc makes a record that is read back alone as trustworthy as a checked batch.

pub const ENTRY_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: u64,
    pub tags_code: i64,
    pub store_time_ms: i64,
    pub size: u32,
    pub crc: u32,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);

impl Entry {
    /// A message that was lost to damage somewhere before `position`.
    pub fn lost(position: u64, store_time_ms: i64) -> Self {
        Self { position, tags_code: 0, store_time_ms, size: 0, crc: 0 }
    }

    /// A message of a damaged block of an index, which the segment does not have either.
    pub fn missing(position: u64, store_time_ms: i64) -> Self {
        Self { crc: u32::MAX, ..Self::lost(position, store_time_ms) }
    }

    /// Whether nothing but a mend has told of the loss.
    pub fn is_missing(&self) -> bool {
        self.is_lost() && self.crc == u32::MAX
    }

    pub fn is_lost(&self) -> bool {
        self.size == 0
    }

    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[0..8].copy_from_slice(&self.position.to_le_bytes());
        out[8..16].copy_from_slice(&self.tags_code.to_le_bytes());
        out[16..24].copy_from_slice(&self.store_time_ms.to_le_bytes());
        out[24..28].copy_from_slice(&self.size.to_le_bytes());
        out[28..32].copy_from_slice(&self.crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Self {
            position: word(0),
            tags_code: word(8) as i64,
            store_time_ms: word(16) as i64,
            size: half(24),
            crc: half(28),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_round_trip(position: u64, tags_code: i64, store_time_ms: i64, size: u32, crc: u32) {
            let entry = Entry { position, tags_code, store_time_ms, size, crc };
            prop_assert_eq!(Entry::decode(&entry.encode()), entry);
        }
    }
}

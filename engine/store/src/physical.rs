//! Physical offsets: what clients see as the place of a record, and the only place that packs them.
//!
//! ```text
//! bit 63     62 ........ 48   47 ................................. 0
//!     0      shard            position in the shard's log
//! ```
//! Invariants: bit 63 stays 0, since the wire's offset is a signed 64-bit number and -1 means "none"; a position
//! is a byte position in the endless log stream of its shard, so it never repeats.
//! On failure: numbers from the wire that are no physical offset give `None`.

/// Bits of a position: 256 TiB a shard.
pub const POSITION_BITS: u32 = 48;
/// Bits of a shard id.
pub const SHARD_BITS: u32 = 15;
/// Most shards a store can have.
pub const SHARDS_MAX: u16 = 1 << 10;
/// First position that does not fit.
pub const POSITION_END: u64 = 1 << POSITION_BITS;

const _: () = assert!(POSITION_BITS + SHARD_BITS == 63);
const _: () = assert!((SHARDS_MAX as u32) <= 1 << SHARD_BITS);

/// A record's place: shard and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysicalOffset {
    pub shard: u16,
    pub position: u64,
}

impl PhysicalOffset {
    /// # Panics
    /// If the position is past the end of the address space, which [`crate::Shard::append`] refuses first.
    pub fn pack(shard: u16, position: u64) -> u64 {
        assert!(u32::from(shard) < 1 << SHARD_BITS, "shard {shard} does not fit into a physical offset");
        assert!(position < POSITION_END, "position {position} does not fit into a physical offset");
        u64::from(shard) << POSITION_BITS | position
    }

    /// `None` if the number is no physical offset (it is negative on the wire).
    pub fn unpack(physical: u64) -> Option<Self> {
        (physical >> 63 == 0).then_some(Self {
            shard: (physical >> POSITION_BITS) as u16,
            position: physical & (POSITION_END - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(shard in 0u16..1 << SHARD_BITS, position in 0u64..POSITION_END) {
            let physical = PhysicalOffset::pack(shard, position);
            prop_assert!(physical as i64 >= 0);
            prop_assert_eq!(PhysicalOffset::unpack(physical), Some(PhysicalOffset { shard, position }));
        }
    }

    #[test]
    fn a_negative_number_is_no_offset() {
        assert_eq!(PhysicalOffset::unpack(-1i64 as u64), None);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_position_past_the_end_is_refused() {
        PhysicalOffset::pack(0, POSITION_END);
    }
}

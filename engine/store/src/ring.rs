//! The hot ring: a window of the log in mapped memory that outlives the process.
//!
//! ```text
//! 0        header block: two headers, at 0 and 2048; the intact one with the higher epoch counts
//!                        0 "RINGMQRG"  8 u32 version  12 u32 crc32c of 16..64  16 u64 store id
//!                        24 u64 ring bytes  32 u32 epoch  36 u16 shard  40 u32 oldest epoch of its batches
//!          64 u8 doubt
//! 4096     data: the byte at log position P lies at 4096 + P % ring bytes
//! ```
//! Owns: the window's geometry, what may be overwritten, and the leases of what is being sent.
//! Invariants: `floor <= any readable position < limit <= floor + ring bytes`; space is taken over in blocks (a
//! 64th of the ring), and only when the block's old bytes are synced in their segment and no extent of it is out.
//! `doubt` is 1 while a flush is under way and after one failed, from when a recovery begins to write until the next
//! epoch begins, and after a start that took the ring over until all of that is synced. While it is 0, what segments hold
//! needs no second write after the process died: a flush that was under way then may have failed later, when nobody was
//! there to see it.
//! On failure: [`HeldBy`] says what is in the way; [`Leases::room`] tells when to try again.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use ringmq_io::sync::Event;
use ringmq_io::{BLOCK, Disk, Env, Lease, Region};

use crate::ExtentOf;
use crate::batch::LogId;
use crate::error::HeldBy;

type RegionOf<E> = <<E as Env>::Disk as Disk>::Region;

/// Bytes before the data area.
pub const HEADER_BLOCK: usize = BLOCK;
const MAGIC: [u8; 8] = *b"RINGMQRG";
/// 1: one header, without the oldest epoch.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
const USED: usize = 64;
const HEADERS: [usize; 2] = [0, 2048];
const DOUBT: usize = USED;
/// Blocks of a ring: a bit each in a lease's mask.
const BLOCKS: u64 = u64::BITS as u64;

const _: () = assert!(crate::config::RING_BYTES_MIN as u64 / BLOCKS >= BLOCK as u64);

/// Up to where a ring may be written whose log ends at `end`: the block that it ends in was taken over by the new lap.
fn limit_at(end: u64, bytes: u64) -> u64 {
    end.next_multiple_of(bytes / BLOCKS)
}

/// Whether a ring whose log ends at `end` keeps what is from `floor` on, without room being made first. What is older may
/// still lie there intact, but appends go over it without looking.
pub fn can_hold(floor: u64, end: u64, bytes: u64) -> bool {
    limit_at(end, bytes) <= floor + bytes
}

/// Who wrote a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingId {
    pub log: LogId,
    pub epoch: u32,
    pub bytes: u64,
    /// Of the batches that count in it: below `epoch` if that epoch took it over as it was.
    pub oldest: u32,
}

impl RingId {
    pub fn encode(&self) -> [u8; USED] {
        let mut out = [0; USED];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSIONS.end().to_le_bytes());
        out[16..24].copy_from_slice(&self.log.store_id.to_le_bytes());
        out[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        out[32..36].copy_from_slice(&self.epoch.to_le_bytes());
        out[36..38].copy_from_slice(&self.log.shard.to_le_bytes());
        out[40..44].copy_from_slice(&self.oldest.to_le_bytes());
        let crc = crc32c::crc32c(&out[16..]);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if the bytes are no ring header of this version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; USED] = bytes.first_chunk()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        if bytes[0..8] != MAGIC || !VERSIONS.contains(&half(8)) || half(12) != crc32c::crc32c(&bytes[16..]) {
            return None;
        }
        let shard = u16::from_le_bytes([bytes[36], bytes[37]]);
        let epoch = half(32);
        let oldest = if half(8) == 1 { epoch } else { half(40) };
        let id = Self { log: LogId { store_id: word(16), shard }, epoch, bytes: word(24), oldest };
        (oldest <= epoch).then_some(id)
    }
}

/// Extents that are out, counted by block.
pub struct Leases {
    counts: [Cell<u32>; BLOCKS as usize],
    /// Told when a lease comes back, when the log was synced, and when the shard stops taking appends.
    pub room: Event,
}

struct RingLease {
    leases: Rc<Leases>,
    mask: u64,
}

fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..BLOCKS as usize).filter(move |bit| mask >> bit & 1 == 1)
}

impl Drop for RingLease {
    fn drop(&mut self) {
        let mut freed = false;
        for bit in bits(self.mask) {
            let count = &self.leases.counts[bit];
            count.set(count.get() - 1);
            freed |= count.get() == 0;
        }
        if freed {
            self.leases.room.notify();
        }
    }
}

pub struct Ring<E: Env> {
    region: RegionOf<E>,
    bytes: u64,
    /// Positions below are not in the ring.
    floor: Cell<u64>,
    /// Positions below may be written.
    limit: Cell<u64>,
    /// What segments have up to here is in doubt until it is synced.
    doubtful: u64,
    pub leases: Rc<Leases>,
}

impl<E: Env> Ring<E> {
    /// See [`raise_doubt`].
    pub fn raise_doubt(&self) {
        raise_doubt(&self.region);
    }

    /// The flush that raised it went well, its sync included: segments are good up to `synced`.
    pub fn end_doubt(&self, synced: u64) {
        if synced >= self.doubtful {
            self.region.with_mut(DOUBT..DOUBT + 1, |out| out[0] = 0);
        }
    }

    /// A ring whose log ends at `end`; nothing below `floor` is read from it. `doubtful`: see the field.
    pub fn new(region: RegionOf<E>, bytes: u64, floor: u64, end: u64, doubtful: u64) -> Self {
        assert_eq!(region.len() as u64, HEADER_BLOCK as u64 + bytes);
        assert!(bytes.is_power_of_two() && floor <= end);
        let leases =
            Rc::new(Leases { counts: [const { Cell::new(0) }; BLOCKS as usize], room: Event::new() });
        let ring = Self { region, bytes, floor: Cell::new(floor), limit: Cell::new(0), doubtful, leases };
        ring.limit.set(limit_at(end, bytes));
        assert!(can_hold(floor, end, bytes), "the log's next bytes would go over what is read");
        ring
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the log ended when the ring was taken over from a dead process; 0 if it was not.
    pub fn taken_over_to(&self) -> u64 {
        self.doubtful
    }

    pub fn region(&self) -> &RegionOf<E> {
        &self.region
    }

    fn block(&self) -> u64 {
        self.bytes / BLOCKS
    }

    pub fn floor(&self) -> u64 {
        self.floor.get()
    }

    pub fn lap_end(&self, position: u64) -> u64 {
        (position | (self.bytes - 1)) + 1
    }

    /// Where a range of the log lies in the region. It must not cross a lap's end.
    pub fn place(&self, position: u64, len: usize) -> Range<usize> {
        let at = HEADER_BLOCK + (position & (self.bytes - 1)) as usize;
        assert!(at + len <= HEADER_BLOCK + self.bytes as usize, "a range crosses the end of a ring lap");
        at..at + len
    }

    /// Makes positions below `end` writable. `synced`: what the segments durably have.
    #[inline]
    pub fn reserve(&self, end: u64, synced: u64) -> Result<(), HeldBy> {
        if end <= self.limit.get() { Ok(()) } else { self.take_blocks(end, synced) }
    }

    fn take_blocks(&self, end: u64, synced: u64) -> Result<(), HeldBy> {
        // The block that the next segment write begins with is read from the ring, so it stays.
        let reusable = synced - synced % BLOCK as u64;
        while self.limit.get() < end {
            let next = self.limit.get();
            let slot = (next & (self.bytes - 1)) / self.block();
            if next + self.block() > reusable + self.bytes {
                return Err(HeldBy::Drain);
            }
            if self.leases.counts[slot as usize].get() > 0 {
                return Err(HeldBy::Lease);
            }
            self.limit.set(next + self.block());
            self.floor.set(self.floor.get().max(self.limit.get().saturating_sub(self.bytes)));
        }
        Ok(())
    }

    #[inline]
    pub fn write<R>(&self, position: u64, len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        debug_assert!(position + len as u64 <= self.limit.get());
        self.region.with_mut(self.place(position, len), write)
    }

    #[inline]
    pub fn read<R>(&self, position: u64, len: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        assert!(position >= self.floor.get(), "position {position} has left the ring");
        self.region.with(self.place(position, len), read)
    }

    /// A descriptor of readable bytes; valid as long as a lease over its blocks is held.
    pub fn extent(&self, position: u64, len: usize) -> ExtentOf<E> {
        assert!(position >= self.floor.get(), "position {position} has left the ring");
        self.region.extent(self.place(position, len))
    }

    /// The blocks that a range lies in, as a mask.
    pub fn blocks(&self, position: u64, len: u64) -> u64 {
        let first = (position & (self.bytes - 1)) / self.block();
        let last = ((position + len - 1) & (self.bytes - 1)) / self.block();
        assert!(first <= last && len > 0);
        (u64::MAX << first) & (u64::MAX >> (BLOCKS - 1 - last))
    }

    /// Keeps the blocks of `mask` from being overwritten until the lease is dropped.
    pub fn lease(&self, mask: u64) -> Lease {
        for bit in bits(mask) {
            let count = &self.leases.counts[bit];
            count.set(count.get() + 1);
        }
        Rc::new(RingLease { leases: Rc::clone(&self.leases), mask })
    }

    /// Bytes that cannot be overwritten yet: not synced, or older but in front of a leased block.
    pub fn used(&self, end: u64) -> u64 {
        end - self.floor.get().min(end)
    }
}

/// Begins a ring anew: nothing that is in it counts, and nothing in segments is in doubt.
pub fn write_header<R: Region>(region: &R, id: RingId) {
    let [first, second] = HEADERS;
    region.with_mut(second..second + USED, |out| out.fill(0));
    region.with_mut(first..first + USED, |out| out.copy_from_slice(&id.encode()));
    region.with_mut(DOUBT..DOUBT + 1, |out| out[0] = 0);
}

/// Gives a ring to a new epoch with the batches that are in it. What segments have of them is in doubt. The old header stays:
/// a process may die at any byte of the new one.
pub fn take_over<R: Region>(region: &R, id: RingId) {
    debug_assert!(id.oldest <= id.epoch);
    raise_doubt(region);
    let newest = headers(region).max_by_key(|(_, id)| id.epoch).map(|(at, _)| at);
    let at = HEADERS.into_iter().find(|at| newest != Some(*at)).expect("there are two");
    region.with_mut(at..at + USED, |out| out.copy_from_slice(&id.encode()));
}

fn headers<R: Region>(region: &R) -> impl Iterator<Item = (usize, RingId)> {
    HEADERS.into_iter().filter_map(|at| Some((at, region.with(at..at + USED, RingId::decode)?)))
}

/// Before a write to segments, whose outcome nobody may live to see; and after one that failed.
pub fn raise_doubt<R: Region>(region: &R) {
    region.with_mut(DOUBT..DOUBT + 1, |out| out[0] = 1);
}

pub fn has_doubt<R: Region>(region: &R) -> bool {
    region.with(DOUBT..DOUBT + 1, |bytes| bytes[0] != 0)
}

pub fn read_header<R: Region>(region: &R) -> Option<RingId> {
    headers(region).map(|(_, id)| id).max_by_key(|id| id.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_next_lap_goes_over_is_not_kept() {
        let (block, bytes) = (4096, 64 * 4096);
        assert!(can_hold(0, bytes, bytes));
        // The last block of the ring is full: the next byte takes the first one over.
        assert!(!can_hold(0, bytes + 1, bytes));
        assert!(!can_hold(block - 1, bytes + 1, bytes));
        assert!(can_hold(block, bytes + 1, bytes) && can_hold(block, bytes + block, bytes));
    }

    proptest! {
        #[test]
        fn headers_round_trip_and_damage_is_seen(
            store_id: u64, shard: u16, oldest: u32, later in 0u32..100, bytes: u64, bit in 0usize..64 * 8,
        ) {
            let epoch = oldest.saturating_add(later);
            let id = RingId { log: LogId { store_id, shard }, epoch, bytes, oldest };
            let mut encoded = id.encode();
            prop_assert_eq!(RingId::decode(&encoded), Some(id));
            encoded[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(RingId::decode(&encoded), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = RingId::decode(&bytes);
        }
    }
}

//! The bytes of one file as a device sees them: in blocks, each in three layers.
//!
//! ```text
//! pending   written, not synced       what a read gives is the newest of the topmost layer;
//! limbo     an fsync failed on it     what a power loss leaves is any mix of the versions,
//! durable   synced                    in units of 512 B or 4 KiB
//! ```
//!
//! A successful sync moves pending versions to durable. A failed one moves them to limbo, from where
//! no later sync takes them: only a new write of the same block does ("fsyncgate").
//!
//! A version that damage has hit also knows the bytes that were meant to be there: an oracle may ask what is damaged right now,
//! and what would be there without it. A new write of the block ends the damage, a power loss may bring it back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use ringmq_io::BLOCK;

use crate::rng::Rng;

/// The smallest unit that a device writes as a whole.
const SECTOR: usize = 512;

const _: () = assert!(BLOCK.is_multiple_of(SECTOR));

type Bytes = Rc<[u8]>;

/// One version of a block.
#[derive(Clone)]
struct Block {
    bytes: Bytes,
    /// What its writer believes is there, if it is something else.
    meant: Option<Bytes>,
}

impl Block {
    fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), meant: None }
    }

    fn damaged(bytes: impl Into<Bytes>, meant: Bytes) -> Self {
        let bytes = bytes.into();
        let meant = (bytes != meant).then_some(meant);
        Self { bytes, meant }
    }

    fn meant(&self) -> &Bytes {
        self.meant.as_ref().unwrap_or(&self.bytes)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Blocks {
    durable: BTreeMap<u64, Block>,
    limbo: BTreeMap<u64, Vec<Block>>,
    /// Oldest first, with the number of the write.
    pending: BTreeMap<u64, Vec<(u64, Block)>>,
    len: u64,
    durable_len: u64,
    pending_lens: Vec<(u64, u64)>,
    writes: u64,
}

impl Blocks {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// A point in the order of writes: what a sync that begins now covers.
    pub fn mark(&self) -> u64 {
        self.writes
    }

    fn newest(&self, at: u64) -> Option<&Block> {
        let pending = self.pending.get(&at).and_then(|v| v.last()).map(|(_, block)| block);
        pending.or_else(|| self.limbo.get(&at).and_then(|v| v.last())).or_else(|| self.durable.get(&at))
    }

    pub fn read(&self, pos: u64, out: &mut [u8]) {
        self.copy(pos, out, |block| &block.bytes);
    }

    /// What a read would give if nothing had been damaged.
    pub fn read_meant(&self, pos: u64, out: &mut [u8]) {
        self.copy(pos, out, Block::meant);
    }

    fn copy(&self, pos: u64, out: &mut [u8], bytes: impl Fn(&Block) -> &Bytes) {
        let mut done = 0;
        while done < out.len() {
            let at = pos + done as u64;
            let within = (at % BLOCK as u64) as usize;
            let n = (BLOCK - within).min(out.len() - done);
            let piece = &mut out[done..done + n];
            match self.newest(at / BLOCK as u64) {
                Some(block) => piece.copy_from_slice(&bytes(block)[within..within + n]),
                None => piece.fill(0),
            }
            done += n;
        }
    }

    pub fn write_block(&mut self, at: u64, bytes: &[u8]) {
        assert_eq!(bytes.len(), BLOCK);
        self.push(at, Block::whole(bytes));
    }

    /// A write that goes elsewhere: what is here stays.
    pub fn lose_write(&mut self, at: u64, meant: &[u8]) {
        let stays = self.newest(at).map_or_else(zeros, |block| block.bytes.clone());
        self.push(at, Block::damaged(stays, meant.into()));
    }

    /// A write that was meant for elsewhere.
    pub fn stray_write(&mut self, at: u64, bytes: &[u8]) {
        let meant = self.newest(at).map_or_else(zeros, |block| block.meant().clone());
        self.push(at, Block::damaged(bytes, meant));
    }

    fn push(&mut self, at: u64, block: Block) {
        self.writes += 1;
        self.pending.entry(at).or_default().push((self.writes, block));
        let end = (at + 1) * BLOCK as u64;
        if end > self.len {
            self.set_len(end);
        }
    }

    /// Grows with zeros or cuts off; what was cut off reads as zeros when the file grows again.
    pub fn resize(&mut self, len: u64) {
        if len < self.len {
            let block = BLOCK as u64;
            let keys = self.durable.keys().chain(self.limbo.keys()).chain(self.pending.keys());
            let cut: BTreeSet<u64> = keys.copied().filter(|at| (at + 1) * block > len).collect();
            for at in cut {
                let kept = len.saturating_sub(at * block).min(block) as usize;
                let (mut bytes, mut meant) = (vec![0; BLOCK], vec![0; BLOCK]);
                self.read(at * block, &mut bytes[..kept]);
                self.read_meant(at * block, &mut meant[..kept]);
                self.writes += 1;
                let version = Block::damaged(bytes, meant.into());
                self.pending.entry(at).or_default().push((self.writes, version));
            }
        }
        self.set_len(len);
    }

    fn set_len(&mut self, len: u64) {
        self.writes += 1;
        self.len = len;
        self.pending_lens.push((self.writes, len));
    }

    /// A successful sync of the writes up to `mark`.
    pub fn commit(&mut self, mark: u64) {
        let (durable, limbo) = (&mut self.durable, &mut self.limbo);
        self.pending.retain(|at, versions| {
            let covered = versions.partition_point(|(write, _)| *write <= mark);
            if let Some((_, block)) = versions.drain(..covered).next_back() {
                durable.insert(*at, block);
                limbo.remove(at);
            }
            !versions.is_empty()
        });
        let covered = self.pending_lens.partition_point(|(write, _)| *write <= mark);
        if let Some((_, len)) = self.pending_lens.drain(..covered).next_back() {
            self.durable_len = len;
        }
    }

    /// A failed sync: each block it covered is durable or lost, and nobody will know. The length is
    /// metadata: it stays in the file system's journal, for a later sync.
    pub fn fail_sync(&mut self, mark: u64, rng: &Rng) {
        for (at, mut versions) in std::mem::take(&mut self.pending) {
            let covered = versions.partition_point(|(write, _)| *write <= mark);
            let lost: Vec<Block> = versions.drain(..covered).map(|(_, block)| block).collect();
            if !lost.is_empty() {
                self.limbo.entry(at).or_default().extend(lost);
                if rng.coin() {
                    let block = self.limbo.remove(&at).and_then(|mut v| v.pop()).expect("just put there");
                    self.durable.insert(at, block);
                }
            }
            if !versions.is_empty() {
                self.pending.insert(at, versions);
            }
        }
    }

    /// After the process: a lost block may have been evicted, so that reads give what the device has.
    pub fn evict(&mut self, rng: &Rng) {
        self.limbo.retain(|_, _| rng.coin());
    }

    /// Keeps any mix of the versions of each unsynced block.
    pub fn power_loss(&mut self, rng: &Rng) {
        let unit = if rng.coin() { SECTOR } else { BLOCK };
        // One file loses everything, another nothing: the extremes are as likely as the mixes.
        let style = rng.below(4);
        let blocks: BTreeSet<u64> = self.limbo.keys().chain(self.pending.keys()).copied().collect();
        for at in blocks {
            let mut versions = vec![self.durable.get(&at).cloned().unwrap_or(Block::whole(zeros()))];
            versions.extend(self.limbo.remove(&at).unwrap_or_default());
            versions.extend(self.pending.remove(&at).unwrap_or_default().into_iter().map(|(_, b)| b));
            let newest = versions.len() - 1;
            let (mut bytes, mut meant) = (vec![0; BLOCK], vec![0; BLOCK]);
            let mut put = |range: Range<usize>, version: &Block| {
                bytes[range.clone()].copy_from_slice(&version.bytes[range.clone()]);
                meant[range.clone()].copy_from_slice(&version.meant()[range]);
            };
            for start in (0..BLOCK).step_by(unit) {
                let range = start..start + unit;
                let chosen = match style {
                    0 => 0,
                    1 => newest,
                    _ => rng.index(versions.len()),
                };
                put(range, &versions[chosen]);
                // A unit cut short by the power: its first bytes are of the next version.
                if style == 3 && chosen < newest && rng.chance(0.1) {
                    let cut = start + rng.index(unit);
                    put(start..cut, &versions[chosen + 1]);
                }
            }
            self.durable.insert(at, Block::damaged(bytes, meant.into()));
        }
        let lens: Vec<u64> = self.pending_lens.drain(..).map(|(_, len)| len).collect();
        if let Some(newest) = lens.last() {
            self.durable_len = match style {
                0 => self.durable_len,
                1 => *newest,
                _ if rng.coin() => self.durable_len,
                _ => lens[rng.index(lens.len())],
            };
        }
        self.len = self.durable_len;
        let end = self.len.div_ceil(BLOCK as u64);
        self.durable.retain(|at, _| *at < end);
    }

    /// Changes stored bytes in every layer, as damage to the medium.
    pub fn damage(&mut self, pos: u64, change: impl Fn(u64, u8) -> u8, len: u64) {
        for at in pos / BLOCK as u64..(pos + len).div_ceil(BLOCK as u64) {
            let hit = |block: &Block| -> Block {
                let mut bytes = block.bytes.to_vec();
                for (i, byte) in bytes.iter_mut().enumerate() {
                    let here = at * BLOCK as u64 + i as u64;
                    if (pos..pos + len).contains(&here) {
                        *byte = change(here - pos, *byte);
                    }
                }
                Block::damaged(bytes, block.meant().clone())
            };
            let durable = self.durable.entry(at).or_insert_with(|| Block::whole(zeros()));
            *durable = hit(durable);
            self.limbo.entry(at).and_modify(|v| v.iter_mut().for_each(|block| *block = hit(block)));
            self.pending.entry(at).and_modify(|v| v.iter_mut().for_each(|(_, block)| *block = hit(block)));
            self.limbo.retain(|_, v| !v.is_empty());
            self.pending.retain(|_, v| !v.is_empty());
        }
    }

    /// Blocks that were ever written, for choosing one to damage.
    pub fn stored(&self) -> Vec<u64> {
        self.durable.keys().copied().filter(|at| at * (BLOCK as u64) < self.len).collect()
    }

    /// Ranges of bytes that are not what they were meant to be, in order.
    pub fn damaged(&self) -> Vec<Range<u64>> {
        let blocks: BTreeSet<u64> =
            self.durable.keys().chain(self.limbo.keys()).chain(self.pending.keys()).copied().collect();
        let mut out: Vec<Range<u64>> = Vec::new();
        for at in blocks {
            let Some(Block { bytes, meant: Some(meant) }) = self.newest(at) else { continue };
            let start = at * BLOCK as u64;
            for byte in (0..BLOCK).filter(|i| bytes[*i] != meant[*i]).map(|i| start + i as u64) {
                match out.last_mut() {
                    _ if byte >= self.len => break,
                    Some(last) if last.end == byte => last.end += 1,
                    _ => out.push(byte..byte + 1),
                }
            }
        }
        out
    }

    /// Makes everything durable as it reads now.
    pub fn settle(&mut self) {
        let mark = self.mark();
        self.commit(mark);
        let limbo = std::mem::take(&mut self.limbo);
        self.durable.extend(limbo.into_iter().filter_map(|(at, mut v)| v.pop().map(|block| (at, block))));
    }
}

fn zeros() -> Bytes {
    vec![0; BLOCK].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fill: u8) -> Vec<u8> {
        vec![fill; BLOCK]
    }

    fn first(blocks: &Blocks, at: u64) -> u8 {
        let mut byte = [0];
        blocks.read(at * BLOCK as u64, &mut byte);
        byte[0]
    }

    #[test]
    fn synced_blocks_survive_every_power_loss() {
        for seed in 0..200 {
            let rng = Rng::new(seed);
            let mut blocks = Blocks::default();
            blocks.write_block(0, &block(1));
            blocks.write_block(1, &block(1));
            let mark = blocks.mark();
            blocks.write_block(1, &block(2)); // after the sync began
            blocks.commit(mark);
            blocks.power_loss(&rng);
            assert_eq!(first(&blocks, 0), 1);
            assert!([1, 2].contains(&first(&blocks, 1)));
            assert_eq!(blocks.len(), 2 * BLOCK as u64);
        }
    }

    #[test]
    fn a_later_sync_does_not_save_what_a_failed_one_lost() {
        let mut lost = 0;
        for seed in 0..200 {
            let rng = Rng::new(seed);
            let mut blocks = Blocks::default();
            blocks.write_block(0, &block(1));
            blocks.settle();
            blocks.write_block(0, &block(2));
            blocks.fail_sync(blocks.mark(), &rng);
            assert_eq!(first(&blocks, 0), 2, "reads still give it");
            blocks.commit(blocks.mark()); // succeeds, and means nothing
            blocks.power_loss(&rng);
            lost += usize::from(first(&blocks, 0) == 1);
        }
        assert!(lost > 20, "lost in {lost} of 200");
    }

    #[test]
    fn a_power_loss_tears_between_old_and_new() {
        let mut torn = 0;
        for seed in 0..400 {
            let rng = Rng::new(seed);
            let mut blocks = Blocks::default();
            blocks.write_block(0, &block(1));
            blocks.settle();
            blocks.write_block(0, &block(2));
            blocks.power_loss(&rng);
            let mut bytes = block(0);
            blocks.read(0, &mut bytes);
            assert!(bytes.iter().all(|b| [1, 2].contains(b)), "never a third value");
            torn += usize::from(bytes.iter().any(|b| *b != bytes[0]));
        }
        assert!((40..360).contains(&torn), "torn in {torn} of 400");
    }

    #[test]
    fn damage_is_known_until_the_block_is_written_again() {
        let mut blocks = Blocks::default();
        blocks.write_block(0, &block(1));
        blocks.write_block(1, &block(2));
        blocks.settle();
        assert!(blocks.damaged().is_empty());
        blocks.damage(100, |_, byte| byte ^ 4, 1);
        blocks.lose_write(0, &block(7)); // byte 100 is now wrong for another reason
        blocks.stray_write(1, &block(7));
        assert_eq!(blocks.damaged(), std::slice::from_ref(&(0..2 * BLOCK as u64)));
        assert_eq!((first(&blocks, 0), first(&blocks, 1)), (1, 7));
        let mut meant = block(0);
        blocks.read_meant(0, &mut meant);
        assert_eq!(meant, block(7));
        blocks.read_meant(BLOCK as u64, &mut meant);
        assert_eq!(meant, block(2));
        blocks.write_block(0, &block(8));
        assert_eq!(blocks.damaged(), std::slice::from_ref(&(BLOCK as u64..2 * BLOCK as u64)));
    }

    #[test]
    fn a_power_loss_may_undo_damage_and_bring_it_back() {
        let (mut undone, mut back) = (0, 0);
        for seed in 0..200 {
            let rng = Rng::new(seed);
            let mut blocks = Blocks::default();
            blocks.write_block(0, &block(1));
            blocks.write_block(1, &block(1));
            blocks.settle();
            blocks.stray_write(0, &block(2));
            blocks.damage(BLOCK as u64, |_, _| 3, 1);
            blocks.write_block(1, &block(4));
            assert_eq!(blocks.damaged(), std::slice::from_ref(&(0..BLOCK as u64)));
            blocks.power_loss(&rng);
            let damaged = blocks.damaged();
            undone += usize::from(!damaged.iter().any(|range| range.start < BLOCK as u64));
            back += usize::from(damaged.iter().any(|range| range.start == BLOCK as u64));
        }
        assert!(undone > 20 && back > 20, "undone in {undone}, back in {back} of 200");
    }

    #[test]
    fn cut_off_bytes_do_not_come_back() {
        let mut blocks = Blocks::default();
        blocks.write_block(0, &block(1));
        blocks.write_block(1, &block(1));
        blocks.resize(100);
        blocks.resize(2 * BLOCK as u64);
        let mut bytes = vec![9; 2 * BLOCK];
        blocks.read(0, &mut bytes);
        assert!(bytes[..100].iter().all(|b| *b == 1) && bytes[100..].iter().all(|b| *b == 0));
    }
}

//! Drains closed batches from the ring to segments: group commit and the timed flush.
//!
//! Owns: `written` and `synced`. Everything closed so far goes out in one write and one fdatasync; what is
//! appended meanwhile makes the next group. In ASYNC_FLUSH a group begins at the latest one flush interval after
//! its first batch, or when a quarter of the ring is unsynced; in SYNC_FLUSH as soon as somebody waits.
//!
//! Whole blocks go straight from the ring's memory. The last block, which later appends go on filling, is
//! written from a copy: a buffer that changes under a direct write breaks file systems and RAID layers that
//! checksum or mirror it. The next group writes that block again; its synced bytes are the same then, so a power
//! loss that tears the write between sectors (512 bytes) loses nothing.
//!
//! Invariants: a segment is synced before a byte of the next one is written; `synced` moves only after a
//! successful sync. On failure: the shard is latched.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::zip;
use ringmq_io::limits::{FLUSH_COPY_BYTES_MAX, FLUSH_EARLY_RING_SHARE, FLUSH_GROUP_BYTES_MAX};
use ringmq_io::{AlignedBuf, BLOCK, Env, File, Region};

use crate::inner::{Inner, add};
use crate::segments::FileOf;

const BLOCK_U64: u64 = BLOCK as u64;

impl<E: Env> Inner<E> {
    /// Whether a group should start now rather than when the interval is over.
    pub fn flush_is_due(&self) -> bool {
        self.sync_wanted.get() > self.synced.get()
            || !self.ring_is_memory
            || self.shutting_down.get()
            || self.synced.get() < self.ring.taken_over_to()
            || self.unsynced() >= self.ring.bytes() / FLUSH_EARLY_RING_SHARE
    }
}

pub async fn run<E: Env>(inner: Rc<Inner<E>>) {
    let interval = inner.config.flush_interval;
    loop {
        if inner.is_latched() {
            return;
        }
        if inner.unsynced() == 0 {
            if inner.stop.is_signalled() {
                return;
            }
            inner.flush.wait().await;
            continue;
        }
        wait_until_due(&inner, interval).await;
        // Also what a group leaves that ends with a lap of the ring, or is full: it has waited as long.
        let due = inner.closed.get();
        while inner.synced.get() < due && !inner.is_latched() {
            if let Err(error) = flush_group(&inner).await {
                inner.latch("segment write", &error.to_string());
            }
        }
    }
}

async fn wait_until_due<E: Env>(inner: &Inner<E>, interval: Duration) {
    let begun = inner.env.monotonic_ns();
    while !inner.flush_is_due() && !inner.is_ending() {
        let passed = Duration::from_nanos(inner.env.monotonic_ns() - begun);
        let Some(left) = interval.checked_sub(passed).filter(|left| !left.is_zero()) else {
            return;
        };
        let timer = inner.env.sleep(left);
        inner.flush.wait().or(timer).await;
    }
}

async fn flush_group<E: Env>(inner: &Inner<E>) -> io::Result<()> {
    let synced = inner.synced.get();
    let from = synced - synced % BLOCK_U64;
    let target =
        inner.closed.get().min(inner.ring.lap_end(synced)).min(from.saturating_add(FLUSH_GROUP_BYTES_MAX));
    assert!(synced < target, "a group has something in it");
    let Some(file) = segment_for(inner, from).await else {
        return Ok(());
    };
    let base = inner.segments.base(inner.segments.number_of(from));
    let began = inner.env.monotonic_ns();
    inner.ring.raise_doubt();
    let is_small = target - from <= FLUSH_COPY_BYTES_MAX;
    // Where nobody waits for the write alone, one operation writes and syncs it.
    let at_once = is_small && inner.ring_is_memory;
    if at_once {
        file.write_synced(from - base, copy_of(inner, from, target)).await?;
    } else if is_small {
        file.write_at(from - base, copy_of(inner, from, target)).await?;
    } else {
        write_range(inner, &file, base, from, target).await?;
    }
    // A latch that was set meanwhile (another operation failed) must not be followed by acknowledgements.
    if inner.is_latched() {
        return Ok(());
    }
    inner.written.advance(target);
    add(&inner.counters.segment_writes, 1);
    if !at_once {
        file.sync().await?;
        if inner.is_latched() {
            return Ok(());
        }
    }
    inner.ring.end_doubt(target);
    add(&inner.counters.syncs, 1);
    let took = inner.env.monotonic_ns().saturating_sub(began);
    inner.counters.flush_ns.0.borrow_mut().saturating_record(took);
    inner.synced.advance(target);
    inner.ring.leases.room.notify();
    inner.provision.notify();
    Ok(())
}

/// The file that holds a position; waits for its allocation. `None` when the shard was latched meanwhile.
async fn segment_for<E: Env>(inner: &Inner<E>, position: u64) -> Option<FileOf<E>> {
    let number = inner.segments.number_of(position);
    loop {
        if inner.is_latched() {
            return None;
        }
        if let Some(segment) = inner.segments.get(number) {
            return match inner.segments.file(&inner.env, &segment).await {
                Ok(file) => Some(file),
                Err(error) => {
                    inner.latch("segment open", &error.to_string());
                    None
                }
            };
        }
        inner.provision.notify();
        inner.segments.added.wait().await;
    }
}

fn copy_of<E: Env>(inner: &Inner<E>, from: u64, to: u64) -> AlignedBuf {
    // The block that a start has put there for this is no reader's.
    let place = inner.ring.place(from, (to - from) as usize);
    inner.ring.region().with(place, AlignedBuf::copy_of)
}

/// Whole blocks from the ring, the last one from a copy.
async fn write_range<E: Env>(
    inner: &Inner<E>,
    file: &FileOf<E>,
    base: u64,
    from: u64,
    target: u64,
) -> io::Result<()> {
    let whole = target - target % BLOCK_U64;
    let place = inner.ring.place(from, (whole - from) as usize);
    let blocks = file.write_region(from - base, inner.ring.region(), place);
    if whole == target {
        return blocks.await;
    }
    let tail = file.write_at(whole - base, copy_of(inner, whole, target));
    let (blocks, tail) = zip(blocks, tail).await;
    blocks.and(tail.map(drop))
}

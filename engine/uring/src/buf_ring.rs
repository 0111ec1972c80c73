//! Receive buffers that the kernel picks itself when bytes arrive (a provided-buffer ring).
//!
//! Invariants: each buffer is either posted (the kernel may write it) or lent (exactly one
//! [`crate::RecvBytes`] reads it), never both; `lent + posted == RECV_BUFS`. The memory is freed only
//! after the ring is gone (the driver drops this last).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use ringmq_io::limits::{RECV_BUF_BYTES, RECV_BUFS};

use crate::ring::Ring;

/// The only buffer group of a ring.
pub(crate) const GROUP: u16 = 0;

const PAGE: usize = 4096;
const _: () = assert!(RECV_BUFS <= u16::MAX as usize);
const _: () = assert!(size_of::<BufRingEntry>() == 16);

pub(crate) struct BufRing {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: Cell<u16>,
    lent: Cell<usize>,
}

fn entries_layout() -> Layout {
    Layout::from_size_align(RECV_BUFS * size_of::<BufRingEntry>(), PAGE).expect("a valid layout")
}

fn memory_layout() -> Layout {
    Layout::from_size_align(RECV_BUFS * RECV_BUF_BYTES, PAGE).expect("a valid layout")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: neither layout has size zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

impl BufRing {
    /// Registers the group and posts every buffer.
    pub(crate) fn register(ring: &Ring) -> io::Result<Self> {
        let this = Self {
            entries: allocate(entries_layout()).cast(),
            memory: allocate(memory_layout()),
            tail: Cell::new(0),
            lent: Cell::new(RECV_BUFS),
        };
        // SAFETY: page-aligned, RECV_BUFS entries long, and kept until after the ring is dropped.
        unsafe {
            ring.uring().submitter().register_buf_ring_with_flags(
                this.entries.as_ptr() as u64,
                RECV_BUFS as u16,
                GROUP,
                0,
            )?;
        }
        for id in 0..RECV_BUFS {
            this.give_back(id as u16);
        }
        Ok(this)
    }

    /// The kernel has filled buffer `id`.
    pub(crate) fn lend(&self) {
        self.lent.set(self.lent.get() + 1);
        assert!(self.lent.get() <= RECV_BUFS, "more receive buffers lent than there are");
    }

    /// Posts buffer `id` again.
    pub(crate) fn give_back(&self, id: u16) {
        assert!((id as usize) < RECV_BUFS && self.lent.get() > 0);
        self.lent.set(self.lent.get() - 1);
        let tail = self.tail.get();
        let slot = tail as usize & (RECV_BUFS - 1);
        // SAFETY: `slot` is inside the entries, `id` inside the memory; the kernel reads the slot only
        // after the tail below says so, and entry 0's `resv` (the tail itself) is not touched by the
        // setters.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(id as usize * RECV_BUF_BYTES) as u64);
            entry.set_len(RECV_BUF_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail is an aligned u16 inside the registered page, which the kernel reads with
        // an acquire load.
        unsafe {
            let shared = BufRingEntry::tail(self.entries.as_ptr()) as *const AtomicU16;
            (*shared).store(self.tail.get(), Ordering::Release);
        }
    }

    pub(crate) fn posted(&self) -> usize {
        RECV_BUFS - self.lent.get()
    }

    /// The first `len` bytes of buffer `id`, which must be lent.
    pub(crate) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        debug_assert!((id as usize) < RECV_BUFS && len <= RECV_BUF_BYTES);
        // SAFETY: inside the memory; a lent buffer is not written until it is given back, which its
        // one holder does on drop.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(id as usize * RECV_BUF_BYTES), len) }
    }
}

impl Drop for BufRing {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts; the ring that knew them was dropped before.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout());
            dealloc(self.memory.as_ptr(), memory_layout());
        }
    }
}

//! The hot ring's memory: a mapped file, every page touched, registered with the ring where the
//! kernel's memlock limit allows, so that a write to the device starts without pinning pages anew.
//!
//! Invariants: a mapping is never unmapped (extents stay valid as long as the process). One core
//! writes it; a range that an extent is out for is not written until its lease is back, which the
//! store enforces. Registration is an optimisation: without it the same bytes go as plain writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;

use nix::fcntl::{FallocateFlags, fallocate};
use ringmq_io::Region;

use crate::driver::Driver;

/// The kernel registers at most 1 GiB as one buffer.
const PART_BYTES: usize = 1 << 30;

/// Registered buffers of one core's ring: 64 GiB of hot ring.
pub(crate) const PARTS_MAX: u32 = 64;

/// A mapping that is never unmapped.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory that outlives every thread; who writes what is the owner's contract above.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Blocking. Maps a file of exactly `len` bytes; the second value says whether it existed.
    pub(crate) fn open(path: &Path, len: usize) -> io::Result<(Self, bool)> {
        let (file, existed) = open_sized(path, len)?;
        // The blocks of a tmpfs file are memory: without them a later touch would be SIGBUS.
        fallocate(&file, FallocateFlags::empty(), 0, len as i64).map_err(|e| {
            if !existed {
                let _ = std::fs::remove_file(path);
            }
            io::Error::from(e)
        })?;
        // SAFETY: a fresh shared mapping of `len` bytes of an open file of that length; it aliases
        // nothing of ours and is never unmapped.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("a mapping is not at address zero");
        Ok((Self { start, len }, existed))
    }
}

fn open_sized(path: &Path, len: usize) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_CLOEXEC);
    match options.open(path) {
        Ok(file) => {
            let found = file.metadata()?.size();
            if found != len as u64 {
                let text = format!("{} has {found} bytes, not {len}", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            Ok((file, true))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let file = options.create_new(true).open(path)?;
            file.set_len(len as u64)?;
            Ok((file, false))
        }
        Err(e) => Err(e),
    }
}

struct Mapped {
    mapping: Mapping,
    /// Registered buffers, one for each [`PART_BYTES`]; empty when not registered.
    slots: Vec<u16>,
}

#[derive(Clone)]
pub struct UringRegion(Rc<Mapped>);

impl UringRegion {
    /// Registers the mapping with this core's ring if the kernel lets us.
    pub(crate) fn register(driver: &Rc<Driver>, mapping: Mapping) -> Self {
        let slots = match register(driver, &mapping) {
            Ok(slots) => slots,
            Err(e) => {
                tracing::warn!(
                    "the hot ring is not registered with io_uring ({e}); writes from it pin its pages each \
                     time. Raising the memlock limit (ulimit -l, LimitMEMLOCK=) above the ring's size helps"
                );
                Vec::new()
            }
        };
        Self(Rc::new(Mapped { mapping, slots }))
    }

    fn start_of(&self, range: &Range<usize>) -> *mut u8 {
        assert!(
            range.start <= range.end && range.end <= self.0.mapping.len,
            "{range:?} is outside the region"
        );
        // SAFETY: inside the mapping, checked above.
        unsafe { self.0.mapping.start.as_ptr().add(range.start) }
    }

    /// Cuts `range` into pieces that one write takes: (address, length, registered buffer).
    pub(crate) fn pieces(&self, range: Range<usize>) -> Vec<(*const u8, usize, Option<u16>)> {
        let mut pieces = Vec::with_capacity(1);
        let mut at = range.start;
        while at < range.end {
            let part = at / PART_BYTES;
            let end = range.end.min((part + 1) * PART_BYTES);
            let slot = self.0.slots.get(part).copied();
            pieces.push((self.start_of(&(at..end)).cast_const(), end - at, slot));
            at = end;
        }
        pieces
    }
}

fn register(driver: &Rc<Driver>, mapping: &Mapping) -> io::Result<Vec<u16>> {
    let parts = mapping.len.div_ceil(PART_BYTES);
    let first = driver.take_buffer_slots(parts)?;
    let mut slots = Vec::with_capacity(parts);
    for part in 0..parts {
        let offset = part * PART_BYTES;
        let len = PART_BYTES.min(mapping.len - offset);
        // SAFETY: inside the mapping, which is never unmapped.
        let base = unsafe { mapping.start.as_ptr().add(offset) };
        let slot = first + part as u16;
        driver.with_ring(|ring| {
            let piece = libc::iovec { iov_base: base.cast(), iov_len: len };
            // SAFETY: valid memory as long as the process, so as long as the ring.
            unsafe { ring.uring().submitter().register_buffers_update(u32::from(slot), &[piece], None) }
        })?;
        slots.push(slot);
    }
    Ok(slots)
}

impl Region for UringRegion {
    type Extent = UringExtent;

    fn len(&self) -> usize {
        self.0.mapping.len
    }

    fn with<R>(&self, range: Range<usize>, read: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: inside a mapping that is never unmapped; only this core writes it, and it cannot
        // while the borrow lives here.
        read(unsafe { std::slice::from_raw_parts(self.start_of(&range), range.len()) })
    }

    fn with_mut<R>(&self, range: Range<usize>, write: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: as above; no extent is out for the range (the contract of `Region`).
        write(unsafe { std::slice::from_raw_parts_mut(self.start_of(&range), range.len()) })
    }

    fn extent(&self, range: Range<usize>) -> UringExtent {
        UringExtent { start: self.start_of(&range), len: range.len() }
    }
}

/// A range of a region, readable from any core as long as its lease is out.
#[derive(Clone, Debug)]
pub struct UringExtent {
    start: *const u8,
    len: usize,
}

// SAFETY: the memory is never unmapped, and nobody writes the range while the lease is out (the
// contract of `Region`).
unsafe impl Send for UringExtent {}

impl AsRef<[u8]> for UringExtent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: inside a mapping that is never unmapped, unchanged while the lease is out.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

//! The disk half of the seam.
//!
//! Faults live below these traits (the simulator's disk keeps unsynced sectors apart), so every line
//! of journal code above runs unmodified under simulation.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::AlignedBuf;

/// How a file is opened. Data files are O_DIRECT: the page cache is never between us and the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    Write,
    /// Must not exist.
    CreateNew,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub len: u64,
    pub is_dir: bool,
}

/// Bytes of the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub used: u64,
    /// What an unprivileged process may still use. `used + available < total` where the file system keeps a reserve.
    pub available: u64,
}

impl Space {
    /// Share of what may be used that is used, 0 to 1, as `df` shows it: a reserve counts on neither side.
    /// RocketMQ 5.5.0 `UtilAll#getDiskPartitionSpaceUsedPercent`, without its rounding up to a whole percent.
    pub fn used_ratio(self) -> f64 {
        let usable = self.used + self.available;
        if usable == 0 { 0.0 } else { self.used as f64 / usable as f64 }
    }
}

pub trait Disk: Clone + 'static {
    type File: File<Region = Self::Region>;
    /// The hot ring's memory.
    type Region: Region<Extent = Self::Extent>;
    /// A range of a [`Region`]; may cross cores as a descriptor.
    type Extent: AsRef<[u8]> + Send + 'static;
    type Mapped: Mapped;
    /// Held while this process owns a data directory; released on drop. When the process dies it is released no sooner
    /// than the last of this core's writes that were under way is done: whoever gets the lock then will not be
    /// overwritten.
    type DirLock: 'static;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;
    /// Atomic replacement; durable after [`Disk::sync_dir`] of the parent.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    async fn remove(&self, path: &Path) -> io::Result<()>;
    /// An empty directory; another one is `DirectoryNotEmpty`. Not durable by itself.
    async fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Durable on return: the parent of each directory that it made is synced.
    async fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Sorted by name. A missing directory is `NotFound`.
    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    async fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    async fn space(&self, dir: &Path) -> io::Result<Space>;
    /// `WouldBlock` when another process holds it, or has died and still writes.
    async fn lock_dir(&self, dir: &Path) -> io::Result<Self::DirLock>;

    /// Maps a file of exactly `len` bytes shared and writable, every page touched. Creates it (zeroed)
    /// where it is missing; `InvalidData` where it exists with another length. The second value says
    /// whether it existed. What was written to the region survives the process, not a power loss.
    async fn map_region(&self, path: &Path, len: usize) -> io::Result<(Self::Region, bool)>;
    /// Maps a whole immutable file read-only (sealed indexes).
    async fn map(&self, path: &Path) -> io::Result<Self::Mapped>;
    /// Where the hot ring of a store at `data` goes by default: a directory on tmpfs, else `None`.
    fn ring_dir(&self, data: &Path) -> Option<PathBuf>;
}

/// An open file. All positions, lengths and buffers are multiples of [`crate::BLOCK`], except
/// `len()`. Operations may be under way at the same time; their order is not promised: await one
/// before what must follow it.
pub trait File: Clone + 'static {
    type Region: Region;

    /// Bytes at open, grown by writes past it.
    fn len(&self) -> u64;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills all of `buf` and gives it back; a read past the end is `UnexpectedEof`. After an error the buffer is gone.
    async fn read_into(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf>;
    /// Exactly `len` bytes, in a buffer of their own.
    async fn read_at(&self, pos: u64, len: usize) -> io::Result<AlignedBuf> {
        assert!(len.is_multiple_of(crate::BLOCK), "unaligned I/O: {len} at {pos}");
        self.read_into(pos, AlignedBuf::zeroed(len)).await
    }
    /// Writes all of `buf`; gives it back for reuse. Durable after [`File::sync`].
    async fn write_at(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf>;
    /// Writes all of `buf` and makes it durable, in one operation where the system has one: two operations are two turns of
    /// a core, which a lone write waits for. It says nothing of earlier writes. After an error nothing is known of any write since
    /// the last success.
    async fn write_synced(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf> {
        let buf = self.write_at(pos, buf).await?;
        self.sync().await?;
        Ok(buf)
    }
    /// Writes a range of the ring without copying it. The caller keeps the range unchanged until this
    /// returns, except for bytes past the end of the last sealed batch in the last block.
    async fn write_region(&self, pos: u64, region: &Self::Region, range: Range<usize>) -> io::Result<()>;
    /// fdatasync: what was written before the call is durable afterwards. After an error nothing is
    /// known about any write since the last success.
    async fn sync(&self) -> io::Result<()>;
    /// Gives the file `len` bytes whose blocks are allocated. What is in the file stays, it never
    /// shrinks, and the new bytes are zeros; durable after [`File::sync`]. `StorageFull` if there is no
    /// room.
    async fn preallocate(&self, len: u64, blocks: Blocks) -> io::Result<()>;
    async fn truncate(&self, len: u64) -> io::Result<()>;
}

/// What preallocation does with new blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Nothing: fast, but the sync after the first write of a block writes file-system metadata too.
    Reserve,
    /// Writes them, so that a later write and sync changes no metadata.
    Write,
}

/// Memory of the hot ring, written by the shard that owns it.
///
/// Contract of the owner: a range that an [`Region::Extent`] is out for is not written before the
/// lease that goes with it has come back (`ringmq-store` enforces it by block leases).
pub trait Region: Clone + 'static {
    type Extent: AsRef<[u8]> + Send + 'static;

    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn with<R>(&self, range: Range<usize>, read: impl FnOnce(&[u8]) -> R) -> R;
    fn with_mut<R>(&self, range: Range<usize>, write: impl FnOnce(&mut [u8]) -> R) -> R;
    /// A descriptor of `range` that stays valid as long as the process.
    fn extent(&self, range: Range<usize>) -> Self::Extent;
}

/// A read-only mapping of an immutable file. Shared by cheap clones.
pub trait Mapped: Clone + 'static {
    /// Of the file.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Looked at while it is not in memory, the whole core waits for the device, and the process ends if that cannot read it
    /// (SIGBUS): [`Mapped::bring`] the range first. The simulator does not let it pass.
    fn look(&self, range: Range<usize>) -> &[u8];
    /// Whether a look at this range waits for no device. Memory may be given up the next moment; that is rare, and only slow.
    fn is_in_memory(&self, range: Range<usize>) -> bool;
    /// Has a range read, while the core goes on. The error is the device's.
    async fn bring(&self, range: Range<usize>) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_counts_neither_as_used_nor_as_free() {
        assert_eq!(Space { total: 100, used: 60, available: 20 }.used_ratio(), 0.75);
        assert_eq!(Space { total: 100, used: 100, available: 0 }.used_ratio(), 1.0);
        assert_eq!(Space { total: 0, used: 0, available: 0 }.used_ratio(), 0.0);
    }
}

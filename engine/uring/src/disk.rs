//! `Disk`: names, directories, mappings and locks, on the blocking thread; data files go to the ring.
//!
//! Invariants: data files are O_DIRECT. A file system that refuses O_DIRECT gets buffered files, with
//! one warning: correctness is the same (sync is fdatasync), latency is not.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Once};

use memmap2::{Advice, Mmap};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};
use ringmq_io::{BLOCK, DirEntry, Disk, Mapped, OpenMode, Space};

use crate::blocking::Blocking;
use crate::driver::Driver;
use crate::file_ops::UringFile;
use crate::region::{Mapping, UringExtent, UringRegion};

#[derive(Clone)]
pub struct UringDisk {
    pub(crate) driver: Rc<Driver>,
    pub(crate) blocking: Rc<Blocking>,
}

/// A read-only mapping of a whole file. An empty file maps to nothing.
#[derive(Clone)]
pub struct UringMapped {
    map: Arc<Option<Mmap>>,
    /// What is not in memory is brought by this thread; by the caller itself where there is none (commands, no broker).
    blocking: Option<Rc<Blocking>>,
}

impl UringMapped {
    /// Maps a file that nobody changes as long as this lives: for commands that have the lock of its directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        at(path, map(path)).map(|map| Self { map: Arc::new(map), blocking: None })
    }
}

impl Mapped for UringMapped {
    fn len(&self) -> usize {
        self.map.as_ref().as_ref().map_or(0, |map| map.len())
    }

    fn look(&self, range: Range<usize>) -> &[u8] {
        &self.map.as_deref().unwrap_or_default()[range]
    }

    fn is_in_memory(&self, range: Range<usize>) -> bool {
        let page = page_bytes();
        let from = range.start - range.start % page;
        let mut pages = vec![0u8; (range.end - from).div_ceil(page)];
        let start = self.look(from..range.end).as_ptr();
        // SAFETY: the pages of a range inside the mapping, one byte for each.
        let result = unsafe { libc::mincore(start.cast_mut().cast(), range.end - from, pages.as_mut_ptr()) };
        // A kernel that does not say so: a look has to do.
        result != 0 || pages.iter().all(|page| page & 1 == 1)
    }

    async fn bring(&self, range: Range<usize>) -> io::Result<()> {
        let map = Arc::clone(&self.map);
        let populate = move || {
            let Some(map) = &*map else { return Ok(()) };
            match map.advise_range(Advice::PopulateRead, range.start, range.len()) {
                // A kernel before 5.14: read by being looked at.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    range.step_by(BLOCK).for_each(|at| {
                        std::hint::black_box(map[at]);
                    });
                    Ok(())
                }
                populated => populated,
            }
        };
        match &self.blocking {
            Some(blocking) => blocking.call(populate).await,
            None => populate(),
        }
    }
}

fn page_bytes() -> usize {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("every system has a page size")
}

/// Holds a data directory.
///
/// The lock belongs to the open directory, not to the process, and the core's ring holds that open too (as a registered
/// file). A dead process's ring lives until all of its operations are done, and so does the lock.
pub struct DirLock {
    _held: Flock<fs::File>,
    driver: Rc<Driver>,
    slot: u32,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        self.driver.let_go(self.slot);
    }
}

/// Adds the path to an error of the standard library, which has none.
fn at<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|e| io::Error::new(e.kind(), PathError { path: path.into(), error: e }))
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
struct PathError {
    path: PathBuf,
    #[source]
    error: io::Error,
}

fn open_direct(path: &Path, mode: OpenMode) -> io::Result<(OwnedFd, u64)> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => {}
        OpenMode::Write => {
            options.write(true);
        }
        OpenMode::CreateNew => {
            options.write(true).create_new(true);
        }
    }
    options.custom_flags(libc::O_DIRECT | libc::O_CLOEXEC);
    let file = match options.open(path) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    "the file system of {} refuses O_DIRECT; its files go through the page cache, so that \
                     write-back may stall them",
                    path.display()
                );
            });
            // It was not there before (else the error were another), but some file systems refuse only
            // after they created it.
            options.custom_flags(libc::O_CLOEXEC).create_new(false).create(mode == OpenMode::CreateNew);
            options.open(path)?
        }
        other => other?,
    };
    let len = file.metadata()?.len();
    Ok((file.into(), len))
}

/// Each directory that was made is named durably in its parent.
fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir_all(parent)?;
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    fs::File::open(parent)?.sync_all()
}

/// A directory of our own on tmpfs, where everybody may write: nobody else can have made it or get in.
fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() && meta.uid() == nix::unistd::Uid::effective().as_raw() && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it belongs to somebody else or others may write to it",
    ))
}

fn list(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            io::Error::new(io::ErrorKind::InvalidData, format!("a name that is not UTF-8: {name:?}"))
        })?;
        // Gone between the listing and the look: not there.
        match entry.metadata() {
            Ok(meta) => entries.push(DirEntry { name, len: meta.len(), is_dir: meta.is_dir() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn space(dir: &Path) -> io::Result<Space> {
    let stat = nix::sys::statvfs::statvfs(dir)?;
    let unit = stat.fragment_size();
    let (total, free) = (stat.blocks() * unit, stat.blocks_free() * unit);
    Ok(Space { total, used: total - free.min(total), available: stat.blocks_available() * unit })
}

fn lock(dir: &Path) -> io::Result<Flock<fs::File>> {
    let file = fs::File::open(dir)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(held),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "in use by another process"))
        }
        Err((_, e)) => Err(e.into()),
    }
}

fn map(path: &Path) -> io::Result<Option<Mmap>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    // SAFETY: sealed indexes are immutable: they are written under another name, renamed, and only
    // unlinked afterwards; the data directory is locked against other processes.
    unsafe { Mmap::map(&file) }.map(Some)
}

impl UringDisk {
    async fn at_path<R: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let path = path.to_path_buf();
        self.blocking.call(move || at(&path, work(&path))).await
    }
}

impl Disk for UringDisk {
    type File = UringFile;
    type Region = UringRegion;
    type Extent = UringExtent;
    type Mapped = UringMapped;
    type DirLock = DirLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<UringFile> {
        let (fd, len) = self.at_path(path, move |path| open_direct(path, mode)).await?;
        Ok(UringFile::new(&self.driver, &self.blocking, fd, len, path))
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = to.to_path_buf();
        self.at_path(from, move |from| fs::rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.at_path(path, |path| fs::remove_file(path)).await
    }

    async fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.at_path(dir, |dir| fs::remove_dir(dir)).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.at_path(path, create_dir_all).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.at_path(dir, list).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.at_path(dir, |dir| fs::File::open(dir)?.sync_all()).await
    }

    async fn space(&self, dir: &Path) -> io::Result<Space> {
        self.at_path(dir, space).await
    }

    async fn lock_dir(&self, dir: &Path) -> io::Result<DirLock> {
        let held = self.at_path(dir, lock).await?;
        let slot = self.driver.hold_on(held.as_raw_fd())?;
        Ok(DirLock { _held: held, driver: Rc::clone(&self.driver), slot })
    }

    async fn map_region(&self, path: &Path, len: usize) -> io::Result<(UringRegion, bool)> {
        if len == 0 || !len.is_multiple_of(ringmq_io::BLOCK) {
            let text = format!("a region of {len} bytes: not a multiple of {}", ringmq_io::BLOCK);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (mapping, existed) = self.at_path(path, move |path| Mapping::open(path, len)).await?;
        Ok((UringRegion::register(&self.driver, mapping), existed))
    }

    async fn map(&self, path: &Path) -> io::Result<UringMapped> {
        let map = Arc::new(self.at_path(path, map).await?);
        Ok(UringMapped { map, blocking: Some(Rc::clone(&self.blocking)) })
    }

    fn ring_dir(&self, data: &Path) -> Option<PathBuf> {
        let shm = Path::new("/dev/shm");
        let tmpfs = statfs(shm).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC);
        if !tmpfs || access(shm, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            return None;
        }
        let data = fs::canonicalize(data).or_else(|_| std::path::absolute(data)).ok()?;
        let name = format!("ringmq-{}-{:016x}", nix::unistd::Uid::effective(), fnv1a(&data));
        let dir = shm.join(name);
        match private_dir(&dir) {
            Ok(()) => Some(dir),
            Err(e) => {
                tracing::warn!("no hot ring in {}: {e}", dir.display());
                None
            }
        }
    }
}

/// FNV-1a, 64 bits: the same path gives the same name in every version and on every machine.
fn fnv1a(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_name_of_a_path_never_changes() {
        assert_eq!(fnv1a(Path::new("")), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(Path::new("a")), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn a_lock_outlives_its_process_for_as_long_as_the_ring() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        crate::run(1, move |env| outlive(env, path.clone())).unwrap();
    }

    async fn outlive(env: crate::UringEnv, dir: PathBuf) {
        let disk = ringmq_io::Env::disk(&env);
        let file = fs::File::open(&dir).unwrap();
        file.try_lock().unwrap();
        let slot = disk.driver.hold_on(file.as_raw_fd()).unwrap();
        // As a process that dies: closed, but not unlocked.
        drop(file);
        let error = disk.lock_dir(&dir).await.err().expect("held by the ring");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        disk.driver.let_go(slot);
        while disk.lock_dir(&dir).await.is_err() {}
    }

    #[test]
    fn an_error_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = at(&missing, list(&missing)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing"), "{error}");
    }

    #[test]
    fn a_second_lock_of_one_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let Err(second) = lock(dir.path()) else { panic!("locked twice") };
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        lock(dir.path()).unwrap();
    }
}

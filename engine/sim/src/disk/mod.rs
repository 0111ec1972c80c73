//! `SimDisk`: the disk of a host as a process sees it. The files' bytes are in `blocks`, the names in
//! `fs`.

pub(crate) mod blocks;
mod file;
pub(crate) mod fs;
mod region;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{BLOCK, DirEntry, Disk, Mapped, OpenMode, Space};

pub use self::file::SimFile;
pub use self::region::{SimExtent, SimRegion};

use self::blocks::Blocks;
use self::file::{eio, enospc};
use self::fs::{Data, TMPFS, normal};
use self::region::Memory;
use crate::process::Process;
use crate::world::Inner;

#[derive(Clone)]
pub struct SimDisk {
    process: Rc<Process>,
}

/// The bytes of a file at the time of its mapping. None of them is in memory before it was brought.
#[derive(Clone)]
pub struct SimMapped {
    process: Rc<Process>,
    path: Rc<PathBuf>,
    bytes: Rc<Vec<u8>>,
    in_memory: Rc<RefCell<BTreeSet<usize>>>,
}

fn blocks_of(range: &Range<usize>) -> Range<usize> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
}

impl Mapped for SimMapped {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn look(&self, range: Range<usize>) -> &[u8] {
        assert!(self.is_in_memory(range.clone()), "{}: {range:?} is not in memory", self.path.display());
        &self.bytes[range]
    }

    fn is_in_memory(&self, range: Range<usize>) -> bool {
        let in_memory = self.in_memory.borrow();
        blocks_of(&range).all(|block| in_memory.contains(&block))
    }

    async fn bring(&self, range: Range<usize>) -> io::Result<()> {
        let mapped = self.clone();
        let done = self.process.after(self.process.disk_latency(range.len()), move |inner| {
            if inner.disk.chance(mapped.process.host.faults.borrow().disk.read_error) {
                mapped.process.event("bring EIO", range.start as u64, 0);
                return Err(eio());
            }
            mapped.in_memory.borrow_mut().extend(blocks_of(&range));
            Ok(())
        });
        done.await
    }
}

/// A held directory; freed on drop and by the end of the process.
pub struct SimDirLock {
    process: Rc<Process>,
    path: PathBuf,
    token: u64,
}

impl Drop for SimDirLock {
    fn drop(&mut self) {
        let mut locks = self.process.host.fs.locks.borrow_mut();
        if locks.get(&self.path) == Some(&self.token) {
            locks.remove(&self.path);
        }
    }
}

impl Process {
    pub(crate) fn disk_latency(&self, bytes: usize) -> Duration {
        self.usual_latency(bytes) + self.stall_left()
    }

    fn stall_left(&self) -> Duration {
        let until = self.host.disk_stalls_until_ns.get();
        Duration::from_nanos(until.saturating_sub(self.inner.sched.now()))
    }

    fn usual_latency(&self, bytes: usize) -> Duration {
        let base = self.inner.disk.within(self.host.faults.borrow().disk.latency_us.clone());
        // 2 GB/s on top of the fixed part.
        Duration::from_nanos(base * 1000 + bytes as u64 / 2)
    }

    pub(crate) fn sync_latency(&self) -> Duration {
        let faults = self.host.faults.borrow().disk.clone();
        let mut latency = self.usual_latency(0) * 2;
        if self.inner.disk.chance(faults.slow_sync) {
            self.event("slow sync", 0, 0);
            latency = latency.max(faults.slow_sync_time.mul_f64(self.inner.disk.below(1000) as f64 / 1000.0));
        }
        latency + self.stall_left()
    }
}

impl SimDisk {
    pub(crate) fn new(process: Rc<Process>) -> Self {
        Self { process }
    }

    /// One change or look-up of the name space, atomic at its completion.
    async fn op<T: 'static>(
        &self,
        what: &'static str,
        path: &Path,
        work: impl FnOnce(&Rc<Process>, &Rc<Inner>) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        let process = self.process.clone();
        let path = path.to_owned();
        let done = self.process.after(self.process.disk_latency(0), move |inner| {
            let result = work(&process, inner);
            let note = match &result {
                Ok(_) => path.display().to_string(),
                Err(error) => format!("{}: {error}", path.display()),
            };
            inner.note(Some(process.host.index), what, note);
            result
        });
        done.await
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Region = SimRegion;
    type Extent = SimExtent;
    type Mapped = SimMapped;
    type DirLock = SimDirLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let name = path.to_owned();
        self.op("open", path, move |process, inner| {
            let fs = &process.host.fs;
            let inode = match mode {
                OpenMode::Read | OpenMode::Write => fs.lookup(&name)?,
                OpenMode::CreateNew => {
                    if inner.disk.chance(process.host.faults.borrow().disk.no_space) {
                        return Err(enospc());
                    }
                    fs.create(&name, Data::Blocks(Blocks::default()))?
                }
            };
            Ok(SimFile::new(process.clone(), inode, &name, mode))
        })
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.op("rename", &to.clone(), move |process, _| process.host.fs.rename(&from, &to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let name = path.to_owned();
        self.op("remove", path, move |process, _| process.host.fs.remove(&name)).await
    }

    async fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let name = dir.to_owned();
        self.op("remove dir", dir, move |process, _| process.host.fs.remove_dir(&name)).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let name = path.to_owned();
        self.op("create dir", path, move |process, _| process.host.fs.create_dir_all(&name)).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let name = dir.to_owned();
        self.op("list", dir, move |process, _| process.host.fs.list(&name)).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let name = dir.to_owned();
        self.op("sync dir", dir, move |process, inner| {
            if inner.disk.chance(process.host.faults.borrow().disk.sync_error) {
                return Err(eio());
            }
            process.host.fs.sync_dir(&name)
        })
        .await
    }

    async fn space(&self, dir: &Path) -> io::Result<Space> {
        let name = dir.to_owned();
        self.op("space", dir, move |process, _| {
            let fs = &process.host.fs;
            fs.has_dir(&name)?;
            let (total, used) = (fs.capacity.get(), fs.used());
            Ok(Space { total, used, available: total.saturating_sub(used) })
        })
        .await
    }

    async fn lock_dir(&self, dir: &Path) -> io::Result<SimDirLock> {
        let path = normal(dir);
        self.op("lock", dir, move |process, inner| {
            let fs = &process.host.fs;
            fs.has_dir(&path)?;
            if fs.locks.borrow().contains_key(&path) {
                let message = format!("{}: locked", path.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
            }
            let token = inner.sched.serial();
            fs.locks.borrow_mut().insert(path.clone(), token);
            Ok(SimDirLock { process: process.clone(), path, token })
        })
        .await
    }

    async fn map_region(&self, path: &Path, len: usize) -> io::Result<(SimRegion, bool)> {
        let name = path.to_owned();
        self.op("map region", path, move |process, _| {
            let fs = &process.host.fs;
            let (inode, existed) = match fs.lookup(&name) {
                Ok(inode) => (inode, true),
                Err(_) => (fs.create(&name, Data::Memory(Rc::new(Memory::zeroed(len))))?, false),
            };
            if inode.len() != len as u64 {
                let message = format!("{}: {} bytes, wanted {len}", name.display(), inode.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            let memory = inode.memory().unwrap_or_else(|| {
                // A file that came here by a copy: from now on it is mapped memory.
                let memory = Rc::new(Memory::zeroed(len));
                let mut bytes = vec![0; len];
                inode.read(0, &mut bytes);
                memory.write(0, &bytes);
                *inode.data.borrow_mut() = Data::Memory(memory.clone());
                memory
            });
            Ok((SimRegion { process: process.clone(), inode, memory }, existed))
        })
        .await
    }

    async fn map(&self, path: &Path) -> io::Result<SimMapped> {
        let name = path.to_owned();
        self.op("map", path, move |process, inner| {
            let inode = process.host.fs.lookup(&name)?;
            if inner.disk.chance(process.host.faults.borrow().disk.read_error) {
                return Err(eio());
            }
            let mut bytes = vec![0; inode.len() as usize];
            inode.read(0, &mut bytes);
            let (path, in_memory) = (Rc::new(name.clone()), Rc::default());
            Ok(SimMapped { process: Rc::clone(process), path, bytes: Rc::new(bytes), in_memory })
        })
        .await
    }

    fn ring_dir(&self, _data: &Path) -> Option<PathBuf> {
        self.process.host.fs.tmpfs.get().then(|| PathBuf::from(TMPFS))
    }
}

//! The disk of [`super::Offline`]: files as they are, changes in memory.
//!
//! Invariants: what this command created, renamed or removed is seen by it and by nobody else. [`OfflineDisk::changes`]
//! tells what they come to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringmq_io::{DirEntry, Disk, Mapped, OpenMode, Space};
use ringmq_uring::UringMapped;

use super::file::{Extent, Layered, OfflineFile, OfflineRegion};

/// What a file would be after everything that was done to it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Removed,
    /// Made, or put in the place of another; its length.
    Made(u64),
    /// Bytes written into a file that is there.
    Written(u64),
}

#[derive(Clone, Default)]
pub struct OfflineDisk(Rc<Above>);

#[derive(Default)]
struct Above {
    /// Files that were opened or changed; `None`: removed.
    files: RefCell<BTreeMap<PathBuf, Option<Rc<Layered>>>>,
    dirs: RefCell<BTreeSet<PathBuf>>,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

impl OfflineDisk {
    /// Files that would be changed.
    pub fn changes(&self) -> Vec<(PathBuf, Change)> {
        let change = |(path, file): (&PathBuf, &Option<Rc<Layered>>)| {
            let change = match file {
                None => path.exists().then_some(Change::Removed),
                Some(file) if !file.is_on_disk(path) => Some(Change::Made(file.len())),
                Some(file) => (file.written() > 0).then(|| Change::Written(file.written())),
            };
            change.map(|change| (path.clone(), change))
        };
        self.0.files.borrow().iter().filter_map(change).collect()
    }

    fn find(&self, path: &Path) -> io::Result<Rc<Layered>> {
        if let Some(known) = self.0.files.borrow().get(path) {
            return known.clone().ok_or_else(|| not_found(path));
        }
        let file = fs::File::open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let file = Rc::new(Layered::on_disk(file, path)?);
        self.0.files.borrow_mut().insert(path.into(), Some(file.clone()));
        Ok(file)
    }

    fn put(&self, path: &Path, file: Option<Rc<Layered>>) {
        self.0.files.borrow_mut().insert(path.into(), file);
    }
}

/// A whole file: mapped, or, if it was written here, copied.
#[derive(Clone)]
pub enum OfflineMapped {
    OnDisk(UringMapped),
    Copied(Rc<Vec<u8>>),
}

impl Mapped for OfflineMapped {
    fn len(&self) -> usize {
        match self {
            OfflineMapped::OnDisk(mapped) => mapped.len(),
            OfflineMapped::Copied(bytes) => bytes.len(),
        }
    }

    fn look(&self, range: Range<usize>) -> &[u8] {
        match self {
            OfflineMapped::OnDisk(mapped) => mapped.look(range),
            OfflineMapped::Copied(bytes) => &bytes[range],
        }
    }

    fn is_in_memory(&self, range: Range<usize>) -> bool {
        match self {
            OfflineMapped::OnDisk(mapped) => mapped.is_in_memory(range),
            OfflineMapped::Copied(_) => true,
        }
    }

    async fn bring(&self, range: Range<usize>) -> io::Result<()> {
        match self {
            OfflineMapped::OnDisk(mapped) => mapped.bring(range).await,
            OfflineMapped::Copied(_) => Ok(()),
        }
    }
}

/// Of a directory: nobody writes there meanwhile. Held as long as the file is open.
pub struct SharedLock {
    _file: fs::File,
}

impl Disk for OfflineDisk {
    type File = OfflineFile;
    type Region = OfflineRegion;
    type Extent = Extent;
    type Mapped = OfflineMapped;
    type DirLock = SharedLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<OfflineFile> {
        let found = self.find(path);
        match (mode, found) {
            (OpenMode::CreateNew, Ok(_)) => {
                let text = format!("{}: it exists", path.display());
                Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
            }
            (OpenMode::CreateNew, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                let file = Rc::new(Layered::empty());
                self.put(path, Some(file.clone()));
                Ok(OfflineFile(file))
            }
            (_, found) => found.map(OfflineFile),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from)?;
        self.put(from, None);
        self.put(to, Some(file));
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.put(path, None);
        Ok(())
    }

    async fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let text = format!("{}: nobody removes a directory of a store that is looked at", dir.display());
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.dirs.borrow_mut().extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = BTreeMap::new();
        match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.0.dirs.borrow().contains(dir) => {}
            listed => {
                for entry in listed? {
                    let entry = entry?;
                    let name = entry.file_name().into_string().map_err(|name| {
                        io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!("a name that is not UTF-8: {name:?}"),
                        )
                    })?;
                    let meta = entry.metadata()?;
                    entries.insert(name, (meta.len(), meta.is_dir()));
                }
            }
        }
        for (path, file) in self.0.files.borrow().iter().filter(|(path, _)| path.parent() == Some(dir)) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            match file {
                Some(file) => entries.insert(name.to_owned(), (file.len(), false)),
                None => entries.remove(name),
            };
        }
        let entry = |(name, (len, is_dir))| DirEntry { name, len, is_dir };
        Ok(entries.into_iter().map(entry).collect())
    }

    async fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn space(&self, _dir: &Path) -> io::Result<Space> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "nothing is written here"))
    }

    async fn lock_dir(&self, dir: &Path) -> io::Result<SharedLock> {
        let file = fs::File::open(dir)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(SharedLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::WouldBlock, "in use by another process"))
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    async fn map_region(&self, path: &Path, len: usize) -> io::Result<(OfflineRegion, bool)> {
        let found = match self.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        let mut bytes = vec![0; len];
        if let Some(file) = &found {
            if file.len() != len as u64 {
                let text = format!("{}: {} bytes, wanted {len}", path.display(), file.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            file.read(0, &mut bytes)?;
        }
        Ok((OfflineRegion(Rc::new(RefCell::new(bytes))), found.is_some()))
    }

    async fn map(&self, path: &Path) -> io::Result<OfflineMapped> {
        let known = self.0.files.borrow().get(path).cloned();
        match known {
            None => UringMapped::open(path).map(OfflineMapped::OnDisk),
            Some(None) => Err(not_found(path)),
            Some(Some(file)) => {
                let mut bytes = vec![0; file.len() as usize];
                file.read(0, &mut bytes)?;
                Ok(OfflineMapped::Copied(Rc::new(bytes)))
            }
        }
    }

    fn ring_dir(&self, _data: &Path) -> Option<PathBuf> {
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use ringmq_io::{AlignedBuf, File};

    use super::*;

    #[test]
    fn changes_are_seen_here_and_not_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["kept", "renamed", "removed", "written"] {
            fs::write(path(name), [7; 4096]).unwrap();
        }
        let disk = OfflineDisk::default();
        let names = || -> Vec<String> {
            block_on(disk.list(dir.path())).unwrap().into_iter().map(|entry| entry.name).collect()
        };
        block_on(async {
            disk.rename(&path("renamed"), &path("moved")).await.unwrap();
            disk.remove(&path("removed")).await.unwrap();
            assert_eq!(disk.remove(&path("removed")).await.unwrap_err().kind(), io::ErrorKind::NotFound);
            let file = disk.open(&path("made"), OpenMode::CreateNew).await.unwrap();
            file.write_at(4096, AlignedBuf::copy_of(b"x")).await.unwrap();
            let file = disk.open(&path("written"), OpenMode::Write).await.unwrap();
            file.write_at(0, AlignedBuf::copy_of(b"new")).await.unwrap();
            disk.open(&path("kept"), OpenMode::Read).await.unwrap();
            assert!(disk.open(&path("kept"), OpenMode::CreateNew).await.is_err());
            assert_eq!(disk.map(&path("written")).await.unwrap().look(0..3), b"new");
        });
        assert_eq!(names(), ["kept", "made", "moved", "written"]);
        let changes: Vec<_> = disk.changes();
        assert_eq!(
            changes,
            [
                (path("made"), Change::Made(8192)),
                (path("moved"), Change::Made(4096)),
                (path("removed"), Change::Removed),
                (path("renamed"), Change::Removed),
                (path("written"), Change::Written(4096)),
            ]
        );
        for name in ["kept", "renamed", "removed", "written"] {
            assert_eq!(fs::read(path(name)).unwrap(), [7; 4096]);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn those_who_look_share_a_lock_that_a_broker_does_not_get() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (OfflineDisk::default(), OfflineDisk::default());
        let first = block_on(one.lock_dir(dir.path())).unwrap();
        let second = block_on(other.lock_dir(dir.path())).unwrap();
        let broker = fs::File::open(dir.path()).unwrap();
        assert!(broker.try_lock().is_err());
        drop((first, second));
        broker.try_lock().unwrap();
        assert!(block_on(one.lock_dir(dir.path())).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
    }
}

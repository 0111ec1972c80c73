//! The file system of one host: directories with their unsynced changes, files, locks, and writes
//! under way.
//!
//! A directory change (create, rename, remove) is atomic, visible at once and durable after a sync of
//! its directory. A power loss keeps any first part of a directory's unsynced changes, in order, as a
//! journalling file system does; a rename between two directories is kept in both or in none.
//! Everything below [`TMPFS`] is lost with the power.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use ringmq_io::{BLOCK, DirEntry};

use super::blocks::Blocks;
use super::region::Memory;
use crate::host::Damage;
use crate::rng::Rng;

pub(crate) const TMPFS: &str = "/dev/shm";

pub(crate) struct Inode {
    pub id: u64,
    pub data: RefCell<Data>,
}

pub(crate) enum Data {
    Blocks(Blocks),
    Memory(Rc<Memory>),
}

impl Data {
    fn copied(&self) -> Self {
        match self {
            Self::Blocks(blocks) => Self::Blocks(blocks.clone()),
            Self::Memory(memory) => Self::Memory(Rc::new(memory.detached())),
        }
    }
}

impl Inode {
    pub fn len(&self) -> u64 {
        match &*self.data.borrow() {
            Data::Blocks(blocks) => blocks.len(),
            Data::Memory(memory) => memory.len() as u64,
        }
    }

    pub fn read(&self, pos: u64, out: &mut [u8]) {
        match &*self.data.borrow() {
            Data::Blocks(blocks) => blocks.read(pos, out),
            Data::Memory(memory) => memory.read(pos as usize, out),
        }
    }

    pub fn write_blocks(&self, first: u64, bytes: &[u8], mut keep: impl FnMut(usize) -> bool) {
        for (i, block) in bytes.chunks(BLOCK).enumerate() {
            if keep(i) {
                match &mut *self.data.borrow_mut() {
                    Data::Blocks(blocks) => blocks.write_block(first + i as u64, block),
                    Data::Memory(memory) => memory.write((first as usize + i) * BLOCK, block),
                }
            }
        }
    }

    pub fn blocks<R>(&self, change: impl FnOnce(&mut Blocks) -> R) -> Option<R> {
        match &mut *self.data.borrow_mut() {
            Data::Blocks(blocks) => Some(change(blocks)),
            Data::Memory(_) => None,
        }
    }

    pub fn memory(&self) -> Option<Rc<Memory>> {
        match &*self.data.borrow() {
            Data::Blocks(_) => None,
            Data::Memory(memory) => Some(memory.clone()),
        }
    }
}

type Entries = BTreeMap<String, Rc<Inode>>;

/// One atomic change: each name gets a file or loses it.
struct Change {
    id: u64,
    set: Vec<(String, Option<Rc<Inode>>)>,
}

#[derive(Default)]
struct Dir {
    entries: Entries,
    durable: Entries,
    unsynced: Vec<Change>,
}

fn apply(entries: &mut Entries, set: &[(String, Option<Rc<Inode>>)]) {
    for (name, inode) in set {
        match inode {
            Some(inode) => entries.insert(name.clone(), inode.clone()),
            None => entries.remove(name),
        };
    }
}

/// A write that the device works on.
pub(crate) struct InFlight {
    pub inode: Rc<Inode>,
    pub pos: u64,
    pub bytes: Vec<u8>,
    /// For a write straight from mapped memory: where the bytes are, which may change meanwhile.
    pub source: Option<(Rc<Inode>, Range<usize>)>,
}

pub(crate) struct Fs {
    dirs: RefCell<BTreeMap<PathBuf, Dir>>,
    serial: Cell<u64>,
    pub capacity: Cell<u64>,
    pub tmpfs: Cell<bool>,
    pub locks: RefCell<BTreeMap<PathBuf, u64>>,
    pub in_flight: RefCell<BTreeMap<u64, InFlight>>,
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file or directory", path.display()))
}

pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let path = normal(path);
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(dir), Some(name)) => Ok((dir.to_owned(), name.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{}: not a file", path.display()))),
    }
}

fn on_tmpfs(path: &Path) -> bool {
    path.starts_with(TMPFS)
}

impl Fs {
    pub fn new() -> Self {
        let dirs = ["/", "/dev", TMPFS].into_iter().map(|dir| (PathBuf::from(dir), Dir::default())).collect();
        Self {
            dirs: RefCell::new(dirs),
            serial: Cell::new(0),
            capacity: Cell::new(1 << 40),
            tmpfs: Cell::new(true),
            locks: RefCell::default(),
            in_flight: RefCell::default(),
        }
    }

    fn number(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    pub fn used(&self) -> u64 {
        let dirs = self.dirs.borrow();
        let on_disk = dirs.iter().filter(|(path, _)| !on_tmpfs(path));
        on_disk.flat_map(|(_, dir)| dir.entries.values()).map(|inode| inode.len()).sum()
    }

    pub fn check_room(&self, more: u64) -> io::Result<()> {
        if more > 0 && self.used().saturating_add(more) > self.capacity.get() {
            return Err(io::Error::from_raw_os_error(28)); // ENOSPC
        }
        Ok(())
    }

    pub fn lookup(&self, path: &Path) -> io::Result<Rc<Inode>> {
        let (dir, name) = split(path)?;
        let dirs = self.dirs.borrow();
        dirs.get(&dir).and_then(|dir| dir.entries.get(&name)).cloned().ok_or_else(|| missing(path))
    }

    fn change(&self, dir: &Path, id: u64, set: Vec<(String, Option<Rc<Inode>>)>) {
        let mut dirs = self.dirs.borrow_mut();
        let dir = dirs.get_mut(dir).expect("checked by the caller");
        apply(&mut dir.entries, &set);
        dir.unsynced.push(Change { id, set });
    }

    pub fn create(&self, path: &Path, data: Data) -> io::Result<Rc<Inode>> {
        let (dir, name) = split(path)?;
        if !self.dirs.borrow().contains_key(&dir) {
            return Err(missing(&dir));
        }
        if self.lookup(path).is_ok() || self.dirs.borrow().contains_key(&normal(path)) {
            let message = format!("{}: exists", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        let inode = Rc::new(Inode { id: self.number(), data: RefCell::new(data) });
        self.change(&dir, self.number(), vec![(name, Some(inode.clone()))]);
        Ok(inode)
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.lookup(from)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (split(from)?, split(to)?);
        if !self.dirs.borrow().contains_key(&to_dir) {
            return Err(missing(&to_dir));
        }
        if self.dirs.borrow().contains_key(&normal(to)) {
            let message = format!("{}: is a directory", to.display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
        }
        let id = self.number();
        if from_dir == to_dir {
            if from_name != to_name {
                self.change(&to_dir, id, vec![(from_name, None), (to_name, Some(inode))]);
            }
        } else {
            self.change(&from_dir, id, vec![(from_name, None)]);
            self.change(&to_dir, id, vec![(to_name, Some(inode))]);
        }
        Ok(())
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.lookup(path)?;
        let (dir, name) = split(path)?;
        self.change(&dir, self.number(), vec![(name, None)]);
        Ok(())
    }

    /// Durable at once, which is one of the ways it can go.
    pub fn remove_dir(&self, path: &Path) -> io::Result<()> {
        if !self.list(path)?.is_empty() {
            let message = format!("{}: not empty", path.display());
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, message));
        }
        self.dirs.borrow_mut().remove(&normal(path));
        Ok(())
    }

    /// Durable at once: the seam promises it.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        for dir in path.ancestors() {
            if dir != Path::new("/") && self.lookup(dir).is_ok() {
                let message = format!("{}: is a file", dir.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
            }
        }
        for dir in path.ancestors() {
            self.dirs.borrow_mut().entry(dir.to_owned()).or_default();
        }
        Ok(())
    }

    pub fn has_dir(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        self.dirs.borrow().contains_key(&path).then_some(()).ok_or_else(|| missing(&path))
    }

    pub fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = normal(path);
        let dirs = self.dirs.borrow();
        let dir = dirs.get(&path).ok_or_else(|| missing(&path))?;
        let mut entries: Vec<DirEntry> = dir
            .entries
            .iter()
            .map(|(name, inode)| DirEntry { name: name.clone(), len: inode.len(), is_dir: false })
            .collect();
        for sub in dirs.keys().filter(|sub| sub.parent() == Some(path.as_path())) {
            let name = sub.file_name().expect("has a parent").to_string_lossy().into_owned();
            entries.push(DirEntry { name, len: 0, is_dir: true });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Makes the first `count` unsynced changes of `dir` durable, and with a rename between two
    /// directories what came before it in the other one.
    fn commit(dirs: &mut BTreeMap<PathBuf, Dir>, dir: &Path, count: usize) {
        let here = dirs.get_mut(dir).expect("exists");
        let changes: Vec<Change> = here.unsynced.drain(..count).collect();
        for change in &changes {
            apply(&mut here.durable, &change.set);
        }
        for change in changes {
            let other = dirs.iter().find_map(|(path, dir)| {
                dir.unsynced.iter().position(|c| c.id == change.id).map(|at| (path.clone(), at + 1))
            });
            if let Some((path, count)) = other {
                Self::commit(dirs, &path, count);
            }
        }
    }

    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let mut dirs = self.dirs.borrow_mut();
        let count = dirs.get(&path).ok_or_else(|| missing(&path))?.unsynced.len();
        Self::commit(&mut dirs, &path, count);
        Ok(())
    }

    /// The process is gone: each write under way is done, or not, block by block.
    pub fn end_writes(&self, rng: &Rng) {
        for (_, write) in self.in_flight.take() {
            let style = rng.below(3);
            let bytes = write.settled_bytes(rng);
            let keep = |_| match style {
                0 => false,
                1 => true,
                _ => rng.coin(),
            };
            write.inode.write_blocks(write.pos / BLOCK as u64, &bytes, keep);
        }
    }

    fn inodes(&self) -> Vec<Rc<Inode>> {
        self.dirs.borrow().values().flat_map(|dir| dir.entries.values().cloned()).collect()
    }

    /// From now on the process's mapped memory is its own: what it still writes goes nowhere.
    pub fn detach_memory(&self) {
        for inode in self.inodes() {
            if let Data::Memory(memory) = &mut *inode.data.borrow_mut() {
                *memory = Rc::new(memory.detached());
            }
        }
    }

    pub fn process_ended(&self, rng: &Rng) {
        self.locks.borrow_mut().clear();
        self.detach_memory();
        for inode in self.inodes() {
            inode.blocks(|blocks| blocks.evict(rng));
        }
    }

    pub fn power_loss(&self, rng: &Rng) {
        let mut dirs = self.dirs.borrow_mut();
        dirs.retain(|path, _| !on_tmpfs(path) || path == Path::new(TMPFS));
        dirs.insert(PathBuf::from(TMPFS), Dir::default());
        let paths: Vec<PathBuf> = dirs.keys().cloned().collect();
        for path in paths {
            let unsynced = dirs[&path].unsynced.len();
            let kept = match rng.below(3) {
                0 => 0,
                1 => unsynced,
                _ => rng.index(unsynced + 1),
            };
            Self::commit(&mut dirs, &path, kept);
        }
        for dir in dirs.values_mut() {
            dir.unsynced.clear();
            dir.entries = dir.durable.clone();
        }
        drop(dirs);
        for inode in self.inodes() {
            match &mut *inode.data.borrow_mut() {
                Data::Blocks(blocks) => blocks.power_loss(rng),
                Data::Memory(memory) => memory.power_loss(rng),
            }
        }
    }

    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let dirs = self.dirs.borrow();
        let files = dirs.iter().flat_map(|(path, dir)| {
            dir.entries.iter().map(move |(name, inode)| (path.join(name), inode.len()))
        });
        files.collect()
    }

    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let inode = self.lookup(path).ok()?;
        let mut bytes = vec![0; inode.len() as usize];
        inode.read(0, &mut bytes);
        Some(bytes)
    }

    pub fn damage(&self, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        let Ok(inode) = self.lookup(path) else { return false };
        if offset + bytes.len() as u64 > inode.len() {
            return false;
        }
        match &mut *inode.data.borrow_mut() {
            Data::Blocks(blocks) => blocks.damage(offset, |i, _| bytes[i as usize], bytes.len() as u64),
            Data::Memory(memory) => memory.write(offset as usize, bytes),
        }
        true
    }

    /// What is damaged now, by the names that the files have now.
    pub fn damaged(&self) -> Vec<Damage> {
        let mut out = Vec::new();
        for (path, _) in self.files() {
            let Ok(inode) = self.lookup(&path) else { continue };
            let ranges = inode.blocks(|blocks| blocks.damaged()).unwrap_or_default();
            let damage = |range: Range<u64>| Damage {
                path: path.clone(),
                offset: range.start,
                len: range.end - range.start,
            };
            out.extend(ranges.into_iter().map(damage));
        }
        out
    }

    /// A file as it would be without damage.
    pub fn read_meant(&self, path: &Path) -> Option<Vec<u8>> {
        let inode = self.lookup(path).ok()?;
        let mut bytes = vec![0; inode.len() as usize];
        inode.blocks(|blocks| blocks.read_meant(0, &mut bytes))?;
        Some(bytes)
    }

    /// A file on the disk that a misdirected write of `inode` may hit, and where in it: one of all blocks of all files.
    pub fn somewhere_else(&self, rng: &Rng) -> Option<(PathBuf, Rc<Inode>, u64)> {
        let on_disk = self.files().into_iter().filter(|(path, len)| !on_tmpfs(path) && *len > 0);
        let files: Vec<(PathBuf, u64)> =
            on_disk.map(|(path, len)| (path, len.div_ceil(BLOCK as u64))).collect();
        let all: u64 = files.iter().map(|(_, blocks)| blocks).sum();
        // Each second time a file of any size: small ones are few blocks among many.
        let mut at = rng.below(all.max(1));
        if rng.coin() && !files.is_empty() {
            let (path, blocks) = &files[rng.index(files.len())];
            let at = rng.below(*blocks);
            return Some((path.clone(), self.lookup(path).ok()?, at));
        }
        for (path, blocks) in files {
            if at < blocks {
                let inode = self.lookup(&path).ok()?;
                return Some((path, inode, at));
            }
            at -= blocks;
        }
        None
    }

    pub fn rot_somewhere(&self, rng: &Rng) -> Option<Damage> {
        let mut on_disk: Vec<(PathBuf, Vec<u64>)> = Vec::new();
        for (path, _) in self.files().into_iter().filter(|(path, _)| !on_tmpfs(path)) {
            let stored = self.lookup(&path).ok()?.blocks(|blocks| blocks.stored()).unwrap_or_default();
            if !stored.is_empty() {
                on_disk.push((path, stored));
            }
        }
        if on_disk.is_empty() {
            return None;
        }
        let (path, stored) = on_disk.swap_remove(rng.index(on_disk.len()));
        let offset = stored[rng.index(stored.len())] * BLOCK as u64 + rng.below(BLOCK as u64);
        let bit = 1u8 << rng.below(8);
        let inode = self.lookup(&path).ok()?;
        inode.blocks(|blocks| blocks.damage(offset, |_, byte| byte ^ bit, 1));
        Some(Damage { path, offset, len: 1 })
    }

    /// All of it, with what is not synced. Nothing may be under way.
    pub fn copied(&self) -> Self {
        assert!(self.in_flight.borrow().is_empty(), "a disk that nobody writes to");
        let mut copies: BTreeMap<u64, Rc<Inode>> = BTreeMap::new();
        let mut copied = |inode: &Rc<Inode>| {
            let copy = || {
                let data = inode.data.borrow().copied();
                Rc::new(Inode { id: inode.id, data: RefCell::new(data) })
            };
            copies.entry(inode.id).or_insert_with(copy).clone()
        };
        let mut entries =
            |of: &Entries| of.iter().map(|(name, inode)| (name.clone(), copied(inode))).collect();
        let mut dirs = BTreeMap::new();
        for (path, dir) in &*self.dirs.borrow() {
            let (now, durable) = (entries(&dir.entries), entries(&dir.durable));
            dirs.insert(path.clone(), Dir { entries: now, durable, unsynced: Vec::new() });
        }
        let mut set = |of: &Change| {
            let one =
                |(name, inode): &(String, Option<Rc<Inode>>)| (name.clone(), inode.as_ref().map(&mut copied));
            Change { id: of.id, set: of.set.iter().map(one).collect() }
        };
        for (path, dir) in &*self.dirs.borrow() {
            dirs.get_mut(path).expect("copied above").unsynced = dir.unsynced.iter().map(&mut set).collect();
        }
        Self {
            dirs: RefCell::new(dirs),
            serial: self.serial.clone(),
            capacity: self.capacity.clone(),
            tmpfs: self.tmpfs.clone(),
            locks: RefCell::default(),
            in_flight: RefCell::default(),
        }
    }

    /// Becomes the other one.
    pub fn turn_into(&self, other: Self) {
        self.dirs.replace(other.dirs.take());
        self.serial.set(other.serial.get());
        self.capacity.set(other.capacity.get());
        self.tmpfs.set(other.tmpfs.get());
    }

    pub fn remove_durably(&self, path: &Path) -> bool {
        let removed = self.remove(path).is_ok();
        removed && split(path).is_ok_and(|(dir, _)| self.sync_dir(&dir).is_ok())
    }

    pub fn copy_durably(&self, from: &Path, to: &Path) -> bool {
        let Ok(inode) = self.lookup(from) else { return false };
        let mut data = inode.data.borrow().copied();
        if let Data::Blocks(blocks) = &mut data {
            blocks.settle();
        }
        let cleared = self.lookup(to).is_err() || self.remove(to).is_ok();
        let copied = cleared && self.create(to, data).is_ok();
        copied && split(to).is_ok_and(|(dir, _)| self.sync_dir(&dir).is_ok())
    }
}

impl InFlight {
    /// The bytes that reach the device: where mapped memory changed under way, either state of each
    /// sector. Only the last block may change (the seam's contract).
    pub fn settled_bytes(&self, rng: &Rng) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some((inode, range)) = &self.source
            && let Some(memory) = inode.memory()
        {
            let mut now = vec![0; bytes.len()];
            memory.read(range.start, &mut now);
            let last = bytes.len() - BLOCK;
            assert!(
                now[..last] == bytes[..last],
                "the ring changed below the last block while it was written"
            );
            for start in (last..bytes.len()).step_by(512) {
                if rng.coin() {
                    bytes[start..start + 512].copy_from_slice(&now[start..start + 512]);
                }
            }
        }
        bytes
    }
}

//! What the kernel asks of the disk.
//!
//! One request after the other, so that one that takes long holds up all, as a device does. Names, lengths and permissions are as
//! simple as a store needs them: no links, no other users.

use std::ffi::OsStr;
use std::sync::MutexGuard;
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::OFlag;

use super::contents::{BLOCK, Contents, File, Node};
use super::disk::{Order, Shared, State, locked};

/// Nothing is remembered by the kernel: the disk may change under it when the power goes.
const FRESH: Duration = Duration::ZERO;
const BLOCKS: u64 = 1 << 20;

pub(super) struct Served {
    state: Shared,
    mount: u64,
}

fn attributes(contents: &Contents, number: u64) -> Result<FileAttr, Errno> {
    let (kind, size, perm) = match contents.node(number).ok_or(Errno::ENOENT)? {
        Node::Dir(_) => (FileType::Directory, 0, 0o755),
        Node::File(file) => (FileType::RegularFile, file.len(), 0o644),
    };
    let time = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    })
}

fn has(flags: i32, flag: OFlag) -> bool {
    OFlag::from_bits_retain(flags).contains(flag)
}

impl Served {
    pub fn new(state: &Shared, mount: u64) -> Self {
        Self { state: state.clone(), mount }
    }

    /// The disk, if it is still there.
    fn disk(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let state = locked(&self.state);
        if state.mount == self.mount { Ok(state) } else { Err(Errno::EIO) }
    }

    fn is_segment(contents: &Contents, number: u64) -> bool {
        contents.name(number).to_str().is_some_and(|name| name.ends_with(".seg"))
    }

    fn lookup(&self, parent: u64, name: &OsStr) -> Result<FileAttr, Errno> {
        let state = self.disk()?;
        let entries = state.contents.dir(parent).ok_or(Errno::ENOTDIR)?;
        attributes(&state.contents, *entries.get(name).ok_or(Errno::ENOENT)?)
    }

    fn make(&self, parent: u64, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        let mut state = self.disk()?;
        let number = state.contents.make(parent, name, node).ok_or(Errno::ENOTDIR)?;
        attributes(&state.contents, number)
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut File)) -> Result<FileAttr, Errno> {
        let mut state = self.disk()?;
        change(state.contents.file_mut(number).ok_or(Errno::EISDIR)?);
        attributes(&state.contents, number)
    }

    fn write(&self, number: u64, at: u64, data: &[u8]) -> Result<(), Errno> {
        let mut state = self.disk()?;
        if state.order == Some(Order::FailWrites) && Self::is_segment(&state.contents, number) {
            state.carried_out.get_or_insert_with(Instant::now);
            return Err(Errno::EIO);
        }
        state.contents.file_mut(number).ok_or(Errno::EISDIR)?.write(at, data);
        Ok(())
    }

    fn sync(&self, number: u64) -> Result<(), Errno> {
        let mut state = self.disk()?;
        let is_segment = Self::is_segment(&state.contents, number);
        let order = state.order.take_if(|order| is_segment && *order != Order::FailWrites);
        if order.is_some() {
            state.carried_out = Some(Instant::now());
        }
        match order {
            Some(Order::FailSync) => {
                state.contents.file_mut(number).ok_or(Errno::EISDIR)?.lose(|_| false);
                return Err(Errno::EIO);
            }
            Some(Order::Stall(time)) => {
                drop(state);
                std::thread::sleep(time);
                state = self.disk()?;
            }
            _ => {}
        }
        state.contents.file_mut(number).ok_or(Errno::EISDIR)?.sync();
        Ok(())
    }
}

/// Answers by the reply's own word for success.
macro_rules! answer {
    ($result:expr, $reply:ident, $value:pat => $success:expr) => {
        match $result {
            Ok($value) => $success,
            Err(error) => $reply.error(error),
        }
    };
}

#[allow(clippy::too_many_arguments)]
impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(self.lookup(parent.0, name), reply, found => reply.entry(&FRESH, &found, Generation(0)));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.disk().and_then(|state| attributes(&state.contents, number.0));
        answer!(found, reply, found => reply.attr(&FRESH, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = match size {
            Some(len) => self.change(number.0, |file| file.set_len(len)),
            None => self.disk().and_then(|state| attributes(&state.contents, number.0)),
        };
        answer!(changed, reply, found => reply.attr(&FRESH, &found));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.make(parent.0, name, Node::Dir(Default::default()));
        answer!(made, reply, made => reply.entry(&FRESH, &made, Generation(0)));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.make(parent.0, name, Node::File(File::default()));
        answer!(made, reply, made => {
            reply.created(&FRESH, &made, Generation(0), FileHandle(0), cache_of(flags));
        });
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        answer!(self.disk(), reply, _ => reply.opened(FileHandle(0), cache_of(flags.0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.disk().map(|mut state| state.contents.remove(parent.0, name));
        answer!(removed, reply, found => if found { reply.ok() } else { reply.error(Errno::ENOENT) });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.disk().and_then(|mut state| {
            let number =
                *state.contents.dir(parent.0).and_then(|found| found.get(name)).ok_or(Errno::ENOENT)?;
            let is_empty = state.contents.dir(number).ok_or(Errno::ENOTDIR)?.is_empty();
            if !is_empty {
                return Err(Errno::ENOTEMPTY);
            }
            state.contents.remove(parent.0, name);
            Ok(())
        });
        answer!(removed, reply, () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.disk().map(|mut state| state.contents.rename((parent.0, name), (to.0, to_name)));
        answer!(renamed, reply, found => if found { reply.ok() } else { reply.error(Errno::ENOENT) });
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.disk().and_then(|state| {
            Ok(state.contents.file(number.0).ok_or(Errno::EISDIR)?.read(at, size as usize))
        });
        answer!(read, reply, bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // A synced write of a file that the kernel does not cache comes with this flag, and no sync comes behind it.
        let synced = has(flags.0, OFlag::O_DSYNC) && has(flags.0, OFlag::O_DIRECT);
        let written = self.write(number.0, at, data);
        let done = written.and_then(|()| if synced { self.sync(number.0) } else { Ok(()) });
        answer!(done, reply, () => reply.written(data.len() as u32));
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(self.sync(number.0), reply, () => reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(self.disk(), reply, _ => reply.ok());
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let reserved = self.change(number.0, |file| file.set_len(file.len().max(at + len)));
        answer!(reserved, reply, _ => reply.ok());
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, from: u64, mut reply: ReplyDirectory) {
        let listed = self.disk().and_then(|state| {
            let entries = state.contents.dir(number.0).ok_or(Errno::ENOTDIR)?;
            for (place, (name, number)) in entries.iter().enumerate().skip(from as usize) {
                let kind = attributes(&state.contents, *number)?.kind;
                if reply.add(INodeNo(*number), place as u64 + 1, kind, name) {
                    break;
                }
            }
            Ok(())
        });
        answer!(listed, reply, () => reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let size = BLOCK as u32;
        answer!(self.disk(), reply, _ => {
            reply.statfs(BLOCKS, BLOCKS / 2, BLOCKS / 2, BLOCKS, BLOCKS / 2, size, 255, size);
        });
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// A file that is opened for direct I/O is not cached by the kernel.
fn cache_of(flags: i32) -> FopenFlags {
    if has(flags, OFlag::O_DIRECT) { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() }
}

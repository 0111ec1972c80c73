//! `SimFile`: an open file of a simulated disk.
//!
//! A write counts from its completion. Until then it is under way: a crash leaves any of its blocks,
//! and a sync that begins meanwhile does not cover it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{AlignedBuf, BLOCK, Blocks, File, OpenMode, Region};

use super::fs::{Data, InFlight, Inode};
use super::region::SimRegion;
use crate::host::Damage;
use crate::process::{Op, Process};
use crate::world::Inner;

#[derive(Clone)]
pub struct SimFile {
    process: Rc<Process>,
    inode: Rc<Inode>,
    path: Rc<PathBuf>,
    writable: bool,
}

pub(crate) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

pub(crate) fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn check_aligned(pos: u64, len: usize) {
    let block = BLOCK as u64;
    assert!(
        pos.is_multiple_of(block) && len.is_multiple_of(BLOCK) && len > 0,
        "direct I/O of {len} bytes at {pos}"
    );
}

impl SimFile {
    pub(crate) fn new(process: Rc<Process>, inode: Rc<Inode>, path: &Path, mode: OpenMode) -> Self {
        let writable = mode != OpenMode::Read;
        Self { process, inode, path: Rc::new(path.to_owned()), writable }
    }

    fn latency(&self, bytes: usize) -> Duration {
        self.process.disk_latency(bytes)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        let message = format!("{}: opened for reading", self.path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }

    fn start_write(
        &self,
        pos: u64,
        bytes: Vec<u8>,
        source: Option<(Rc<Inode>, Range<usize>)>,
    ) -> Op<io::Result<()>> {
        let token = self.process.inner.sched.serial();
        let wait = self.latency(bytes.len());
        if self.process.runs() {
            let write = InFlight { inode: self.inode.clone(), pos, bytes, source };
            self.process.host.fs.in_flight.borrow_mut().insert(token, write);
        }
        let file = self.clone();
        self.process.after(wait, move |inner| file.finish_write(inner, token))
    }

    fn finish_write(&self, inner: &Inner, token: u64) -> io::Result<()> {
        let (fs, rng) = (&self.process.host.fs, &inner.disk);
        let write = fs.in_flight.borrow_mut().remove(&token).expect("under way until now");
        let bytes = write.settled_bytes(rng);
        let faults = self.process.host.faults.borrow().disk.clone();
        let blocks = bytes.len() / BLOCK;
        let first = write.pos / BLOCK as u64;
        let event = |what| self.process.event(what, self.inode.id, write.pos);
        let end = write.pos + bytes.len() as u64;
        if let Err(error) = fs.check_room(end.saturating_sub(self.inode.len())) {
            event("disk full");
            return Err(error);
        }
        if rng.chance(faults.no_space) {
            event("write ENOSPC");
            return Err(enospc());
        }
        if rng.chance(faults.write_error) {
            event("write EIO");
            self.inode.write_blocks(first, &bytes, |_| rng.coin());
            return Err(eio());
        }
        if rng.chance(faults.short_write) {
            event("short write");
            let done = rng.index(blocks);
            self.inode.write_blocks(first, &bytes, |i| i < done);
            return Err(eio());
        }
        if rng.chance(faults.misdirected_write) && self.misdirect(inner, first, &bytes) {
            return Ok(());
        }
        event("write");
        self.inode.write_blocks(first, &bytes, |_| true);
        Ok(())
    }
}

impl SimFile {
    /// The bytes go to another place of the disk, in this file or in another one; false if there is no other place.
    fn misdirect(&self, inner: &Inner, first: u64, bytes: &[u8]) -> bool {
        let host = &self.process.host;
        let Some((path, inode, wrong)) = host.fs.somewhere_else(&inner.disk) else { return false };
        if inode.id == self.inode.id && wrong == first {
            return false;
        }
        let end = inode.len().div_ceil(BLOCK as u64);
        let reached = inode.blocks(|blocks| {
            for (at, block) in (wrong..end).zip(bytes.chunks(BLOCK)) {
                blocks.stray_write(at, block);
            }
        });
        if reached.is_none() {
            return false;
        }
        self.inode.blocks(|blocks| {
            for (at, block) in (first..).zip(bytes.chunks(BLOCK)) {
                blocks.lose_write(at, block);
            }
        });
        let len = bytes.len() as u64;
        let note =
            format!("{} block {first} to {} block {wrong}, {len} bytes", self.path.display(), path.display());
        inner.note(Some(host.index), "misdirected write", note);
        for (path, at) in [(self.path.to_path_buf(), first), (path, wrong)] {
            host.damage.borrow_mut().push(Damage { path, offset: at * BLOCK as u64, len });
        }
        true
    }
}

impl File for SimFile {
    type Region = SimRegion;

    fn len(&self) -> u64 {
        self.inode.len()
    }

    async fn read_into(&self, pos: u64, mut buf: AlignedBuf) -> io::Result<AlignedBuf> {
        let len = buf.len();
        check_aligned(pos, len);
        let file = self.clone();
        let done = self.process.after(self.latency(len), move |inner| {
            file.process.event("read", file.inode.id, pos);
            if inner.disk.chance(file.process.host.faults.borrow().disk.read_error) {
                file.process.event("read EIO", file.inode.id, pos);
                return Err(eio());
            }
            if pos + len as u64 > file.inode.len() {
                let message = format!(
                    "{}: {len} bytes at {pos} of a file of {}",
                    file.path.display(),
                    file.inode.len()
                );
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            file.inode.read(pos, &mut buf);
            Ok(buf)
        });
        done.await
    }

    async fn write_at(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf> {
        check_aligned(pos, buf.len());
        self.check_writable()?;
        self.start_write(pos, buf.to_vec(), None).await?;
        Ok(buf)
    }

    async fn write_region(&self, pos: u64, region: &SimRegion, range: Range<usize>) -> io::Result<()> {
        check_aligned(pos, range.len());
        check_aligned(range.start as u64, range.len());
        self.check_writable()?;
        let bytes = region.with(range.clone(), <[u8]>::to_vec);
        self.start_write(pos, bytes, Some((region.inode.clone(), range))).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.check_writable()?;
        let mark = self.inode.blocks(|blocks| blocks.mark()).unwrap_or(0);
        let file = self.clone();
        let wait = self.process.sync_latency();
        let done = self.process.after(wait, move |inner| {
            let faults = file.process.host.faults.borrow().disk.clone();
            let failed = inner.disk.chance(faults.sync_error);
            file.process.event(if failed { "sync EIO" } else { "sync" }, file.inode.id, mark);
            if failed {
                file.inode.blocks(|blocks| blocks.fail_sync(mark, &inner.disk));
                return if faults.hide_sync_error { Ok(()) } else { Err(eio()) };
            }
            file.inode.blocks(|blocks| blocks.commit(mark));
            Ok(())
        });
        done.await
    }

    async fn preallocate(&self, len: u64, _blocks: Blocks) -> io::Result<()> {
        self.check_writable()?;
        let file = self.clone();
        let done = self.process.after(self.latency(len as usize), move |inner| {
            file.process.event("preallocate", file.inode.id, len);
            let more = len.saturating_sub(file.inode.len());
            file.process.host.fs.check_room(more)?;
            if more > 0 && inner.disk.chance(file.process.host.faults.borrow().disk.no_space) {
                file.process.event("preallocate ENOSPC", file.inode.id, len);
                return Err(enospc());
            }
            if more > 0 {
                file.inode.blocks(|blocks| blocks.resize(len));
            }
            Ok(())
        });
        done.await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let file = self.clone();
        let done = self.process.after(self.latency(0), move |_| {
            file.process.event("truncate", file.inode.id, len);
            file.process.host.fs.check_room(len.saturating_sub(file.inode.len()))?;
            if let Data::Blocks(blocks) = &mut *file.inode.data.borrow_mut() {
                blocks.resize(len);
            }
            Ok(())
        });
        done.await
    }
}

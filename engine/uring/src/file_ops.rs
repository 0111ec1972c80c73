//! `File`: reads, writes and syncs on the ring.
//!
//! Invariants: positions and lengths are multiples of [`BLOCK`] (asserted: O_DIRECT needs it, and a
//! fallback to buffered I/O must not hide a mistake); a short transfer goes on until all is moved or
//! the kernel says why not. The descriptor stays open until the last operation on it is done.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use ringmq_io::limits::PREALLOCATE_STEP_BYTES;
use ringmq_io::{AlignedBuf, BLOCK, Blocks, File};

use crate::blocking::Blocking;
use crate::driver::{Driver, check};
use crate::fd::RingFd;
use crate::op::{Op, TRANSFER_MAX};
use crate::region::UringRegion;

struct Open {
    driver: Rc<Driver>,
    blocking: Rc<Blocking>,
    fd: Rc<RingFd>,
    len: Cell<u64>,
    path: Box<Path>,
}

#[derive(Clone)]
pub struct UringFile(Rc<Open>);

fn assert_aligned(pos: u64, len: usize) {
    assert!(pos.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK), "unaligned I/O: {len} at {pos}");
}

impl UringFile {
    pub(crate) fn new(
        driver: &Rc<Driver>,
        blocking: &Rc<Blocking>,
        fd: OwnedFd,
        len: u64,
        path: &Path,
    ) -> Self {
        Self(Rc::new(Open {
            driver: driver.clone(),
            blocking: blocking.clone(),
            fd: Rc::new(RingFd::new(fd, driver)),
            len: Cell::new(len),
            path: path.into(),
        }))
    }

    fn fd(&self) -> Rc<RingFd> {
        self.0.fd.clone()
    }

    fn grown_to(&self, end: u64) {
        self.0.len.set(self.0.len.get().max(end));
    }

    /// Names the file in an error.
    fn named(&self, what: &str, pos: u64, error: io::Error) -> io::Error {
        io::Error::new(
            error.kind(),
            FileError { text: format!("{what} {} at {pos}", self.0.path.display()), error },
        )
    }

    async fn write_all(&self, pos: u64, mut buf: AlignedBuf, synced: bool) -> io::Result<AlignedBuf> {
        let mut done = 0;
        while done < buf.len() {
            let (result, op) = self.0.driver.run(Op::Write { fd: self.fd(), pos, buf, done, synced }).await;
            let Op::Write { buf: back, .. } = op else { unreachable!("a write") };
            buf = back;
            done += self.progress("write", pos, done, result)?;
        }
        self.grown_to(pos + buf.len() as u64);
        Ok(buf)
    }

    /// Bytes moved by one transfer, in whole blocks.
    fn progress(&self, what: &str, pos: u64, done: usize, result: i32) -> io::Result<usize> {
        let at = pos + done as u64;
        match check(result) {
            Ok(moved) if moved >= BLOCK => Ok(moved / BLOCK * BLOCK),
            Ok(moved) => {
                let text = format!("the kernel moved {moved} bytes");
                Err(self.named(what, at, io::Error::new(io::ErrorKind::WriteZero, text)))
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(e) => Err(self.named(what, at, e)),
        }
    }

    async fn fsync(&self, data_only: bool) -> io::Result<()> {
        let (result, _) = self.0.driver.run(Op::Fsync { fd: self.fd(), data_only }).await;
        check(result).map(drop).map_err(|e| self.named("sync", 0, e))
    }

    async fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut zeros = AlignedBuf::zeroed(PREALLOCATE_STEP_BYTES);
        let mut pos = range.start;
        while pos < range.end {
            let step = (range.end - pos).min(PREALLOCATE_STEP_BYTES as u64) as usize;
            if step < zeros.len() {
                zeros = AlignedBuf::zeroed(step);
            }
            zeros = self.write_all(pos, zeros, false).await?;
            pos += step as u64;
        }
        Ok(())
    }
}

/// An I/O error with the operation, the file and the position; the cause is kept.
#[derive(Debug, thiserror::Error)]
#[error("{text}: {error}")]
struct FileError {
    text: String,
    #[source]
    error: io::Error,
}

impl File for UringFile {
    type Region = UringRegion;

    fn len(&self) -> u64 {
        self.0.len.get()
    }

    async fn read_into(&self, pos: u64, mut buf: AlignedBuf) -> io::Result<AlignedBuf> {
        assert_aligned(pos, buf.len());
        let mut done = 0;
        while done < buf.len() {
            let (result, op) = self.0.driver.run(Op::Read { fd: self.fd(), pos, buf, done }).await;
            let Op::Read { buf: back, .. } = op else { unreachable!("a read") };
            buf = back;
            if result >= 0 && (result as usize) < BLOCK {
                let text = format!("the file ends before {}", pos + buf.len() as u64);
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                return Err(self.named("read", pos, error));
            }
            done += self.progress("read", pos, done, result)?;
        }
        Ok(buf)
    }

    async fn write_at(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf> {
        assert_aligned(pos, buf.len());
        self.write_all(pos, buf, false).await
    }

    async fn write_synced(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf> {
        assert_aligned(pos, buf.len());
        self.write_all(pos, buf, true).await
    }

    async fn write_region(&self, pos: u64, region: &UringRegion, range: Range<usize>) -> io::Result<()> {
        assert_aligned(pos, range.len());
        assert_aligned(range.start as u64, 0);
        let end = pos + range.len() as u64;
        let mut at = pos;
        for (mut from, mut rest, slot) in region.pieces(range) {
            while rest > 0 {
                let len = rest.min(TRANSFER_MAX) as u32;
                let (result, _) =
                    self.0.driver.run(Op::WriteMapped { fd: self.fd(), pos: at, from, len, slot }).await;
                let moved = self.progress("write", at, 0, result)?;
                from = from.wrapping_add(moved);
                rest -= moved;
                at += moved as u64;
            }
        }
        self.grown_to(end);
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        self.fsync(true).await
    }

    async fn preallocate(&self, len: u64, blocks: Blocks) -> io::Result<()> {
        assert_aligned(len, 0);
        let old = self.len();
        if len <= old {
            return Ok(());
        }
        // Room first, in one piece: a disk without it says so before anything is written.
        let op = Op::Fallocate { fd: self.fd(), pos: old, len: len - old };
        let (result, _) = self.0.driver.run(op).await;
        let (reserved, allocated) = match check(result) {
            // A file system that cannot: zeros are what it has for a reservation.
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => (false, Ok(())),
            other => (true, other.map(drop).map_err(|e| self.named("preallocate", old, e))),
        };
        let written = match (allocated, blocks) {
            (Ok(()), Blocks::Reserve) if reserved => self.fsync(false).await,
            (Ok(()), _) => match self.write_zeros(old..len).await {
                Ok(()) => self.fsync(false).await,
                Err(e) => Err(e),
            },
            (Err(e), _) => Err(e),
        };
        match &written {
            Ok(()) => self.0.len.set(self.0.len.get().max(len)),
            // Gives back what was taken; the first error is the one that counts.
            Err(_) => drop(self.truncate(old).await),
        }
        written
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        // A descriptor of its own: the job may outlive this future, and then the file.
        let fd = nix::unistd::dup(&*self.0.fd)?;
        let result = self
            .0
            .blocking
            .call(move || nix::unistd::ftruncate(fd, len as i64).map_err(io::Error::from))
            .await;
        result.map_err(|e| self.named("truncate", len, e))?;
        self.0.len.set(len);
        Ok(())
    }
}

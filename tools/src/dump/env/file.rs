//! A file whose writes stay in memory, over what is on disk; and the ring as a copy of its file.
//!
//! Invariants: the file on disk is opened for reading only; a read sees the writes of this command and else the disk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ringmq_io::{AlignedBuf, BLOCK, Blocks, File, Region};

const BLOCK_U64: u64 = BLOCK as u64;

pub struct Layered {
    /// What is on disk, and where; `None`: it was made here.
    below: Option<(fs::File, PathBuf)>,
    below_len: u64,
    len: Cell<u64>,
    /// Blocks written here, by number.
    above: RefCell<BTreeMap<u64, Box<[u8]>>>,
}

impl Layered {
    pub fn on_disk(file: fs::File, path: &Path) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self {
            below: Some((file, path.into())),
            below_len: len,
            len: Cell::new(len),
            above: RefCell::default(),
        })
    }

    pub fn empty() -> Self {
        Self { below: None, below_len: 0, len: Cell::new(0), above: RefCell::default() }
    }

    pub fn len(&self) -> u64 {
        self.len.get()
    }

    pub fn is_on_disk(&self, path: &Path) -> bool {
        self.below.as_ref().is_some_and(|(_, own)| own == path)
    }

    /// How many bytes were written here.
    pub fn written(&self) -> u64 {
        self.above.borrow().len() as u64 * BLOCK_U64
    }

    pub fn read(&self, pos: u64, out: &mut [u8]) -> io::Result<()> {
        let end = pos + out.len() as u64;
        if end > self.len() {
            let text = format!("{} bytes at {pos} of a file of {}", out.len(), self.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let below = self.below_len.min(end).saturating_sub(pos) as usize;
        if let Some((file, _)) = &self.below {
            file.read_exact_at(&mut out[..below], pos)?;
        }
        out[below..].fill(0);
        for (number, block) in self.above.borrow().range(pos / BLOCK_U64..end.div_ceil(BLOCK_U64)) {
            let start = number * BLOCK_U64;
            let (from, to) = (start.max(pos), (start + BLOCK_U64).min(end));
            out[(from - pos) as usize..(to - pos) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        Ok(())
    }

    fn write(&self, pos: u64, bytes: &[u8]) {
        let mut above = self.above.borrow_mut();
        for (number, block) in (pos / BLOCK_U64..).zip(bytes.chunks_exact(BLOCK)) {
            above.insert(number, block.into());
        }
        self.len.set(self.len().max(pos + bytes.len() as u64));
    }
}

#[derive(Clone)]
pub struct OfflineFile(pub Rc<Layered>);

fn check_aligned(pos: u64, len: usize) {
    assert!(pos.is_multiple_of(BLOCK_U64) && len.is_multiple_of(BLOCK), "{len} bytes at {pos}");
}

impl File for OfflineFile {
    type Region = OfflineRegion;

    fn len(&self) -> u64 {
        self.0.len()
    }

    async fn read_into(&self, pos: u64, mut buf: AlignedBuf) -> io::Result<AlignedBuf> {
        check_aligned(pos, buf.len());
        self.0.read(pos, &mut buf)?;
        Ok(buf)
    }

    async fn write_at(&self, pos: u64, buf: AlignedBuf) -> io::Result<AlignedBuf> {
        check_aligned(pos, buf.len());
        self.0.write(pos, &buf);
        Ok(buf)
    }

    async fn write_region(&self, pos: u64, region: &OfflineRegion, range: Range<usize>) -> io::Result<()> {
        check_aligned(pos, range.len());
        region.with(range, |bytes| self.0.write(pos, bytes));
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    async fn preallocate(&self, len: u64, _blocks: Blocks) -> io::Result<()> {
        self.0.len.set(self.0.len().max(len));
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        let text = format!("no store cuts a file to {len} bytes");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

/// A copy of a ring's file.
#[derive(Clone)]
pub struct OfflineRegion(pub Rc<RefCell<Vec<u8>>>);

/// A copy of a range.
#[derive(Clone)]
pub struct Extent(Arc<Vec<u8>>);

impl AsRef<[u8]> for Extent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Region for OfflineRegion {
    type Extent = Extent;

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn with<R>(&self, range: Range<usize>, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.0.borrow()[range])
    }

    fn with_mut<R>(&self, range: Range<usize>, write: impl FnOnce(&mut [u8]) -> R) -> R {
        write(&mut self.0.borrow_mut()[range])
    }

    fn extent(&self, range: Range<usize>) -> Extent {
        Extent(Arc::new(self.0.borrow()[range].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn writes_lie_over_what_is_on_disk_and_never_reach_it() {
        let mut on_disk = tempfile::tempfile().unwrap();
        on_disk.write_all(&[1; 2 * BLOCK + 100]).unwrap();
        let file = Layered::on_disk(on_disk.try_clone().unwrap(), Path::new("x")).unwrap();
        file.write(BLOCK_U64, &[2; BLOCK]);
        file.write(4 * BLOCK_U64, &[3; BLOCK]);
        let mut read = vec![9; 5 * BLOCK];
        file.read(0, &mut read).unwrap();
        let expected: Vec<u8> =
            [vec![1; BLOCK], vec![2; BLOCK], vec![1; 100], vec![0; 2 * BLOCK - 100], vec![3; BLOCK]].concat();
        assert!(read == expected);
        let mut middle = [0; 20];
        file.read(2 * BLOCK_U64 - 10, &mut middle).unwrap();
        assert_eq!(middle, [[2; 10], [1; 10]].concat()[..]);
        assert!(file.read(5 * BLOCK_U64 - 1, &mut [0; 2]).is_err());
        assert_eq!((file.written(), on_disk.metadata().unwrap().len()), (2 * BLOCK_U64, 2 * BLOCK_U64 + 100));
    }
}

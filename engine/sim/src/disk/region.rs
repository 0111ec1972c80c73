//! Mapped memory, and the check of its lease contract.
//!
//! An extent is a copy made when it is handed out: safe code cannot alias memory that its owner
//! writes. The copy is equal to the original as long as the owner keeps the contract, and a write to a
//! range that an extent is out for is a panic.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use ringmq_io::{BLOCK, Region};

use super::fs::{Data, Inode};
use crate::process::{Life, Process};
use crate::rng::Rng;

/// A range whose extent is alive as long as the copy is.
type Lent = (Range<usize>, Weak<Vec<u8>>);

pub(crate) struct Memory {
    bytes: RefCell<Vec<u8>>,
    out: RefCell<Vec<Lent>>,
}

impl Memory {
    pub fn zeroed(len: usize) -> Self {
        Self { bytes: RefCell::new(vec![0; len]), out: RefCell::default() }
    }

    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    pub fn read(&self, pos: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes.borrow()[pos..pos + out.len()]);
    }

    pub fn write(&self, pos: usize, bytes: &[u8]) {
        self.bytes.borrow_mut()[pos..pos + bytes.len()].copy_from_slice(bytes);
    }

    pub fn detached(&self) -> Self {
        Self { bytes: RefCell::new(self.bytes.borrow().clone()), out: RefCell::default() }
    }

    /// Of a mapped file on a real disk, any page may have been written back.
    pub fn power_loss(&self, rng: &Rng) {
        for page in self.bytes.borrow_mut().chunks_mut(BLOCK) {
            if rng.coin() {
                page.fill(0);
            }
        }
    }
}

#[derive(Clone)]
pub struct SimRegion {
    pub(crate) process: Rc<Process>,
    pub(crate) inode: Rc<Inode>,
    pub(crate) memory: Rc<Memory>,
}

/// A copy of a range of a region; see the file's head.
#[derive(Clone, Debug)]
pub struct SimExtent(Arc<Vec<u8>>);

impl AsRef<[u8]> for SimExtent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SimRegion {
    /// Counts down to the region write that the process is killed in. True for that one.
    fn is_killing(&self) -> bool {
        let countdown = &self.process.host.kill_in_region_write;
        match countdown.get() {
            Some(1) if self.process.runs() => {
                countdown.set(None);
                true
            }
            Some(left) if self.process.runs() => {
                countdown.set(Some(left - 1));
                false
            }
            _ => false,
        }
    }

    fn kill(&self, range: Range<usize>, before: &[u8]) {
        let process = &self.process;
        process.event("kill in region write", range.start as u64, range.len() as u64);
        process.host.fs.detach_memory();
        if let Data::Memory(memory) = &*self.inode.data.borrow() {
            let done = process.inner.disk.index(range.len() + 1);
            memory.write(range.start + done, &before[done..]);
        }
        process.life.set(Life::Doomed);
        let ending = (process.host.clone(), crate::CrashKind::Process);
        process.inner.ending.borrow_mut().push(ending);
    }
}

impl Region for SimRegion {
    type Extent = SimExtent;

    fn len(&self) -> usize {
        self.memory.len()
    }

    fn with<R>(&self, range: Range<usize>, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.memory.bytes.borrow()[range])
    }

    fn with_mut<R>(&self, range: Range<usize>, write: impl FnOnce(&mut [u8]) -> R) -> R {
        self.memory.out.borrow_mut().retain(|(out, extent)| {
            let held = extent.strong_count() > 0;
            let overlaps = out.start < range.end && range.start < out.end;
            assert!(
                !(held && overlaps),
                "region bytes {range:?} are written while an extent of {out:?} is out"
            );
            held
        });
        let killing = self.is_killing().then(|| self.memory.bytes.borrow()[range.clone()].to_vec());
        let result = write(&mut self.memory.bytes.borrow_mut()[range.clone()]);
        if let Some(before) = killing {
            self.kill(range, &before);
        }
        result
    }

    fn extent(&self, range: Range<usize>) -> SimExtent {
        let copy = Arc::new(self.memory.bytes.borrow()[range.clone()].to_vec());
        self.memory.out.borrow_mut().push((range, Arc::downgrade(&copy)));
        SimExtent(copy)
    }
}

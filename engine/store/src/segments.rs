//! The segment files of a shard.
//!
//! ```text
//! shard-NN/<base position, 16 hex digits>.seg   the log's bytes [base, base + segment bytes), no header of its own
//! shard-NN/<base position, 16 hex digits>.idx   sealed index (see `sealed`)
//! shard-NN/<base position, 16 hex digits>.free  recycled, waits to become the next segment
//! ```
//! Owns: which segments exist, their open files, and who still reads them. A segment's number is its base
//! divided by the segment size. Invariants: numbers are consecutive; a file that a read plan holds (an `Rc` of
//! its [`Segment`]) is neither renamed nor removed. Files of sealed segments are opened when they are read and
//! closed oldest first above a limit.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringmq_io::limits::SEGMENT_FILES_MAX;
use ringmq_io::sync::Event;
use ringmq_io::{Blocks, Disk, Env, OpenMode};

use crate::sealed::SealedIndex;

pub type FileOf<E> = <<E as Env>::Disk as Disk>::File;

pub struct Segment<E: Env> {
    pub number: u32,
    pub path: PathBuf,
    file: RefCell<Option<FileOf<E>>>,
    index: RefCell<Option<Rc<SealedIndex<E>>>>,
    /// Store time of the newest message; known once sealed.
    pub newest_ms: Cell<i64>,
}

impl<E: Env> Segment<E> {
    pub fn new(number: u32, path: PathBuf, file: Option<FileOf<E>>) -> Self {
        Self { number, path, file: RefCell::new(file), index: RefCell::new(None), newest_ms: Cell::new(0) }
    }

    pub fn set_file(&self, file: FileOf<E>) {
        *self.file.borrow_mut() = Some(file);
    }

    pub fn index(&self) -> Option<Rc<SealedIndex<E>>> {
        self.index.borrow().clone()
    }

    pub fn set_index(&self, index: SealedIndex<E>) {
        self.newest_ms.set(index.newest_ms);
        *self.index.borrow_mut() = Some(Rc::new(index));
    }
}

pub struct Segments<E: Env> {
    pub bytes: u64,
    pub dir: PathBuf,
    /// Of new files.
    pub blocks: Blocks,
    list: RefCell<VecDeque<Rc<Segment<E>>>>,
    /// Sealed segments whose file was opened for reading, oldest first.
    opened: RefCell<VecDeque<Rc<Segment<E>>>>,
    /// Told when a segment was added.
    pub added: Event,
}

pub fn file_name(base: u64, extension: &str) -> String {
    format!("{base:016x}.{extension}")
}

/// The base position that a file's name says, if it has that extension.
pub fn base_of(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let plain = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl<E: Env> Segments<E> {
    pub fn new(bytes: u64, dir: &Path, blocks: Blocks) -> Self {
        Self {
            bytes,
            dir: dir.into(),
            blocks,
            list: RefCell::default(),
            opened: RefCell::default(),
            added: Event::new(),
        }
    }

    pub fn number_of(&self, position: u64) -> u32 {
        (position / self.bytes) as u32
    }

    pub fn base(&self, number: u32) -> u64 {
        u64::from(number) * self.bytes
    }

    pub fn path(&self, number: u32, extension: &str) -> PathBuf {
        self.dir.join(file_name(self.base(number), extension))
    }

    pub fn push(&self, segment: Segment<E>) {
        let mut list = self.list.borrow_mut();
        if let Some(last) = list.back() {
            assert_eq!(segment.number, last.number + 1, "segments are consecutive");
        }
        list.push_back(Rc::new(segment));
        drop(list);
        self.added.notify();
    }

    pub fn get(&self, number: u32) -> Option<Rc<Segment<E>>> {
        let list = self.list.borrow();
        let first = list.front()?.number;
        list.get(number.checked_sub(first)? as usize).cloned()
    }

    pub fn first(&self) -> Option<Rc<Segment<E>>> {
        self.list.borrow().front().cloned()
    }

    pub fn count(&self) -> usize {
        self.list.borrow().len()
    }

    /// Position behind the last segment that exists; `None` without any.
    pub fn end(&self) -> Option<u64> {
        self.list.borrow().back().map(|last| self.base(last.number + 1))
    }

    /// Takes the oldest segment out, so that no new reader finds it.
    pub fn take_first(&self) -> Option<Rc<Segment<E>>> {
        let segment = self.list.borrow_mut().pop_front()?;
        self.opened.borrow_mut().retain(|other| other.number != segment.number);
        Some(segment)
    }

    /// The segment's file, opened if need be.
    pub async fn file(&self, env: &E, segment: &Rc<Segment<E>>) -> io::Result<FileOf<E>> {
        let open = segment.file.borrow().clone();
        if let Some(file) = open {
            return Ok(file);
        }
        let file = env.disk().open(&segment.path, OpenMode::Read).await?;
        *segment.file.borrow_mut() = Some(file.clone());
        let mut opened = self.opened.borrow_mut();
        opened.push_back(Rc::clone(segment));
        if opened.len() > SEGMENT_FILES_MAX
            && let Some(oldest) = opened.pop_front()
        {
            *oldest.file.borrow_mut() = None;
        }
        Ok(file)
    }

    /// A sealed segment is only read from now on: its file is opened again when that happens.
    pub fn close_file(&self, segment: &Segment<E>) {
        *segment.file.borrow_mut() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_base_and_nothing_else_does() {
        assert_eq!(file_name(0x800_0000, "seg"), "0000000008000000.seg");
        assert_eq!(base_of("0000000008000000.seg", "seg"), Some(0x800_0000));
        for name in
            ["8000000.seg", "0000000008000000.idx", "0000000008000000seg", "+000000008000000.seg", "STATE"]
        {
            assert_eq!(base_of(name, "seg"), None, "{name}");
        }
    }
}

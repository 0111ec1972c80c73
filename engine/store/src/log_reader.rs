//! Reads batches of the log in order, from the ring where they are in it, else from their segment.
//!
//! Owns: the walk that the indexer and the sealer's key collection use. Invariants: only closed batches are read;
//! each is checked in full.
//! On failure: damage is an `InvalidData` error that names the position.

use std::io;
use std::rc::Rc;

use ringmq_io::limits::SCAN_READ_BYTES;
use ringmq_io::{AlignedBuf, BLOCK, Env, File};

use crate::batch::{self, HEADER_BYTES, Header, Kind, Slot};
use crate::inner::Inner;

/// A window of a segment that was read last.
struct Window {
    start: u64,
    bytes: Rc<AlignedBuf>,
}

pub struct LogReader<E: Env> {
    inner: Rc<Inner<E>>,
    pub position: u64,
    window: Option<Window>,
    slots: Vec<Slot>,
    scratch: Vec<u8>,
}

/// A checked batch; its records lie in the reader's scratch.
pub struct Batch<'r> {
    pub header: Header,
    pub bytes: &'r [u8],
    pub slots: &'r [Slot],
}

impl<E: Env> LogReader<E> {
    pub fn new(inner: Rc<Inner<E>>, position: u64) -> Self {
        Self { inner, position, window: None, slots: Vec::new(), scratch: Vec::new() }
    }

    /// The batch at `position`, which must be below `closed`; moves on behind it.
    pub async fn next(&mut self) -> io::Result<Batch<'_>> {
        let position = self.position;
        assert!(position < self.inner.closed.get(), "the walk stays behind the log's end");
        if position >= self.inner.ring.floor() {
            self.scratch.clear();
            let ring = &self.inner.ring;
            let header = ring.read(position, HEADER_BYTES, |head| self.decode(head))?;
            ring.read(position, header.needed(), |bytes| self.scratch.extend_from_slice(bytes));
            return self.finish(header);
        }
        let head = self.read_segment(position, HEADER_BYTES).await?;
        let header = self.decode(&head)?;
        self.scratch = self.read_segment(position, header.needed()).await?;
        self.finish(header)
    }

    fn decode(&self, head: &[u8]) -> io::Result<Header> {
        Header::decode(head, self.inner.id, self.position).map_err(|_| damaged(self.position))
    }

    fn finish(&mut self, header: Header) -> io::Result<Batch<'_>> {
        batch::check(&header, &self.scratch, &mut self.slots).map_err(|_| damaged(self.position))?;
        self.position = header.end();
        Ok(Batch { header, bytes: &self.scratch, slots: &self.slots })
    }

    async fn read_segment(&mut self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = position + len as u64;
        let inside =
            |window: &Window| window.start <= position && end <= window.start + window.bytes.len() as u64;
        if !self.window.as_ref().is_some_and(inside) {
            let segments = &self.inner.segments;
            let number = segments.number_of(position);
            let gone =
                || io::Error::new(io::ErrorKind::NotFound, format!("segment of position {position} is gone"));
            let segment = segments.get(number).ok_or_else(gone)?;
            let file = segments.file(&self.inner.env, &segment).await?;
            let base = segments.base(number);
            let start = position - position % BLOCK as u64;
            let wanted = (end.next_multiple_of(BLOCK as u64) - start).max(SCAN_READ_BYTES as u64);
            let len = wanted.min(base + segments.bytes - start) as usize;
            let bytes = Rc::new(file.read_at(start - base, len).await?);
            self.window = Some(Window { start, bytes });
        }
        let window = self.window.as_ref().expect("read above");
        let at = (position - window.start) as usize;
        let bytes = window.bytes.get(at..at + len).ok_or_else(|| damaged(position))?;
        Ok(bytes.to_vec())
    }
}

fn damaged(position: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log position {position} holds no intact batch"))
}

impl Batch<'_> {
    /// The records with their log positions; nothing for a filler, a hole or a control batch.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        debug_assert!(self.header.kind == Kind::Records || self.slots.is_empty());
        self.slots.iter().map(|slot| {
            let at = slot.at as usize;
            (self.header.base + u64::from(slot.at), &self.bytes[at..at + slot.size as usize])
        })
    }
}

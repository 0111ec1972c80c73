//! Where recovery reads batches from: a segment file through a window, or the last epoch's ring.
//!
//! Owns: fetching and checking one batch at a position, and the search for intact batches behind damage.
//! Invariants: a batch counts only if all of it checks, it lies inside its segment or lap, and its epoch is not
//! below that of the batch before it (stale batches of a tail that an earlier recovery cut have a lower one).

use std::io;

use ringmq_io::limits::SCAN_READ_BYTES;
use ringmq_io::{AlignedBuf, BLOCK, Env, File, Region};

use super::table::At;
use crate::batch::{self, ALIGN, Fault, HEADER_BYTES, Header, LogId, MAGIC, Slot};
use crate::ring::HEADER_BLOCK;

const BLOCK_U64: u64 = BLOCK as u64;

/// A batch that checks, with its bytes and records.
#[derive(Default)]
pub struct Checked {
    pub bytes: Vec<u8>,
    pub slots: Vec<Slot>,
}

/// A segment file read front to back.
pub struct SegmentSource<F: File> {
    file: F,
    id: LogId,
    base: u64,
    end: u64,
    window: Option<(u64, AlignedBuf)>,
}

impl<F: File> SegmentSource<F> {
    pub fn new(file: F, id: LogId, base: u64, bytes: u64) -> Self {
        Self { file, id, base, end: base + bytes, window: None }
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes at a position; `None` if they reach past the segment.
    pub async fn bytes(&mut self, position: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let stop = position + len as u64;
        if stop > self.end {
            return Ok(None);
        }
        let inside =
            |(start, bytes): &(u64, AlignedBuf)| *start <= position && stop <= start + bytes.len() as u64;
        if !self.window.as_ref().is_some_and(inside) {
            let start = position - position % BLOCK_U64;
            let wanted = (stop.next_multiple_of(BLOCK_U64) - start).max(SCAN_READ_BYTES as u64);
            let wanted = wanted.min(self.end - start) as usize;
            self.window = Some((start, self.file.read_at(start - self.base, wanted).await?));
        }
        let (start, bytes) = self.window.as_ref().expect("read above");
        let at = (position - start) as usize;
        Ok(Some(&bytes[at..at + len]))
    }

    /// The intact batch at a position, its parts in `into`; or what is there instead.
    pub async fn batch(
        &mut self,
        position: u64,
        epoch: u32,
        into: &mut Checked,
    ) -> io::Result<Result<Header, At>> {
        let (id, end) = (self.id, self.end);
        let Some(head) = self.bytes(position, HEADER_BYTES).await? else {
            return Ok(Err(At::Absent));
        };
        let header = match Header::decode(head, id, position) {
            Ok(header) if header.epoch < epoch => return Ok(Err(At::Absent)),
            Ok(header) if header.end() > end => return Ok(Err(At::Torn)),
            Ok(header) => header,
            Err(fault) => return Ok(Err(at(fault))),
        };
        let Some(bytes) = self.bytes(position, header.needed()).await? else {
            return Ok(Err(At::Torn));
        };
        into.bytes.clear();
        into.bytes.extend_from_slice(bytes);
        Ok(batch::check(&header, &into.bytes, &mut into.slots).map(|()| header).map_err(at))
    }

    /// The first position at or behind `from` with a header of this log, whole or not; `None` in this segment.
    pub async fn next_candidate(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut position = from;
        while position < self.end {
            let len = (self.end - position).min(SCAN_READ_BYTES as u64 / 2) as usize;
            let id = self.id;
            let bytes = self.bytes(position, len).await?.expect("inside the segment");
            let found = bytes.chunks_exact(ALIGN as usize).enumerate().find_map(|(at, chunk)| {
                let here = position + at as u64 * ALIGN;
                let ours = chunk[..4] == MAGIC.to_le_bytes() && Header::decode(chunk, id, here).is_ok();
                ours.then_some(here)
            });
            if found.is_some() {
                return Ok(found);
            }
            position += len as u64;
        }
        Ok(None)
    }
}

pub fn at(fault: Fault) -> At {
    match fault {
        Fault::Absent => At::Absent,
        Fault::Torn => At::Torn,
    }
}

/// The ring of the last epoch.
pub struct RingSource<R: Region> {
    region: R,
    id: LogId,
    bytes: u64,
    epoch: u32,
}

impl<R: Region> RingSource<R> {
    pub fn new(region: R, id: LogId, bytes: u64, epoch: u32) -> Self {
        Self { region, id, bytes, epoch }
    }

    /// The intact batch at a position, its parts in `into`.
    pub fn batch(&self, position: u64, into: &mut Checked) -> Option<Header> {
        let place = (position % self.bytes) as usize;
        let head = HEADER_BLOCK + place;
        let header = self
            .region
            .with(head..head + HEADER_BYTES, |bytes| Header::decode(bytes, self.id, position))
            .ok()
            .filter(|header| header.epoch == self.epoch)?;
        if place + header.length as usize > self.bytes as usize {
            return None;
        }
        into.bytes.clear();
        self.region.with(head..head + header.needed(), |bytes| into.bytes.extend_from_slice(bytes));
        batch::check(&header, &into.bytes, &mut into.slots).ok().map(|()| header)
    }

    /// Intact batches behind a position: base and `durable` of each.
    pub async fn behind<E: Env>(&self, env: &E, position: u64) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let mut checked = Checked::default();
        let step = SCAN_READ_BYTES.min(self.bytes as usize);
        for start in (0..self.bytes as usize).step_by(step) {
            let bases: Vec<u64> =
                self.region.with(HEADER_BLOCK + start..HEADER_BLOCK + start + step, |bytes| {
                    bytes
                        .chunks_exact(ALIGN as usize)
                        .filter(|chunk| chunk[..4] == MAGIC.to_le_bytes())
                        .map(|chunk| u64::from_le_bytes(chunk[32..40].try_into().expect("8 bytes")))
                        .filter(|base| *base > position && base.is_multiple_of(ALIGN))
                        .collect()
                });
            for base in bases {
                if let Some(header) = self.batch(base, &mut checked) {
                    found.push((base, header.durable));
                }
            }
            env.yield_now().await;
        }
        found.sort_unstable();
        found
    }
}

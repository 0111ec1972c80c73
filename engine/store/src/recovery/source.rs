//! Where recovery reads batches from: a segment file through a window, or the last epoch's ring.
//!
//! Owns: fetching and checking one batch at a position, and the search for intact batches behind damage.
//! Invariants: a batch counts only if all of it checks, it lies inside its segment or lap, and its epoch is not
//! below that of the batch before it (stale batches of a tail that an earlier recovery cut have a lower one).

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::future::poll_once;
use ringmq_io::limits::{SCAN_READ_BYTES, SCAN_READS_AHEAD_MAX};
use ringmq_io::{AlignedBuf, Env, File, Region};

use super::table::At;
use crate::batch::{self, ALIGN, Fault, HEADER_BYTES, Header, LogId, MAGIC, Slot};
use crate::bytes::Part;
use crate::ring::{self, HEADER_BLOCK, RingId};

/// Pieces kept of those read: a batch begins in one and ends in another.
const PIECES: usize = 2;

// Pieces begin where headers may, so a header lies in one.
const _: () = assert!(SCAN_READ_BYTES.is_multiple_of(ALIGN as usize) && HEADER_BYTES as u64 <= ALIGN);

/// A batch that checks, with its bytes and records.
#[derive(Default)]
pub struct Checked {
    /// Where it was read, if one piece has all of it.
    piece: Option<Part>,
    /// Otherwise.
    own: Vec<u8>,
    pub slots: Vec<Slot>,
}

impl Checked {
    pub fn bytes(&self) -> &[u8] {
        self.piece.as_ref().map_or(&self.own, Part::bytes)
    }

    fn clear(&mut self) {
        self.piece = None;
        self.own.clear();
        self.slots.clear();
    }
}

type Reading = Pin<Box<dyn Future<Output = io::Result<AlignedBuf>>>>;

/// A segment file read front to back, the next pieces while one is looked at.
pub struct SegmentSource<F: File> {
    file: F,
    id: LogId,
    base: u64,
    end: u64,
    /// The last [`PIECES`] that were read.
    pieces: VecDeque<(u64, Rc<AlignedBuf>)>,
    ahead: VecDeque<(u64, Reading)>,
    /// Memory of a piece that is not needed any more: new memory costs as much as the check of what is read into it.
    spare: Option<AlignedBuf>,
    /// What was asked for last.
    asked: Vec<u8>,
}

impl<F: File> SegmentSource<F> {
    pub fn new(file: F, id: LogId, base: u64, bytes: u64) -> Self {
        let (pieces, ahead) = (VecDeque::new(), VecDeque::new());
        Self { file, id, base, end: base + bytes, pieces, ahead, spare: None, asked: Vec::new() }
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the piece with this position begins.
    fn piece_of(&self, position: u64) -> u64 {
        position - (position - self.base) % SCAN_READ_BYTES as u64
    }

    fn read(&mut self, start: u64) -> Reading {
        let (file, at) = (self.file.clone(), start - self.base);
        let len = (self.end - start).min(SCAN_READ_BYTES as u64) as usize;
        let spare = self.spare.take().filter(|spare| spare.len() == len);
        let buffer = spare.unwrap_or_else(|| AlignedBuf::zeroed(len));
        Box::pin(async move { file.read_into(at, buffer).await })
    }

    async fn piece(&mut self, start: u64) -> io::Result<&Rc<AlignedBuf>> {
        if !self.pieces.iter().any(|(at, _)| *at == start) {
            let goes_on = self.pieces.back().is_none_or(|(at, _)| *at < start);
            while self.ahead.front().is_some_and(|(at, _)| *at != start) {
                self.ahead.pop_front();
            }
            let reading = match self.ahead.pop_front() {
                Some((_, reading)) => reading,
                None => self.read(start),
            };
            let read = reading.await?;
            if self.pieces.len() == PIECES {
                let oldest = self.pieces.pop_front().expect("it is full");
                self.spare = Rc::into_inner(oldest.1);
            }
            self.pieces.push_back((start, Rc::new(read)));
            if goes_on {
                self.read_ahead(start).await;
            }
        }
        let piece = self.pieces.iter().find(|(at, _)| *at == start);
        Ok(&piece.expect("read above").1)
    }

    /// Begins the reads behind a piece. They are awaited when they are wanted.
    async fn read_ahead(&mut self, start: u64) {
        while self.ahead.len() < SCAN_READS_AHEAD_MAX {
            let last = self.ahead.back().map_or(start, |(at, _)| *at);
            let following = last + SCAN_READ_BYTES as u64;
            if following >= self.end {
                return;
            }
            let mut reading = self.read(following);
            // An outcome that is there at once is read again then.
            if poll_once(&mut reading).await.is_some() {
                return;
            }
            self.ahead.push_back((following, reading));
        }
    }

    /// Bytes at a position; `None` if they reach past the segment.
    pub async fn bytes(&mut self, position: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let mut asked = std::mem::take(&mut self.asked);
        asked.clear();
        let is_inside = self.copy(position, len, &mut asked).await?;
        self.asked = asked;
        Ok(is_inside.then_some(&self.asked))
    }

    /// Appends `len` bytes at a position to `into`. `false` if they reach past the segment.
    async fn copy(&mut self, position: u64, len: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        let stop = position + len as u64;
        if stop > self.end {
            return Ok(false);
        }
        let mut at = position;
        while at < stop {
            let start = self.piece_of(at);
            let piece = self.piece(start).await?;
            let from = (at - start) as usize;
            let to = piece.len().min((stop - start) as usize);
            into.extend_from_slice(&piece[from..to]);
            at = start + to as u64;
        }
        Ok(true)
    }

    /// The intact batch at a position, its parts in `into`; or what is there instead.
    pub async fn batch(
        &mut self,
        position: u64,
        epoch: u32,
        into: &mut Checked,
    ) -> io::Result<Result<Header, At>> {
        debug_assert!(position.is_multiple_of(ALIGN), "batches begin at multiples of ALIGN");
        let (id, end) = (self.id, self.end);
        into.clear();
        if position + HEADER_BYTES as u64 > end {
            return Ok(Err(At::Absent));
        }
        let start = self.piece_of(position);
        let from = (position - start) as usize;
        let piece = self.piece(start).await?;
        let header = match Header::decode(&piece[from..from + HEADER_BYTES], id, position) {
            Ok(header) if header.epoch < epoch => return Ok(Err(At::Absent)),
            Ok(header) if header.end() > end => return Ok(Err(At::Torn)),
            Ok(header) => header,
            Err(fault) => return Ok(Err(at(fault))),
        };
        let range = from..from + header.needed();
        if range.end <= piece.len() {
            into.piece = Some(Part { buffer: Rc::clone(piece), range });
        } else if !self.copy(position, header.needed(), &mut into.own).await? {
            return Ok(Err(At::Torn));
        }
        let Checked { piece, own, slots } = into;
        let bytes = piece.as_ref().map_or(&own[..], Part::bytes);
        Ok(batch::check(&header, bytes, slots).map(|()| header).map_err(at))
    }

    /// The first intact batch at or behind `from` that begins before `end`.
    pub async fn next_intact(
        &mut self,
        mut from: u64,
        end: u64,
        epoch: u32,
        checked: &mut Checked,
    ) -> io::Result<Option<u64>> {
        while let Some(position) = self.next_candidate(from).await?.filter(|position| *position < end) {
            if self.batch(position, epoch, checked).await?.is_ok() {
                return Ok(Some(position));
            }
            from = position + ALIGN;
        }
        Ok(None)
    }

    /// The first position at or behind `from` with a header of this log, whole or not; `None` in this segment.
    pub async fn next_candidate(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut position = from;
        while position < self.end {
            let id = self.id;
            let start = self.piece_of(position);
            let bytes = &self.piece(start).await?[(position - start) as usize..];
            let len = bytes.len();
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
    /// Of the batches that count.
    epochs: RangeInclusive<u32>,
    /// It holds the newest batches, whatever may be torn elsewhere.
    pub is_complete: bool,
    /// It is memory, and where the new epoch wants it.
    pub may_be_kept: bool,
    /// Whether a write or sync of segments may have failed in its epoch.
    pub has_doubt: bool,
}

impl<R: Region> RingSource<R> {
    pub fn new(region: R, own: RingId, is_complete: bool, may_be_kept: bool) -> Self {
        let has_doubt = ring::has_doubt(&region);
        let epochs = own.oldest..=own.epoch;
        Self { region, id: own.log, bytes: own.bytes, epochs, is_complete, may_be_kept, has_doubt }
    }

    /// The oldest epoch of its batches.
    pub fn oldest(&self) -> u32 {
        *self.epochs.start()
    }

    /// Whether it keeps what is from `floor` on when the log goes on at `end`.
    pub fn can_hold(&self, floor: u64, end: u64) -> bool {
        ring::can_hold(floor, end, self.bytes)
    }

    /// Before recovery writes to segments: what is in them may not be what was synced from here on.
    pub fn raise_doubt(&self) {
        ring::raise_doubt(&self.region);
    }

    /// The intact batch at a position, its parts in `into`.
    pub fn batch(&self, position: u64, into: &mut Checked) -> Option<Header> {
        let place = (position % self.bytes) as usize;
        let head = HEADER_BLOCK + place;
        let header = self
            .region
            .with(head..head + HEADER_BYTES, |bytes| Header::decode(bytes, self.id, position))
            .ok()
            .filter(|header| self.epochs.contains(&header.epoch))?;
        if place + header.length as usize > self.bytes as usize {
            return None;
        }
        into.clear();
        self.region.with(head..head + header.needed(), |bytes| into.own.extend_from_slice(bytes));
        batch::check(&header, &into.own, &mut into.slots).ok().map(|()| header)
    }

    /// Copies bytes of the log, which have to be in the ring.
    pub fn copy(&self, position: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let place = ((position + done as u64) % self.bytes) as usize;
            let len = (into.len() - done).min(self.bytes as usize - place);
            let from = HEADER_BLOCK + place;
            self.region.with(from..from + len, |bytes| into[done..done + len].copy_from_slice(bytes));
            done += len;
        }
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

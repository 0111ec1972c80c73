//! Turns a read plan into bytes to send.
//!
//! Owns: reads of segments for consumers that are behind. One that reads on through the log shares chunks with the others
//! (`read_ahead`); for another, neighbours are read together, several reads at once.
//! Invariants: every record from a segment is checked against the crc32c in its index entry before it is handed
//! out; bytes in the ring need no check. Nothing is read from a segment that was not written to it.
//! On failure: a damaged record is left out and reported; if nothing is left of a plan, `InvalidData`. An I/O
//! error is the caller's to answer; it does not latch the shard, which a read cannot harm.

use std::collections::VecDeque;
use std::io;
use std::ops::{ControlFlow, Range};
use std::rc::Rc;

use ringmq_io::limits::{COLD_READ_BYTES_MAX, COLD_READ_GAP_MAX, COLD_READS_MAX};
use ringmq_io::{AlignedBuf, BLOCK, Chunk, Env, File};
use ringmq_wire::message;

use crate::ExtentOf;
use crate::bytes::{Part, RecordBytes};
use crate::inner::{Inner, add};
use crate::join::join_all;
use crate::plan::{Chosen, Expected, Piece, ReadLimits, ReadPlan};
use crate::read_ahead::{Load, Source};
use crate::segments::{FileOf, Segment};
use crate::shard::QueueRef;

const BLOCK_U64: u64 = BLOCK as u64;

/// A reader that wants less than one byte in so many of a stretch gets just those from the device. Above it, reading all is
/// faster: one operation of a megabyte takes no longer than some ten small ones.
const CHUNK_SPARSENESS_MAX: u64 = 16;

impl<E: Env> Inner<E> {
    pub async fn fetch(&self, plan: ReadPlan<E>) -> io::Result<Vec<Chunk<ExtentOf<E>>>> {
        debug_assert!(plan.is_chosen, "candidates are chosen from first");
        let mut chunks = Vec::with_capacity(plan.pieces.len());
        let mut damaged = 0;
        for piece in plan.pieces {
            match piece {
                Piece::Ring(extent, lease) => chunks.push(Chunk::Extent(extent, Some(lease))),
                Piece::Cold(segment, list) => {
                    let push = |_: &Expected, bytes: RecordBytes| {
                        push_record(&mut chunks, bytes);
                        ControlFlow::Continue(())
                    };
                    damaged += self.fetch_cold(&segment, &list, push).await?;
                }
            }
        }
        if chunks.is_empty() {
            let text = format!("all {damaged} messages of this read are damaged on disk");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(chunks)
    }

    pub async fn records_of(&self, queue: QueueRef, offsets: &[u64]) -> io::Result<Vec<(u64, Vec<u8>)>> {
        for offset in offsets {
            self.make_legible(queue, *offset, 1).await?;
        }
        let Some(plan) = self.read_scattered(queue, offsets) else { return Ok(Vec::new()) };
        let chunks = match self.fetch(plan).await {
            Ok(chunks) => chunks,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::with_capacity(offsets.len());
        for chunk in &chunks {
            for record in message::records(chunk.as_ref()) {
                let record = record.map_err(io::Error::other)?;
                found.push((record.queue_offset as u64, record.bytes.to_vec()));
            }
        }
        Ok(found)
    }

    /// Reads the candidates and keeps those that are wanted, within the limits. They are copied: few of many may be wanted, and
    /// would hold the memory of all that was read with them.
    pub async fn fetch_chosen(
        &self,
        plan: ReadPlan<E>,
        limits: &ReadLimits,
        mut wants: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Chosen<ExtentOf<E>>> {
        let mut chosen = Chosen { next_offset: plan.next_offset, messages: 0, chunks: Vec::new() };
        let mut bytes = Vec::new();
        let messages_max = limits.max_messages.min(limits.max_messages_cold);
        let mut is_full = false;
        for piece in plan.pieces {
            let Piece::Cold(segment, list) = piece else { unreachable!("candidates lie in segments") };
            let choose = |wanted: &Expected, record: RecordBytes| {
                let record = record.contiguous();
                if !wants(&record) {
                    return ControlFlow::Continue(());
                }
                let too_many = chosen.messages >= messages_max;
                if chosen.messages > 0 && (too_many || bytes.len() + record.len() > limits.max_bytes_cold) {
                    chosen.next_offset = wanted.offset;
                    is_full = true;
                    return ControlFlow::Break(());
                }
                chosen.messages += 1;
                bytes.extend_from_slice(&record);
                ControlFlow::Continue(())
            };
            self.fetch_cold(&segment, &list, choose).await?;
            if is_full {
                break;
            }
        }
        if !bytes.is_empty() {
            chosen.chunks.push(Chunk::Owned(bytes));
        }
        Ok(chosen)
    }

    /// Waits until segments have the log up to `end`: a record whose beginning has left the ring may go on behind what was written,
    /// where a large group was cut or where a ring was taken over. A latched shard does not get there.
    pub async fn in_segments(&self, end: u64) -> io::Result<()> {
        assert!(end <= self.closed.get(), "only what the log has is waited for");
        while self.written.get() < end {
            if let Some(latched) = &*self.latched.borrow() {
                return Err(io::Error::other(latched.to_string()));
            }
            self.written.moved().await;
        }
        Ok(())
    }

    /// Gives the messages to `take` until it has enough; the number of those that are damaged.
    async fn fetch_cold(
        &self,
        segment: &Rc<Segment<E>>,
        list: &[Expected],
        mut take: impl FnMut(&Expected, RecordBytes) -> ControlFlow<()>,
    ) -> io::Result<usize> {
        if let Some(end) = list.iter().map(|wanted| wanted.position + u64::from(wanted.size)).max() {
            self.in_segments(end).await?;
        }
        let file = self.segments.file(&self.env, segment).await?;
        let base = self.segments.base(segment.number);
        let written = self.written.get();
        let source = Source { env: &self.env, segment, file: &file, base, written };
        let mut damaged = 0;
        let mut check = |wanted: &Expected, bytes: RecordBytes| {
            if bytes.crc32c() == wanted.crc {
                return take(wanted, bytes);
            }
            damaged += 1;
            self.report_damage(segment, wanted.position);
            ControlFlow::Continue(())
        };
        let shared = match self.depth_ahead(list) {
            Some(depth) => self.fetch_shared(&source, list, depth, &mut check).await,
            None => ControlFlow::Continue(0),
        };
        if let ControlFlow::Continue(done) = shared {
            let end = base + self.segments.bytes;
            fetch_alone(&file, base..end, &list[done..], &mut check).await?;
        }
        Ok(damaged)
    }

    /// Whether the messages are best taken from chunks that readers share, and how many chunks are to be read ahead of them.
    fn depth_ahead(&self, list: &[Expected]) -> Option<usize> {
        let (first, last) = (list.first()?, list.last()?);
        let end = last.position + u64::from(last.size);
        let ahead = &self.read_ahead;
        let known = ahead.goes_on(first.position, end);
        let mut chunks = (ahead.chunk_of(first.position)..end).step_by(ahead.chunk_bytes() as usize);
        // Also for a reader that has fallen behind the others, and is taken for a new one: what it wants may still be there.
        let depth = known.or_else(|| chunks.all(|chunk| ahead.has(chunk)).then_some(0))?;
        let is_ordered = list.is_sorted_by_key(|wanted| wanted.position);
        let bytes: u64 = list.iter().map(|wanted| u64::from(wanted.size)).sum();
        let is_dense = || (end - first.position) / bytes.max(1) < CHUNK_SPARSENESS_MAX;
        let is_there = || ahead.has(ahead.chunk_of(first.position));
        (is_ordered && (is_dense() || is_there())).then_some(depth)
    }

    /// Takes the messages from shared chunks; the number of those that it came to before there was no room for a chunk or
    /// its read failed.
    async fn fetch_shared(
        &self,
        source: &Source<'_, E>,
        list: &[Expected],
        depth: usize,
        take: &mut impl FnMut(&Expected, RecordBytes) -> ControlFlow<()>,
    ) -> ControlFlow<(), usize> {
        let ahead = &self.read_ahead;
        let chunk_bytes = ahead.chunk_bytes();
        let end = list.last().map_or(0, |last| last.position + u64::from(last.size));
        let mut at = list.first().map_or(end, |first| ahead.chunk_of(first.position));
        let segment_end = source.base + self.segments.bytes;
        let mut loads = VecDeque::new();
        while at < end {
            let Some(load) = ahead.get(source, at, end.min(at + chunk_bytes)) else { break };
            loads.push_back((at, load));
            at += chunk_bytes;
        }
        for _ in 0..depth {
            if at < segment_end {
                ahead.prepare(source, at);
            }
            at += chunk_bytes;
        }
        let mut here: Option<Held> = None;
        for (done, wanted) in list.iter().enumerate() {
            let wanted_end = wanted.position + u64::from(wanted.size);
            let mut parts = [None, None];
            let mut from = wanted.position;
            for part in &mut parts {
                if from == wanted_end {
                    break;
                }
                let start = ahead.chunk_of(from);
                if here.as_ref().is_none_or(|held| held.start != start) {
                    here = next_held(&mut loads, start).await;
                }
                let Some(held) = &here else { return ControlFlow::Continue(done) };
                let to = wanted_end.min(start + chunk_bytes);
                let range = (from - start) as usize..(to - start) as usize;
                *part = Some(Part { buffer: held.buffer.clone(), range });
                from = to;
            }
            let [Some(first), second] = parts else { return ControlFlow::Continue(done) };
            if from < wanted_end {
                // Over more than two chunks: it is read alone.
                return ControlFlow::Continue(done);
            }
            take(wanted, RecordBytes { first, second })?;
        }
        ControlFlow::Break(())
    }

    pub fn report_damage(&self, segment: &Segment<E>, position: u64) {
        add(&self.counters.damaged, 1);
        tracing::error!(path = %segment.path.display(), position, "damaged message is left out");
    }
}

/// Reads what was asked for and no more, neighbours together.
async fn fetch_alone<F: File>(
    file: &F,
    segment: Range<u64>,
    list: &[Expected],
    take: &mut impl FnMut(&Expected, RecordBytes) -> ControlFlow<()>,
) -> io::Result<()> {
    for group in windows(list).chunks(COLD_READS_MAX) {
        let reads =
            group.iter().map(|window| read_window(file, segment.start, segment.end, &list[window.clone()]));
        for (window, read) in group.iter().zip(join_all(reads.collect()).await) {
            let (start, buffer) = read?;
            for wanted in &list[window.clone()] {
                let at = (wanted.position - start) as usize;
                let range = at..at + wanted.size as usize;
                let first = Part { buffer: Rc::clone(&buffer), range };
                if take(wanted, RecordBytes { first, second: None }).is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// A chunk that has arrived.
struct Held {
    start: u64,
    buffer: Rc<AlignedBuf>,
}

/// Waits for the chunk at `start`; those before it are not needed any more. `None`: it could not be had.
async fn next_held(loads: &mut VecDeque<(u64, Rc<Load>)>, start: u64) -> Option<Held> {
    while let Some((at, load)) = loads.pop_front() {
        if at == start {
            return load.wait().await.map(|buffer| Held { start, buffer });
        }
    }
    None
}

/// Cuts a list into ranges of messages that one read takes.
fn windows(list: &[Expected]) -> Vec<Range<usize>> {
    let mut windows: Vec<Range<usize>> = Vec::new();
    for (at, wanted) in list.iter().enumerate() {
        let end = wanted.position + u64::from(wanted.size);
        if let Some(last) = windows.last_mut() {
            let first = list[last.start];
            let previous = list[last.end - 1];
            let gap = wanted.position.checked_sub(previous.position + u64::from(previous.size));
            if gap.is_some_and(|gap| gap <= COLD_READ_GAP_MAX) && end - first.position <= COLD_READ_BYTES_MAX
            {
                last.end = at + 1;
                continue;
            }
        }
        windows.push(at..at + 1);
    }
    windows
}

async fn read_window<F: File>(
    file: &F,
    base: u64,
    end: u64,
    list: &[Expected],
) -> io::Result<(u64, Rc<AlignedBuf>)> {
    let (first, last) = (list[0], list[list.len() - 1]);
    let start = first.position - first.position % BLOCK_U64;
    let stop = (last.position + u64::from(last.size)).next_multiple_of(BLOCK_U64).min(end);
    let buffer = file.read_at(start - base, (stop - start) as usize).await?;
    Ok((start, Rc::new(buffer)))
}

/// Chunks hold whole records, for those who read them one by one: what lies over the border of two buffers is copied.
fn push_record<X: AsRef<[u8]>>(chunks: &mut Vec<Chunk<X>>, bytes: RecordBytes) {
    match bytes.second {
        None => push_merged(chunks, bytes.first),
        Some(_) => chunks.push(Chunk::Owned(bytes.contiguous().into_owned())),
    }
}

fn push_merged<X: AsRef<[u8]>>(chunks: &mut Vec<Chunk<X>>, part: Part) {
    if let Some(Chunk::Aligned(last, last_range)) = chunks.last_mut()
        && Rc::ptr_eq(last, &part.buffer)
        && last_range.end == part.range.start
    {
        last_range.end = part.range.end;
    } else {
        chunks.push(Chunk::Aligned(part.buffer, part.range));
    }
}

/// Reads `len` bytes at a log position of a segment, aligned as the file wants it.
pub async fn read_exact<E: Env>(
    file: &FileOf<E>,
    base: u64,
    position: u64,
    len: usize,
) -> io::Result<Vec<u8>> {
    let start = position - position % BLOCK_U64;
    let stop = (position + len as u64).next_multiple_of(BLOCK_U64);
    let buffer = file.read_at(start - base, (stop - start) as usize).await?;
    let at = (position - start) as usize;
    Ok(buffer[at..at + len].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(position: u64, size: u32) -> Expected {
        Expected { offset: 0, position, size, crc: 0 }
    }

    #[test]
    fn neighbours_are_read_together_and_far_ones_apart() {
        let near = [wanted(0, 100), wanted(100, 100), wanted(300, 100)];
        assert_eq!(windows(&near), vec![0..3]);
        let far = [wanted(0, 100), wanted(100 + COLD_READ_GAP_MAX + 1, 100)];
        assert_eq!(windows(&far), vec![0..1, 1..2]);
        let half = (COLD_READ_BYTES_MAX / 2 + 1) as u32;
        let large = [wanted(0, half), wanted(u64::from(half), half)];
        assert_eq!(windows(&large), vec![0..1, 1..2]);
    }
}

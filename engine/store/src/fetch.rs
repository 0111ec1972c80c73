//! Turns a read plan into bytes to send.
//!
//! Owns: reads of segments for consumers that are behind. Neighbours are read together, several reads at once.
//! Invariants: every record from a segment is checked against the crc32c in its index entry before it is handed
//! out; bytes in the ring need no check.
//! On failure: a damaged record is left out and reported; if nothing is left of a plan, `InvalidData`. An I/O
//! error is the caller's to answer; it does not latch the shard, which a read cannot harm.

use std::future::Future;
use std::io;
use std::ops::{ControlFlow, Range};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use ringmq_io::limits::{COLD_READ_BYTES_MAX, COLD_READ_GAP_MAX, COLD_READS_MAX};
use ringmq_io::{AlignedBuf, BLOCK, Chunk, Env, File};

use crate::ExtentOf;
use crate::inner::{Inner, add};
use crate::plan::{Chosen, Expected, Piece, ReadLimits, ReadPlan};
use crate::segments::{FileOf, Segment};

const BLOCK_U64: u64 = BLOCK as u64;

impl<E: Env> Inner<E> {
    pub async fn fetch(&self, plan: ReadPlan<E>) -> io::Result<Vec<Chunk<ExtentOf<E>>>> {
        debug_assert!(plan.is_chosen, "candidates are chosen from first");
        let mut chunks = Vec::with_capacity(plan.pieces.len());
        let mut damaged = 0;
        for piece in plan.pieces {
            match piece {
                Piece::Ring(extent, lease) => chunks.push(Chunk::Extent(extent, Some(lease))),
                Piece::Cold(segment, list) => {
                    let push = |_: &Expected, buffer: &Rc<AlignedBuf>, range| {
                        push_merged(&mut chunks, buffer, range);
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
            let choose = |wanted: &Expected, buffer: &Rc<AlignedBuf>, range: Range<usize>| {
                let record = &buffer[range];
                if !wants(record) {
                    return ControlFlow::Continue(());
                }
                let too_many = chosen.messages >= messages_max;
                if chosen.messages > 0 && (too_many || bytes.len() + record.len() > limits.max_bytes_cold) {
                    chosen.next_offset = wanted.offset;
                    is_full = true;
                    return ControlFlow::Break(());
                }
                chosen.messages += 1;
                bytes.extend_from_slice(record);
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

    /// Gives the messages to `take` until it has enough; the number of those that are damaged.
    async fn fetch_cold(
        &self,
        segment: &Rc<Segment<E>>,
        list: &[Expected],
        mut take: impl FnMut(&Expected, &Rc<AlignedBuf>, Range<usize>) -> ControlFlow<()>,
    ) -> io::Result<usize> {
        let file = self.segments.file(&self.env, segment).await?;
        let base = self.segments.base(segment.number);
        let end = base + self.segments.bytes;
        let windows = windows(list);
        let mut damaged = 0;
        for group in windows.chunks(COLD_READS_MAX) {
            let reads = group.iter().map(|window| {
                let window = &list[window.clone()];
                read_window(&file, base, end, window)
            });
            for (window, read) in group.iter().zip(all(reads.collect()).await) {
                let (start, buffer) = read?;
                for wanted in &list[window.clone()] {
                    let at = (wanted.position - start) as usize;
                    let range = at..at + wanted.size as usize;
                    if crc32c::crc32c(&buffer[range.clone()]) != wanted.crc {
                        damaged += 1;
                        self.report_damage(segment, wanted.position);
                    } else if take(wanted, &buffer, range).is_break() {
                        return Ok(damaged);
                    }
                }
            }
        }
        Ok(damaged)
    }

    pub fn report_damage(&self, segment: &Segment<E>, position: u64) {
        add(&self.counters.damaged, 1);
        tracing::error!(path = %segment.path.display(), position, "damaged message is left out");
    }
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

fn push_merged<X: AsRef<[u8]>>(chunks: &mut Vec<Chunk<X>>, buffer: &Rc<AlignedBuf>, range: Range<usize>) {
    if let Some(Chunk::Aligned(last, last_range)) = chunks.last_mut()
        && Rc::ptr_eq(last, buffer)
        && last_range.end == range.start
    {
        last_range.end = range.end;
    } else {
        chunks.push(Chunk::Aligned(Rc::clone(buffer), range));
    }
}

/// Runs a few futures at once; results in order.
async fn all<T, F: Future<Output = T>>(futures: Vec<F>) -> Vec<T> {
    let mut running: Vec<Option<Pin<Box<F>>>> = futures.into_iter().map(|f| Some(Box::pin(f))).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (slot, result) in running.iter_mut().zip(&mut done) {
            if let Some(future) = slot
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *result = Some(value);
                *slot = None;
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().map(|value| value.expect("ran to its end")).collect()
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
    use futures_lite::future::block_on;

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

    #[test]
    fn futures_run_together_and_keep_their_order() {
        let results = block_on(all((0..5)
            .map(|i| async move {
                for _ in i..5 {
                    futures_lite::future::yield_now().await;
                }
                i
            })
            .collect()));
        assert_eq!(results, [0, 1, 2, 3, 4]);
    }
}

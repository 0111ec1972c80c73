//! Chunks of segments that readers who go on through the log share.
//!
//! Owns: the chunks in memory, the reads of them that are under way, and the places where recent reads ended (a read that
//! begins near one of them goes on from it). A consumer that catches up reads each chunk once from the device, however few
//! of its messages one pull takes, and so do several that catch up together: neighbours in the log belong to many queues.
//! Invariants: never more than `READ_AHEAD_CHUNKS_MAX` buffers; a buffer that an answer still refers to is neither changed
//! nor given to another chunk; a chunk is good up to what was written when its read began, no further.
//! On failure: a chunk that cannot be read is forgotten, and who waited for it reads what it needs by itself and meets the
//! error there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringmq_io::limits::{
    READ_AHEAD_CHUNK_BYTES, READ_AHEAD_CHUNKS_MAX, READ_AHEAD_DEPTH_MAX, READ_AHEAD_STREAMS_MAX,
    READS_AHEAD_UNDER_WAY_MAX,
};
use ringmq_io::sync::Event;
use ringmq_io::{AlignedBuf, BLOCK, Class, Env, File};

use crate::segments::{FileOf, Segment};

/// A reader is counted as active for so many reads after its last.
const ACTIVE_READS: u64 = 64;

pub struct ReadAhead {
    chunk_bytes: u64,
    slots: RefCell<Vec<Slot>>,
    streams: RefCell<Vec<Stream>>,
    /// Reads so far: the age of slots and streams.
    reads: Cell<u64>,
    under_way: Cell<usize>,
    begun: Cell<u64>,
}

struct Slot {
    /// Log position.
    start: u64,
    /// What is good of it ends here.
    valid: u64,
    load: Rc<Load>,
    used: u64,
}

/// Where a reader was.
struct Stream {
    end: u64,
    used: u64,
}

/// A read of a chunk, under way or done.
#[derive(Default)]
pub struct Load {
    is_done: Cell<bool>,
    /// `None` when done: it failed.
    buffer: RefCell<Option<Rc<AlignedBuf>>>,
    done: Event,
}

impl Load {
    pub async fn wait(&self) -> Option<Rc<AlignedBuf>> {
        while !self.is_done.get() {
            self.done.wait().await;
        }
        self.buffer.borrow().clone()
    }

    fn end(&self, buffer: Option<AlignedBuf>) {
        *self.buffer.borrow_mut() = buffer.map(Rc::new);
        self.is_done.set(true);
        self.done.notify();
    }

    /// Whether nobody but its slot knows it or its buffer.
    fn is_free(self: &Rc<Self>) -> bool {
        let alone = || self.buffer.borrow().as_ref().is_none_or(|buffer| Rc::strong_count(buffer) == 1);
        self.is_done.get() && Rc::strong_count(self) == 1 && alone()
    }
}

/// The file that chunks come from, and how far it is good.
pub struct Source<'a, E: Env> {
    pub env: &'a E,
    pub segment: &'a Rc<Segment<E>>,
    pub file: &'a FileOf<E>,
    /// Log position of the file's first byte.
    pub base: u64,
    pub written: u64,
}

impl ReadAhead {
    pub fn new(segment_bytes: u64) -> Self {
        // Chunks do not cross the end of a segment.
        let divisor = 1 << segment_bytes.trailing_zeros();
        let chunk_bytes = READ_AHEAD_CHUNK_BYTES.min(divisor);
        assert!(chunk_bytes >= BLOCK as u64, "segments are whole blocks");
        Self {
            chunk_bytes,
            slots: RefCell::default(),
            streams: RefCell::default(),
            reads: Cell::new(0),
            under_way: Cell::new(0),
            begun: Cell::new(0),
        }
    }

    /// Chunks whose read was begun, ever.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    pub fn chunk_of(&self, position: u64) -> u64 {
        position - position % self.chunk_bytes
    }

    /// Notes a read of a stretch of the log. `Some`: it goes on where one ended; so many chunks are to be read ahead of it.
    pub fn goes_on(&self, from: u64, to: u64) -> Option<usize> {
        let now = self.reads.get() + 1;
        self.reads.set(now);
        let mut streams = self.streams.borrow_mut();
        let known = streams.iter_mut().find(|stream| from.abs_diff(stream.end) <= self.chunk_bytes);
        if let Some(stream) = known {
            stream.end = stream.end.max(to);
            stream.used = now;
            let active = streams.iter().filter(|stream| stream.used + ACTIVE_READS > now).count();
            let room = READ_AHEAD_CHUNKS_MAX / active.max(1);
            return Some(room.saturating_sub(1).min(READ_AHEAD_DEPTH_MAX));
        }
        if streams.len() == READ_AHEAD_STREAMS_MAX {
            let oldest = (0..streams.len()).min_by_key(|at| streams[*at].used).expect("it is full");
            streams.swap_remove(oldest);
        }
        streams.push(Stream { end: to, used: now });
        None
    }

    /// Whether a chunk is there or on its way.
    pub fn has(&self, start: u64) -> bool {
        self.slots.borrow().iter().any(|slot| slot.start == start)
    }

    /// The chunk at `start`, whose bytes up to `needed` are wanted; its read is begun if need be. `None`: all room for
    /// chunks is in use, or the chunk in memory ends too early.
    pub fn get<E: Env>(self: &Rc<Self>, source: &Source<'_, E>, start: u64, needed: u64) -> Option<Rc<Load>> {
        debug_assert!(needed <= source.written, "what is in a segment was written");
        let mut slots = self.slots.borrow_mut();
        if let Some(at) = slots.iter().position(|slot| slot.start == start) {
            let slot = &mut slots[at];
            if slot.valid >= needed {
                slot.used = self.reads.get();
                return Some(slot.load.clone());
            }
            if !slot.load.is_free() {
                return None;
            }
            let old = slots.swap_remove(at);
            let buffer = take_buffer(old);
            return Some(self.begin(source, &mut slots, start, buffer));
        }
        let buffer = self.room(&mut slots)?;
        Some(self.begin(source, &mut slots, start, buffer))
    }

    /// Begins to read a whole chunk that somebody will want soon.
    pub fn prepare<E: Env>(self: &Rc<Self>, source: &Source<'_, E>, start: u64) {
        let is_whole = start + self.chunk_bytes <= source.written;
        if is_whole && !self.has(start) && self.under_way.get() < READS_AHEAD_UNDER_WAY_MAX {
            let mut slots = self.slots.borrow_mut();
            if let Some(buffer) = self.room(&mut slots) {
                self.begin(source, &mut slots, start, buffer);
            }
        }
    }

    /// A buffer for one more chunk: a new one, or that of the chunk which was not used for the longest time.
    fn room(&self, slots: &mut Vec<Slot>) -> Option<AlignedBuf> {
        if slots.len() < READ_AHEAD_CHUNKS_MAX {
            return Some(AlignedBuf::zeroed(self.chunk_bytes as usize));
        }
        let free = slots.iter().enumerate().filter(|(_, slot)| slot.load.is_free());
        let (at, _) = free.min_by_key(|(_, slot)| slot.used)?;
        Some(take_buffer(slots.swap_remove(at)))
    }

    fn begin<E: Env>(
        self: &Rc<Self>,
        source: &Source<'_, E>,
        slots: &mut Vec<Slot>,
        start: u64,
        buffer: AlignedBuf,
    ) -> Rc<Load> {
        debug_assert!(buffer.len() as u64 == self.chunk_bytes && slots.len() < READ_AHEAD_CHUNKS_MAX);
        let load = Rc::new(Load::default());
        let valid = source.written.min(start + self.chunk_bytes);
        slots.push(Slot { start, valid, load: load.clone(), used: self.reads.get() });
        self.under_way.set(self.under_way.get() + 1);
        self.begun.set(self.begun.get() + 1);
        let (own, load_of_task) = (Rc::clone(self), load.clone());
        let (file, segment, at) = (source.file.clone(), Rc::clone(source.segment), start - source.base);
        source.env.spawn(Class::ColdRead, async move {
            let read = file.read_into(at, buffer).await;
            // Until here the segment could not be recycled.
            drop(segment);
            own.under_way.set(own.under_way.get() - 1);
            if let Err(error) = &read {
                tracing::debug!(start, %error, "a chunk was not read ahead");
                own.slots.borrow_mut().retain(|slot| slot.start != start);
            }
            load_of_task.end(read.ok());
        });
        load
    }
}

fn take_buffer(slot: Slot) -> AlignedBuf {
    let load = Rc::into_inner(slot.load).expect("nobody else knows a free chunk");
    let buffer = load.buffer.into_inner().expect("failed chunks have no slot");
    Rc::into_inner(buffer).expect("nobody else knows a free chunk's buffer")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn chunks_divide_segments() {
        for (segment, chunk) in [(128 * MIB, MIB), (3 * MIB, MIB), (96 * 1024, 32 * 1024), (4096, 4096)] {
            assert_eq!(ReadAhead::new(segment).chunk_bytes(), chunk);
        }
    }

    #[test]
    fn a_reader_is_known_by_where_it_was() {
        let ahead = ReadAhead::new(128 * MIB);
        assert_eq!(ahead.goes_on(10 * MIB, 11 * MIB), None);
        assert_eq!(ahead.goes_on(11 * MIB + 100, 12 * MIB), Some(READ_AHEAD_DEPTH_MAX));
        // Another queue's reader, a little behind.
        assert_eq!(ahead.goes_on(11 * MIB + 50, 11 * MIB + 500), Some(READ_AHEAD_DEPTH_MAX));
        assert_eq!(ahead.goes_on(50 * MIB, 50 * MIB + 1), None);
        assert_eq!(ahead.goes_on(12 * MIB, 13 * MIB), Some(READ_AHEAD_DEPTH_MAX));
    }

    #[test]
    fn many_readers_read_less_far_ahead() {
        let ahead = ReadAhead::new(128 * MIB);
        for reader in 0..READ_AHEAD_STREAMS_MAX as u64 {
            ahead.goes_on(reader * 100 * MIB, reader * 100 * MIB);
        }
        assert_eq!(ahead.goes_on(0, 10), Some(0));
        // The one whose last read is the oldest is forgotten for a new one.
        assert_eq!(ahead.goes_on(9000 * MIB, 9000 * MIB), None);
        assert_eq!(ahead.goes_on(100 * MIB, 100 * MIB), None);
    }
}

//! Plans reads of a queue.
//!
//! Owns: which entries a read takes. Synchronous: the borrow of the index ends before any I/O begins.
//! Invariants: only closed batches are read (the open one is closed first); limits are looked at before a
//! message is taken, except for the first. RocketMQ 5.5.0 `DefaultMessageStore#getMessage`. A choice by records is made
//! here for what is in the ring; what is not becomes a plan of candidates, which `fetch` chooses from, and which ends where
//! the ring begins.
//! On failure: a read ends before a block of a sealed index that is damaged or not in memory, and one that begins there says so:
//! none is passed over, none is waited for.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::COLD_READ_BYTES_MAX;

use crate::entry::Entry;
use crate::inner::{Inner, add};
use crate::plan::{Bounds, Expected, Piece, ReadLimits, ReadOutcome, ReadPlan};
use crate::queues::Found;
use crate::segments::Segment;
use crate::shard::QueueRef;

impl<E: Env> Inner<E> {
    pub fn bounds(&self, queue: QueueRef) -> Bounds {
        let queues = self.queues.borrow();
        let queue = queues.get(queue);
        Bounds { min: queue.min(), max: queue.next() }
    }

    pub fn read(
        &self,
        queue: QueueRef,
        offset: u64,
        limits: &ReadLimits,
        choice: impl Choice,
    ) -> ReadOutcome<E> {
        self.close_for_reading();
        let Bounds { min, max } = self.bounds(queue);
        match offset {
            _ if max == 0 => ReadOutcome::Empty,
            _ if offset == max => ReadOutcome::AtEnd,
            _ if offset > max => ReadOutcome::AfterEnd,
            _ if offset < min => ReadOutcome::BeforeStart,
            _ => self.scan(queue, offset, limits, choice),
        }
    }

    fn close_for_reading(&self) {
        let mut tail = self.tail.borrow_mut();
        if tail.has_open() {
            self.close_batch(&mut tail);
        }
    }

    pub fn read_scattered(&self, queue: QueueRef, offsets: &[u64]) -> Option<ReadPlan<E>> {
        debug_assert!(offsets.is_sorted());
        self.close_for_reading();
        let limits = ReadLimits {
            max_messages: u32::MAX,
            max_bytes_hot: usize::MAX,
            max_bytes_cold: usize::MAX,
            max_messages_cold: u32::MAX,
            scan_entries: u32::MAX,
        };
        let queues = self.queues.borrow();
        let queue = queues.get(queue);
        let mut picker = Picker::new(self, &limits, ByCode(|_| true), 0);
        for offset in offsets {
            picker.at = *offset;
            match queue.locate(*offset) {
                None => {}
                Some(Found::Open) => {
                    let entry = queue.open_entry(*offset).expect("it was located there");
                    picker.offer(&entry, None);
                }
                Some(Found::Sealed { segment, index, .. }) => {
                    let segment = self.segments.get(segment);
                    let entry = segment.as_ref().and_then(|segment| segment.index()?.entry(index).ok()?);
                    if let Some(entry) = entry {
                        picker.offer(&entry, segment.as_ref());
                    }
                }
            }
        }
        match picker.finish() {
            ReadOutcome::Found(plan) => Some(plan),
            _ => None,
        }
    }

    fn scan(&self, queue: QueueRef, offset: u64, limits: &ReadLimits, choice: impl Choice) -> ReadOutcome<E> {
        let queues = self.queues.borrow();
        let queue = queues.get(queue);
        let mut picker = Picker::new(self, limits, choice, offset);
        while !picker.is_done() {
            match queue.locate(picker.at) {
                None => break,
                Some(Found::Open) => {
                    for entry in queue.open.run_from(picker.at) {
                        if !picker.offer(entry, None) {
                            break;
                        }
                    }
                }
                Some(Found::Sealed { segment, index, left }) => {
                    let segment = self.segments.get(segment);
                    let Some((segment, sealed)) = segment.and_then(|s| s.index().map(|index| (s, index)))
                    else {
                        // Its segment is being recycled: what it held is before the start soon.
                        picker.pass_over(left);
                        continue;
                    };
                    if !sealed.has_at_hand(index) {
                        if picker.at == offset {
                            return ReadOutcome::Illegible;
                        }
                        break;
                    }
                    match sealed.entries_from(index) {
                        Ok(entries) => {
                            for entry in entries.take(left as usize) {
                                if !picker.offer(&entry, Some(&segment)) {
                                    break;
                                }
                            }
                        }
                        Err(_) if picker.at == offset => {
                            return ReadOutcome::Illegible;
                        }
                        Err(_) => break,
                    }
                }
            }
        }
        picker.finish()
    }
}

/// Which messages a read takes.
pub trait Choice {
    /// Whether records have a say.
    const BY_RECORD: bool;
    fn takes_code(&mut self, tags_code: i64) -> bool;
    fn takes_record(&mut self, record: &[u8]) -> bool;
}

/// By tags codes alone.
pub struct ByCode<F>(pub F);

impl<F: FnMut(i64) -> bool> Choice for ByCode<F> {
    const BY_RECORD: bool = false;

    fn takes_code(&mut self, tags_code: i64) -> bool {
        (self.0)(tags_code)
    }

    fn takes_record(&mut self, _: &[u8]) -> bool {
        true
    }
}

/// By what the records say.
pub struct ByRecord<F>(pub F);

impl<F: FnMut(&[u8]) -> bool> Choice for ByRecord<F> {
    const BY_RECORD: bool = true;

    fn takes_code(&mut self, _: i64) -> bool {
        true
    }

    fn takes_record(&mut self, record: &[u8]) -> bool {
        (self.0)(record)
    }
}

/// A stretch of messages taken.
enum Pick<E: Env> {
    Ring { position: u64, len: u64 },
    Cold(Rc<Segment<E>>, Vec<Expected>),
}

struct Picker<'a, E: Env, C> {
    inner: &'a Inner<E>,
    limits: &'a ReadLimits,
    choice: C,
    at: u64,
    looked_at: u32,
    messages: u32,
    bytes: usize,
    picks: Vec<Pick<E>>,
}

impl<'a, E: Env, C: Choice> Picker<'a, E, C> {
    fn new(inner: &'a Inner<E>, limits: &'a ReadLimits, choice: C, at: u64) -> Self {
        Self { inner, limits, choice, at, looked_at: 0, messages: 0, bytes: 0, picks: Vec::new() }
    }

    fn is_done(&self) -> bool {
        self.looked_at >= self.limits.scan_entries.max(1)
    }

    fn pass_over(&mut self, entries: u32) {
        self.at += u64::from(entries);
        self.looked_at = self.looked_at.saturating_add(entries);
    }

    /// Looks at the entry at `self.at`. `false`: the read is complete.
    fn offer(&mut self, entry: &Entry, segment: Option<&Rc<Segment<E>>>) -> bool {
        if self.is_done() {
            return false;
        }
        if entry.is_missing() {
            add(&self.inner.counters.damaged, 1);
        }
        if !entry.is_lost() && self.choice.takes_code(entry.tags_code) {
            let hot = entry.position >= self.inner.ring.floor();
            if self.is_full(entry.size as usize, hot) {
                self.looked_at = u32::MAX;
                return false;
            }
            if !C::BY_RECORD || !hot || self.takes_hot(entry) {
                self.take(entry, hot, segment);
            }
        }
        self.at += 1;
        self.looked_at += 1;
        true
    }

    fn takes_hot(&mut self, entry: &Entry) -> bool {
        let choice = &mut self.choice;
        self.inner.ring.read(entry.position, entry.size as usize, |record| choice.takes_record(record))
    }

    fn has_candidates(&self) -> bool {
        C::BY_RECORD && matches!(self.picks.last(), Some(Pick::Cold(..)))
    }

    fn is_full(&self, size: usize, hot: bool) -> bool {
        let limits = self.limits;
        if C::BY_RECORD && !hot {
            return self.messages > 0 && self.bytes + size > COLD_READ_BYTES_MAX as usize;
        }
        if self.has_candidates() {
            return true;
        }
        let (bytes, messages) = if hot {
            (limits.max_bytes_hot, limits.max_messages)
        } else {
            (limits.max_bytes_cold, limits.max_messages.min(limits.max_messages_cold))
        };
        self.messages > 0 && (self.messages >= messages || self.bytes + size > bytes)
    }

    fn take(&mut self, entry: &Entry, hot: bool, segment: Option<&Rc<Segment<E>>>) {
        self.messages += 1;
        self.bytes += entry.size as usize;
        if hot {
            if let Some(Pick::Ring { position, len }) = self.picks.last_mut()
                && *position + *len == entry.position
            {
                *len += u64::from(entry.size);
            } else {
                self.picks.push(Pick::Ring { position: entry.position, len: entry.size.into() });
            }
            return;
        }
        let expected =
            Expected { offset: self.at, position: entry.position, size: entry.size, crc: entry.crc };
        let number = self.inner.segments.number_of(entry.position);
        match self.picks.last_mut() {
            Some(Pick::Cold(last, list)) if last.number == number => list.push(expected),
            _ => {
                let segment = segment.cloned().or_else(|| self.inner.segments.get(number));
                let segment = segment.expect("an open entry's segment is not recycled");
                self.picks.push(Pick::Cold(segment, vec![expected]));
            }
        }
    }

    fn finish(self) -> ReadOutcome<E> {
        if self.messages == 0 {
            return ReadOutcome::NoneMatched { next_offset: self.at };
        }
        let is_chosen = !self.has_candidates();
        let ring = &self.inner.ring;
        let mask = self.picks.iter().fold(0, |mask, pick| match pick {
            Pick::Ring { position, len } => mask | ring.blocks(*position, *len),
            Pick::Cold(..) => mask,
        });
        let lease = (mask != 0).then(|| ring.lease(mask));
        let pieces = self.picks.into_iter().map(|pick| match pick {
            Pick::Ring { position, len } => {
                let lease = lease.clone().expect("a ring extent has a block");
                Piece::Ring(ring.extent(position, len as usize), lease)
            }
            Pick::Cold(segment, list) => Piece::Cold(segment, list),
        });
        ReadOutcome::Found(ReadPlan {
            next_offset: self.at,
            messages: self.messages,
            bytes: self.bytes,
            is_chosen,
            pieces: pieces.collect(),
        })
    }
}

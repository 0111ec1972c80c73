//! Reads waiting messages before they are due.
//!
//! Owns: the messages of a book that are due soon, taken out of it, with their records as far as they have been read. What
//! is due together lies far apart in the log: read only when it is due, a burst would be late by all of its reads.
//! Invariants: at most `SOON_MESSAGES_MAX` messages and, but for one, `SOON_BYTES_MAX` bytes of them; none is given before
//! its time; earliest first: one whose read is under way keeps those behind it waiting.
//! On failure: a read that fails is tried again; what is damaged is given without its record. A crash loses nothing: what
//! was taken is still pending.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{SOON_BYTES_MAX, SOON_MESSAGES_MAX, SOON_READS_MAX};
use ringmq_io::sync::Event;
use ringmq_io::{Class, Env};

use super::{Book, CLOCK_LOOK, Due};
use crate::with_room::RETRY;

/// Before a message is due its read begins: some hundred reads of a slow disk.
const AHEAD: Duration = Duration::from_millis(250);

pub struct Ahead<E: Env> {
    book: Rc<Book<E>>,
    soon: RefCell<Soon>,
    /// A message came, was read or was given.
    changed: Event,
}

#[derive(Default)]
struct Soon {
    messages: BTreeMap<(i64, u64), Slot>,
    bytes: usize,
    reads: usize,
}

struct Slot {
    bytes: usize,
    /// `None`: its read is under way.
    read: Option<Record>,
}

/// The record of a message; `None`: it is damaged.
pub type Record = Option<Vec<u8>>;

impl<E: Env> Ahead<E> {
    /// Begins to read. Whoever gets messages from it settles them.
    pub fn of(book: &Rc<Book<E>>) -> Rc<Self> {
        let ahead = Rc::new(Self { book: book.clone(), soon: RefCell::default(), changed: Event::new() });
        book.env.spawn(Class::Foreground, ahead.clone().fill());
        ahead
    }

    async fn fill(self: Rc<Self>) {
        let book = &self.book;
        loop {
            let changed = self.changed.wait();
            let Some((messages, bytes)) = self.room() else {
                changed.await;
                continue;
            };
            let taken = book.due(AHEAD, messages, bytes.min(book.slice_bytes())).await;
            for due in &taken {
                // How large they are. Who reads them learns of an error.
                let _ = book.shard.make_legible(book.waiting, due.offset, 1).await;
            }
            let mut soon = self.soon.borrow_mut();
            for due in &taken {
                let bytes = book.size_of(due.offset);
                soon.bytes += bytes;
                let known = soon.messages.insert((due.due_ms, due.offset), Slot { bytes, read: None });
                debug_assert!(known.is_none(), "a message is taken once");
            }
            soon.reads += 1;
            drop(soon);
            book.env.spawn(Class::ColdRead, self.clone().read(taken));
        }
    }

    /// How many messages, and bytes of them, may be taken now.
    fn room(&self) -> Option<(usize, usize)> {
        let soon = self.soon.borrow();
        let is_full = soon.bytes >= SOON_BYTES_MAX
            || soon.messages.len() >= SOON_MESSAGES_MAX
            || soon.reads >= SOON_READS_MAX;
        let messages = (SOON_MESSAGES_MAX - soon.messages.len()).min(SOON_MESSAGES_MAX / SOON_READS_MAX);
        (!is_full).then(|| (messages, SOON_BYTES_MAX - soon.bytes))
    }

    async fn read(self: Rc<Self>, taken: Vec<Due>) {
        let mut offsets: Vec<u64> = taken.iter().map(|due| due.offset).collect();
        offsets.sort_unstable();
        let records = loop {
            match self.book.records(&offsets).await {
                Ok(records) => break records,
                Err(error) => {
                    let (topic, shard) = (self.book.waiting_topic(), self.book.shard.id());
                    tracing::error!(shard, topic, %error, "waiting messages cannot be read: tried again");
                    self.book.env.sleep(RETRY).await;
                }
            }
        };
        let mut records: BTreeMap<u64, Vec<u8>> = records.into_iter().collect();
        let mut soon = self.soon.borrow_mut();
        for due in taken {
            let slot = soon.messages.get_mut(&(due.due_ms, due.offset)).expect("given only when read");
            slot.read = Some(records.remove(&due.offset));
        }
        soon.reads -= 1;
        self.changed.notify();
    }

    /// Waits until a message is due and read, then gives those that are, earliest first: at most `max`, and no more than
    /// `bytes` of records behind the first.
    pub async fn due(&self, max: usize, bytes: usize) -> Vec<(Due, Record)> {
        loop {
            let changed = self.changed.wait();
            let next = self.soon.borrow().messages.first_key_value().map(|((due_ms, _), slot)| {
                let now = self.book.env.now_ms();
                if *due_ms > now {
                    return ControlFlow::Continue(Some(due_ms.abs_diff(now)));
                }
                if slot.read.is_some() { ControlFlow::Break(now) } else { ControlFlow::Continue(None) }
            });
            match next {
                Some(ControlFlow::Break(now)) => return self.take(now, max, bytes),
                Some(ControlFlow::Continue(Some(left))) => {
                    let left = Duration::from_millis(left).min(CLOCK_LOOK);
                    changed.or(self.book.env.sleep(left)).await;
                }
                Some(ControlFlow::Continue(None)) | None => changed.await,
            }
        }
    }

    fn take(&self, now: i64, max: usize, bytes_max: usize) -> Vec<(Due, Record)> {
        let mut soon = self.soon.borrow_mut();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max
            && let Some(entry) = soon.messages.first_entry()
        {
            let ((due_ms, offset), slot) = (*entry.key(), entry.get());
            let is_too_much = !taken.is_empty() && bytes + slot.bytes > bytes_max;
            if due_ms > now || slot.read.is_none() || is_too_much {
                break;
            }
            let slot = entry.remove();
            bytes += slot.bytes;
            taken.push((Due { due_ms, offset }, slot.read.expect("seen above")));
        }
        soon.bytes -= bytes;
        self.changed.notify();
        taken
    }
}

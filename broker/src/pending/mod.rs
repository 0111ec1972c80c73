//! Messages that wait: stored now, for their queue later, or never.
//!
//! Owns: a *book* a shard and a kind (timers, half messages of transactions). A message that waits is a record
//! in the kind's waiting queue of the shard of its real queue; its index entry's tags code is the time (ms) at which somebody
//! has to look at it. That it is done is said by a record in the kind's done queue of the same shard. What is pending is
//! kept in memory (`set`) and rebuilt at start from index entries and done records (`recovery`).
//! Invariants: a message leaves the book in one turn and one batch with what it became (`settle`): a crash neither loses nor
//! repeats it. Only the book writes its two queues. Nothing is pending below the floor, which every done record
//! carries. A book's span (floor to end) stays within a multiple of what is pending, and retention is never kept from
//! recycling a segment for long: old entries are written again (`roll`).
//! On failure: a latched shard takes nothing more; the book is rebuilt at the next start.

mod ahead;
mod done;
mod recovery;
mod roll;
mod set;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;
use ringmq_io::limits::PENDING_PER_BOOK_MAX;
use ringmq_io::sync::Event;
use ringmq_store::{AppendError, Appended, Keys, NewRecord, QueueRef, Shard};
use ringmq_wire::message::RecordParts;
use thiserror::Error;

use crate::control::names;
use crate::placement::Placement;
pub use ahead::{Ahead, Record};
use set::PendingSet;

/// The wall clock may jump: it is looked at so often, however far the next due time is.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// What a delivered record may have more than the waiting one (properties), and the done record beside it.
const BATCH_SLACK_BYTES: usize = 1024;

/// A kind of waiting, by its two system topics. Both have a queue for each shard.
#[derive(Debug)]
pub struct Kind {
    pub waiting: &'static str,
    pub done: &'static str,
}

pub const TIMERS: Kind = Kind { waiting: names::TIMER_TOPIC, done: names::TIMER_DONE_TOPIC };

pub const HALVES: Kind = Kind { waiting: names::HALF_TOPIC, done: names::HALF_OP_TOPIC };

/// The books of one shard.
pub struct Books<E: Env> {
    pub timers: Rc<Book<E>>,
    /// Half messages of transactions.
    pub halves: Rc<Book<E>>,
}

impl<E: Env> Books<E> {
    /// Rebuilds them from the shard.
    pub async fn open(
        env: &E,
        shard: &Shard<E>,
        placement: Placement,
        store_host: SocketAddr,
    ) -> std::io::Result<Self> {
        // Retention runs as soon as the shard is open: it must not take what no book knows yet.
        let known = Rc::new(Cell::new(false));
        let all_known = known.clone();
        shard.add_keeper(Rc::new(move || (!all_known.get()).then_some(0)));
        let books = Self {
            timers: Book::open(env, shard, placement, &TIMERS, store_host).await?,
            halves: Book::open(env, shard, placement, &HALVES, store_host).await?,
        };
        known.set(true);
        Ok(books)
    }
}

/// A message was not taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AddError {
    #[error(
        "{pending} messages wait in {topic} of shard {shard} already: no more are taken until some are delivered"
    )]
    Full { topic: &'static str, shard: u16, pending: usize },
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A pending message whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub due_ms: i64,
    /// In the waiting queue.
    pub offset: u64,
}

/// A message that goes on waiting, as a new record.
#[derive(Clone, Copy, Debug)]
pub struct Again<'a> {
    pub parts: RecordParts<'a>,
    pub due_ms: i64,
}

/// See the module.
pub struct Book<E: Env> {
    env: E,
    shard: Shard<E>,
    kind: &'static Kind,
    waiting: QueueRef,
    done: QueueRef,
    store_host: SocketAddr,
    set: RefCell<PendingSet>,
    /// Somebody is due before all that were there.
    earlier: Event,
    /// The span may have become too long.
    spread: Event,
    rolled: Cell<u64>,
}

impl<E: Env> Book<E> {
    pub fn shard(&self) -> &Shard<E> {
        &self.shard
    }

    /// The topic of the messages while they wait: keys are found by it.
    pub fn waiting_topic(&self) -> &'static str {
        self.kind.waiting
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.set.borrow().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Below it everything is done.
    pub fn floor(&self) -> u64 {
        self.set.borrow().floor()
    }

    /// Messages that were written again for the sake of the span or of retention.
    pub fn rolled(&self) -> u64 {
        self.rolled.get()
    }

    /// Whether the message at this offset of the waiting queue still waits.
    pub fn is_pending(&self, offset: u64) -> bool {
        self.set.borrow().is_pending(offset)
    }

    /// Stores a message that waits. Its topic and queue id are the waiting queue's; what they were is the caller's to
    /// keep in the properties. Acknowledge it as any append.
    pub fn add(&self, parts: RecordParts<'_>, keys: Keys<'_>, due_ms: i64) -> Result<Appended, AddError> {
        let kept = self.set.borrow().kept();
        if kept >= PENDING_PER_BOOK_MAX {
            return Err(AddError::Full { topic: self.kind.waiting, shard: self.shard.id(), pending: kept });
        }
        let record = self.waiting_record(parts, keys, due_ms).map_err(AppendError::from)?;
        let (size, max) = (record.size() + BATCH_SLACK_BYTES, self.shard.batch_bytes_max() as usize);
        if size > max {
            // Delivered it would not fit beside its done record.
            return Err(AppendError::TooLarge { size: size as u64, max: max as u64 }.into());
        }
        let appended = self.shard.append(self.waiting, &record)?;
        self.put(appended.queue_offset, due_ms);
        Ok(appended)
    }

    fn waiting_record<'a>(
        &self,
        parts: RecordParts<'a>,
        keys: Keys<'a>,
        due_ms: i64,
    ) -> Result<NewRecord<'a>, ringmq_wire::message::RecordError> {
        NewRecord::new(RecordParts { topic: self.kind.waiting, ..parts }, due_ms, keys)
    }

    fn put(&self, offset: u64, due_ms: i64) {
        let mut set = self.set.borrow_mut();
        debug_assert_eq!(set.end(), offset, "only the book writes its queue");
        if set.put(offset, due_ms) {
            self.earlier.notify();
        }
    }

    /// In one batch: what these messages became (records of other queues), what goes on waiting, and that they are done.
    /// All of them must be pending, in ascending order; nothing has changed if it fails. Gives the log position that makes it
    /// safe.
    pub fn settle(
        &self,
        done: &[u64],
        became: &[(QueueRef, &[NewRecord<'_>])],
        again: &[Again<'_>],
    ) -> Result<u64, AppendError> {
        assert!(!done.is_empty() && done.is_sorted_by(|a, b| a < b));
        assert!(done.iter().all(|offset| self.is_pending(*offset)), "settled twice");
        let floor = self.set.borrow().floor_without(done).unwrap_or(self.set.borrow().end());
        let body = done::encode(floor, done);
        let record = NewRecord::new(self.done_parts(&body), 0, Keys::default())?;
        let again_records = again
            .iter()
            .map(|again| self.waiting_record(again.parts, Keys::read(again.parts.properties), again.due_ms))
            .collect::<Result<Vec<_>, _>>()?;
        let mut parts = Vec::with_capacity(became.len() + 2);
        parts.extend_from_slice(became);
        if !again_records.is_empty() {
            parts.push((self.waiting, &again_records[..]));
        }
        let records = std::slice::from_ref(&record);
        parts.push((self.done, records));
        let appended = if again.is_empty() {
            self.shard.append_together(&parts)?
        } else {
            // On a disk that is too full this is what lets a segment go.
            self.shard.append_to_make_room(&parts)?
        };
        // The append is made: from here on nothing may fail.
        let mut set = self.set.borrow_mut();
        for offset in done {
            set.settle(*offset);
        }
        drop(set);
        if !again.is_empty() {
            let first = appended[became.len()].queue_offset;
            for (offset, again) in (first..).zip(again) {
                self.put(offset, again.due_ms);
            }
        }
        if self.wants_roll() {
            self.spread.notify();
        }
        Ok(appended.last().expect("the done record").end)
    }

    fn done_parts<'a>(&self, body: &'a [u8]) -> RecordParts<'a> {
        RecordParts::new(self.kind.done, body, self.env.now_ms(), self.store_host)
    }

    /// Waits until a message is due within `ahead`, then takes those that are, earliest first: at most `max`, and no more
    /// than `bytes` of records behind the first. They stay pending: whoever has taken one settles it or puts it back.
    pub async fn due(&self, ahead: Duration, max: usize, bytes: usize) -> Vec<Due> {
        let ahead_ms = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        loop {
            let earlier = self.earlier.wait();
            let next = self.set.borrow_mut().next_due();
            let Some(next) = next else {
                earlier.await;
                continue;
            };
            let now = self.env.now_ms().saturating_add(ahead_ms);
            if next <= now {
                return self.take_due(now, max, bytes);
            }
            let left = Duration::from_millis(next.abs_diff(now)).min(CLOCK_LOOK);
            earlier.or(self.env.sleep(left)).await;
        }
    }

    fn take_due(&self, now: i64, max: usize, bytes: usize) -> Vec<Due> {
        let mut set = self.set.borrow_mut();
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken.len() < max
            && let Some((due_ms, offset)) = set.take_due(now)
        {
            let size = self.size_of(offset);
            if !taken.is_empty() && taken_bytes + size > bytes {
                set.put_back(due_ms, offset);
                break;
            }
            taken_bytes += size;
            taken.push(Due { due_ms, offset });
        }
        taken
    }

    /// Bytes of a waiting record; as many as a slice may have, if the index is not in memory there.
    fn size_of(&self, offset: u64) -> usize {
        self.shard.glance(self.waiting, offset).map_or(self.slice_bytes(), |entry| entry.size as usize)
    }

    /// Messages that were taken and not settled wait again, until `due_ms`. Those settled meanwhile do not.
    pub fn put_back(&self, taken: impl IntoIterator<Item = Due>) {
        let mut set = self.set.borrow_mut();
        for Due { due_ms, offset } in taken {
            if set.put_back(due_ms, offset) {
                self.earlier.notify();
            }
        }
    }

    /// The records of pending messages, in the order of their offsets, on memory of their own (a lease on the ring while one
    /// waits for room in it would wait for itself). What is damaged on disk, reported by the store, is left out.
    pub async fn records(&self, offsets: &[u64]) -> std::io::Result<Vec<(u64, Vec<u8>)>> {
        self.shard.records_of(self.waiting, offsets).await
    }
}

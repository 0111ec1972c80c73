//! Writes old pending messages again at the end of their queue.
//!
//! A few messages that wait for months must not make recovery walk over everything that came after them, nor keep
//! retention from recycling their segment. Invariants: rolled messages keep their time and their bytes (offsets and store
//! time apart); old and new are settled and put in one batch; one that is being delivered meanwhile is left alone.
//! On failure: a read that fails is tried again later; a full ring is waited for; a latched shard ends it.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;
use ringmq_store::{AppendError, PhysicalOffset};
use ringmq_wire::message::RecordView;

use super::{Again, Book};

/// A span up to here is never too long: recovery looks at so many entries in a few milliseconds.
const SPAN_MIN: u64 = 100_000;
/// A longer one, if it is more than so many times what is pending.
const SPAN_PER_PENDING: u64 = 4;
/// Messages, and bytes of them, written again at once.
const SLICE: usize = 256;
const SLICE_BYTES: usize = 256 * 1024;
/// After a failed read, or while the disk is full.
const RETRY: Duration = Duration::from_secs(1);

fn position_of(physical: u64) -> u64 {
    PhysicalOffset::unpack(physical).expect("the store's own").position
}

impl<E: Env> Book<E> {
    /// Whether recovery would look at too much.
    pub(super) fn wants_roll(&self) -> bool {
        let set = self.set.borrow();
        let span = set.span();
        span > SPAN_MIN && span > SPAN_PER_PENDING * set.count() as u64
    }

    /// Where a waiting message lies in the log; `None` if the index is not in memory there, or the message lost to damage.
    fn position(&self, offset: u64) -> Option<u64> {
        self.shard.glance(self.waiting, offset).map(|entry| position_of(entry.physical))
    }

    /// Where the oldest pending message lies in the log; `None` if none waits. If the index is not in memory there it is the
    /// begin of the log, and `keep_short` has the index read.
    pub(super) fn kept_from(&self) -> Option<u64> {
        let oldest = self.set.borrow().from(0).next()?;
        let position = self.position(oldest);
        if position.is_none() {
            self.spread.notify();
        }
        Some(position.unwrap_or(0))
    }

    /// Makes the index legible for a waiting message. If that fails it says so, waits, and gives `false`.
    async fn make_legible(&self, offset: u64) -> bool {
        match self.shard.make_legible(self.waiting, offset, 1).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(shard = self.shard.id(), %error, "the index of waiting messages cannot be mended");
                self.env.sleep(RETRY).await;
                false
            }
        }
    }

    /// Keeps the span short, and the segments that retention wants free of what waits, as long as the shard takes appends.
    pub async fn keep_short(self: Rc<Self>) {
        loop {
            let (spread, wanted) = (self.spread.wait(), self.shard.wanted().moved());
            let below = self.shard.wanted().get();
            let oldest = self.set.borrow().from(0).next();
            if let Some(oldest) = oldest
                && !self.make_legible(oldest).await
            {
                continue;
            }
            // One that is lost to damage is settled with those that are as old as the log.
            let oldest = oldest.map(|oldest| self.position(oldest).unwrap_or(0));
            let rolled = if self.wants_roll() {
                self.roll_oldest(|_| true).await
            } else if oldest.is_some_and(|oldest| oldest < below) {
                self.roll_oldest(|physical| position_of(physical) < below).await
            } else {
                spread.or(wanted).await;
                continue;
            };
            match rolled {
                Ok(_) => self.env.yield_now().await,
                Err(AppendError::RingFull { .. }) => self.shard.room().await,
                Err(AppendError::Latched(_) | AppendError::ShuttingDown { .. }) => return,
                Err(error) => {
                    tracing::warn!(shard = self.shard.id(), %error, "waiting messages are not written again yet");
                    self.env.sleep(RETRY).await;
                }
            }
        }
    }

    /// Writes the oldest pending messages again, as long as `old` says so of their physical offset; gives how many. What cannot
    /// be read for damage is settled: it is lost, and was reported.
    async fn roll_oldest(&self, mut old: impl FnMut(u64) -> bool) -> Result<usize, AppendError> {
        let mut oldest = Vec::new();
        let mut bytes = 0;
        let first: Vec<u64> = self.set.borrow().from(0).take(SLICE).collect();
        for offset in first {
            if !self.make_legible(offset).await {
                return Ok(0);
            }
        }
        {
            let set = self.set.borrow();
            for offset in set.from(0).take(SLICE) {
                let mut entry = None;
                self.shard.look(self.waiting, offset, 1, |found| entry = Some(found));
                let (physical, due, size) =
                    entry.map_or((0, 0, 0), |entry| (entry.physical, entry.tags_code, entry.size as usize));
                bytes += size;
                if !old(physical) || (bytes > SLICE_BYTES.min(self.slice_bytes()) && !oldest.is_empty()) {
                    break;
                }
                oldest.push((offset, due));
            }
        }
        if oldest.is_empty() {
            return Ok(0);
        }
        let offsets: Vec<u64> = oldest.iter().map(|(offset, _)| *offset).collect();
        let records = match self.records(&offsets).await {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(shard = self.shard.id(), %error, "waiting messages cannot be read");
                self.env.sleep(RETRY).await;
                return Ok(0);
            }
        };
        // From here on there is no await: what is pending now is pending when it is settled.
        oldest.retain(|(offset, _)| self.is_pending(*offset));
        if oldest.is_empty() {
            return Ok(0);
        }
        let mut done = Vec::with_capacity(oldest.len());
        let mut again = Vec::with_capacity(oldest.len());
        for (offset, due_ms) in oldest {
            done.push(offset);
            let record = records.binary_search_by_key(&offset, |(offset, _)| *offset);
            match record.ok().and_then(|at| RecordView::parse(&records[at].1).ok()) {
                Some(record) => again.push(Again { parts: record.parts(), due_ms }),
                None => {
                    tracing::error!(
                        shard = self.shard.id(),
                        topic = self.kind.waiting,
                        offset,
                        "a waiting message is lost to damage"
                    );
                }
            }
        }
        self.settle(&done, &[], &again)?;
        self.rolled.set(self.rolled.get() + again.len() as u64);
        Ok(done.len())
    }

    /// Bytes of records that fit into one batch in any case.
    pub fn slice_bytes(&self) -> usize {
        self.shard.batch_bytes_max() as usize / 2
    }
}

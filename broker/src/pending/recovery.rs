//! Rebuilds a book at start: what waits is in the index of the waiting queue, what is done in the done records.
//!
//! The newest done record carries the floor; from there on the waiting queue's index entries are looked at, then the done
//! records that were written after the first of them: a done record lies behind the messages that it settles, in a log that
//! is recycled from its old end, so the ones that are needed are there.
//! On failure: an I/O error ends the start: without all done records messages would be delivered twice. A done record that is
//! lost to damage is reported; what it settled waits again, and is delivered a second time rather than never.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;
use ringmq_io::sync::Event;
use ringmq_store::{ReadLimits, ReadOutcome, Shard};
use ringmq_wire::message;

use super::done::{self, Done};
use super::set::PendingSet;
use super::{Book, Kind};
use crate::placement::Placement;

/// Done records read at once.
const READ: ReadLimits = ReadLimits {
    max_messages: 1024,
    max_bytes_hot: 1024 * 1024,
    max_bytes_cold: 1024 * 1024,
    max_messages_cold: 1024,
    scan_entries: 1024,
};

impl<E: Env> Book<E> {
    pub(super) async fn open(
        env: &E,
        shard: &Shard<E>,
        placement: Placement,
        kind: &'static Kind,
        store_host: SocketAddr,
    ) -> io::Result<Rc<Self>> {
        let begun = env.monotonic_ns();
        let queue = |topic| shard.queue(topic, placement.queue_in(placement.first_shard(topic), shard.id()));
        let mut book = Self {
            env: env.clone(),
            shard: shard.clone(),
            kind,
            waiting: queue(kind.waiting),
            done: queue(kind.done),
            store_host,
            set: RefCell::default(),
            earlier: Event::new(),
            spread: Event::new(),
            rolled: Cell::new(0),
        };
        let set = book.recover().await?;
        if set.end() > 0 {
            tracing::info!(
                shard = shard.id(),
                topic = kind.waiting,
                pending = set.count(),
                floor = set.floor(),
                end = set.end(),
                took_ms = (env.monotonic_ns() - begun) / 1_000_000,
                "waiting messages found"
            );
        }
        book.set = RefCell::new(set);
        let book = Rc::new(book);
        let weak = Rc::downgrade(&book);
        shard.add_keeper(Rc::new(move || weak.upgrade()?.kept_from()));
        Ok(book)
    }

    async fn recover(&self) -> io::Result<PendingSet> {
        let bounds = self.shard.bounds(self.waiting);
        let floor = self.last_floor().await?.unwrap_or(0).max(bounds.min);
        if floor > bounds.max {
            let text = format!(
                "{}: its done queue says that everything below {floor} is done, but it ends at {}",
                self.kind.waiting, bounds.max
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut set = PendingSet::starting_at(floor);
        let mut all = Vec::new();
        let mut first_at = None;
        let mut at = floor;
        while at < bounds.max {
            self.shard.make_legible(self.waiting, at, STORE_ITEMS_PER_TURN as u32).await?;
            at = self.shard.look(self.waiting, at, STORE_ITEMS_PER_TURN as u32, |entry| {
                first_at.get_or_insert(entry.physical);
                set.mark(entry.queue_offset);
                all.push(Reverse((entry.tags_code, entry.queue_offset)));
            });
            self.env.yield_now().await;
        }
        set.ends_at(bounds.max);
        if let Some(first_at) = first_at {
            self.settle_since(first_at, &mut set).await?;
        }
        set.heap_from(all);
        Ok(set)
    }

    /// The floor of the newest done record that is legible.
    async fn last_floor(&self) -> io::Result<Option<u64>> {
        let bounds = self.shard.bounds(self.done);
        for offset in (bounds.min..bounds.max).rev() {
            let mut floor = None;
            self.read_done(offset, 1, |done| floor = Some(done.floor)).await?;
            if floor.is_some() {
                return Ok(floor);
            }
        }
        Ok(None)
    }

    /// Settles what the done records behind a place in the log name.
    async fn settle_since(&self, physical: u64, set: &mut PendingSet) -> io::Result<()> {
        let bounds = self.shard.bounds(self.done);
        let (mut low, mut high) = (bounds.min, bounds.max);
        while low < high {
            let middle = low + (high - low) / 2;
            self.shard.make_legible(self.done, middle, 1).await?;
            // What is lost to damage is taken for new: the walk begins too early rather than too late.
            let mut before = false;
            self.shard.look(self.done, middle, 1, |entry| before = entry.physical < physical);
            if before { low = middle + 1 } else { high = middle }
        }
        while low < bounds.max {
            low = self
                .read_done(low, READ.max_messages, |done| {
                    for offset in done.offsets {
                        set.settle(offset);
                    }
                })
                .await?;
            self.env.yield_now().await;
        }
        Ok(())
    }

    /// Reads done records from `offset` on, at most `max`; gives where to go on.
    async fn read_done(&self, offset: u64, max: u32, mut each: impl FnMut(Done)) -> io::Result<u64> {
        let limits = ReadLimits { max_messages: max, max_messages_cold: max, scan_entries: max, ..READ };
        let plan = match self.shard.read_legible(self.done, offset, &limits, |_| true).await? {
            ReadOutcome::Found(plan) => plan,
            ReadOutcome::NoneMatched { next_offset } => return Ok(next_offset),
            _ => return Ok(self.shard.bounds(self.done).max),
        };
        let (next, expected) = (plan.next_offset, plan.messages as usize);
        let chunks = match self.shard.fetch(plan).await {
            Ok(chunks) => chunks,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut legible = 0;
        for record in chunks.iter().flat_map(|chunk| message::records(chunk.as_ref())) {
            if let Some(done) = record.ok().and_then(|record| done::decode(record.body)) {
                legible += 1;
                each(done);
            }
        }
        if legible < expected {
            tracing::error!(
                shard = self.shard.id(),
                topic = self.kind.done,
                from = offset,
                lost = expected - legible,
                "done records are damaged: what they settled is delivered again"
            );
        }
        Ok(next)
    }
}

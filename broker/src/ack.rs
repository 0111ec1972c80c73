//! Acknowledgements of sends: each leaves when its message is as safe as the flush mode promises.
//!
//! Owns: per shard, the sends that were appended and not yet answered, and the pump tasks that answer them. ASYNC_FLUSH,
//! and messages that ask not to wait (property WAIT=false), are answered when the shard says that they survive the
//! process; SYNC_FLUSH when they survive a power loss.
//! Invariants: entries are in log order, so what a watermark has passed is a prefix; an entry above the watermark is
//! never answered with success; bounded by the ring, since every entry is a record that the ring still holds or the
//! shard still flushes.
//! On failure: a latched shard answers SYSTEM_ERROR with the reason; a sync that takes longer than `syncFlushTimeout`
//! answers FLUSH_DISK_TIMEOUT, as RocketMQ does (stored, not yet safe).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::sync::{Event, Watermark};
use ringmq_io::{Class, Env};
use ringmq_store::{Latched, Shard};
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::{SendAnswer, send_response};
use ringmq_wire::message_id::OffsetIds;

use crate::config::{BrokerConfig, FlushMode};
use crate::core::Identity;
use crate::reply::{Refusal, Responder};
use crate::stages::{Began, Stage, Stages};
use crate::stats::add;

/// Entries answered between two yields.
const ANSWERS_PER_TURN: usize = 512;

/// A unique key as producers make it; longer ones are kept on the heap.
const KEY_INLINE: usize = 36;

/// The message's UNIQ_KEY, which the answer calls transactionId.
pub enum UniqueKey {
    None,
    Inline(u8, [u8; KEY_INLINE]),
    Heap(Box<str>),
}

impl UniqueKey {
    pub fn of(key: Option<&str>) -> Self {
        match key {
            None => Self::None,
            Some(key) if key.len() <= KEY_INLINE => {
                let mut bytes = [0; KEY_INLINE];
                bytes[..key.len()].copy_from_slice(key.as_bytes());
                Self::Inline(key.len() as u8, bytes)
            }
            Some(key) => Self::Heap(key.into()),
        }
    }

    fn as_str(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Inline(len, bytes) => std::str::from_utf8(&bytes[..usize::from(*len)]).ok(),
            Self::Heap(key) => Some(key),
        }
    }
}

/// A stored send that waits for its acknowledgement.
pub struct Pending<E: Env> {
    pub responder: Responder<E>,
    /// Log position that a watermark has to reach.
    pub end: u64,
    pub queue_id: u32,
    pub queue_offset: u64,
    pub physical: u64,
    pub key: UniqueKey,
    /// A batch: the physical offsets of all its records, the first included.
    pub batch: Option<Box<[u64]>>,
    /// By which the producer can take a delayed message back.
    pub recall: Option<Box<str>>,
}

struct Entry<E: Env> {
    pending: Pending<E>,
    appended_ns: u64,
    /// The same, if this one is timed.
    began: Began,
}

type Line<E> = RefCell<VecDeque<Entry<E>>>;

/// See the module.
pub struct AckQueue<E: Env> {
    env: E,
    shard: Shard<E>,
    /// Wait for `Shard::kill_safe`.
    kill_safe: Line<E>,
    /// Wait for `Shard::synced`.
    synced: Line<E>,
    /// The first entry has joined the empty `synced` line: its time-out has to be watched.
    first_to_sync: Event,
    sync_flush: bool,
    sync_timeout: Duration,
    /// Answers that said "stored, but not on disk in time".
    pub timed_out: Cell<u64>,
    offset_ids: OffsetIds,
    region: String,
    trace_on: bool,
    stages: Rc<Stages>,
}

impl<E: Env> AckQueue<E> {
    pub fn new(
        env: &E,
        shard: &Shard<E>,
        config: &BrokerConfig,
        identity: &Identity,
        stages: &Rc<Stages>,
    ) -> Rc<Self> {
        Rc::new(Self {
            env: env.clone(),
            shard: shard.clone(),
            kill_safe: RefCell::default(),
            synced: RefCell::default(),
            first_to_sync: Event::new(),
            sync_flush: config.flush_disk_type == FlushMode::Sync,
            sync_timeout: Duration::from_millis(config.sync_flush_timeout_ms),
            timed_out: Cell::new(0),
            offset_ids: OffsetIds::new(identity.store_host),
            region: identity.region.clone(),
            trace_on: identity.trace_on,
            stages: stages.clone(),
        })
    }

    pub fn start(self: &Rc<Self>, env: &E) {
        env.spawn(Class::Foreground, self.clone().pump_kill_safe());
        if self.sync_flush {
            env.spawn(Class::Foreground, self.clone().pump_synced());
        }
    }

    /// Acknowledges later. `wait`: the message may wait for the disk (it does not say WAIT=false).
    pub fn push(&self, pending: Pending<E>, wait: bool) {
        if pending.responder.is_oneway() {
            return;
        }
        let to_disk = self.sync_flush && wait;
        let appended_ns = if to_disk { self.env.monotonic_ns() } else { 0 };
        let line = if to_disk { &self.synced } else { &self.kill_safe };
        let mut line = line.borrow_mut();
        debug_assert!(line.back().is_none_or(|last| last.pending.end <= pending.end));
        line.push_back(Entry { pending, appended_ns, began: self.stages.begin(&self.env, Stage::Flush) });
        if to_disk {
            if line.len() == 1 {
                self.first_to_sync.notify();
            }
            self.shard.request_sync();
        }
    }

    pub fn len(&self) -> usize {
        self.kill_safe.borrow().len() + self.synced.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the log is as safe up to `end` as an acknowledgement promises.
    pub async fn until_safe(&self, end: u64) -> Result<(), Refusal> {
        let mark = if self.sync_flush { self.shard.synced() } else { self.shard.kill_safe() };
        if self.sync_flush {
            self.shard.request_sync();
        }
        let begun = self.env.monotonic_ns();
        loop {
            if let Some(latched) = self.shard.latched() {
                return Err(Refusal::new(response_code::SYSTEM_ERROR, latched.to_string()));
            }
            if mark.get() >= end {
                return Ok(());
            }
            let waited = Duration::from_nanos(self.env.monotonic_ns() - begun);
            let left = self.sync_timeout.saturating_sub(waited);
            if self.sync_flush && left.is_zero() {
                add(&self.timed_out, 1);
                let remark = format!("stored, but not on disk after {} ms", waited.as_millis());
                return Err(Refusal::new(response_code::FLUSH_DISK_TIMEOUT, remark));
            }
            if self.sync_flush {
                mark.moved().or(self.env.sleep(left)).await;
            } else {
                mark.moved().await;
            }
        }
    }

    async fn pump_kill_safe(self: Rc<Self>) {
        loop {
            // Made first: a move while the line is worked through must not be missed.
            let moved = self.shard.kill_safe().moved();
            self.answer_safe(&self.kill_safe, self.shard.kill_safe()).await;
            moved.await;
        }
    }

    async fn pump_synced(self: Rc<Self>) {
        loop {
            let moved = self.shard.synced().moved();
            self.answer_safe(&self.synced, self.shard.synced()).await;
            match self.until_first_timeout() {
                // Nothing waits, so there is nothing that a latch would have to tell anybody.
                None => self.first_to_sync.wait().await,
                Some(time) if time.is_zero() => self.answer_timed_out().await,
                Some(time) => moved.or(self.env.sleep(time)).await,
            }
        }
    }

    /// `None` when nothing waits. The timer is set for each round: a round is a disk flush, which costs far more.
    fn until_first_timeout(&self) -> Option<Duration> {
        let waited = self.env.monotonic_ns() - self.synced.borrow().front()?.appended_ns;
        Some(self.sync_timeout.saturating_sub(Duration::from_nanos(waited)))
    }

    async fn answer_safe(&self, line: &Line<E>, mark: &Watermark) {
        loop {
            // First, whatever the mark says: what a latched shard still acknowledged would come after refusals of what was
            // sent later. Nothing latches it before the next wait.
            if let Some(latched) = self.shard.latched() {
                return self.refuse_all(line, &latched).await;
            }
            for _ in 0..ANSWERS_PER_TURN {
                let Some(entry) = self.take_safe(line, mark.get()) else { return };
                self.answer(entry, response_code::SUCCESS);
            }
            self.env.yield_now().await;
        }
    }

    fn take_safe(&self, line: &Line<E>, mark: u64) -> Option<Pending<E>> {
        let mut line = line.borrow_mut();
        let Entry { pending, began, .. } = line.pop_front_if(|first| first.pending.end <= mark)?;
        self.stages.end(&self.env, Stage::Flush, began);
        Some(pending)
    }

    async fn refuse_all(&self, line: &Line<E>, latched: &Latched) {
        let remark = latched.to_string();
        let mut refused = 0;
        loop {
            let Some(entry) = line.borrow_mut().pop_front() else { break };
            entry.pending.responder.refuse(response_code::SYSTEM_ERROR, &remark);
            refused += 1;
            if refused % ANSWERS_PER_TURN == 0 {
                self.env.yield_now().await;
            }
        }
    }

    async fn answer_timed_out(&self) {
        while self.until_first_timeout().is_some_and(|time| time.is_zero()) {
            let Some(entry) = self.synced.borrow_mut().pop_front() else { break };
            add(&self.timed_out, 1);
            self.answer(entry.pending, response_code::FLUSH_DISK_TIMEOUT);
        }
        self.env.yield_now().await;
    }

    fn answer(&self, pending: Pending<E>, code: i32) {
        let Pending { responder, queue_id, queue_offset, physical, key, batch, recall, .. } = pending;
        let first = self.offset_ids.id(physical as i64);
        let all = batch.map(|records| self.joined_ids(&records));
        responder.answer(|out, opaque| {
            let answer = SendAnswer {
                code,
                opaque,
                remark: None,
                msg_id: all.as_deref().unwrap_or(first.as_str()),
                queue_id: queue_id as i32,
                queue_offset: queue_offset as i64,
                transaction_id: key.as_str(),
                batch_uniq_id: None,
                recall_handle: recall.as_deref(),
                region: &self.region,
                trace_on: self.trace_on,
            };
            send_response(out, Serialization::Json, &answer)
        });
    }

    fn joined_ids(&self, records: &[u64]) -> String {
        let mut ids = String::with_capacity(records.len() * 33);
        for (i, physical) in records.iter().enumerate() {
            if i > 0 {
                ids.push(',');
            }
            ids.push_str(self.offset_ids.id(*physical as i64).as_str());
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_are_kept() {
        for key in
            ["", "7F0000010001AAAA00000000000000FF", &"k".repeat(36), &"k".repeat(37), &"ü".repeat(300)]
        {
            assert_eq!(UniqueKey::of(Some(key)).as_str(), Some(key));
        }
        assert_eq!(UniqueKey::of(None).as_str(), None);
    }
}

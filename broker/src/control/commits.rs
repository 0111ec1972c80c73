//! Consumer offsets on their way to the journal, and the journal's snapshots.
//!
//! Invariants: a two-way commit is answered when its entry is durable; one-way commits, and those that pulls carry, are
//! gathered and journalled each `GATHER`, always with the present value of the queue; an offset is shown to a client
//! only once it is durable, so what a client has seen never goes back.
//! On failure: a crash loses one-way commits of the last moment, which nobody was promised or shown; a journal that is
//! latched or has no room refuses two-way commits with its reason, and offsets are served from memory: that has been
//! reported, and consumers go on.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;
use ringmq_io::limits::{META_ENTRY_BYTES_MAX, META_LOG_BYTES_BEFORE_SNAPSHOT, SNAPSHOT_ENTRIES_PER_TURN};
use ringmq_store::meta::{Latched, NotDurable};
use ringmq_wire::code::response_code;

use super::Control;
use super::announce::not_durable;
use super::journal::{self, SnapshotWriter};
use super::offsets::Commit;
use crate::control_plane::CarriedCommit;
use crate::group_queue::GroupQueueRef;
use crate::reply::Refusal;

/// How long one-way commits are gathered: clients commit each 5 s, and one fdatasync takes them all.
const GATHER: Duration = Duration::from_millis(100);

/// Offsets in one entry: 15 bytes each at most.
const OFFSETS_PER_ENTRY: usize = 8192;
const _: () = assert!(OFFSETS_PER_ENTRY * 15 + 1024 <= META_ENTRY_BYTES_MAX);

/// How often the journal's length is looked at.
const SNAPSHOT_LOOK: Duration = Duration::from_secs(1);

impl<E: Env> Control<E> {
    /// Stores an offset in memory after RocketMQ's checks; the caller sees to the journal.
    fn store_offset(&self, group: &str, topic: &str, queue: i32, offset: i64) -> Result<(), Refusal> {
        let mut state = self.state.borrow_mut();
        if !state.groups.contains(group) {
            let remark = format!("Group {group} not exist!");
            return Err(Refusal::new(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        }
        let Some(config) = state.topics.get(topic) else {
            return Err(Refusal::new(response_code::TOPIC_NOT_EXIST, format!("Topic {topic} not exist!")));
        };
        let queues = config.read_queue_nums.max(config.write_queue_nums);
        // A topic that has lost queues still lets go of what was stored for them.
        let known = u32::try_from(queue)
            .ok()
            .filter(|q| queue < queues || state.offsets.get(group, topic, *q).is_some());
        let Some(queue) = known else {
            let remark = format!("QueueId {queue} is outside of the {queues} queues of topic {topic}");
            return Err(Refusal::new(response_code::INVALID_PARAMETER, remark));
        };
        if offset < 0 {
            let remark = format!("Offset {offset} is negative, topic is {topic}");
            return Err(Refusal::new(response_code::INVALID_PARAMETER, remark));
        }
        match state.offsets.commit(group, topic, queue, offset) {
            Ok(Commit::MovedBack { from }) => {
                tracing::warn!(group, topic, queue, from, to = offset, "a consumer offset was moved back");
                Ok(())
            }
            Ok(Commit::Moved | Commit::Unchanged) => Ok(()),
            Err(full) => Err(Refusal::new(response_code::SYSTEM_ERROR, full.to_string())),
        }
    }

    /// A commit that somebody waits for; gives the number of its entry.
    pub fn commit(&self, group: &str, topic: &str, queue: i32, offset: i64) -> Result<u64, Refusal> {
        self.store_offset(group, topic, queue, offset)?;
        Ok(self.append(&journal::commit(group, topic, queue as u32, offset)))
    }

    /// An administrator has moved this offset, and the group does not know yet: what it commits is of its old position.
    pub fn is_reset(&self, group: &str, topic: &str, queue: i32) -> bool {
        let queue_id = queue as u32;
        self.resets.get(GroupQueueRef { group, topic, queue_id }).is_some()
    }

    /// A commit that nobody waits for.
    pub fn commit_soon(&self, group: &str, topic: &str, queue: i32, offset: i64) -> Result<(), Refusal> {
        if self.is_reset(group, topic, queue) {
            return Ok(());
        }
        self.store_offset(group, topic, queue, offset)?;
        self.state.borrow_mut().offsets.mark_dirty(group, topic, queue as u32);
        self.offsets_dirty.notify();
        Ok(())
    }

    pub(super) fn carried_commits(&self, commits: Vec<CarriedCommit>) {
        for CarriedCommit { group, topic, queue_id, offset } in commits {
            let (Ok(queue), Ok(offset)) = (i32::try_from(queue_id), i64::try_from(offset)) else { continue };
            if let Err(refusal) = self.commit_soon(&group, &topic, queue, offset) {
                tracing::debug!(
                    group = &*group,
                    topic = &*topic,
                    remark = refusal.remark,
                    "carried commit dropped"
                );
            }
        }
    }

    pub async fn durable(&self, entry: u64) -> Result<(), Refusal> {
        self.log.durable_or_stalled(entry).await.map_err(|error| not_durable(&error))
    }

    /// Is everything that the offsets in memory say durable?
    pub fn offsets_are_journalled(&self) -> bool {
        !self.state.borrow().offsets.has_dirty()
            && self.offsets_in_hand.get() == 0
            && self.log.durable().get() >= self.last_entry.get()
    }

    /// Everything committed so far, one-way or not, is durable when this returns. Offsets stay gathered in memory while
    /// the journal has no room.
    pub async fn flush_offsets(&self) -> Result<(), Refusal> {
        let failed = |error: NotDurable| not_durable(&error);
        if let Some(stalled) = self.log.stalled() {
            return Err(failed(stalled.into()));
        }
        self.offsets_in_hand.set(self.offsets_in_hand.get() + 1);
        let appended = self.append_dirty_offsets().await;
        self.offsets_in_hand.set(self.offsets_in_hand.get() - 1);
        appended.map_err(|latched| failed(latched.into()))?;
        self.log.durable_or_stalled(self.last_entry.get()).await.map_err(failed)
    }

    async fn append_dirty_offsets(&self) -> Result<(), Latched> {
        let dirty = self.state.borrow_mut().offsets.take_dirty();
        for (group, topic, offsets) in dirty {
            let offsets: Vec<_> = offsets.iter().collect();
            for part in offsets.chunks(OFFSETS_PER_ENTRY) {
                self.log.room().await?;
                let part = part.iter().copied();
                self.append(&journal::entry(|out| journal::offsets(out, &group, &topic, part)));
            }
        }
        Ok(())
    }

    /// The task that journals one-way commits.
    pub(super) async fn journal_gathered_commits(self: Rc<Self>) {
        let stop = &self.core.lifecycle.stop;
        while !stop.is_signalled() {
            if !self.state.borrow().offsets.has_dirty() {
                self.offsets_dirty.wait().or(stop.wait()).await;
                continue;
            }
            self.core.env.sleep(GATHER).or(stop.wait()).await;
            let room = async { Some(self.log.room().await) };
            match room
                .or(async {
                    stop.wait().await;
                    None
                })
                .await
            {
                Some(Ok(())) => {
                    // A refusal now is a stall, which `room` waits for, or a latch, which it tells.
                    let _ = self.flush_offsets().await;
                }
                Some(Err(latched)) => {
                    tracing::error!(%latched, "consumer offsets are not journalled any more");
                    return;
                }
                None => return,
            }
        }
    }

    /// The task that takes a snapshot when the journal has grown.
    pub(super) async fn keep_journal_short(self: Rc<Self>) {
        let stop = &self.core.lifecycle.stop;
        while !stop.is_signalled() {
            let enough = META_LOG_BYTES_BEFORE_SNAPSHOT.max(self.snapshot_bytes.get());
            if self.log.log_bytes() >= enough {
                self.snapshot().await;
            }
            self.core.env.sleep(SNAPSHOT_LOOK).or(stop.wait()).await;
        }
    }

    /// At a clean end: the next start has nothing to replay.
    pub(super) async fn last_snapshot(&self) {
        if self.last_entry.get() > self.entry_at_start {
            self.snapshot().await;
        }
    }

    async fn snapshot(&self) {
        // The state has everything up to this entry; what comes later is replayed on top of the snapshot.
        let upto = self.last_entry.get();
        let mut writer = SnapshotWriter::begin(&self.state.borrow());
        while !writer.step(&self.state.borrow(), SNAPSHOT_ENTRIES_PER_TURN) {
            self.core.env.yield_now().await;
        }
        let bytes = writer.finish();
        let len = bytes.len();
        match self.log.snapshot(bytes, upto).await {
            Ok(()) => {
                self.snapshot_bytes.set(len as u64);
                tracing::info!(bytes = len, upto, "metadata snapshot");
            }
            Err(error) => tracing::error!(%error, "metadata snapshot failed; the journal goes on growing"),
        }
    }
}

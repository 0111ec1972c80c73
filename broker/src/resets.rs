//! Offsets that an administrator has set and that the group's next pull is told, once.
//!
//! Owns: those that no pull has been told yet. There are two such tables: the control core's, by which commits of the old
//! position are passed over and offsets are shown; and that of the core of the queue's shard, by which its next pull is
//! answered (held ones at once). Order: the control core notes, commits, then tells the queue's core; that core says when a pull
//! has been told, and the control core forgets. RocketMQ 5.5.0 ConsumerOffsetManager#resetOffsetTable.
//! Invariant: the control core's table has at least what the others have, so it bounds them (`RESETS_MAX`).
//! On failure: a restart forgets them; the offsets are committed, and clients that start ask for them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringmq_io::{Class, Env};

use crate::ask::Question;
use crate::core::{CONTROL_CORE, Core};
use crate::group_queue::{GroupQueue, GroupQueueRef};
use crate::handlers::pull_message::{answer_again, answer_reset};

/// A pull that is told may have brought an offset of its old position, which is on its way to the control core for up to
/// 50 ms (`carried`): it has to find the reset still there.
const CARRIED_FIRST: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Resets {
    pending: RefCell<HashMap<GroupQueue, u64>>,
}

impl Resets {
    pub fn len(&self) -> usize {
        self.pending.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn set(&self, queue: GroupQueue, offset: u64) {
        self.pending.borrow_mut().insert(queue, offset);
    }

    pub fn get(&self, queue: GroupQueueRef<'_>) -> Option<u64> {
        let pending = self.pending.borrow();
        if pending.is_empty() { None } else { pending.get(&queue).copied() }
    }

    pub fn take(&self, queue: GroupQueueRef<'_>) -> Option<u64> {
        let mut pending = self.pending.borrow_mut();
        if pending.is_empty() { None } else { pending.remove(&queue) }
    }

    /// A pull was told this offset; a newer one stays.
    pub fn told(&self, queue: &GroupQueue, offset: u64) {
        let mut pending = self.pending.borrow_mut();
        if pending.get(queue) == Some(&offset) {
            pending.remove(queue);
        }
    }

    pub fn forget_group(&self, group: &str) {
        self.pending.borrow_mut().retain(|queue, _| *queue.group != *group);
    }

    pub fn forget_topic(&self, topic: &str) {
        self.pending.borrow_mut().retain(|queue, _| *queue.topic != *topic);
    }
}

impl<E: Env> Core<E> {
    /// The queue's shard is of this core: its group's next pull is told the offset, a held one at once.
    pub(crate) fn set_reset(self: &Rc<Self>, queue: GroupQueue, offset: u64) {
        let shard = self.placement.shard_of(&queue.topic, queue.queue_id);
        let local = self.local(shard).expect("a queue's core has its shard");
        let held = local.shard.find_queue(&queue.topic, queue.queue_id);
        self.resets.set(queue.clone(), offset);
        self.tables.forget_pulled(&queue.group, &queue.topic, queue.queue_id);
        let Some(held) = held else { return };
        for (pull, responder) in self.holds.take_group(shard, held, &queue.group) {
            let wanted = GroupQueueRef { group: &queue.group, topic: &queue.topic, queue_id: queue.queue_id };
            match self.take_reset(wanted) {
                Some(offset) => answer_reset(self, &pull, responder, offset),
                None => answer_again(self, pull, responder),
            }
        }
    }

    /// The offset that a pull of this group is told instead of messages.
    pub(crate) fn take_reset(self: &Rc<Self>, queue: GroupQueueRef<'_>) -> Option<u64> {
        let offset = self.resets.take(queue)?;
        let told = Question::ResetTold { queue: queue.to_owned_key(), offset };
        let core = self.clone();
        self.env.spawn(Class::Foreground, async move {
            core.env.sleep(CARRIED_FIRST).await;
            core.ask(CONTROL_CORE, told).await;
        });
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_a_newer_one_is_not_forgotten() {
        let resets = Resets::default();
        let queue = GroupQueueRef { group: "g", topic: "t", queue_id: 3 };
        assert_eq!(resets.take(queue), None);
        resets.set(queue.to_owned_key(), 7);
        assert_eq!(resets.get(queue), Some(7));
        assert_eq!(resets.get(GroupQueueRef { queue_id: 4, ..queue }), None);
        resets.set(queue.to_owned_key(), 9);
        resets.told(&queue.to_owned_key(), 7);
        assert_eq!(resets.take(queue), Some(9));
        assert_eq!(resets.take(queue), None);
        resets.set(queue.to_owned_key(), 1);
        resets.forget_topic("t");
        assert!(resets.is_empty());
    }
}

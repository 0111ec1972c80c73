//! Offsets that come along with pulls, gathered for the control core.
//!
//! Owns: the newest such offset for each (group, topic, queue) of this core's connections. They are handed over each
//! `FLUSH_EVERY`, and before any request of this core's connections goes to the control core, so that an offset that a
//! client commits itself is never overtaken by an older one that it sent with a pull.
//! Invariant: bounded by `CARRIED_COMMITS_MAX`; when full, it is handed over at once.
//! On failure: a crash loses what was not handed over; the client's next pull brings it again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringmq_io::limits::CARRIED_COMMITS_MAX;
use ringmq_io::{Class, Env};

use crate::control_plane::CarriedCommit;
use crate::core::Core;
use crate::group_queue::{GroupQueue, GroupQueueRef};

const FLUSH_EVERY: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Carried {
    pending: RefCell<HashMap<GroupQueue, u64>>,
    timer_runs: Cell<bool>,
}

impl Carried {
    fn put(&self, group: &str, topic: &str, queue_id: u32, offset: u64) {
        let mut pending = self.pending.borrow_mut();
        match pending.get_mut(&GroupQueueRef { group, topic, queue_id }) {
            Some(known) => *known = offset,
            None => {
                pending.insert(GroupQueueRef { group, topic, queue_id }.to_owned_key(), offset);
            }
        }
    }

    fn len(&self) -> usize {
        self.pending.borrow().len()
    }

    pub fn take(&self) -> Vec<CarriedCommit> {
        self.pending
            .borrow_mut()
            .drain()
            .map(|(GroupQueue { group, topic, queue_id }, offset)| CarriedCommit {
                group,
                topic,
                queue_id,
                offset,
            })
            .collect()
    }
}

impl<E: Env> Core<E> {
    /// Notes the offset that a pull brought.
    pub(crate) fn carry_commit(self: &Rc<Self>, group: &str, topic: &str, queue_id: u32, offset: u64) {
        self.carried.put(group, topic, queue_id, offset);
        if self.carried.len() >= CARRIED_COMMITS_MAX {
            self.flush_carried();
        } else if !self.carried.timer_runs.replace(true) {
            let core = self.clone();
            self.env.spawn(Class::Foreground, async move {
                core.env.sleep(FLUSH_EVERY).await;
                core.carried.timer_runs.set(false);
                core.flush_carried();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_offset_of_a_queue_is_kept() {
        let carried = Carried::default();
        carried.put("g", "t", 0, 5);
        carried.put("g", "t", 1, 7);
        carried.put("g", "t", 0, 6);
        let mut taken = carried.take();
        taken.sort_by_key(|commit| commit.queue_id);
        let offsets: Vec<_> = taken.iter().map(|commit| (commit.queue_id, commit.offset)).collect();
        assert_eq!(offsets, [(0, 6), (1, 7)]);
        assert!(carried.take().is_empty());
    }
}

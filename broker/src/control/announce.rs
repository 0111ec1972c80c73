//! Changes of topics and groups on their way from the journal to everybody else.
//!
//! Owns: the changes that wait for the journal. Invariants: a change is published to the cores, and offered to the name
//! servers, only when its entry is durable, so that no message is acknowledged in a topic that a crash could take
//! back; changes are published in the order of their entries.
//! On failure: a latched journal publishes nothing more, a stalled one nothing until there is room; whoever waits gets the
//! reason.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::sync::{Event, Watermark};
use ringmq_store::meta::{NotDurable, Unwilling};
use ringmq_wire::code::response_code;

use super::{CHANGES_PER_TURN, Control};
use crate::reply::Refusal;
use crate::tables::TableChange;

#[derive(Default)]
pub(super) struct Announcements {
    waiting: RefCell<VecDeque<(u64, TableChange)>>,
    added: Event,
    /// Number of the last entry whose change was published.
    done: Watermark,
    last: Cell<u64>,
}

impl<E: Env> Control<E> {
    /// `entry`: the number that the journal gave.
    pub(super) fn announce(&self, entry: u64, change: TableChange) {
        let announcements = &self.announcements;
        debug_assert!(entry > announcements.last.get());
        announcements.last.set(entry);
        announcements.waiting.borrow_mut().push_back((entry, change));
        announcements.added.notify();
    }

    /// Everything that has been changed so far is durable and published when this returns.
    pub async fn all_announced(&self) -> Result<(), Refusal> {
        let announcements = &self.announcements;
        let wanted = announcements.last.get();
        while announcements.done.get() < wanted {
            // What is durable is published, whatever becomes of the journal.
            self.log.durable_or_stalled(wanted).await.map_err(|error| not_durable(&error))?;
            if announcements.done.get() < wanted {
                announcements.done.moved().await;
            }
        }
        Ok(())
    }

    /// The task that publishes; ends when the journal fails.
    pub(super) async fn publish_announcements(self: Rc<Self>) {
        let announcements = &self.announcements;
        let mut published = 0;
        loop {
            let next = announcements.waiting.borrow().front().map(|(entry, _)| *entry);
            let Some(entry) = next else {
                announcements.added.wait().await;
                continue;
            };
            if let Err(latched) = self.log.wait_durable(entry).await {
                tracing::error!(%latched, "metadata journal failed; topics and groups cannot change any more");
                return;
            }
            let (_, change) = announcements.waiting.borrow_mut().pop_front().expect("only this task takes");
            let topic = match &change {
                TableChange::Topic(settings) => Some(settings.name.clone()),
                _ => None,
            };
            let permission = self.core.config.broker_permission;
            self.core.publish(change);
            if let Some(topic) = topic {
                self.registration.topic_changed(&topic);
            }
            if self.core.config.broker_permission != permission {
                self.registration.all_changed();
            }
            announcements.done.advance(entry);
            published += 1;
            if published % CHANGES_PER_TURN == 0 {
                self.core.env.yield_now().await;
            }
        }
    }
}

/// What a caller hears whose change is made but not durable.
pub(super) fn not_durable(error: &NotDurable) -> Refusal {
    Refusal::new(response_code::SYSTEM_ERROR, error.to_string())
}

/// What a caller hears whose change was not made.
pub(super) fn unwilling(error: &Unwilling) -> Refusal {
    match error {
        Unwilling::Behind => Refusal::new(response_code::SYSTEM_BUSY, format!("[RINGMQ_BUSY] {error}")),
        Unwilling::Latched(_) | Unwilling::Stalled(_) => {
            Refusal::new(response_code::SYSTEM_ERROR, error.to_string())
        }
    }
}

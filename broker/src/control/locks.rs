//! Which client of a group may consume a queue in order.
//!
//! Owns: the leases that LOCK_BATCH_MQ (41) takes and renews (RocketMQ 5.5.0 RebalanceLockManager). Held in memory only:
//! after a restart clients take them again. Invariants: a lease is good for `LEASE_MS` after its last renewal; only its
//! owner gives it back; their number is bounded.
//! On failure: with no room, a queue is simply not among the locked ones, and the client tries again.

use std::rc::Rc;

use hashbrown::HashMap;

use ringmq_io::limits::QUEUE_LOCKS_MAX;

/// RocketMQ's `rocketmq.broker.rebalance.lockMaxLiveTime`; clients renew each 20 s.
pub const LEASE_MS: i64 = 60_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockedQueue {
    pub topic: String,
    /// As the client names it; part of the key, since a client may lock queues of other brokers here by mistake.
    pub broker: String,
    pub queue: i32,
}

#[derive(Debug)]
struct Lease {
    owner: Rc<str>,
    renewed_ms: i64,
}

impl Lease {
    fn expired(&self, now_ms: i64) -> bool {
        now_ms - self.renewed_ms > LEASE_MS
    }
}

#[derive(Debug, Default)]
pub struct Locks {
    by_group: HashMap<String, HashMap<LockedQueue, Lease>>,
    count: usize,
}

impl Locks {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes or renews the leases of `queues`; gives those that the client holds now.
    pub fn lock(
        &mut self,
        group: &str,
        client: &str,
        queues: impl IntoIterator<Item = LockedQueue>,
        now_ms: i64,
    ) -> Vec<LockedQueue> {
        if self.count >= QUEUE_LOCKS_MAX {
            self.drop_expired(now_ms);
        }
        let leases = self.by_group.entry_ref(group).or_default();
        let client: Rc<str> = Rc::from(client);
        let mut held = Vec::new();
        for queue in queues {
            match leases.get_mut(&queue) {
                Some(lease) if *lease.owner == *client => lease.renewed_ms = now_ms,
                Some(lease) if lease.expired(now_ms) => {
                    *lease = Lease { owner: client.clone(), renewed_ms: now_ms };
                }
                Some(_) => continue,
                None if self.count >= QUEUE_LOCKS_MAX => continue,
                None => {
                    self.count += 1;
                    leases.insert(queue.clone(), Lease { owner: client.clone(), renewed_ms: now_ms });
                }
            }
            held.push(queue);
        }
        held
    }

    /// Gives back those of `queues` that the client holds.
    pub fn unlock(&mut self, group: &str, client: &str, queues: impl IntoIterator<Item = LockedQueue>) {
        let Some(leases) = self.by_group.get_mut(group) else { return };
        for queue in queues {
            if leases.get(&queue).is_some_and(|lease| *lease.owner == *client) {
                leases.remove(&queue);
                self.count -= 1;
            }
        }
        if leases.is_empty() {
            self.by_group.remove(group);
        }
    }

    /// Does any client hold an unexpired lease of this group? A direct send to its retry topic then goes to the dead
    /// letters (RocketMQ 5.5.0 SendMessageProcessor#handleRetryAndDLQ).
    pub fn any_held(&self, group: &str, now_ms: i64) -> bool {
        self.by_group.get(group).is_some_and(|leases| leases.values().any(|lease| !lease.expired(now_ms)))
    }

    pub fn drop_expired(&mut self, now_ms: i64) {
        for leases in self.by_group.values_mut() {
            leases.retain(|_, lease| !lease.expired(now_ms));
        }
        self.by_group.retain(|_, leases| !leases.is_empty());
        self.count = self.by_group.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue: i32) -> LockedQueue {
        LockedQueue { topic: "t".into(), broker: "b".into(), queue }
    }

    #[test]
    fn a_queue_has_one_owner_until_the_lease_ends() {
        let mut locks = Locks::default();
        assert_eq!(locks.lock("g", "a", [queue(0), queue(1)], 0).len(), 2);
        assert_eq!(locks.lock("g", "b", [queue(1), queue(2)], 1000), [queue(2)]);
        assert_eq!(locks.lock("other", "b", [queue(1)], 1000), [queue(1)]);
        // Renewed by its owner, it is good for another minute; the other one has run out.
        assert_eq!(locks.lock("g", "a", [queue(0)], 50_000), [queue(0)]);
        assert_eq!(locks.lock("g", "b", [queue(0), queue(1)], 60_001), [queue(1)]);
        assert!(locks.any_held("g", 60_001));
        assert!(!locks.any_held("g", 200_000));
    }

    #[test]
    fn only_the_owner_unlocks() {
        let mut locks = Locks::default();
        locks.lock("g", "a", [queue(0)], 0);
        locks.unlock("g", "b", [queue(0)]);
        assert_eq!(locks.lock("g", "b", [queue(0)], 1), []);
        locks.unlock("g", "a", [queue(0), queue(7)]);
        assert!(locks.is_empty());
        assert_eq!(locks.lock("g", "b", [queue(0)], 1), [queue(0)]);
    }

    #[test]
    fn expired_leases_give_their_memory_back() {
        let mut locks = Locks::default();
        locks.lock("g", "a", (0..10).map(queue), 0);
        locks.lock("h", "a", [queue(0)], 50_000);
        locks.drop_expired(60_001);
        assert_eq!(locks.len(), 1);
    }
}

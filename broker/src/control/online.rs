//! What follows from clients coming, changing and going: replicas learn of it, members are told to rebalance.
//!
//! Invariants: replicas hold a group's subscriptions before its members are told (the lanes keep order); a group's
//! members are told once for all that happened to it in one turn, so that a thousand members that come together are
//! not told a million times.
//! On failure: a notification that is lost with its connection is not missed by anybody; clients rebalance each 20 s
//! anyway.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;
use ringmq_transport::ConnId;
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code;
use ringmq_wire::command::FLAG_ONEWAY;
use ringmq_wire::encode::begin_request;
use ringmq_wire::headers::ConsumerGroupHeader;

use super::Control;
use super::clients::Change;
use super::convert;
use crate::tables::TableChange;

/// How often memberships are looked at; RocketMQ's ClientHousekeepingService does so each 10 s.
const EXPIRY_SCAN: Duration = Duration::from_secs(5);
const EXPIRED_PER_TURN: usize = 1024;

impl<E: Env> Control<E> {
    /// Milliseconds of a clock that never jumps, for everything that expires.
    pub fn uptime_ms(&self) -> i64 {
        (self.core.env.monotonic_ns() / 1_000_000) as i64
    }

    pub(crate) fn consumers_changed(&self, group: &str, change: Change) {
        if change.replace {
            let replacement = match self.clients.borrow().consumer_group(group) {
                Some(online) => TableChange::Consumers(convert::consumers(group, online)),
                None => TableChange::ConsumersGone(group.into()),
            };
            self.core.publish(replacement);
        }
        if change.notify {
            self.notify_later(group);
        }
    }

    /// A member has left the group, however it came about.
    pub(crate) fn member_left(&self, group: &str) {
        let gone = self.clients.borrow().consumer_group(group).is_none();
        self.consumers_changed(group, Change { notify: true, replace: gone, fingerprint_moved: false });
    }

    pub(super) fn connection_closed(&self, conn: ConnId) {
        let left = self.clients.borrow_mut().disconnected(conn);
        for group in left {
            self.member_left(&group);
        }
    }

    /// Of a oneway request to a client: each frame has its own, nothing waits for an answer.
    pub(crate) fn number(&self) -> i32 {
        let opaque = self.next_opaque.get();
        self.next_opaque.set(opaque.wrapping_add(1));
        opaque
    }

    fn notify_later(&self, group: &str) {
        self.to_notify.borrow_mut().insert(group.into());
        self.notify_due.notify();
    }

    /// The task that tells members to rebalance.
    pub(super) async fn notify_changed_groups(self: Rc<Self>) {
        loop {
            let groups = self.to_notify.take();
            if groups.is_empty() {
                self.notify_due.wait().await;
                // What else happens in this turn goes along.
                self.core.env.yield_now().await;
                continue;
            }
            for group in groups {
                self.notify_members(&group);
            }
        }
    }

    /// NOTIFY_CONSUMER_IDS_CHANGED (40) to every member.
    fn notify_members(&self, group: &str) {
        let wanted =
            self.state.borrow().groups.get(group).is_none_or(|g| g.notify_consumer_ids_changed_enable);
        let clients = self.clients.borrow();
        let Some(online) = clients.consumer_group(group).filter(|g| wanted && !g.is_broadcasting()) else {
            return;
        };
        for conn in online.members.keys() {
            let opaque = self.number();
            let mut frame = Vec::with_capacity(192);
            let code = request_code::NOTIFY_CONSUMER_IDS_CHANGED;
            let mut writer = begin_request(&mut frame, Serialization::Json, code, opaque, FLAG_ONEWAY);
            ConsumerGroupHeader { consumer_group: group }.write(&mut writer);
            writer.finish(&[]).expect("a group's name fits a frame");
            self.core.push_to_client(*conn, frame);
        }
    }

    /// The task that drops clients which have fallen silent, and leases that have run out.
    pub(super) async fn expire_silent_clients(self: Rc<Self>) {
        let stop = &self.core.lifecycle.stop;
        while !stop.is_signalled() {
            self.core.env.sleep(EXPIRY_SCAN).or(stop.wait()).await;
            let timeout = i64::try_from(self.core.config.channel_expired_timeout_ms).unwrap_or(i64::MAX);
            let mut more = true;
            while more {
                let (lost, again) =
                    self.clients.borrow_mut().expire(self.uptime_ms(), timeout, EXPIRED_PER_TURN);
                for group in &lost {
                    tracing::warn!(group = &**group, timeout, "a consumer has not beaten and is dropped");
                    self.member_left(group);
                }
                more = again;
                self.core.env.yield_now().await;
            }
            self.locks.borrow_mut().drop_expired(self.uptime_ms());
        }
    }
}

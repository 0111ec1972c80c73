//! Who is online: the members of consumer and producer groups, and what each consumer group subscribes to.
//!
//! Owns: memberships (a connection in a group) and their expiry. Held in memory only: clients beat each 30 s, so a
//! restarted broker knows them again. Pure state: what a change calls for (telling members, replacing replicas) is
//! given back as a `Change` and done by the caller. Rules: RocketMQ 5.5.0 ConsumerManager, ConsumerGroupInfo,
//! ProducerManager.
//! Invariants: a membership is in its group's map and in its connection's list, or in neither; a group without members
//! does not exist; memberships, and subscriptions of a group, are bounded.
//! On failure: a full table refuses the new membership with an error that says so, and keeps the others alive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use hashbrown::HashMap;
use smallvec::SmallVec;
use thiserror::Error;

use ringmq_io::limits::{CLIENT_MEMBERSHIPS_MAX, SUBSCRIPTIONS_PER_GROUP_MAX};
use ringmq_transport::ConnId;
use ringmq_wire::Language;
use ringmq_wire::json_dialect::{ConsumeFromWhere, ConsumeType, MessageModel};
use ringmq_wire::subscription::SubscriptionData;

/// A client in one group.
#[derive(Clone, Debug)]
pub struct Member {
    pub client_id: Rc<str>,
    /// The client's end of the connection.
    pub addr: SocketAddr,
    pub language: Language,
    pub version: i32,
    pub beat_ms: i64,
    /// Where the membership stands in `Clients::expiry`.
    expiry: ExpiryKey,
}

/// When to look at a membership again, and a number that makes it unique.
type ExpiryKey = (i64, u64);

#[derive(Debug)]
pub struct ConsumerGroup {
    pub consume_type: ConsumeType,
    pub model: MessageModel,
    pub from_where: ConsumeFromWhere,
    /// In the order of connecting: connection numbers grow.
    pub members: BTreeMap<ConnId, Member>,
    pub subscriptions: BTreeMap<String, SubscriptionData>,
    /// Fingerprint of the last beat of version 2; 0 after one of version 1.
    fingerprint: i32,
}

impl ConsumerGroup {
    pub fn is_broadcasting(&self) -> bool {
        self.model == MessageModel::Broadcasting
    }

    /// The connection and the version of a member; of several with this id the last that came.
    pub fn member(&self, client_id: &str) -> Option<(ConnId, i32)> {
        let mut newest = self.members.iter().rev();
        newest
            .find(|(_, member)| *member.client_id == *client_id)
            .map(|(conn, member)| (*conn, member.version))
    }

    pub fn client_ids(&self) -> impl Iterator<Item = &Rc<str>> {
        self.members.values().map(|member| &member.client_id)
    }
}

/// Who beats.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub conn: ConnId,
    pub id: &'a str,
    pub addr: SocketAddr,
    pub language: Language,
    pub version: i32,
}

/// How the client consumes for a group.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerKind {
    pub consume_type: ConsumeType,
    pub model: MessageModel,
    pub from_where: ConsumeFromWhere,
    pub fingerprint: i32,
}

/// What has become different by an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Members or subscribed topics: the members rebalance (40) unless the group does not want that.
    pub notify: bool,
    /// What replicas hold of the group (model, subscriptions) must be replaced.
    pub replace: bool,
    /// The client's fingerprint is another one than the last: it is told so.
    pub fingerprint_moved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    #[error("no room for another client: {CLIENT_MEMBERSHIPS_MAX} memberships in groups")]
    TooManyMemberships,
    #[error("group {group} subscribes to {count} topics, at most {SUBSCRIPTIONS_PER_GROUP_MAX} are allowed")]
    TooManySubscriptions { group: String, count: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Consumer,
    Producer,
}

#[derive(Clone, Debug)]
struct Membership {
    role: Role,
    group: Rc<str>,
}

#[derive(Debug, Default)]
pub struct Clients {
    consumers: HashMap<Rc<str>, ConsumerGroup>,
    producers: HashMap<Rc<str>, BTreeMap<ConnId, Member>>,
    /// Producers by client id; of several connections of one client the last that came.
    producer_clients: HashMap<Rc<str>, ConnId>,
    /// How often some producer was asked for.
    asked_for: usize,
    /// A client instance is seldom in more than two groups.
    by_conn: HashMap<ConnId, SmallVec<[Membership; 2]>>,
    memberships: usize,
    joined: u64,
    /// All memberships by the last beat that was seen when they were looked at. An entry is moved on only when its
    /// time has come, so that a beat costs nothing here.
    expiry: BTreeMap<ExpiryKey, (ConnId, Membership)>,
}

impl Clients {
    pub fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    pub fn producer_group(&self, group: &str) -> Option<&BTreeMap<ConnId, Member>> {
        self.producers.get(group)
    }

    pub fn producer_client(&self, client_id: &str) -> Option<ConnId> {
        self.producer_clients.get(client_id).copied()
    }

    /// Each in turn.
    pub fn any_producer(&mut self, group: &str) -> Option<ConnId> {
        let members = self.producers.get(group)?;
        self.asked_for = self.asked_for.wrapping_add(1);
        members.keys().nth(self.asked_for % members.len()).copied()
    }

    /// What a group's online members want of a topic; `None` of a group that is not online or wants nothing of it.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<&SubscriptionData> {
        self.consumers.get(group)?.subscriptions.get(topic)
    }

    /// The group is online and does not want the topic: what it has committed there is of old.
    pub fn has_left(&self, group: &str, topic: &str) -> bool {
        self.consumers.get(group).is_some_and(|online| {
            !online.subscriptions.is_empty() && !online.subscriptions.contains_key(topic)
        })
    }

    pub fn consumer_groups(&self) -> impl Iterator<Item = (&Rc<str>, &ConsumerGroup)> {
        self.consumers.iter()
    }

    pub fn producer_groups(&self) -> impl Iterator<Item = (&Rc<str>, &BTreeMap<ConnId, Member>)> {
        self.producers.iter()
    }

    pub fn memberships(&self) -> usize {
        self.memberships
    }

    /// A consumer beats. Without `subscriptions` those known stay.
    pub fn consumer_beats(
        &mut self,
        group: &str,
        client: Client<'_>,
        kind: ConsumerKind,
        subscriptions: Option<Vec<SubscriptionData>>,
        now_ms: i64,
    ) -> Result<Change, ClientError> {
        let count = subscriptions.as_ref().map_or(0, Vec::len);
        if count > SUBSCRIPTIONS_PER_GROUP_MAX {
            return Err(ClientError::TooManySubscriptions { group: group.into(), count });
        }
        let known = self.consumers.get(group).is_some_and(|g| g.members.contains_key(&client.conn));
        if !known && self.memberships >= CLIENT_MEMBERSHIPS_MAX {
            return Err(ClientError::TooManyMemberships);
        }
        let name =
            self.consumers.get_key_value(group).map_or_else(|| Rc::from(group), |(name, _)| name.clone());
        let mut change = Change::default();
        let online = self.consumers.entry(name.clone()).or_insert_with(|| {
            change.replace = true;
            ConsumerGroup {
                consume_type: kind.consume_type,
                model: kind.model,
                from_where: kind.from_where,
                members: BTreeMap::new(),
                subscriptions: BTreeMap::new(),
                fingerprint: 0,
            }
        });
        // A group that has only just appeared has no fingerprint to differ from.
        change.fingerprint_moved = online.fingerprint != kind.fingerprint && !online.members.is_empty();
        change.replace |= online.model != kind.model;
        online.fingerprint = kind.fingerprint;
        online.consume_type = kind.consume_type;
        online.model = kind.model;
        online.from_where = kind.from_where;
        let expiry = (now_ms, self.joined + 1);
        change.notify = beat(&mut online.members, client, now_ms, expiry);
        match subscriptions {
            Some(subscriptions) => change = update_subscriptions(online, subscriptions, change),
            // The client believes that they are known, say from before a restart: being told that its fingerprint is
            // another one makes it send them with its next beat.
            None => change.fingerprint_moved |= online.subscriptions.is_empty(),
        }
        if !known {
            self.join(client.conn, Membership { role: Role::Consumer, group: name }, expiry);
        }
        Ok(change)
    }

    pub fn producer_beats(
        &mut self,
        group: &str,
        client: Client<'_>,
        now_ms: i64,
    ) -> Result<(), ClientError> {
        let known = self.producers.get(group).is_some_and(|members| members.contains_key(&client.conn));
        if !known && self.memberships >= CLIENT_MEMBERSHIPS_MAX {
            return Err(ClientError::TooManyMemberships);
        }
        let name =
            self.producers.get_key_value(group).map_or_else(|| Rc::from(group), |(name, _)| name.clone());
        let expiry = (now_ms, self.joined + 1);
        let members = self.producers.entry(name.clone()).or_default();
        let other = members.get(&client.conn).filter(|member| *member.client_id != *client.id);
        let other = other.map(|member| member.client_id.clone());
        beat(members, client, now_ms, expiry);
        if let Some(other) = &other
            && self.producer_clients.get(other) == Some(&client.conn)
        {
            self.producer_clients.remove(other);
        }
        if !known || other.is_some() || !self.producer_clients.contains_key(client.id) {
            self.producer_clients.insert(members[&client.conn].client_id.clone(), client.conn);
        }
        if !known {
            self.join(client.conn, Membership { role: Role::Producer, group: name }, expiry);
        }
        Ok(())
    }

    /// `true`: it was a member, and those left must be told.
    pub fn consumer_leaves(&mut self, group: &str, conn: ConnId) -> bool {
        self.leave(conn, Role::Consumer, group)
    }

    pub fn producer_leaves(&mut self, group: &str, conn: ConnId) {
        self.leave(conn, Role::Producer, group);
    }

    /// The connection is gone: gives the consumer groups that it was in.
    pub fn disconnected(&mut self, conn: ConnId) -> Vec<Rc<str>> {
        let mut left = Vec::new();
        for Membership { role, group } in self.by_conn.remove(&conn).unwrap_or_default() {
            self.remove_member(conn, role, &group);
            if role == Role::Consumer {
                left.push(group);
            }
        }
        left
    }

    /// Ends the memberships without a beat since `now_ms - timeout_ms`; gives the consumer groups that lost a member.
    /// Works off at most `most` entries, so that a caller can yield; call again while the second value is `true`.
    pub fn expire(&mut self, now_ms: i64, timeout_ms: i64, most: usize) -> (Vec<Rc<str>>, bool) {
        let mut lost = Vec::new();
        for _ in 0..most {
            let Some(entry) = self.expiry.first_entry() else { return (lost, false) };
            if now_ms - entry.key().0 <= timeout_ms {
                return (lost, false);
            }
            let ((_, number), (conn, membership)) = entry.remove_entry();
            let member = self.member_mut(conn, &membership).expect("an entry belongs to a member");
            if now_ms - member.beat_ms <= timeout_ms {
                let key = (member.beat_ms, number);
                member.expiry = key;
                self.expiry.insert(key, (conn, membership));
                continue;
            }
            self.leave(conn, membership.role, &membership.group);
            if membership.role == Role::Consumer {
                lost.push(membership.group);
            }
        }
        (lost, true)
    }

    fn member_mut(&mut self, conn: ConnId, membership: &Membership) -> Option<&mut Member> {
        match membership.role {
            Role::Consumer => self.consumers.get_mut(&membership.group)?.members.get_mut(&conn),
            Role::Producer => self.producers.get_mut(&membership.group)?.get_mut(&conn),
        }
    }

    fn join(&mut self, conn: ConnId, membership: Membership, expiry: ExpiryKey) {
        self.memberships += 1;
        self.joined = expiry.1;
        self.by_conn.entry(conn).or_default().push(membership.clone());
        self.expiry.insert(expiry, (conn, membership));
    }

    fn leave(&mut self, conn: ConnId, role: Role, group: &str) -> bool {
        if !self.remove_member(conn, role, group) {
            return false;
        }
        if let Some(memberships) = self.by_conn.get_mut(&conn) {
            memberships.retain(|m| m.role != role || *m.group != *group);
            if memberships.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
        true
    }

    fn remove_member(&mut self, conn: ConnId, role: Role, group: &str) -> bool {
        let members = match role {
            Role::Consumer => self.consumers.get_mut(group).map(|group| &mut group.members),
            Role::Producer => self.producers.get_mut(group),
        };
        let Some(members) = members else { return false };
        let Some(member) = members.remove(&conn) else { return false };
        if role == Role::Producer && self.producer_clients.get(&member.client_id) == Some(&conn) {
            let others = self.by_conn.get(&conn).into_iter().flatten();
            if !others.filter(|m| m.role == role).any(|m| *m.group != *group) {
                self.producer_clients.remove(&member.client_id);
            }
        }
        self.expiry.remove(&member.expiry);
        self.memberships -= 1;
        if members.is_empty() {
            match role {
                Role::Consumer => drop(self.consumers.remove(group)),
                Role::Producer => drop(self.producers.remove(group)),
            }
        }
        true
    }
}

/// Notes a beat; `true` if the connection is new in the group.
fn beat(members: &mut BTreeMap<ConnId, Member>, client: Client<'_>, now_ms: i64, expiry: ExpiryKey) -> bool {
    match members.get_mut(&client.conn) {
        Some(member) => {
            member.beat_ms = now_ms;
            if *member.client_id != *client.id {
                member.client_id = Rc::from(client.id);
            }
            false
        }
        None => {
            let Client { conn, id, addr, language, version } = client;
            let member = Member { client_id: Rc::from(id), addr, language, version, beat_ms: now_ms, expiry };
            members.insert(conn, member);
            true
        }
    }
}

/// The last beat decides, except that a topic's subscription is replaced only by a newer one
/// (RocketMQ 5.5.0 ConsumerGroupInfo#updateSubscription). Only added and removed topics make members rebalance.
fn update_subscriptions(
    group: &mut ConsumerGroup,
    subscriptions: Vec<SubscriptionData>,
    mut change: Change,
) -> Change {
    let mut topics: Vec<String> = subscriptions.iter().map(|s| s.topic.clone()).collect();
    topics.sort_unstable();
    for subscription in subscriptions {
        match group.subscriptions.get_mut(&subscription.topic) {
            None => {
                group.subscriptions.insert(subscription.topic.clone(), subscription);
                change.notify = true;
                change.replace = true;
            }
            Some(known) if subscription.sub_version > known.sub_version => {
                *known = subscription;
                change.replace = true;
            }
            Some(_) => {}
        }
    }
    let before = group.subscriptions.len();
    group.subscriptions.retain(|topic, _| topics.binary_search(topic).is_ok());
    if group.subscriptions.len() != before {
        change.notify = true;
        change.replace = true;
    }
    change
}

#[cfg(test)]
mod tests;

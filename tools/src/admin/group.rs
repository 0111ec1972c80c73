//! `ringmq admin group`: consumer groups, how far behind they are, who consumes, deleting them.
//!
//! Invariant: a group that no broker has is an error, although brokers answer for it as for one that has consumed nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Subcommand;
use ringmq_broker::control::groups::SYSTEM_GROUPS;
use ringmq_broker::control::names;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::headers::{
    ConsumerGroupHeader, DeleteSubscriptionGroupHeader, GetConsumeStatsHeader, GetConsumerRunningInfoHeader,
};
use ringmq_wire::json_dialect::{
    self, ClientConnection, ConsumeStats, ConsumerConnection, Key, MessageQueue, OffsetWrapper,
    SubscriptionGroupConfig, SubscriptionGroupTable, Value as Parsed,
};
use serde_json::Value;

use super::report::{Report, Table, time};
use super::session::{Broker, Session};
use super::topic;

#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Groups with their settings
    List {
        /// Those of RocketMQ's own tools too
        #[arg(long)]
        all: bool,
    },
    /// How many messages a group has not consumed, queue by queue, and who has the queue
    Lag {
        group: String,
        #[arg(long)]
        topic: Option<String>,
    },
    /// A group's consumers that are online, and what they subscribe to
    Clients { group: String },
    /// Delete a group that nobody consumes for, its offsets and its retry topic; dead letters are kept
    Delete {
        group: String,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

pub fn run(session: &mut Session, verb: &Verb) -> Result<Report> {
    match verb {
        Verb::List { all } => list(session, *all),
        Verb::Lag { group, topic } => lag(session, group, topic.as_deref()),
        Verb::Clients { group } => clients(session, group),
        Verb::Delete { group, dry_run } => delete(session, group, *dry_run),
    }
}

fn groups_of(session: &mut Session, broker: &Broker) -> Result<BTreeMap<String, SubscriptionGroupConfig>> {
    let code = request_code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG;
    let table: SubscriptionGroupTable = session.ask(&broker.address, code, |_| {}, &[])?.ok()?.body()?;
    Ok(table.subscription_group_table)
}

fn list(session: &mut Session, all: bool) -> Result<Report> {
    let mut table = Table::new(&[
        "group",
        "broker",
        "may_consume",
        "ordered",
        "broadcast",
        "retries_max",
        "retry_queues",
    ]);
    let mut rows = BTreeMap::new();
    for broker in session.masters()? {
        for (name, group) in groups_of(session, &broker)? {
            if all || !SYSTEM_GROUPS.contains(&name.as_str()) {
                rows.insert((name, broker.name.clone()), group);
            }
        }
    }
    for ((name, broker), group) in rows {
        table.row([
            name.into(),
            broker.into(),
            group.consume_enable.into(),
            group.consume_message_orderly.into(),
            group.consume_broadcast_enable.into(),
            group.retry_max_times.into(),
            group.retry_queue_nums.into(),
        ]);
    }
    let mut report = Report::default();
    report.table("groups", table);
    Ok(report)
}

/// The brokers that have the group.
fn holders(session: &mut Session, group: &str) -> Result<Vec<Broker>> {
    let mut found = Vec::new();
    for broker in session.masters()? {
        if groups_of(session, &broker)?.contains_key(group) {
            found.push(broker);
        }
    }
    if found.is_empty() { bail!("no broker has group {group}") } else { Ok(found) }
}

/// Where the group is in each queue in which it has committed an offset, in all brokers.
pub fn offsets(
    session: &mut Session,
    group: &str,
    topic: Option<&str>,
) -> Result<BTreeMap<MessageQueue, OffsetWrapper>> {
    let header = GetConsumeStatsHeader { consumer_group: group, topic, topic_list: None };
    let mut offsets = BTreeMap::new();
    for broker in holders(session, group)? {
        let code = request_code::GET_CONSUME_STATS;
        let stats: ConsumeStats =
            session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?.body()?;
        offsets.extend(stats.offset_table);
    }
    Ok(offsets)
}

fn lag(session: &mut Session, group: &str, topic: Option<&str>) -> Result<Report> {
    if let Some(topic) = topic {
        session.route(topic)?;
    }
    let offsets = offsets(session, group, topic)?;
    let owners = owners(session, group)?;
    let mut table = Table::new(&[
        "topic",
        "broker",
        "queue",
        "broker_offset",
        "consumer_offset",
        "lag",
        "last_consumed",
        "client",
    ]);
    let mut total = 0;
    for (queue, at) in offsets {
        let lag = at.broker_offset - at.consumer_offset;
        total += lag;
        let client = owners.get(&queue).map_or(Value::Null, |client| client.as_str().into());
        table.row([
            queue.topic.into(),
            queue.broker_name.into(),
            queue.queue_id.into(),
            at.broker_offset.into(),
            at.consumer_offset.into(),
            lag.into(),
            time(at.last_timestamp),
            client,
        ]);
    }
    let mut report = Report::default();
    report.fact("group", group).fact("total_lag", total).table("queues", table);
    Ok(report)
}

/// The group's online members, by their id, as each broker knows them.
fn online(session: &mut Session, group: &str) -> Result<BTreeMap<String, (Broker, ClientConnection)>> {
    let mut members = BTreeMap::new();
    for (broker, connections) in connections(session, group)? {
        for member in connections.connection_set {
            members.insert(member.client_id.clone(), (broker.clone(), member));
        }
    }
    Ok(members)
}

fn connections(session: &mut Session, group: &str) -> Result<Vec<(Broker, ConsumerConnection)>> {
    let header = ConsumerGroupHeader { consumer_group: group };
    let mut found = Vec::new();
    for broker in session.masters()? {
        let code = request_code::GET_CONSUMER_CONNECTION_LIST;
        let answer = session.ask(&broker.address, code, |w| header.write(w), &[])?;
        if answer.code != response_code::CONSUMER_NOT_ONLINE {
            found.push((broker, answer.ok()?.body()?));
        }
    }
    Ok(found)
}

/// Who has which queue, asked of the consumers by way of a broker. One that cannot say so (other than Java's) has none.
fn owners(session: &mut Session, group: &str) -> Result<BTreeMap<MessageQueue, String>> {
    let mut owners = BTreeMap::new();
    for (client_id, (broker, _)) in online(session, group)? {
        let header = GetConsumerRunningInfoHeader {
            consumer_group: group,
            client_id: &client_id,
            jstack_enable: false,
        };
        let code = request_code::GET_CONSUMER_RUNNING_INFO;
        let answer = session.ask(&broker.address, code, |w| header.write(w), &[])?;
        if answer.code == response_code::SUCCESS {
            owners.extend(queues_of(&answer.body)?.into_iter().map(|queue| (queue, client_id.clone())));
        }
    }
    Ok(owners)
}

/// The keys of `mqTable`: queues, each a whole object or one in quotes.
fn queues_of(running_info: &[u8]) -> Result<Vec<MessageQueue>> {
    let text = String::from_utf8_lossy(running_info);
    let info = json_dialect::parse(&text)?;
    let Some(Parsed::Map(entries)) = info.get("mqTable") else { return Ok(Vec::new()) };
    let queue = |fields: &Parsed<'_>| {
        let text = |name| match fields.get(name) {
            Some(Parsed::Text(text)) => Some(text.to_string()),
            _ => None,
        };
        let Some(Parsed::Int(queue_id)) = fields.get("queueId") else { return None };
        let queue_id = i32::try_from(*queue_id).ok()?;
        Some(MessageQueue { broker_name: text("brokerName")?, queue_id, topic: text("topic")? })
    };
    let key = |key: &Key<'_>| match key {
        Key::Map(fields) => queue(&Parsed::Map(fields.clone())),
        Key::Text(text) => queue(&json_dialect::parse(text).ok()?),
        Key::Int(_) => None,
    };
    Ok(entries.iter().filter_map(|(name, _)| key(name)).collect())
}

fn clients(session: &mut Session, group: &str) -> Result<Report> {
    let connections = connections(session, group)?;
    if connections.is_empty() {
        holders(session, group)?;
    }
    let mut clients = Table::new(&["client", "address", "language", "version", "broker"]);
    let mut subscriptions = BTreeSet::new();
    let mut report = Report::default();
    report.fact("group", group).fact("online", !connections.is_empty());
    if let Some((_, first)) = connections.first() {
        report.fact("consumes", first.consume_type.name()).fact("model", first.message_model.name());
    }
    for (broker, found) in connections {
        for subscription in found.subscription_table.into_values() {
            subscriptions.insert((subscription.topic, subscription.expression_type, subscription.sub_string));
        }
        for member in found.connection_set {
            clients.row([
                member.client_id.into(),
                member.client_addr.into(),
                member.language.into(),
                ringmq_wire::version::name(member.version).into(),
                broker.name.as_str().into(),
            ]);
        }
    }
    let mut wanted = Table::new(&["topic", "type", "expression"]);
    for (topic, kind, expression) in subscriptions {
        wanted.row([topic.into(), kind.into(), expression.into()]);
    }
    report.table("clients", clients).table("subscriptions", wanted);
    Ok(report)
}

fn delete(session: &mut Session, group: &str, dry_run: bool) -> Result<Report> {
    let holders = holders(session, group)?;
    let online = online(session, group)?;
    if !dry_run && !online.is_empty() {
        let ids: Vec<_> = online.into_keys().collect();
        bail!("group {group} has consumers, which would make it again; stop them first: {}", ids.join(", "));
    }
    let retry = names::retry_topic(group);
    let has_retry = session.find_route(&retry)?.is_some();
    let mut table = Table::new(&["broker", "cluster", "address"]);
    for broker in holders {
        if !dry_run {
            let header = DeleteSubscriptionGroupHeader { group_name: group, clean_offset: true };
            let code = request_code::DELETE_SUBSCRIPTIONGROUP;
            session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?;
        }
        table.row([broker.name.into(), broker.cluster.into(), broker.address.into()]);
    }
    if has_retry && !dry_run {
        topic::delete(session, &retry, false)?;
    }
    let mut report = Report::default();
    report.fact("group", group).fact("dry_run", dry_run).fact("online", online.len());
    report.fact("retry_topic", has_retry.then_some(retry)).table("deleted", table);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_consumer_are_read_in_both_dialects() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 3, topic: "t".into() };
        for text in [
            r#"{"jstack":null,"mqTable":{{"brokerName":"b","queueId":3,"topic":"t"}:{"locked":false}}}"#,
            r#"{"mqTable":{"{\"brokerName\":\"b\",\"queueId\":3,\"topic\":\"t\"}":{}},"properties":{}}"#,
        ] {
            assert_eq!(queues_of(text.as_bytes()).unwrap(), std::slice::from_ref(&queue));
        }
        assert_eq!(queues_of(b"{}").unwrap(), []);
        assert!(queues_of(b"{").is_err());
    }
}

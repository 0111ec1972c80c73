//! `ringmq admin topic`: where topics are, what is in them; making and deleting them.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use ringmq_broker::control::names::{self, AUTO_CREATE_TOPIC};
use ringmq_wire::code::request_code;
use ringmq_wire::headers::{CreateTopicHeader, DeleteTopicInNamesrvHeader, TopicHeader};
use ringmq_wire::json_dialect::{TopicList, TopicStatsTable, perm};
use serde_json::Value;

use super::report::{Report, Table, time};
use super::session::{Broker, Session, masters_of};

#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Names of topics
    List {
        /// Retry topics, dead letters and those of the servers too
        #[arg(long)]
        all: bool,
    },
    /// Brokers, queues and offsets of a topic
    Show { topic: String },
    /// Make a topic on all brokers
    Create(Create),
    /// Delete a topic, its messages and the offsets of its groups on all brokers
    Delete {
        topic: String,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub struct Create {
    pub topic: String,
    /// Queues for reading and writing on each broker
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..))]
    pub queues: i32,
    /// Only in this cluster
    #[arg(long)]
    pub cluster: Option<String>,
    /// Attributes, as mqadmin takes them: +key=value,-key. A topic with +ringmq.dedup.window=60s takes a message that its
    /// producer sends again within a minute only once
    #[arg(long, value_name = "CHANGES", allow_hyphen_values = true)]
    pub attributes: Option<String>,
    /// Change the topic if it is there
    #[arg(long)]
    pub update: bool,
}

pub fn run(session: &mut Session, verb: &Verb) -> Result<Report> {
    match verb {
        Verb::List { all } => list(session, *all),
        Verb::Show { topic } => show(session, topic),
        Verb::Create(create) => make(session, create),
        Verb::Delete { topic, dry_run } => delete(session, topic, *dry_run),
    }
}

fn list(session: &mut Session, all: bool) -> Result<Report> {
    let ask = |session: &mut Session, code| -> Result<Vec<String>> {
        Ok(session.ask_names(code, |_| {})?.ok()?.body::<TopicList>()?.topic_list)
    };
    let mut topics = ask(session, request_code::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)?;
    topics.sort();
    // Named like a cluster or a broker.
    let servers = ask(session, request_code::GET_SYSTEM_TOPIC_LIST_FROM_NS)?;
    let mut table = Table::new(&["topic", "kind"]);
    for topic in topics {
        let kind = match &topic {
            topic if topic.starts_with(names::RETRY_PREFIX) => "retry",
            topic if topic.starts_with(names::DLQ_PREFIX) => "dead letters",
            topic if names::is_fixed_system_topic(topic) || servers.contains(topic) => "system",
            topic if topic.ends_with("_REPLY_TOPIC") || topic.starts_with("%SYS%") => "system",
            _ => "topic",
        };
        if all || kind == "topic" {
            table.row([topic.into(), kind.into()]);
        }
    }
    let mut report = Report::default();
    report.table("topics", table);
    Ok(report)
}

fn stats(session: &mut Session, broker: &Broker, topic: &str) -> Result<TopicStatsTable> {
    let header = TopicHeader { topic };
    session.ask(&broker.address, request_code::GET_TOPIC_STATS_INFO, |w| header.write(w), &[])?.ok()?.body()
}

fn show(session: &mut Session, topic: &str) -> Result<Report> {
    let route = session.route(topic)?;
    let mut brokers =
        Table::new(&["broker", "cluster", "address", "readable", "writable", "read_queues", "write_queues"]);
    let mut queues = Table::new(&["broker", "queue", "min_offset", "max_offset", "messages", "last_message"]);
    let mut total = 0;
    for broker in masters_of(&route) {
        let data = route.queue_datas.iter().find(|data| data.broker_name == broker.name);
        let data = data.with_context(|| format!("the route has no queues of broker {}", broker.name))?;
        for (queue, offsets) in stats(session, &broker, topic)?.offset_table {
            let messages = offsets.max_offset - offsets.min_offset;
            total += messages;
            queues.row([
                broker.name.as_str().into(),
                queue.queue_id.into(),
                offsets.min_offset.into(),
                offsets.max_offset.into(),
                messages.into(),
                time(offsets.last_update_timestamp),
            ]);
        }
        brokers.row([
            broker.name.into(),
            broker.cluster.into(),
            broker.address.into(),
            (data.perm & perm::READ != 0).into(),
            (data.perm & perm::WRITE != 0).into(),
            data.read_queue_nums.into(),
            data.write_queue_nums.into(),
        ]);
    }
    let mut report = Report::default();
    report.fact("topic", topic).fact("messages", total).table("brokers", brokers).table("queues", queues);
    Ok(report)
}

fn make(session: &mut Session, create: &Create) -> Result<Report> {
    let topic = create.topic.as_str();
    if !create.update && session.find_route(topic)?.is_some() {
        bail!("topic {topic} is there already; --update changes it");
    }
    let mut masters = session.masters()?;
    if let Some(cluster) = &create.cluster {
        masters.retain(|broker| broker.cluster == *cluster);
        if masters.is_empty() {
            bail!("no broker is in cluster {cluster}");
        }
    }
    let header = CreateTopicHeader {
        topic,
        default_topic: Some(AUTO_CREATE_TOPIC),
        read_queue_nums: create.queues,
        write_queue_nums: create.queues,
        perm: perm::READ | perm::WRITE,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: 0,
        order: false,
        attributes: create.attributes.as_deref(),
        force: false,
    };
    let mut table = Table::new(&["broker", "cluster", "address", "queues"]);
    for broker in masters {
        let code = request_code::UPDATE_AND_CREATE_TOPIC;
        session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?;
        table.row([broker.name.into(), broker.cluster.into(), broker.address.into(), create.queues.into()]);
    }
    let mut report = Report::default();
    report.fact("topic", topic).table("created", table);
    Ok(report)
}

/// The brokers first: as long as one of them has the topic, it would tell the name server again.
pub fn delete(session: &mut Session, topic: &str, dry_run: bool) -> Result<Report> {
    let brokers = masters_of(&session.route(topic)?);
    let mut table = Table::new(&["broker", "cluster", "address", "queues", "messages"]);
    for broker in brokers {
        let found = stats(session, &broker, topic)?.offset_table;
        let messages: i64 = found.values().map(|queue| queue.max_offset - queue.min_offset).sum();
        if !dry_run {
            let header = TopicHeader { topic };
            let code = request_code::DELETE_TOPIC_IN_BROKER;
            session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?;
        }
        table.row([
            broker.name.into(),
            broker.cluster.into(),
            broker.address.into(),
            found.len().into(),
            messages.into(),
        ]);
    }
    if !dry_run {
        for server in session.name_servers.clone() {
            let header = DeleteTopicInNamesrvHeader { topic, cluster_name: None };
            let code = request_code::DELETE_TOPIC_IN_NAMESRV;
            session.ask(&server, code, |w| header.write(w), &[])?.ok()?;
        }
    }
    let mut report = Report::default();
    report.fact("topic", topic).fact("dry_run", Value::Bool(dry_run)).table("deleted", table);
    Ok(report)
}

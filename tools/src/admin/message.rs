//! `ringmq admin message`: sending one, finding it again, looking at it, following a topic.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use chrono::Utc;
use clap::{Args, Subcommand};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::headers::{QueryMessageHeader, SendHeader, ViewMessageHeader};
use ringmq_wire::json_dialect::perm;
use ringmq_wire::message::{RecordView, records};
use ringmq_wire::message_id::{UniqueIdGenerator, decode_offset_id, is_id};
use ringmq_wire::properties::{self, name};
use serde_json::json;

use super::report::Report;
use super::session::{Session, masters_of};
use super::shown;
use super::tail;

#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Send one message
    Send(Send),
    /// Print the messages of a topic that are there, or all that come
    Tail(tail::Tail),
    /// Messages with a key, newest first
    Find {
        topic: String,
        #[arg(long)]
        key: String,
        /// At most so many of each broker
        #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..))]
        count: i32,
    },
    /// One message by its id: the broker's, or with --topic the producer's
    Show {
        id: String,
        #[arg(long)]
        topic: Option<String>,
    },
}

#[derive(Args, Clone, Debug)]
pub struct Send {
    pub topic: String,
    #[arg(long, value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    pub body: Option<String>,
    /// The body is what is in this file
    #[arg(long)]
    pub file: Option<PathBuf>,
    #[arg(long)]
    pub tag: Option<String>,
    /// May come several times
    #[arg(long)]
    pub key: Vec<String>,
    /// May come several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub property: Vec<String>,
    /// [default: any that takes messages]
    #[arg(long, value_name = "N")]
    pub queue: Option<i32>,
}

pub fn run(session: &mut Session, verb: &Verb, json: bool) -> Result<()> {
    match verb {
        Verb::Send(message) => send(session, message)?.print(json),
        Verb::Tail(args) => tail::run(session, args, json)?,
        Verb::Find { topic, key, count } => {
            let found = find(session, topic, key, *count, false)?;
            let views =
                found.iter().map(|record| RecordView::parse(record)).collect::<Result<Vec<_>, _>>()?;
            if json {
                let all: Vec<_> = views.iter().map(shown::as_json).collect();
                println!("{}", json!({ "messages": all }));
            } else {
                views.iter().for_each(|record| println!("{}", shown::as_line(record)));
            }
        }
        Verb::Show { id, topic } => {
            let record = match topic {
                Some(topic) => find(session, topic, id, 1, true)?.swap_remove(0),
                None => by_offset_id(session, id)?,
            };
            let mut report = Report::default();
            if let serde_json::Value::Object(fields) = shown::as_json(&RecordView::parse(&record)?) {
                for (name, value) in fields {
                    report.fact(name, value);
                }
            }
            report.print(json);
        }
    }
    Ok(())
}

fn properties_of(message: &Send, unique_id: &str) -> Result<String> {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        if !properties::is_name(name) || !properties::is_value(value) {
            bail!("a property cannot be {name:?}={value:?}");
        }
        properties::append(&mut text, name, value);
        Ok(())
    };
    put(name::UNIQUE_KEY, unique_id)?;
    put(name::WAIT, "true")?;
    if let Some(tag) = &message.tag {
        put(name::TAGS, tag)?;
    }
    if !message.key.is_empty() {
        put(name::KEYS, &message.key.join(" "))?;
    }
    for property in &message.property {
        let (name, value) =
            property.split_once('=').with_context(|| format!("--property {property}: no ="))?;
        if name::ALL.contains(&name) {
            bail!("--property {name}: RocketMQ uses this name itself");
        }
        put(name, value)?;
    }
    Ok(text)
}

fn send(session: &mut Session, message: &Send) -> Result<Report> {
    let topic = message.topic.as_str();
    let now = Utc::now();
    // Any number that another run of this tool does not have.
    let chance = now.timestamp_subsec_nanos();
    let pid = (std::process::id() & 0xffff) as u16;
    let id =
        UniqueIdGenerator::new(IpAddr::from(Ipv4Addr::LOCALHOST), pid, chance).next(now.timestamp_millis());
    let properties = properties_of(message, id.as_str())?;
    let body = match (&message.body, &message.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => std::fs::read(file).with_context(|| file.display().to_string())?,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let route = session.route(topic)?;
    let mut queues = Vec::new();
    for broker in masters_of(&route) {
        let data = route.queue_datas.iter().filter(|data| data.broker_name == broker.name);
        for data in data.filter(|data| data.perm & perm::WRITE != 0) {
            queues.extend((0..data.write_queue_nums).map(|id| (broker.clone(), id)));
        }
    }
    queues.retain(|(_, id)| message.queue.is_none_or(|wanted| wanted == *id));
    if queues.is_empty() {
        bail!("topic {topic} has no such queue that takes messages");
    }
    let (broker, queue_id) = &queues[chance as usize % queues.len()];
    let header = SendHeader {
        born_timestamp: now.timestamp_millis(),
        properties: &properties,
        broker_name: Some(&broker.name),
        ..SendHeader::new("TOOLS_PRODUCER", topic, *queue_id)
    };
    let code = request_code::SEND_MESSAGE_V2;
    let answer = session.ask(&broker.address, code, |w| header.write_letters(w), &body)?.ok()?;
    let mut report = Report::default();
    report.fact("message_id", id.as_str()).fact("offset_id", answer.fields.get("msgId").cloned());
    report.fact("broker", broker.name.as_str()).fact("queue", answer.number("queueId")?);
    report.fact("offset", answer.number("queueOffset")?);
    Ok(report)
}

/// Records of all brokers, newest first; at least one. The index is of hashes: what only has the hash is left out.
fn find(session: &mut Session, topic: &str, key: &str, count: i32, unique: bool) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for broker in masters_of(&session.route(topic)?) {
        let header = QueryMessageHeader {
            topic,
            key,
            max_num: count,
            begin_timestamp: 0,
            end_timestamp: i64::MAX,
            unique_key: unique,
            index_type: None,
            last_key: None,
        };
        let answer = session.ask(&broker.address, request_code::QUERY_MESSAGE, |w| header.write(w), &[])?;
        if answer.code == response_code::QUERY_NOT_FOUND {
            continue;
        }
        for record in records(&answer.ok()?.body) {
            let record = record?;
            let keys = properties::get(record.properties, if unique { name::UNIQUE_KEY } else { name::KEYS });
            let has = keys.unwrap_or_default().split(' ').any(|own| own == key);
            if has && record.topic == topic {
                found.push((record.store_timestamp, record.bytes.to_vec()));
            }
        }
    }
    if found.is_empty() {
        bail!("topic {topic} has no message with the {} {key}", if unique { "id" } else { "key" });
    }
    found.sort_by_key(|(stored, _)| std::cmp::Reverse(*stored));
    Ok(found.into_iter().map(|(_, record)| record).collect())
}

/// The id says which broker has the message, and where. Only a broker that the name server knows is asked: a producer's id is
/// as long, and would name any address.
fn by_offset_id(session: &mut Session, id: &str) -> Result<Vec<u8>> {
    if !is_id(id) {
        bail!("{id} is no message id: 32 or 56 hexadecimal digits");
    }
    let place = decode_offset_id(id).ok().map(|(host, offset)| (host.to_string(), offset));
    let brokers = session.brokers()?;
    let Some((address, offset)) =
        place.filter(|(address, _)| brokers.iter().any(|broker| broker.address == *address))
    else {
        bail!("{id} is of no broker; if it is a producer's, --topic says where to look");
    };
    let header = ViewMessageHeader { topic: None, offset };
    let answer = session.ask(&address, request_code::VIEW_MESSAGE_BY_ID, |w| header.write(w), &[])?;
    Ok(answer.ok()?.body)
}

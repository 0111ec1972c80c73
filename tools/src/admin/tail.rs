//! `ringmq admin message tail`: what is in a topic, by pulls from all its queues.
//!
//! Invariants: no group's offset is moved, nothing is held in the broker. Without `--follow` it ends where the queues ended when it
//! began, so it ends although messages go on coming; messages of one round of pulls come in the order in which they were
//! stored. On failure: the first error ends it, after what was printed before.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::headers::{PullHeader, TopicHeader};
use ringmq_wire::json_dialect::{MessageQueue, TopicStatsTable};
use ringmq_wire::message::{RecordView, records};
use ringmq_wire::properties::{self, name};

use super::offset::offset_at;
use super::place::Place;
use super::session::{Broker, Session, masters_of};
use super::shown;

#[derive(Args, Clone, Debug)]
pub struct Tail {
    pub topic: String,
    /// Only messages with this tag; may come several times
    #[arg(long)]
    pub tag: Vec<String>,
    /// earliest, latest, or a time [default: earliest, with --follow latest]
    #[arg(long, value_name = "PLACE")]
    pub from: Option<Place>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Wait for more at the end
    #[arg(short, long)]
    pub follow: bool,
}

/// RocketMQ's brokers have this group from the start.
const GROUP: &str = "TOOLS_CONSUMER";
const MESSAGES_PER_PULL: i32 = 32;
/// Between two looks for something new.
const PAUSE: Duration = Duration::from_millis(200);

struct Queue {
    broker: Broker,
    queue: MessageQueue,
    at: i64,
    /// Where it ends; `None`: never.
    end: Option<i64>,
}

pub fn run(session: &mut Session, args: &Tail, json: bool) -> Result<()> {
    let mut queues = queues(session, args)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut out = std::io::stdout().lock();
    while left > 0 && !queues.is_empty() {
        let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
        let mut moved = false;
        for queue in &mut queues {
            let before = queue.at;
            pull(session, args, queue, &mut found)?;
            moved |= queue.at != before;
        }
        queues.retain(|queue| queue.end.is_none_or(|end| queue.at < end));
        found.sort_by_key(|(stored, _)| *stored);
        for (_, record) in &found {
            if left == 0 {
                break;
            }
            let record = RecordView::parse(record)?;
            let line = if json { shown::as_json(&record).to_string() } else { shown::as_line(&record) };
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                // Who reads has enough, like `head`.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                other => other.context("write")?,
            }
            left -= 1;
        }
        if !moved && left > 0 && !queues.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn queues(session: &mut Session, args: &Tail) -> Result<Vec<Queue>> {
    let topic = args.topic.as_str();
    let from = args.from.unwrap_or(if args.follow { Place::Latest } else { Place::Earliest });
    let mut queues = Vec::new();
    for broker in masters_of(&session.route(topic)?) {
        let header = TopicHeader { topic };
        let code = request_code::GET_TOPIC_STATS_INFO;
        let stats: TopicStatsTable =
            session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?.body()?;
        for (queue, offsets) in stats.offset_table {
            let at = match from {
                Place::Earliest => offsets.min_offset,
                Place::Latest => offsets.max_offset,
                Place::Time(ms) => offset_at(session, &broker, &queue, ms)?,
            };
            let end = (!args.follow).then_some(offsets.max_offset);
            if end.is_none_or(|end| at < end) {
                queues.push(Queue { broker: broker.clone(), queue, at, end });
            }
        }
    }
    Ok(queues)
}

/// One pull; the queue moves on.
fn pull(
    session: &mut Session,
    args: &Tail,
    queue: &mut Queue,
    found: &mut Vec<(i64, Vec<u8>)>,
) -> Result<()> {
    let wanted = if args.tag.is_empty() { "*".to_owned() } else { args.tag.join(" || ") };
    let header = PullHeader {
        max_msg_nums: MESSAGES_PER_PULL,
        subscription: Some(&wanted),
        broker_name: Some(&queue.broker.name),
        ..PullHeader::new(GROUP, &args.topic, queue.queue.queue_id, queue.at)
    };
    let answer = session.ask(&queue.broker.address, request_code::PULL_MESSAGE, |w| header.write(w), &[])?;
    match answer.code {
        response_code::SUCCESS => {
            for record in records(&answer.body) {
                let record = record?;
                // The broker compares hashes of tags.
                let tag = properties::get(record.properties, name::TAGS).unwrap_or_default();
                let fits = args.tag.is_empty() || args.tag.iter().any(|wanted| wanted == tag);
                if fits && queue.end.is_none_or(|end| record.queue_offset < end) {
                    found.push((record.store_timestamp, record.bytes.to_vec()));
                }
            }
            queue.at = answer.number("nextBeginOffset")?;
        }
        response_code::PULL_RETRY_IMMEDIATELY | response_code::PULL_OFFSET_MOVED => {
            let next = answer.number("nextBeginOffset")?;
            // What was there at the start has been removed since.
            queue.end = queue.end.map(|end| if next <= queue.at { queue.at.min(end) } else { end });
            queue.at = next.max(if queue.end.is_some() { queue.at } else { 0 });
        }
        response_code::PULL_NOT_FOUND => queue.end = queue.end.map(|end| end.min(queue.at)),
        _ => drop(answer.ok()?),
    }
    Ok(())
}

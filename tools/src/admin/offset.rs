//! `ringmq admin offset`: moving a group to another place of a topic.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use ringmq_wire::code::request_code;
use ringmq_wire::headers::{ResetOffsetHeader, SearchOffsetHeader, TopicHeader};
use ringmq_wire::json_dialect::{MessageQueue, ResetOffsetBody, TopicStatsTable};
use serde_json::Value;

use super::group;
use super::place::Place;
use super::report::{Report, Table};
use super::session::{Broker, Session, masters_of};

#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Let a group consume on from another place, in all queues of a topic
    Reset(Reset),
}

#[derive(Args, Clone, Debug)]
pub struct Reset {
    pub group: String,
    pub topic: String,
    /// earliest, latest, or a time: 2026-11-24T10:00 here, with a zone, or milliseconds since 1970
    #[arg(long, value_name = "PLACE")]
    pub to: Place,
    /// Only say where to
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(session: &mut Session, verb: &Verb) -> Result<Report> {
    let Verb::Reset(reset) = verb;
    let (group, topic) = (reset.group.as_str(), reset.topic.as_str());
    let brokers = masters_of(&session.route(topic)?);
    let before = group::offsets(session, group, Some(topic))?;
    let mut moved = Vec::new();
    for broker in &brokers {
        moved.extend(if reset.dry_run {
            targets(session, broker, reset)?
        } else {
            set(session, broker, reset)?
        });
    }
    if moved.is_empty() {
        bail!("topic {topic} has no queue that can be read");
    }
    let mut table = Table::new(&["broker", "queue", "from", "to"]);
    for (queue, to) in moved {
        let from = before.get(&queue).map_or(Value::Null, |at| at.consumer_offset.into());
        table.row([queue.broker_name.into(), queue.queue_id.into(), from, to.into()]);
    }
    let mut report = Report::default();
    report.fact("group", group).fact("topic", topic).fact("dry_run", reset.dry_run).table("queues", table);
    Ok(report)
}

fn set(session: &mut Session, broker: &Broker, reset: &Reset) -> Result<Vec<(MessageQueue, i64)>> {
    let header = ResetOffsetHeader {
        topic: &reset.topic,
        group: &reset.group,
        queue_id: -1,
        offset: None,
        timestamp: match reset.to {
            Place::Earliest => 0,
            Place::Latest => -1,
            Place::Time(ms) => ms,
        },
        // On as well as back.
        is_force: true,
    };
    let code = request_code::INVOKE_BROKER_TO_RESET_OFFSET;
    let body: ResetOffsetBody = session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?.body()?;
    Ok(body.offset_table.into_iter().collect())
}

/// Where `set` would move the group.
fn targets(session: &mut Session, broker: &Broker, reset: &Reset) -> Result<Vec<(MessageQueue, i64)>> {
    let topic = reset.topic.as_str();
    let code = request_code::GET_TOPIC_STATS_INFO;
    let header = TopicHeader { topic };
    let stats: TopicStatsTable =
        session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?.body()?;
    let mut targets = Vec::new();
    for (queue, offsets) in stats.offset_table {
        let to = match reset.to {
            Place::Earliest => offsets.min_offset,
            Place::Latest => offsets.max_offset,
            Place::Time(ms) => offset_at(session, broker, &queue, ms)?,
        };
        targets.push((queue, to));
    }
    Ok(targets)
}

/// The first message stored at or after the time.
pub fn offset_at(session: &mut Session, broker: &Broker, queue: &MessageQueue, ms: i64) -> Result<i64> {
    let header = SearchOffsetHeader {
        topic: &queue.topic,
        queue_id: queue.queue_id,
        timestamp: ms,
        boundary_type: None,
    };
    let code = request_code::SEARCH_OFFSET_BY_TIMESTAMP;
    let answer = session.ask(&broker.address, code, |w| header.write(w), &[])?.ok()?;
    answer.number("offset")
}

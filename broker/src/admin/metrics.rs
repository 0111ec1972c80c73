//! `/metrics`: RocketMQ 5's names for what RocketMQ has too, `ringmq_*` for what only this engine has.
//!
//! RocketMQ's labels are kept (RocketMQ 5.5.0 BrokerMetricsManager, BrokerMetricsConstant), but for `message_type` of
//! messages that come in. A delayed message counts for its topic when it is delivered, as there, one of a transaction when
//! it is committed. Invariant: cores and shards are told one by one; adding up is the reader's. Every few dozen lines
//! other tasks run.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::version;

use super::gather::{self, Lag, Moved, breathe, let_go};
use super::pages::Pages;
use super::people;
use super::stored;
use super::text::{Kind, Text};
use crate::buckets::MillisToMake;
use crate::control::{Control, groups, names};

/// Name, meaning and value of a family of traffic.
type Counted = (&'static str, &'static str, fn(&Moved) -> u64);

/// The same of what groups are behind with.
type Figure = (&'static str, &'static str, fn(&Lag) -> u64);

/// The whole text. `by_queue`: lags queue by queue as well, which is long.
pub async fn write<E: Env>(control: &Rc<Control<E>>, by_queue: bool) -> Result<Pages, String> {
    let snapshots = gather::snapshots(&control.core).await?;
    let identity = &control.core.identity;
    let mut text = Text::new(&[
        ("cluster", &identity.cluster),
        ("node_type", "broker"),
        ("node_id", &identity.broker_name),
    ]);
    broker(&mut text, control);
    control.core.env.yield_now().await;
    traffic(&mut text, control).await?;
    connections(&mut text, control).await;
    lags(&mut text, control, by_queue).await?;
    let earliest = control.core.earliest_of_all().await;
    let oldest_ms = earliest.map(|ms| (control.core.env.now_ms() - ms).max(0) as u64);
    stored::write(&mut text, &snapshots, oldest_ms);
    control.core.env.yield_now().await;
    super::engine::write(&control.core.env, &mut text, &snapshots).await;
    Ok(text.out)
}

fn broker<E: Env>(text: &mut Text, control: &Control<E>) {
    let state = control.state.borrow();
    text.family("rocketmq_broker_permission", Kind::Gauge, "brokerPermission: 4 read + 2 write");
    text.sample(&[], u64::from(control.core.config.broker_permission));
    text.family("rocketmq_topic_number", Kind::Gauge, "Topics");
    text.sample(&[], state.topics.len() as u64);
    text.family("rocketmq_consumer_group_number", Kind::Gauge, "Consumer groups");
    text.sample(&[], state.groups.len() as u64);
    text.family(
        "ringmq_consumer_offsets",
        Kind::Gauge,
        "Stored consumer offsets, one for each group and queue",
    );
    text.sample(&[], state.offsets.len() as u64);
    for (name, help, made) in [
        (
            "rocketmq_topic_create_execution_time_milliseconds",
            "How long it took to make topics that administrators asked for",
            &control.made.topics,
        ),
        (
            "rocketmq_consumer_group_create_execution_time_milliseconds",
            "How long it took to make groups that administrators asked for",
            &control.made.groups,
        ),
    ] {
        text.family(name, Kind::Histogram, help);
        for (status, times) in ["success", "failure"].into_iter().zip(made) {
            text.buckets::<MillisToMake>(&[("invocation_status", status)], &times.counted());
        }
    }
    text.family("ringmq_uptime_seconds", Kind::Gauge, "Since the broker was started");
    text.sample(&[], control.core.env.monotonic_ns() / 1_000_000_000);
    text.family("ringmq_metadata_latched", Kind::Gauge, "1: the metadata journal failed, restart the broker");
    text.sample(&[], u64::from(control.journal_latched().is_some()));
}

fn yes(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn is_system_group(group: &str) -> bool {
    groups::SYSTEM_GROUPS.contains(&group) || group.to_ascii_lowercase().starts_with("cid_rmq_sys_")
}

async fn traffic<E: Env>(text: &mut Text, control: &Rc<Control<E>>) -> Result<(), String> {
    let traffic = gather::traffic(&control.core).await?;
    let env = &control.core.env;
    let take: [Counted; 2] = [
        ("rocketmq_messages_in_total", "Messages that were stored", |moved| moved.messages),
        ("rocketmq_throughput_in_total", "Bytes that were stored, properties included", |moved| moved.bytes),
    ];
    for (name, help, value) in take {
        text.family(name, Kind::Counter, help);
        for (n, (topic, moved)) in traffic.incoming.iter().enumerate() {
            let is_system = yes(names::is_fixed_system_topic(topic));
            text.sample(&[("topic", topic), ("is_system", is_system)], value(moved));
            breathe(env, n).await;
        }
    }
    let take: [Counted; 2] = [
        ("rocketmq_messages_out_total", "Messages that pulls were given", |moved| moved.messages),
        ("rocketmq_throughput_out_total", "Bytes that pulls were given", |moved| moved.bytes),
    ];
    for (name, help, value) in take {
        text.family(name, Kind::Counter, help);
        for (n, ((topic, group), moved)) in traffic.outgoing.iter().enumerate() {
            text.sample(&consumed_labels(group, topic), value(moved));
            breathe(env, n).await;
        }
    }
    text.family(
        "rocketmq_send_to_dlq_messages_total",
        Kind::Counter,
        "Messages that went to a group's dead letter topic",
    );
    let from = Box::<str>::from(names::DLQ_PREFIX);
    for (n, (topic, moved)) in traffic.incoming.range(from..).enumerate() {
        let Some(group) = topic.strip_prefix(names::DLQ_PREFIX) else { break };
        text.sample(&[("consumer_group", group), ("is_system", yes(is_system_group(group)))], moved.messages);
        breathe(env, n).await;
    }
    let_go(env, traffic.incoming).await;
    let_go(env, traffic.outgoing).await;
    Ok(())
}

fn consumed_labels<'a>(group: &'a str, topic: &'a str) -> [(&'static str, &'a str); 4] {
    let is_retry = topic.starts_with(names::RETRY_PREFIX) || topic.starts_with(names::DLQ_PREFIX);
    let is_system = names::is_fixed_system_topic(topic) || is_system_group(group);
    [("consumer_group", group), ("topic", topic), ("is_retry", yes(is_retry)), ("is_system", yes(is_system))]
}

async fn connections<E: Env>(text: &mut Text, control: &Rc<Control<E>>) {
    let people = people::count(control).await;
    let env = &control.core.env;
    text.family("rocketmq_producer_connections", Kind::Gauge, "Memberships of producers in groups");
    for (kind, count) in &people.producers {
        let (language, version) = (kind.language.to_lowercase(), version::name(kind.version).to_lowercase());
        let labels = [("language", &*language), ("version", &*version), ("protocol_type", "remoting")];
        text.sample(&labels, *count);
    }
    text.family("rocketmq_consumer_connections", Kind::Gauge, "Members of consumer groups");
    for (n, (kind, count)) in people.consumers.iter().enumerate() {
        let (language, version) = (kind.language.to_lowercase(), version::name(kind.version).to_lowercase());
        let labels = [
            ("consumer_group", &*kind.group),
            ("language", &*language),
            ("version", &*version),
            ("consume_mode", kind.mode),
            ("protocol_type", "remoting"),
            ("is_system", yes(is_system_group(&kind.group))),
        ];
        text.sample(&labels, *count);
        breathe(env, n).await;
    }
}

async fn lags<E: Env>(text: &mut Text, control: &Rc<Control<E>>, by_queue: bool) -> Result<(), String> {
    let lags = gather::lags(control).await?;
    let env = &control.core.env;
    text.family(
        "rocketmq_consumer_lag_messages",
        Kind::Gauge,
        "Messages that a group has not committed yet, of the queues that it has ever committed an offset of",
    );
    for (n, lag) in lags.iter().enumerate() {
        text.sample(&consumed_labels(&lag.group, &lag.topic), lag.messages());
        breathe(env, n).await;
    }
    // With RocketMQ's meaning of both, of which that of the lag is not always the sum: a group may have committed what it was
    // never given, and be given again what it has committed.
    let families: [Figure; 2] = [
        (
            "rocketmq_consumer_inflight_messages",
            "Messages that a group was given and has not committed yet",
            Lag::in_flight,
        ),
        ("rocketmq_consumer_ready_messages", "Messages that a group was not given yet", Lag::ready),
    ];
    for (name, help, value) in families {
        text.family(name, Kind::Gauge, help);
        for (n, lag) in lags.iter().enumerate() {
            text.sample(&consumed_labels(&lag.group, &lag.topic), value(lag));
            breathe(env, n).await;
        }
    }
    let now = env.now_ms();
    let ages = [
        (
            "rocketmq_consumer_lag_latency_milliseconds",
            "Age of the oldest message that a group has not committed",
        ),
        (
            "rocketmq_consumer_queueing_latency_milliseconds",
            "Age of the oldest message that a group was not given",
        ),
    ];
    for (which, (name, help)) in ages.into_iter().enumerate() {
        text.family(name, Kind::Gauge, help);
        for (n, lag) in lags.iter().enumerate() {
            if let Some(oldest) = lag.oldest_ms {
                let age = oldest[which].map_or(0, |ms| (now - ms).max(0) as u64);
                text.sample(&consumed_labels(&lag.group, &lag.topic), age);
            }
            breathe(env, n).await;
        }
    }
    if !by_queue {
        return Ok(());
    }
    text.family("ringmq_consumer_lag_queue_messages", Kind::Gauge, "The same for each queue");
    let mut rows = 0;
    for lag in &lags {
        for queue in &lag.queues {
            let id = queue.place.queue_id.to_string();
            let labels = [("consumer_group", &*lag.group), ("topic", &*lag.topic), ("queue_id", &*id)];
            text.sample(&labels, queue.messages);
            rows += 1;
            breathe(env, rows).await;
        }
    }
    Ok(())
}

//! One screen of `ringmq top`: the difference of two documents as text. Pure.

use hdrhistogram::Histogram;
use ringmq_broker::admin::document::{CorePart, Document, Times, TopicPart};

use crate::show;

/// What one screen has of topics at least.
const TOPICS_MIN: usize = 5;

/// `rows`: of the terminal.
pub fn draw(before: &Document, now: &Document, rows: usize) -> String {
    // A broker that was started anew counts from 0 again.
    let restarted = now.at_ns < before.at_ns;
    let nothing = Document::default();
    let before = if restarted { &nothing } else { before };
    let seconds = ((now.at_ns - before.at_ns) as f64 / 1e9).max(0.001);
    let mut out = format!(
        "ringmq top   broker {} of cluster {}   version {}   up {}   {} topics, {} groups\n",
        now.broker,
        now.cluster,
        now.version,
        show::duration(now.uptime_secs),
        now.topics,
        now.groups
    );
    out += &alarms(now);
    out += &format!(
        "\n{:<5} {:>8} {:>8} {:>8} {:>8} {:>6} {:>7} {:>7} {:>7} {:>7} {:>6} {:>8} {:>5} {:>6} {:>6} {:>7}\n",
        "core",
        "in/s",
        "in B/s",
        "out/s",
        "out B/s",
        "conns",
        "held",
        "turn50",
        "turn99",
        "max",
        "ring%",
        "sync99",
        "lanes",
        "stalls",
        "lost",
        "refused"
    );
    let mut sum = Row::default();
    for core in &now.cores {
        let earlier = before.cores.iter().find(|other| other.core == core.core);
        let row = Row::of(earlier, core);
        out += &row.line(&core.core.to_string(), seconds);
        sum.add(&row);
    }
    if now.cores.len() > 1 {
        out += &sum.line("all", seconds);
    }
    let used = out.lines().count() + 3;
    out += &topics(before, now, seconds, rows.saturating_sub(used).max(TOPICS_MIN));
    out
}

fn alarms(now: &Document) -> String {
    let shards = now.cores.iter().flat_map(|core| &core.shards);
    shards.filter_map(|shard| shard.latched.as_ref()).map(|reason| format!("LATCHED: {reason}\n")).collect()
}

/// What happened on a core in between; the gauges are those of now.
struct Row {
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
    connections: u64,
    holds: u64,
    stalls: u64,
    preempted: u64,
    refused: u64,
    lanes: u64,
    ring_bytes: u64,
    unsynced: u64,
    turns: Histogram<u64>,
    syncs: Histogram<u64>,
}

impl Default for Row {
    fn default() -> Self {
        Self::of(None, &CorePart::default())
    }
}

impl Row {
    fn of(before: Option<&CorePart>, now: &CorePart) -> Self {
        let nothing = CorePart::default();
        let before = before.unwrap_or(&nothing);
        let mut syncs = Times::default().histogram();
        for shard in &now.shards {
            let earlier = before.shards.iter().find(|other| other.shard == shard.shard);
            let earlier = earlier.map_or(Times::default(), |shard| shard.flush_ns.clone());
            syncs += shard.flush_ns.since(&earlier).histogram();
        }
        Self {
            messages_in: now.messages_in.saturating_sub(before.messages_in),
            bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
            messages_out: now.messages_out.saturating_sub(before.messages_out),
            bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
            connections: now.connections,
            holds: now.holds,
            stalls: now.stalls.saturating_sub(before.stalls),
            preempted: now.preempted.saturating_sub(before.preempted),
            refused: now.refused.saturating_sub(before.refused),
            lanes: now.lanes_out + now.outboxes,
            ring_bytes: now.shards.iter().map(|shard| shard.ring_bytes).sum(),
            unsynced: now.shards.iter().map(|shard| shard.unsynced_bytes).sum(),
            turns: now.turn_ns.since(&before.turn_ns).histogram(),
            syncs,
        }
    }

    fn add(&mut self, other: &Self) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
        self.connections += other.connections;
        self.holds += other.holds;
        self.stalls += other.stalls;
        self.preempted += other.preempted;
        self.refused += other.refused;
        self.lanes += other.lanes;
        self.ring_bytes += other.ring_bytes;
        self.unsynced += other.unsynced;
        self.turns += &other.turns;
        self.syncs += &other.syncs;
    }

    fn line(&self, name: &str, seconds: f64) -> String {
        let rate = |count: u64| show::count(count as f64 / seconds);
        let bytes = |count: u64| show::bytes(count as f64 / seconds);
        let ring = match self.ring_bytes {
            0 => "-".into(),
            bytes => format!("{:.1}", self.unsynced as f64 * 100.0 / bytes as f64),
        };
        format!(
            "{name:<5} {:>8} {:>8} {:>8} {:>8} {:>6} {:>7} {:>7} {:>7} {:>7} {ring:>6} {:>8} {:>5} {:>6} {:>6} {:>7}\n",
            rate(self.messages_in),
            bytes(self.bytes_in),
            rate(self.messages_out),
            bytes(self.bytes_out),
            show::count(self.connections as f64),
            show::count(self.holds as f64),
            show::quantile(&self.turns, 0.5),
            show::quantile(&self.turns, 0.99),
            show::quantile(&self.turns, 1.0),
            show::quantile(&self.syncs, 0.99),
            self.lanes,
            self.stalls,
            self.preempted,
            self.refused,
        )
    }
}

fn topics(before: &Document, now: &Document, seconds: f64, most: usize) -> String {
    let mut out = format!(
        "\n{:<48} {:>8} {:>8} {:>8} {:>8} {:>12}\n",
        "topic", "in/s", "in B/s", "out/s", "out B/s", "stored"
    );
    let difference = |topic: &TopicPart| {
        // One that was not among the busy ones then: its rate is known from the next screen on.
        let same = before.busy_topics.iter().find(|other| other.topic == topic.topic).unwrap_or(topic);
        TopicPart {
            topic: topic.topic.clone(),
            messages_in: topic.messages_in.saturating_sub(same.messages_in),
            bytes_in: topic.bytes_in.saturating_sub(same.bytes_in),
            messages_out: topic.messages_out.saturating_sub(same.messages_out),
            bytes_out: topic.bytes_out.saturating_sub(same.bytes_out),
        }
    };
    for topic in now.busy_topics.iter().take(most) {
        let moved = difference(topic);
        let name = if topic.topic.is_empty() { "(others)" } else { &topic.topic };
        out += &format!(
            "{:<48} {:>8} {:>8} {:>8} {:>8} {:>12}\n",
            shortened(name, 48),
            show::count(moved.messages_in as f64 / seconds),
            show::bytes(moved.bytes_in as f64 / seconds),
            show::count(moved.messages_out as f64 / seconds),
            show::bytes(moved.bytes_out as f64 / seconds),
            topic.messages_in
        );
    }
    out
}

fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most - 1).chain(['~']).collect()
}

#[cfg(test)]
mod tests {
    use ringmq_broker::admin::document::ShardPart;

    use super::*;

    fn document(at_s: u64, messages: u64) -> Document {
        let core = |core| CorePart {
            core,
            messages_in: messages,
            turn_ns: Times(vec![(1_000, 10), (5_000_000, messages)]),
            shards: vec![ShardPart { ring_bytes: 1000, unsynced_bytes: 250, ..ShardPart::default() }],
            ..CorePart::default()
        };
        let topic = TopicPart { topic: "orders".into(), messages_in: 2 * messages, ..TopicPart::default() };
        Document {
            at_ns: at_s * 1_000_000_000,
            broker: "b".into(),
            cores: vec![core(0), core(1)],
            busy_topics: vec![topic],
            ..Document::default()
        }
    }

    fn words(screen: &str, first: &str) -> Vec<String> {
        let line = screen.lines().find(|line| line.split_whitespace().next() == Some(first));
        line.unwrap_or_else(|| panic!("no {first} in:\n{screen}"))
            .split_whitespace()
            .map(Into::into)
            .collect()
    }

    #[test]
    fn rates_and_percentiles_are_of_the_time_between() {
        let screen = draw(&document(10, 100), &document(12, 300), 40);
        assert_eq!(words(&screen, "0")[1], "100", "{screen}");
        let all = words(&screen, "all");
        assert_eq!(all[1], "200", "{screen}");
        assert!(
            all[7].starts_with("5.0ms") || all[7].starts_with("50"),
            "turns of before are not told: {screen}"
        );
        assert_eq!(all[10], "25.0");
        assert_eq!(words(&screen, "orders")[1], "200");
        assert_eq!(words(&screen, "orders")[5], "600");
    }

    #[test]
    fn a_restart_in_between_is_no_rate_below_zero() {
        let screen = draw(&document(10_000, 1_000_000), &document(2, 300), 40);
        assert_eq!(words(&screen, "all")[1], "300", "{screen}");
    }

    #[test]
    fn a_latched_shard_is_on_top_and_long_names_are_cut() {
        let mut now = document(2, 1);
        now.cores[1].shards[0].latched = Some("shard 1: no space".into());
        now.busy_topics[0].topic = "x".repeat(300);
        let screen = draw(&document(1, 1), &now, 20);
        assert!(screen.lines().nth(1).unwrap().contains("LATCHED: shard 1: no space"));
        assert!(screen.lines().all(|line| line.chars().count() < 160), "{screen}");
    }
}

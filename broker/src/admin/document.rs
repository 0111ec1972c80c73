//! `/stats`: everything as one JSON document, for `ringmq top` and `ringmq admin`.
//!
//! Owns: the document's shape, which the tools share. Counters are totals since the start: whoever wants a rate or the
//! percentiles of a period takes the difference of two documents. Invariant: fields are only added, so that tools and
//! brokers of different versions understand each other (unknown fields are passed over, missing ones are empty).

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use ringmq_io::vitals::nanoseconds;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    pub version: String,
    pub cluster: String,
    pub broker: String,
    /// Monotonic, for rates; and since the start.
    pub at_ns: u64,
    pub uptime_secs: u64,
    pub topics: u64,
    pub groups: u64,
    pub cores: Vec<CorePart>,
    /// The topics that had most messages since the last look of anybody, most first.
    pub busy_topics: Vec<TopicPart>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CorePart {
    pub core: u64,
    pub messages_in: u64,
    pub bytes_in: u64,
    pub messages_out: u64,
    pub bytes_out: u64,
    pub requests: u64,
    pub connections: u64,
    pub holds: u64,
    pub turns: u64,
    pub sleeps: u64,
    pub stalls: u64,
    pub preempted: u64,
    pub refused: u64,
    pub turn_ns: Times,
    /// Messages in lanes to other cores, and that wait for room in one.
    pub lanes_out: u64,
    pub outboxes: u64,
    pub stages: BTreeMap<String, Times>,
    pub shards: Vec<ShardPart>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardPart {
    pub shard: u64,
    pub ring_bytes: u64,
    pub unsynced_bytes: u64,
    pub log_bytes: u64,
    pub flush_ns: Times,
    pub latched: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicPart {
    pub topic: String,
    pub messages_in: u64,
    pub bytes_in: u64,
    pub messages_out: u64,
    pub bytes_out: u64,
}

/// A histogram as its buckets that are not empty: value and count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times(pub Vec<(u64, u64)>);

impl Times {
    pub fn of(times: &Histogram<u64>) -> Self {
        Self(times.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// As a histogram of the broker's kind; a value of another kind of bucket is kept within its own.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut times = nanoseconds();
        for (value, count) in &self.0 {
            times.saturating_record_n(*value, *count);
        }
        times
    }

    /// What was added since `earlier`. A broker that was started anew meanwhile has fewer: then it is all new.
    pub fn since(&self, earlier: &Self) -> Self {
        let before: BTreeMap<u64, u64> = earlier.0.iter().copied().collect();
        let had = |value: &u64| before.get(value).copied().unwrap_or(0);
        if self.0.iter().any(|(value, count)| *count < had(value)) {
            return self.clone();
        }
        let new = self.0.iter().map(|(value, count)| (*value, count - had(value)));
        Self(new.filter(|(_, count)| *count > 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_the_way_as_json() {
        let mut times = nanoseconds();
        for ns in [70, 5_000, 5_001, 3_000_000, u64::MAX] {
            times.saturating_record(ns);
        }
        let text = serde_json::to_string(&Times::of(&times)).unwrap();
        let back: Times = serde_json::from_str(&text).unwrap();
        assert_eq!(back.histogram().len(), 5);
        for quantile in [0.1, 0.5, 0.99, 1.0] {
            let (sent, came) =
                (times.value_at_quantile(quantile), back.histogram().value_at_quantile(quantile));
            assert_eq!(sent, came, "{quantile}");
        }
    }

    #[test]
    fn the_difference_of_two_is_what_came_between() {
        let mut times = nanoseconds();
        times.record(5_000).unwrap();
        let before = Times::of(&times);
        times.record_n(5_000, 2).unwrap();
        times.record(1_000_000).unwrap();
        let after = Times::of(&times);
        let between = after.since(&before).histogram();
        assert_eq!((between.len(), between.count_at(5_000)), (3, 2));
        assert_eq!(before.since(&after), before, "started anew");
        assert_eq!(after.since(&Times::default()), after);
    }

    #[test]
    fn documents_of_other_versions_are_read() {
        let document: Document =
            serde_json::from_str(r#"{"broker":"b","news":[1],"cores":[{"core":1}]}"#).unwrap();
        assert_eq!((document.broker.as_str(), document.cores[0].core), ("b", 1));
    }
}

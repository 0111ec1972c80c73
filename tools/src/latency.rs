//! `ringmq admin latency`: the broker's own histograms by stage, over all cores.

use std::collections::BTreeMap;

use anyhow::Result;
use hdrhistogram::Histogram;
use ringmq_broker::admin::document::Document;

use crate::{AdminAddress, fetch, show};

/// In the order of a message's way, and what each is.
const STAGES: [(&str, &str); 8] = [
    ("decode", "frame to decoded header"),
    ("hop", "lane to the core of the queue"),
    ("append", "record laid into the ring"),
    ("flush", "append to the mark that its answer waits for"),
    ("sync", "segment write with its sync"),
    ("pull", "pull to its read plan"),
    ("send", "answer queued to handed to the kernel"),
    ("turn", "one round of a core's tasks"),
];

const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];

pub fn run(address: &AdminAddress, as_json: bool) -> Result<()> {
    let document = fetch::document(&address.admin)?;
    let stages = by_stage(&document);
    print!("{}", if as_json { json(&stages) } else { table(&document, &stages) });
    Ok(())
}

type Stages = BTreeMap<&'static str, Histogram<u64>>;

fn by_stage(document: &Document) -> Stages {
    let mut stages = Stages::new();
    for (stage, _) in STAGES {
        let mut sum = ringmq_broker::admin::document::Times::default().histogram();
        for core in &document.cores {
            match stage {
                "turn" => sum += core.turn_ns.histogram(),
                "sync" => core.shards.iter().for_each(|shard| sum += shard.flush_ns.histogram()),
                stage => {
                    if let Some(times) = core.stages.get(stage) {
                        sum += times.histogram();
                    }
                }
            }
        }
        stages.insert(stage, sum);
    }
    stages
}

fn table(document: &Document, stages: &Stages) -> String {
    let mut out = format!(
        "broker {} of cluster {}, {} cores, up {}; decode to send: one request in 64 is timed\n\n{:<8} {:>9}",
        document.broker,
        document.cluster,
        document.cores.len(),
        show::duration(document.uptime_secs),
        "stage",
        "timed"
    );
    for (_, name) in QUANTILES {
        out += &format!(" {name:>8}");
    }
    out += &format!(" {:>8}  what it is\n", "max");
    for (stage, what) in STAGES {
        let times = &stages[stage];
        out += &format!("{stage:<8} {:>9}", show::count(times.len() as f64));
        for (quantile, _) in QUANTILES {
            out += &format!(" {:>8}", show::quantile(times, quantile));
        }
        out += &format!(" {:>8}  {what}\n", show::quantile(times, 1.0));
    }
    out
}

fn json(stages: &Stages) -> String {
    let stages: serde_json::Map<String, serde_json::Value> = stages
        .iter()
        .map(|(stage, times)| {
            let mut fields = serde_json::Map::new();
            fields.insert("count".into(), times.len().into());
            for (quantile, name) in QUANTILES {
                let value = if times.is_empty() { 0 } else { times.value_at_quantile(quantile) };
                fields.insert(format!("{name}_ns"), value.into());
            }
            fields.insert("max_ns".into(), times.max().into());
            ((*stage).to_owned(), fields.into())
        })
        .collect();
    serde_json::Value::Object(stages).to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use ringmq_broker::admin::document::{CorePart, ShardPart, Times};

    use super::*;

    #[test]
    fn stages_of_all_cores_add_up() {
        let times = |ns: u64| Times(vec![(ns, 2)]);
        let core = |ns| CorePart {
            stages: [("append".to_owned(), times(ns)), ("not known yet".to_owned(), times(1))].into(),
            shards: vec![ShardPart { flush_ns: times(ns * 10), ..ShardPart::default() }],
            ..CorePart::default()
        };
        let document =
            Document { broker: "b".into(), cores: vec![core(1_000), core(3_000)], ..Document::default() };
        let stages = by_stage(&document);
        assert_eq!((stages["append"].len(), stages["sync"].len(), stages["hop"].len()), (4, 4, 0));
        let table = table(&document, &stages);
        let line = table.lines().find(|line| line.starts_with("append")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "4");
        assert!(words[2].starts_with("1.0us") && words[6].starts_with("3.0us"), "{line}");
        assert!(table.lines().any(|line| line.starts_with("hop") && line.contains(" - ")), "{table}");
        let value: serde_json::Value = serde_json::from_str(&json(&stages)).unwrap();
        assert_eq!(value["append"]["count"], 4);
        assert_eq!(value["hop"]["p50_ns"], 0);
    }
}

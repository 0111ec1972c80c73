//! `ringmq dump verify`: every checksum of a store.
//!
//! Sealed segments are read whole and compared with their indexes; what is not sealed, the ring and the small files are
//! checked by the recovery itself, run in memory; so is the metadata journal.

use std::io::Write;

use anyhow::{Result, bail};
use ringmq_store::meta::MetaLog;
use ringmq_store::offline::{self, Finding, IndexInfo};
use serde_json::json;

use super::StoreArgs;
use super::env::Offline;
use super::store::Store;

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    segments: u64,
    batches: u64,
    records: u64,
    index_entries: u64,
    index_keys: u64,
    metadata_entries: u64,
}

#[derive(Default)]
struct Verdict {
    counts: Counts,
    findings: Vec<Finding>,
}

pub async fn run(env: &Offline, args: &StoreArgs, json: bool, out: &mut impl Write) -> Result<()> {
    let verdict = verify(&Store::open(env, args).await?).await?;
    write!(out, "{}", if json { verdict.json() } else { verdict.text() })?;
    match verdict.findings.len() {
        0 => Ok(()),
        findings => bail!("{findings} findings, {} messages lost", verdict.lost()),
    }
}

async fn verify(store: &Store) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let metadata = store.metadata_dir();
    if metadata.is_dir() {
        match MetaLog::open(&store.env, &metadata).await {
            Ok((_, replay)) => verdict.counts.metadata_entries = replay.entries.len() as u64,
            Err(error) => {
                verdict.findings.push(Finding { path: metadata, what: error.to_string(), lost: None })
            }
        }
    }
    for shard in store.shards() {
        verdict.shard(store, shard).await?;
    }
    Ok(verdict)
}

impl Verdict {
    async fn shard(&mut self, store: &Store, shard: u16) -> Result<()> {
        for segment in offline::segments(&store.env, store.layout(), shard).await? {
            self.counts.segments += 1;
            if segment.index == IndexInfo::None {
                continue;
            }
            match offline::scrub(&store.env, store.layout(), shard, &segment).await {
                Ok(Some(scrubbed)) => {
                    self.counts.batches += scrubbed.batches;
                    self.counts.records += scrubbed.records;
                    self.counts.index_entries += scrubbed.entries;
                    self.counts.index_keys += scrubbed.keys;
                    self.findings.extend(scrubbed.findings);
                }
                Ok(None) => {
                    let path = segment.path.with_extension("idx");
                    let what = "it does not check: the next start makes it anew from its segment".to_owned();
                    self.findings.push(Finding { path, what, lost: None });
                }
                Err(error) => {
                    self.findings.push(Finding { path: segment.path, what: error.to_string(), lost: None });
                }
            }
        }
        let path = store.layout().shard_dir(shard);
        match store.shard(shard).await {
            Ok((_, report)) => {
                self.counts.batches += report.scanned_batches;
                self.counts.records += report.records;
                for range in report.quarantined {
                    let what = format!(
                        "positions {} to {} do not check: the next start sets them aside",
                        range.start, range.end
                    );
                    self.findings.push(Finding { path: path.clone(), what, lost: None });
                }
                for lost in report.lost {
                    let what = "in a damaged range of what is not sealed".to_owned();
                    self.findings.push(Finding { path: path.clone(), what, lost: Some(lost) });
                }
            }
            Err(error) => {
                self.findings.push(Finding { path, what: format!("no start: {error}"), lost: None });
            }
        }
        Ok(())
    }

    fn lost(&self) -> u64 {
        self.findings.iter().filter_map(|finding| finding.lost.as_ref()).map(|lost| lost.count).sum()
    }

    fn text(&self) -> String {
        let counts = &self.counts;
        let mut out = String::new();
        for finding in &self.findings {
            out += &format!("{}: {}", finding.path.display(), finding.what);
            match &finding.lost {
                Some(lost) => out += &format!("; lost: {lost}\n"),
                None => out += "\n",
            }
        }
        out += &format!(
            "checked: {} segments, {} batches, {} records, {} index entries, {} keys, {} metadata entries\n{}\n",
            counts.segments,
            counts.batches,
            counts.records,
            counts.index_entries,
            counts.index_keys,
            counts.metadata_entries,
            if self.findings.is_empty() { "clean" } else { "DAMAGED" }
        );
        out
    }

    fn json(&self) -> String {
        let finding = |finding: &Finding| {
            let lost = finding.lost.as_ref().map(|lost| {
                json!({"topic": &*lost.topic, "queue": lost.queue_id, "first": lost.first, "count": lost.count})
            });
            json!({"path": finding.path.display().to_string(), "what": finding.what, "lost": lost})
        };
        let counts = &self.counts;
        let value = json!({
            "clean": self.findings.is_empty(),
            "messages_lost": self.lost(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "checked": {
                "segments": counts.segments,
                "batches": counts.batches,
                "records": counts.records,
                "index_entries": counts.index_entries,
                "index_keys": counts.index_keys,
                "metadata_entries": counts.metadata_entries,
            },
        });
        value.to_string() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use ringmq_store::LostRange;

    use super::*;

    #[test]
    fn a_verdict_says_which_messages_are_lost() {
        let lost = LostRange { topic: "T".into(), queue_id: 3, first: 7, count: 2 };
        let finding = Finding { path: "/d/x.seg".into(), what: "rotten".into(), lost: Some(lost) };
        let verdict = Verdict { findings: vec![finding], ..Verdict::default() };
        let text = verdict.text();
        assert!(text.contains("/d/x.seg: rotten; lost: T queue 3 offset 7 to 8\n"), "{text}");
        assert!(text.ends_with("DAMAGED\n") && Verdict::default().text().ends_with("clean\n"));
        let value: serde_json::Value = serde_json::from_str(&verdict.json()).unwrap();
        assert_eq!((value["clean"].as_bool(), value["messages_lost"].as_u64()), (Some(false), Some(2)));
        assert_eq!(value["findings"][0]["lost"]["first"], 7);
    }
}

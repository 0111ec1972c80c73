//! `ringmq dump recovery`: what a start would find and do.
//!
//! It is the recovery itself that runs, over files whose changes stay in memory.

use std::io::Write;

use anyhow::Result;
use ringmq_store::RecoveryReport;

use super::StoreArgs;
use super::env::{Change, Offline};
use super::store::Store;

pub async fn run(env: &Offline, args: &StoreArgs, out: &mut impl Write) -> Result<()> {
    let store = Store::open(env, args).await?;
    let mut refused = None;
    for id in store.shards() {
        match store.shard(id).await {
            Ok((_, report)) => write!(out, "{}", text(&report))?,
            Err(error) => {
                writeln!(out, "shard {id}: it would not start: {error}")?;
                refused = Some(error);
            }
        }
    }
    writeln!(out, "files of the store that would be changed:")?;
    // The rings are elsewhere, and a start may be told to put them somewhere else again.
    let data = &store.layout().config.data;
    for (path, change) in store.env.disk_changes().iter().filter(|(path, _)| path.starts_with(data)) {
        let what = match change {
            Change::Removed => "removed".to_owned(),
            Change::Made(bytes) => format!("made or replaced, {bytes} bytes"),
            Change::Written(bytes) => format!("{bytes} bytes written again or anew"),
        };
        writeln!(out, "  {}: {what}", path.display())?;
    }
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn text(report: &RecoveryReport) -> String {
    let mut out = format!(
        "shard {}: the log goes from {} to {}\n  {} segments trusted by their index, {} scanned: {} batches, {} records\n  \
         {} bytes that only the ring has, {} that it goes on with\n  {} indexes to be made anew\n  decisions: {:?}\n",
        report.shard,
        report.log_start,
        report.end,
        report.sealed_segments,
        report.scanned_segments,
        report.scanned_batches,
        report.records,
        report.replayed_bytes,
        report.kept_in_ring,
        report.rebuilt_indexes,
        report.decisions
    );
    for range in &report.quarantined {
        out += &format!(
            "  set aside: positions {} to {}, to {}\n",
            range.start,
            range.end,
            range.copy.display()
        );
    }
    for lost in &report.lost {
        out += &format!("  lost: {lost}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use ringmq_store::{Decision, LostRange, Quarantined};

    use super::*;

    #[test]
    fn a_report_says_what_is_set_aside_and_lost() {
        let report = RecoveryReport {
            decisions: vec![Decision::Quarantine, Decision::EndClean],
            quarantined: vec![Quarantined { start: 64, end: 640, copy: "/q/x.bin".into() }],
            lost: vec![LostRange { topic: "T".into(), queue_id: 1, first: 5, count: 1 }],
            ..RecoveryReport::default()
        };
        let text = text(&report);
        assert!(text.contains("[Quarantine, EndClean]"), "{text}");
        assert!(text.contains("set aside: positions 64 to 640, to /q/x.bin"), "{text}");
        assert!(text.contains("lost: T queue 1 offset 5\n"), "{text}");
    }
}

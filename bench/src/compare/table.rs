//! The table of a comparison, in Markdown.
//!
//! Owns: how figures are written. Invariant: every row that was measured is shown, a failed one with its error; a workload's
//! systems stand one below the other.

use std::fmt::Write;

use super::server::System;
use super::{Found, Results, Row};
use crate::report::Report;

pub fn render(results: &Results) -> String {
    let mut out = String::from(
        "# RingMQ beside Apache RocketMQ\n\nWritten by `ringmq bench compare`; the raw figures are in `compare.json`, the plot in `compare.svg`.\n\n",
    );
    for (name, value) in &results.facts {
        let _ = writeln!(out, "- {name}: {value}");
    }
    limits(&mut out, results);
    loads(&mut out, results);
    facts(&mut out, results);
    out.push_str("\n## Commands\nBehind `ringmq bench`, unless they say otherwise:\n");
    let mut seen: Vec<&str> = Vec::new();
    for row in &results.rows {
        if !seen.contains(&row.workload.as_str()) {
            seen.push(&row.workload);
            let _ = writeln!(out, "- {}: `{}`", row.workload, row.command);
        }
    }
    out
}

fn limits(out: &mut String, results: &Results) {
    let limits = &results.limits;
    let _ = write!(
        out,
        "\n## What the machine itself can do\n\
         | | |\n| --- | --- |\n\
         | copy in memory | {:.1} GB/s |\n\
         | one TCP connection over loopback | {:.2} GB/s |\n\
         | 1 KiB and back over loopback, blocking | p50 {:.0} us, p99.9 {:.0} us |\n\
         | write of 4 KiB (direct) + fdatasync | p50 {:.0} us, p99.9 {:.0} us |\n\
         | write of 512 KiB (direct) + fdatasync | p50 {:.0} us, p99.9 {:.0} us |\n\
         | sequential direct read, write | {:.2} GB/s, {:.2} GB/s |\n\
         | a thread on the server's CPU that only reads the clock | {:.2} % of its time in pauses over 1 ms, the longest {:.0} us |\n",
        limits.memcpy_gb_s,
        limits.loopback_gb_s,
        limits.loopback_us.0,
        limits.loopback_us.1,
        limits.sync_us.0,
        limits.sync_us.1,
        limits.group_sync_us.0,
        limits.group_sync_us.1,
        limits.disk_read_gb_s,
        limits.disk_write_gb_s,
        limits.pauses.0,
        limits.pauses.1,
    );
    if let Some((share, longest)) = limits.busy_pauses {
        let what = "the same while the load's CPU is busy and the disk is read (direct)";
        let _ = writeln!(
            out,
            "| {what} | {share:.2} % of its time in pauses over 1 ms, the longest {longest:.0} us |"
        );
    }
    if let Some((p50, p999)) = limits.woken_us {
        let what = "the round trip each millisecond, the server's CPU idle before, the client's spinning";
        let _ = writeln!(out, "| {what} | p50 {p50:.0} us, p99.9 {p999:.0} us |");
    }
    if let Some(cpu) = limits.answer_us {
        let what = "one thread that answers requests on 8 connections with 32 KiB from memory";
        let _ = writeln!(out, "| {what} | {cpu:.2} us of CPU for 1 KiB |");
    }
    if let Some([block, group]) = limits.busy_sync_us {
        let _ = writeln!(
            out,
            "| write of 4 KiB, of 512 KiB (direct) + fdatasync while the load's CPU is busy | p50 {:.0}, {:.0} us, p99.9 {:.0}, {:.0} us |",
            block.0, group.0, block.1, group.1,
        );
    }
    if let Some(read) = limits.busy_read_gb_s {
        let _ = writeln!(out, "| sequential direct read while the load's CPU is busy | {read:.2} GB/s |");
    }
    if let Some((rate, cpu)) = limits.read_and_send {
        let what =
            "one thread that reads the disk (direct, 1 MiB), checks it (crc32c) and writes it to a socket";
        let _ = writeln!(out, "| {what} | {rate:.2} GB/s, {cpu:.2} us of CPU for 4 KiB |");
    }
}

/// Rows in the order in which their workloads first came.
fn grouped(results: &Results) -> impl Iterator<Item = &Row> {
    let mut order: Vec<&str> = Vec::new();
    for row in &results.rows {
        if !order.contains(&row.workload.as_str()) {
            order.push(&row.workload);
        }
    }
    order.into_iter().flat_map(|name| results.rows.iter().filter(move |row| row.workload == name))
}

fn loads(out: &mut String, results: &Results) {
    out.push_str(
        "\n## Loads\nCPU: of the broker, user and system, a message. Latency from the intended send time where the load has a rate.\n\n\
         | workload | system | msg/s | MiB/s | CPU us | x less CPU | p50 us | p99 us | p99.9 us | p99.99 us | own MiB | refused |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in grouped(results) {
        let name = |row: &Row| format!("| {} | {} |", row.workload, row.system);
        match &row.outcome {
            Found::Load(report) => {
                let l = &report.latency_us;
                let broker = report.broker.as_ref();
                let _ = writeln!(
                    out,
                    "{} {:.0} | {:.0} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} |",
                    name(row),
                    report.messages_per_second,
                    report.mib_per_second,
                    broker.map_or("-".into(), |b| format!("{:.2}", b.cpu_us_per_message)),
                    less_cpu(results, row, report).map_or("".into(), |x| format!("{x:.1}")),
                    l.p50,
                    l.p99,
                    l.p99_9,
                    l.p99_99,
                    broker.map_or("-".into(), |b| format!("{:.0}", b.memory.anonymous_kib as f64 / 1024.0)),
                    refused(report),
                );
            }
            Found::Failed(error) => {
                let _ = writeln!(out, "{} failed: {} |||||||||", name(row), error.replace('|', "/"));
            }
            Found::Facts(_) => {}
        }
    }
}

fn facts(out: &mut String, results: &Results) {
    out.push_str("\n## Starts, memory, many topics\n| what | system | |\n| --- | --- | --- |\n");
    for row in grouped(results) {
        if let Found::Facts(facts) = &row.outcome {
            let text: Vec<String> = facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let _ = writeln!(out, "| {} | {} | {} |", row.workload, row.system, text.join("; "));
        }
    }
}

/// How many times less CPU a message than Apache's at the same workload.
fn less_cpu(results: &Results, row: &Row, report: &Report) -> Option<f64> {
    let apache = results.rows.iter().find_map(|other| match &other.outcome {
        Found::Load(report) if other.system == System::Apache && other.workload == row.workload => {
            Some(report)
        }
        _ => None,
    })?;
    let ours = report.broker.as_ref()?.cpu_us_per_message;
    let theirs = apache.broker.as_ref()?.cpu_us_per_message;
    (row.system != System::Apache && ours > 0.0).then(|| theirs / ours)
}

fn refused(report: &Report) -> u64 {
    report.refused.values().map(|(count, _)| count).sum()
}

/// One line for the progress on standard error.
pub fn summary(outcome: &Found) -> String {
    match outcome {
        Found::Load(report) => {
            let l = &report.latency_us;
            let cpu = report.broker.as_ref().map_or(0.0, |b| b.cpu_us_per_message);
            format!(
                "{:.0}/s, {cpu:.2} us CPU, p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, refused {}",
                report.messages_per_second,
                l.p50,
                l.p99,
                l.p99_9,
                refused(report)
            )
        }
        Found::Facts(facts) => {
            facts.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        }
        Found::Failed(error) => format!("FAILED: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::limits::Limits;
    use crate::process::Memory;
    use crate::report::{Broker, Latency};

    fn report(cpu: f64) -> Box<Report> {
        let latency_us =
            Latency { p50: 1.0, p90: 2.0, p99: 3.0, p99_9: 4.0, p99_99: 5.0, max: 6.0, mean: 1.5 };
        let memory = Memory { rss_kib: 4096, anonymous_kib: 2048, file_kib: 0, shared_kib: 0 };
        Box::new(Report {
            workload: "send".into(),
            seconds: 1.0,
            messages: 10,
            requests: 10,
            messages_per_second: 10.0,
            mib_per_second: 0.1,
            latency_us,
            refused: [(2, (7, "busy".to_owned()))].into(),
            broker: Some(Broker { cpu_us_per_message: cpu, cpu_cores: 1.0, memory }),
        })
    }

    fn row(workload: &str, system: System, outcome: Found) -> Row {
        Row { workload: workload.into(), command: "send".into(), system, outcome }
    }

    #[test]
    fn systems_stand_together_and_a_failure_is_shown() {
        let results = Results {
            facts: vec![("kernel".into(), "6".into())],
            limits: Limits {
                memcpy_gb_s: 1.0,
                loopback_gb_s: 1.0,
                loopback_us: (1.0, 2.0),
                sync_us: (1.0, 2.0),
                group_sync_us: (1500.0, 6000.0),
                busy_sync_us: Some([(4000.0, 8000.0), (4500.0, 16000.0)]),
                pauses: (0.1, 1500.0),
                busy_pauses: Some((30.0, 33000.0)),
                disk_read_gb_s: 1.0,
                disk_write_gb_s: 1.0,
                busy_read_gb_s: Some(0.5),
                read_and_send: Some((0.5, 2.5)),
                woken_us: Some((80.0, 1500.0)),
                answer_us: Some(0.5),
            },
            rows: vec![
                row("one", System::Apache, Found::Load(report(20.0))),
                row("two", System::Apache, Found::Failed("no | room".into())),
                row("one", System::Ringmq, Found::Load(report(2.0))),
                row("start", System::Ringmq, Found::Facts(vec![("time".into(), "1 s".into())])),
            ],
        };
        let text = render(&results);
        let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} in {text}"));
        assert!(at("| one | RocketMQ | 10 |") < at("| one | RingMQ | 10 | 0 | 2.00 | 10.0 |"));
        assert!(at("| one | RingMQ |") < at("| two | RocketMQ | failed: no / room |"));
        at("| 2 | 7 |");
        at("| start | RingMQ | time: 1 s |");
    }
}

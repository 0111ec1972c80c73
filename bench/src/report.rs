//! What a run found: rates, latency percentiles, CPU time a message, memory, refusals.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::process::{Memory, Process};

/// Longest latency that is told apart, 10 minutes in nanoseconds.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

pub struct Meter {
    workload: &'static str,
    json: bool,
    process: Option<Process>,
    histogram: Histogram<u64>,
    /// Refused requests by code, with the first remark.
    refused: BTreeMap<i32, (u64, String)>,
    warmup_ends: u64,
    /// Measuring since, and the broker's CPU time then.
    began: Option<(u64, u64)>,
    pub messages: u64,
    pub bytes: u64,
    pub requests: u64,
    total_messages: u64,
    shown: (u64, u64, u64),
    interval: Histogram<u64>,
}

/// The figures of one run, as `--json` prints them.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub workload: String,
    pub seconds: f64,
    pub messages: u64,
    pub requests: u64,
    pub messages_per_second: f64,
    pub mib_per_second: f64,
    pub latency_us: Latency,
    /// By code: how many, and the first remark.
    pub refused: BTreeMap<i32, (u64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<Broker>,
}

/// Percentiles, microseconds.
#[derive(Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
    pub mean: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Broker {
    pub cpu_us_per_message: f64,
    pub cpu_cores: f64,
    #[serde(flatten)]
    pub memory: Memory,
}

impl Meter {
    pub fn new(
        workload: &'static str,
        pid: Option<i32>,
        json: bool,
        now: u64,
        warmup: Duration,
    ) -> Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Ok(Self {
            workload,
            json,
            process: pid.map(Process::new).transpose()?,
            histogram: histogram()?,
            interval: histogram()?,
            refused: BTreeMap::new(),
            warmup_ends: now + warmup.as_nanos() as u64,
            began: None,
            messages: 0,
            bytes: 0,
            requests: 0,
            total_messages: 0,
            shown: (now, 0, now),
        })
    }

    /// One request done: `messages` messages of `bytes` together, `latency` nanoseconds.
    pub fn done(&mut self, now: u64, messages: u64, bytes: u64, latency: u64) -> Result<()> {
        self.total_messages += messages;
        if self.measuring(now)? {
            self.messages += messages;
            self.bytes += bytes;
            self.requests += 1;
            self.histogram.saturating_record(latency.max(1));
        }
        self.interval.saturating_record(latency.max(1));
        Ok(())
    }

    /// One more latency inside a request that `done` counts (end to end: one a message).
    pub fn latency(&mut self, latency: u64) {
        if self.began.is_some() {
            self.histogram.saturating_record(latency.max(1));
        }
        self.interval.saturating_record(latency.max(1));
    }

    /// Counts messages without a latency.
    pub fn count(&mut self, now: u64, messages: u64, bytes: u64) -> Result<()> {
        self.total_messages += messages;
        if self.measuring(now)? {
            self.messages += messages;
            self.bytes += bytes;
            self.requests += 1;
        }
        Ok(())
    }

    fn measuring(&mut self, now: u64) -> Result<bool> {
        if self.began.is_none() && now >= self.warmup_ends {
            let cpu = self.process.as_ref().map(Process::cpu_ns).transpose()?.unwrap_or(0);
            self.began = Some((now, cpu));
            return Ok(false);
        }
        Ok(self.began.is_some())
    }

    pub fn refuse(&mut self, code: i32, remark: Option<&str>) {
        let entry = self.refused.entry(code).or_insert_with(|| (0, remark.unwrap_or("").to_owned()));
        entry.0 += 1;
    }

    /// Messages since the run began, warm-up included.
    pub fn total(&self) -> u64 {
        self.total_messages
    }

    /// A line a second on standard error.
    pub fn progress(&mut self, now: u64) {
        let (at, before, start) = self.shown;
        if now - at < 1_000_000_000 {
            return;
        }
        let rate = (self.total_messages - before) as f64 * 1e9 / (now - at) as f64;
        let us = |q: f64| self.interval.value_at_quantile(q) as f64 / 1e3;
        eprintln!(
            "{:6.1} s  {:>10.0} msg/s  p50 {:>9.1} us  p99 {:>9.1} us  max {:>9.1} us  refused {}{}",
            (now - start) as f64 / 1e9,
            rate,
            us(0.5),
            us(0.99),
            self.interval.max() as f64 / 1e3,
            self.refused.values().map(|r| r.0).sum::<u64>(),
            if self.began.is_none() { "  (warm-up)" } else { "" },
        );
        self.interval.reset();
        self.shown = (now, self.total_messages, start);
    }

    /// Prints the result. `ended`: when the last measured answer came.
    pub fn finish(&self, ended: u64) -> Result<()> {
        let Some((began, cpu_before)) = self.began else {
            anyhow::bail!("the run ended before its warm-up did: nothing was measured");
        };
        let seconds = (ended - began) as f64 / 1e9;
        let us = |q: f64| self.histogram.value_at_quantile(q) as f64 / 1e3;
        let broker = match &self.process {
            Some(process) => {
                let cpu = process.cpu_ns()? - cpu_before;
                Some(Broker {
                    cpu_us_per_message: cpu as f64 / 1e3 / self.messages.max(1) as f64,
                    cpu_cores: cpu as f64 / 1e9 / seconds,
                    memory: process.memory()?,
                })
            }
            None => None,
        };
        let report = Report {
            workload: self.workload.to_owned(),
            seconds,
            messages: self.messages,
            requests: self.requests,
            messages_per_second: self.messages as f64 / seconds,
            mib_per_second: self.bytes as f64 / seconds / (1 << 20) as f64,
            latency_us: Latency {
                p50: us(0.5),
                p90: us(0.9),
                p99: us(0.99),
                p99_9: us(0.999),
                p99_99: us(0.9999),
                max: self.histogram.max() as f64 / 1e3,
                mean: self.histogram.mean() / 1e3,
            },
            refused: self.refused.clone(),
            broker,
        };
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print_table(&report);
        }
        Ok(())
    }
}

fn print_table(r: &Report) {
    println!("{}: {} messages in {:.2} s, {} requests", r.workload, r.messages, r.seconds, r.requests);
    println!("  rate        {:.0} msg/s, {:.1} MiB/s", r.messages_per_second, r.mib_per_second);
    let l = &r.latency_us;
    println!(
        "  latency us  p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  p99.99 {:.1}  max {:.1}  mean {:.1}",
        l.p50, l.p90, l.p99, l.p99_9, l.p99_99, l.max, l.mean
    );
    if let Some(b) = &r.broker {
        println!("  broker CPU  {:.3} us a message, {:.2} cores", b.cpu_us_per_message, b.cpu_cores);
        let mib = |kib: u64| kib as f64 / 1024.0;
        println!(
            "  broker RSS  {:.1} MiB (own {:.1}, mapped files {:.1}, shared {:.1})",
            mib(b.memory.rss_kib),
            mib(b.memory.anonymous_kib),
            mib(b.memory.file_kib),
            mib(b.memory.shared_kib)
        );
    }
    for (code, (count, remark)) in &r.refused {
        println!("  refused     {count} x code {code}: {remark}");
    }
}

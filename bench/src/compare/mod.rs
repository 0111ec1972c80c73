//! `ringmq bench compare`: Apache RocketMQ and RingMQ, one after the other, on the same cores, under the same loads.
//!
//! Owns: the order of a comparison. A server is started fresh for each group of workloads that needs other settings, pinned
//! to its cores; each load is a `ringmq bench …` process of its own, pinned to the other core. Everything that was found goes
//! to `results.json`, a table and a plot.
//! Invariants: both systems get the same command lines; a JVM is measured only after it was warmed on all cores, but for the
//! workload that is about the first minute. What the machine itself can do is measured in the same run.
//! On failure: a workload that fails is written down with its error, and the others go on.

mod limits;
mod plot;
mod server;
mod start;
mod table;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::report::Report;
use limits::Limits;
use server::{Cores, System};
use workloads::Outcome;

#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Where the table, the plot and the raw figures go.
    #[arg(long, default_value = "docs/benchmarks")]
    pub out: PathBuf,
    /// Directory for the stores, emptied before each start; its disk is what is measured.
    #[arg(long, default_value = "target/compare")]
    pub data: PathBuf,
    /// The script that starts Apache RocketMQ.
    #[arg(long, default_value = "tests/apache/run.sh")]
    pub apache: PathBuf,
    /// JVM flags of Apache RocketMQ: those of its own runbroker.sh, with a heap that this machine has.
    #[arg(long, default_value = "-Xms4g -Xmx4g")]
    pub heap: String,
    /// CPU of the server.
    #[arg(long, default_value_t = 0)]
    pub server_cpu: usize,
    /// CPU of the load.
    #[arg(long, default_value_t = 1)]
    pub load_cpu: usize,
    /// Seconds of a closed-loop workload; open loops take six times as long.
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Seconds of load before Apache RocketMQ is measured, two thirds of them on all cores.
    #[arg(long, default_value_t = 90)]
    pub warm: u32,
    /// GiB of messages for the cold reads and for the start after kill -9.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub store_gib: u32,
    /// Topics, of 8 queues each, for the workloads with many.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub topics: u32,
    /// Only these systems: apache, ringmq, ringmq-2 (on both cores).
    #[arg(long, value_delimiter = ',', default_value = "apache,ringmq,ringmq-2")]
    pub systems: Vec<System>,
    /// Only the workloads whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Measures nothing: writes table and plot anew from the raw figures in the output directory.
    #[arg(long)]
    pub redraw: bool,
    /// Measures only what the machine can do, and only adds to the results in the output directory what they lack of it.
    #[arg(long)]
    pub limits: bool,
}

/// Everything that a comparison found.
#[derive(Serialize, Deserialize)]
pub struct Results {
    /// The command line, machine, kernel and versions, line by line.
    pub facts: Vec<(String, String)>,
    pub limits: Limits,
    pub rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
pub struct Row {
    pub workload: String,
    /// The `ringmq bench` arguments, or what was done.
    pub command: String,
    pub system: System,
    pub outcome: Found,
}

#[derive(Serialize, Deserialize)]
pub enum Found {
    Load(Box<Report>),
    /// A name and a value with its unit.
    Facts(Vec<(String, String)>),
    Failed(String),
}

pub fn run(args: &CompareArgs) -> Result<()> {
    if args.redraw {
        let results = read(&args.out)?;
        write(&args.out, &results)?;
        return plot::draw(&args.out.join("compare.svg"), &results);
    }
    fs::create_dir_all(&args.out).with_context(|| format!("create {}", args.out.display()))?;
    fs::create_dir_all(&args.data).with_context(|| format!("create {}", args.data.display()))?;
    let data = args.data.canonicalize()?;
    eprintln!("what the machine can do");
    let limits = Limits::measure(&data, args.server_cpu, args.load_cpu)?;
    if args.limits {
        let mut results = read(&args.out)?;
        results.limits.add(&limits);
        results.facts.retain(|(name, _)| name != ADDED.0);
        results.facts.push((ADDED.0.into(), ADDED.1.into()));
        return write(&args.out, &results);
    }
    let mut results = Results { facts: facts(), limits, rows: Vec::new() };
    for system in &args.systems {
        let cores = Cores { server: args.server_cpu, load: args.load_cpu, both: *system == System::Ringmq2 };
        workloads::run(args, &data, *system, cores, &mut |workload, command, outcome| {
            let outcome = match outcome {
                Ok(Outcome::Load(report)) => Found::Load(report),
                Ok(Outcome::Facts(facts)) => Found::Facts(facts),
                Err(error) => Found::Failed(format!("{error:#}")),
            };
            eprintln!("{system:<9} {workload}: {}", table::summary(&outcome));
            results.rows.push(Row { workload: workload.into(), command, system: *system, outcome });
            // After each: a comparison takes long, and what was found must not be lost.
            write(&args.out, &results)
        })?;
    }
    plot::draw(&args.out.join("compare.svg"), &results)?;
    println!("{}", args.out.join("compare.md").display());
    Ok(())
}

/// A line of the facts.
const ADDED: (&str, &str) =
    ("some of what the machine can do", "measured later, by `ringmq bench compare --limits`");

fn read(out: &Path) -> Result<Results> {
    let path = out.join("compare.json");
    let raw = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&raw).with_context(|| format!("parse {}", path.display()))
}

fn write(out: &Path, results: &Results) -> Result<()> {
    fs::write(out.join("compare.json"), serde_json::to_string_pretty(results)? + "\n")?;
    fs::write(out.join("compare.md"), table::render(results))?;
    Ok(())
}

fn facts() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let memory = memory.lines().next().and_then(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        ("command", format!("ringmq {}", args.join(" "))),
        ("processor", format!("{} x {}", cores, model.trim_start_matches(['\t', ':', ' ']))),
        ("memory", memory.trim().to_owned()),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("RingMQ", env!("CARGO_PKG_VERSION").to_owned()),
        ("Apache RocketMQ", "5.5.0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

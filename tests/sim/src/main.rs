//! `sim`: runs seeds of the simulator and says how many passed.
//!
//! Seeds run in child processes, since a broken promise is a panic and the release profile aborts on
//! one: the parent sees which seed a child died of, and goes on behind it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use sim::{Bug, Fault, run_seed_without, superfluous};

/// Seeds of one child process.
const CHUNK: u64 = 20;
/// Of the seeds that fail, so many are run again without this and that, to see what the failure needs.
const SHRUNK_MAX: usize = 5;
/// Each so-manieth seed runs twice, and must give the same trace.
const REPEATED: u64 = 16;

#[derive(Parser)]
#[command(about = "Runs a node's storage in simulated worlds that crash, tear writes and fail fsyncs")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Runs this seed alone and prints its trace.
    #[arg(long, conflicts_with_all = ["seeds", "first_seed"])]
    seed: Option<u64>,
    /// Seeds at the same time [default: one for each CPU].
    #[arg(long)]
    jobs: Option<usize>,
    /// Plants a defect, to see it caught.
    #[arg(long)]
    bug: Option<Bug>,
    /// Faults to leave out.
    #[arg(long, value_name = "FAULT,FAULT", value_delimiter = ',')]
    without: Vec<Fault>,
    #[arg(long, hide = true)]
    child: bool,
    #[arg(long, hide = true)]
    trace: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.child {
        child(&args);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(seed) = args.seed {
        return replay(&args, seed);
    }
    let begin = Instant::now();
    let failed = run_all(&args)?;
    for (seed, _) in failed.iter().take(SHRUNK_MAX) {
        let needless = superfluous(|without| -> Result<bool> {
            let mut child = command(&args, *seed, 1, without)?;
            let status =
                child.stdout(Stdio::null()).stderr(Stdio::null()).status().context("start a child")?;
            Ok(!status.success())
        })?;
        println!("failed: seed {seed}; replay it with --seed {seed}{}", text(&args, &needless)?);
    }
    for (seed, _) in failed.iter().skip(SHRUNK_MAX) {
        println!("failed: seed {seed}; replay it with --seed {seed}{}", text(&args, &[])?);
    }
    let passed = args.seeds - failed.len() as u64;
    println!("{passed} of {} seeds passed in {:.1} s", args.seeds, begin.elapsed().as_secs_f64());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs its seeds and prints a line for each that passed.
fn child(args: &Args) {
    for seed in args.first_seed..args.first_seed + args.seeds {
        let outcome = run_seed_without(&args.without, seed, args.bug, args.trace);
        if seed.is_multiple_of(REPEATED) {
            let again = run_seed_without(&args.without, seed, args.bug, false);
            assert!(outcome == again, "seed {seed} runs in two ways: {outcome:?}, {again:?}");
        }
        println!(
            "passed {seed}: {} acknowledged, {} read, {} commits, {} came later, {} lives{}, trace {:016x}",
            outcome.acknowledged,
            outcome.reads,
            outcome.commits,
            outcome.came,
            outcome.lives,
            if outcome.refused { ", refused damage" } else { "" },
            outcome.trace_hash
        );
    }
}

fn name(value: &impl ValueEnum) -> Result<String> {
    Ok(value.to_possible_value().context("a value with a name")?.get_name().to_owned())
}

fn names(args: &Args, without: &[Fault]) -> Result<String> {
    let faults: BTreeSet<Fault> = args.without.iter().chain(without).copied().collect();
    Ok(faults.iter().map(name).collect::<Result<Vec<_>>>()?.join(","))
}

/// The options with which a seed is the same again.
fn text(args: &Args, without: &[Fault]) -> Result<String> {
    let mut out = String::new();
    if let Some(bug) = &args.bug {
        out += &format!(" --bug {}", name(bug)?);
    }
    let names = names(args, without)?;
    if !names.is_empty() {
        out += &format!(" --without {names}");
    }
    Ok(out)
}

fn command(args: &Args, first: u64, seeds: u64, without: &[Fault]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.args(["--child", "--first-seed", &first.to_string(), "--seeds", &seeds.to_string()]);
    command.args(text(args, without)?.split_whitespace());
    Ok(command)
}

fn replay(args: &Args, seed: u64) -> Result<ExitCode> {
    let status = command(args, seed, 1, &[])?.arg("--trace").status().context("start a child")?;
    let passed = u8::from(status.success());
    println!("{passed} of 1 seeds passed");
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The seeds that failed, each with what the child said.
fn run_all(args: &Args) -> Result<Vec<(u64, String)>> {
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let end = args.first_seed + args.seeds;
    let chunks: Vec<(u64, u64)> =
        (args.first_seed..end).step_by(CHUNK as usize).map(|first| (first, end.min(first + CHUNK))).collect();
    let (report, reports) = mpsc::channel();
    let mut failed = Vec::new();
    thread::scope(|scope| -> Result<()> {
        for job in 0..jobs {
            let (report, chunks) = (report.clone(), &chunks);
            scope.spawn(move || {
                for (first, end) in chunks.iter().skip(job).step_by(jobs) {
                    let done = run_chunk(args, *first, *end);
                    if report.send(done).is_err() {
                        return;
                    }
                }
            });
        }
        drop(report);
        for done in reports {
            for (seed, said) in done? {
                println!("seed {seed} failed:\n{said}");
                failed.push((seed, said));
            }
        }
        Ok(())
    })?;
    failed.sort();
    Ok(failed)
}

fn run_chunk(args: &Args, first: u64, end: u64) -> Result<Vec<(u64, String)>> {
    let mut failed = Vec::new();
    let mut next = first;
    while next < end {
        let mut child = command(args, next, end - next, &[])?
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start a child")?;
        let stderr = child.stderr.take().context("a piped stderr")?;
        let said = thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());
        for line in BufReader::new(child.stdout.take().context("a piped stdout")?).lines() {
            let line = line.context("read from a child")?;
            println!("{line}");
            next += 1;
        }
        let status = child.wait().context("wait for a child")?;
        let said = said.join().unwrap_or_default();
        if status.success() {
            assert_eq!(next, end, "a child left seeds out");
        } else {
            failed.push((next, said));
            next += 1;
        }
    }
    Ok(failed)
}

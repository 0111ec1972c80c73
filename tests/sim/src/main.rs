//! `sim`: runs seeds of the simulator and says how many passed.
//!
//! Seeds run in child processes, since a broken promise is a panic and the release profile aborts on
//! one: the parent sees which seed a child died of, and goes on behind it.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use sim::{Bug, run_seed};

/// Seeds of one child process.
const CHUNK: u64 = 20;
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
    for (seed, _) in &failed {
        println!("failed: seed {seed}; replay it with --seed {seed}");
    }
    let passed = args.seeds - failed.len() as u64;
    println!("{passed} of {} seeds passed in {:.1} s", args.seeds, begin.elapsed().as_secs_f64());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs its seeds and prints a line for each that passed.
fn child(args: &Args) {
    for seed in args.first_seed..args.first_seed + args.seeds {
        let outcome = run_seed(seed, args.bug, args.trace);
        if seed.is_multiple_of(REPEATED) {
            let again = run_seed(seed, args.bug, false);
            assert!(outcome == again, "seed {seed} runs in two ways: {outcome:?}, {again:?}");
        }
        println!(
            "passed {seed}: {} acknowledged, {} read, {} commits, {} lives{}, trace {:016x}",
            outcome.acknowledged,
            outcome.reads,
            outcome.commits,
            outcome.lives,
            if outcome.refused { ", refused damage" } else { "" },
            outcome.trace_hash
        );
    }
}

fn command(args: &Args, first: u64, seeds: u64) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.args(["--child", "--first-seed", &first.to_string(), "--seeds", &seeds.to_string()]);
    if let Some(bug) = args.bug {
        let name = clap::ValueEnum::to_possible_value(&bug).context("a bug with a name")?;
        command.args(["--bug", name.get_name()]);
    }
    Ok(command)
}

fn replay(args: &Args, seed: u64) -> Result<ExitCode> {
    let status = command(args, seed, 1)?.arg("--trace").status().context("start a child")?;
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
        let mut child = command(args, next, end - next)?
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

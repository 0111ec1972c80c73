//! The `ringmq` binary: one program for every role.

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "ringmq", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Load a broker and measure it.
    Bench(ringmq_bench::BenchArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Some(Command::Bench(args)) => ringmq_bench::run(&args),
        None => anyhow::bail!("no command"),
    }
}

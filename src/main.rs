//! The `ringmq` binary: one program for every role.
//!
//! Exit status: 0 after a clean stop (SIGTERM, SIGINT) or a finished command, 1 with a message otherwise.

mod cli;
mod logging;
mod namesrv;
mod ready;

use anyhow::Result;
use clap::Parser;

use cli::{Cli, Command};

fn main() -> Result<()> {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Standalone(cli::Standalone::default()));
    if let Command::Bench(args) = command {
        return ringmq_bench::run(&args);
    }
    let _logs = logging::start();
    match command {
        Command::Namesrv(args) => namesrv::run(&args),
        _ => unreachable!(),
    }
}

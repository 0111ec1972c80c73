//! The `ringmq` binary: one program for every role.
//!
//! Exit status: 0 after a clean stop (SIGTERM, SIGINT) or a finished command, 1 with a message otherwise.

mod broker;
mod cli;
mod logging;
mod namesrv;
mod ready;
mod standalone;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Standalone(cli::Standalone::default()));
    let result = match &command {
        Command::Bench(args) => ringmq_bench::run(args),
        Command::Top(args) => ringmq_tools::top(args),
        Command::Admin(args) => ringmq_tools::admin(args, Cli::command),
        Command::Dump(args) => ringmq_tools::dump(args),
        Command::Standalone(args) => serve(&args.logs, "ringmq-standalone", || standalone::run(args)),
        Command::Broker(args) => serve(&args.logs, "ringmq-broker", || broker::run(args)),
        Command::Namesrv(args) => serve(&args.logs, "ringmq-namesrv", || namesrv::run(args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a server with its logs; why it ended is in its log files too.
fn serve(logs: &cli::Logs, role: &str, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let _written_at_the_end = logging::start(logs, role)?;
    let result = run();
    if let (Err(error), Some(_)) = (&result, &logs.log_dir) {
        tracing::error!("{error:#}");
    }
    result
}

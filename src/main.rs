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

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Standalone(cli::Standalone::default()));
    let result = match &command {
        Command::Bench(args) => ringmq_bench::run(args),
        Command::Top(args) => ringmq_tools::top(args),
        Command::Admin(args) => ringmq_tools::admin(args),
        Command::Dump(args) => ringmq_tools::dump(args),
        server => {
            let _logs = logging::start();
            match server {
                Command::Standalone(args) => standalone::run(args),
                Command::Broker(args) => broker::run(args),
                Command::Namesrv(args) => namesrv::run(args),
                Command::Bench(_) | Command::Top(_) | Command::Admin(_) | Command::Dump(_) => {
                    unreachable!("matched above")
                }
            }
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq: {error:#}");
            ExitCode::FAILURE
        }
    }
}

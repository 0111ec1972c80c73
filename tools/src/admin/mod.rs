//! `ringmq admin`: noun and verb over RocketMQ's own administration requests, for RingMQ and for Apache's servers.
//!
//! Owns: the command line of it. Each noun has a file. Invariants: what destroys something has `--dry-run`, which only looks;
//! each verb prints one `Report`, after everything went well. On failure: an error with the server's address, code and
//! remark, and exit 1; a verb that changes several brokers says which one failed, and those before it are changed.

mod broker;
mod cluster;
mod group;
mod message;
mod offset;
mod place;
mod report;
mod session;
mod shown;
mod tail;
mod topic;

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Command, Subcommand};
use clap_complete::{Shell, generate};

use crate::{AdminAddress, latency};
use session::Session;

#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// Name servers
    #[arg(
        short,
        long,
        value_name = "HOST:PORT[;HOST:PORT]",
        default_value = "127.0.0.1:9876",
        global = true
    )]
    pub namesrv: String,
    /// As one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: AdminCommand,
}

#[derive(Subcommand, Clone, Debug)]
pub enum AdminCommand {
    /// Topics: list, show, create, delete
    #[command(subcommand)]
    Topic(topic::Verb),
    /// Consumer groups: list, lag, clients, delete
    #[command(subcommand)]
    Group(group::Verb),
    /// Messages: send, tail, find, show
    #[command(subcommand)]
    Message(message::Verb),
    /// Where groups are: reset
    #[command(subcommand)]
    Offset(offset::Verb),
    /// All brokers, whether they answer, and how busy they are
    Cluster,
    /// One broker: status, configuration
    #[command(subcommand)]
    Broker(broker::Verb),
    /// Where time goes: percentiles of each stage of a message's way, since the broker was started
    Latency(AdminAddress),
    /// What a shell needs to complete the commands of this program, as a script on standard output
    Completions { shell: Shell },
}

/// `program` is the whole command line, which completions are made from.
pub fn run(args: &AdminArgs, program: impl FnOnce() -> Command) -> Result<()> {
    let mut session = Session::new(&args.namesrv);
    let report = match &args.command {
        AdminCommand::Latency(address) => return latency::run(address, args.json),
        AdminCommand::Completions { shell } => return completions(*shell, program()),
        AdminCommand::Message(verb) => return message::run(&mut session, verb, args.json),
        AdminCommand::Cluster => cluster::show(&mut session)?,
        AdminCommand::Topic(verb) => topic::run(&mut session, verb)?,
        AdminCommand::Group(verb) => group::run(&mut session, verb)?,
        AdminCommand::Offset(verb) => offset::run(&mut session, verb)?,
        AdminCommand::Broker(verb) => broker::run(&mut session, verb)?,
    };
    report.print(args.json);
    Ok(())
}

fn completions(shell: Shell, mut program: Command) -> Result<()> {
    let name = program.get_name().to_owned();
    // The generator panics where it cannot write, which a closed pipe must not make it do.
    let mut script = Vec::new();
    generate(shell, &mut program, name, &mut script);
    std::io::stdout().write_all(&script).context("write the completions")
}

//! `ringmq dump`: looks at a store that no broker has open.
//!
//! Owns: the subcommands and what they print. Each opens the store by the broker's own code in an environment whose writes
//! stay in memory (`env`), so what is shown is what a start would find, and nothing is changed.
//! Invariants: never writes to the store; a store that is in use is refused. Exit status 1 if something does not check or
//! cannot be read.

mod env;
mod messages;
mod queues;
mod recovery;
mod segments;
mod store;
mod verify;

pub use messages::as_json;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use env::Offline;

#[derive(Args, Clone, Debug)]
pub struct DumpArgs {
    #[command(subcommand)]
    pub command: DumpCommand,
}

/// Which store.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Directory of everything that is stored (broker.conf: storePathRootDir)
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,
}

#[derive(Subcommand, Clone, Debug)]
pub enum DumpCommand {
    /// Check every checksum; exit status 1, and which messages are lost, if one does not match
    Verify {
        #[command(flatten)]
        store: StoreArgs,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the segments of every shard
    Segments {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List the batches of a segment
    Batches {
        #[command(flatten)]
        store: StoreArgs,
        /// Number of the segment, as `dump segments` shows it
        #[arg(long, value_name = "N")]
        segment: u32,
        #[arg(long, value_name = "N", default_value_t = 0)]
        shard: u16,
    },
    /// List the queues with their offsets
    Queues {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Print or export the messages of a topic
    Messages(MessagesArgs),
    /// Say what a start would find and do, without doing it
    Recovery {
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Args, Clone, Debug)]
pub struct MessagesArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    pub topic: String,
    /// This queue alone
    #[arg(long, value_name = "Q")]
    pub queue: Option<u32>,
    /// First offset [default: the queue's first]
    #[arg(long, value_name = "O")]
    pub from: Option<u64>,
    /// At most so many of each queue [default: 32; all with --export]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Write the records to a new file instead, as a pull answer carries them
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
}

pub fn run(args: &DumpArgs) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let env = Offline::new();
    let outcome = env.run(run_on(&env, args, &mut out));
    // Whoever reads may have seen enough (`| head`).
    let enough = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    match outcome {
        Err(error) if error.downcast_ref().is_some_and(enough) => Ok(()),
        outcome => outcome,
    }
}

async fn run_on(env: &Offline, args: &DumpArgs, out: &mut impl Write) -> Result<()> {
    match &args.command {
        DumpCommand::Verify { store, json } => verify::run(env, store, *json, out).await,
        DumpCommand::Segments { store } => segments::segments(env, store, out).await,
        DumpCommand::Batches { store, segment, shard } => {
            segments::batches(env, store, *shard, *segment, out).await
        }
        DumpCommand::Queues { store } => queues::run(env, store, out).await,
        DumpCommand::Messages(args) => messages::run(env, args, out).await,
        DumpCommand::Recovery { store } => recovery::run(env, store, out).await,
    }
}

//! The command line: `ringmq bench send | consume | e2e | compare`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

pub use crate::compare::CompareArgs;

#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub workload: Workload,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Workload {
    /// Send messages: closed loop by default, open loop with --rate.
    Send(SendArgs),
    /// Pull messages and verify CRC and content of each.
    Consume(ConsumeArgs),
    /// Send and consume by long polling; latency from the intended send time to the arrival.
    E2e(E2eArgs),
    /// Compare with Apache RocketMQ 5.5.0, one after the other on the same cores; writes a table and a plot.
    Compare(CompareArgs),
}

#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Name server that knows the brokers.
    #[arg(short, long, default_value = "127.0.0.1:9876")]
    pub namesrv: String,
    /// Topic; with --topics N, the prefix of N topics.
    #[arg(short, long, default_value = "ringmq-bench")]
    pub topic: String,
    /// How many topics.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Queues of each topic when the tool creates it.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub queues: u32,
    /// Use the topics as they are instead of creating them.
    #[arg(long)]
    pub no_create: bool,
    /// Connections.
    #[arg(short, long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections: u32,
    /// Seconds to measure.
    #[arg(short, long, default_value = "10", value_parser = seconds)]
    pub duration: Duration,
    /// Seconds that run before the measurement.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
    /// Process id of the broker: adds its CPU time a message and its memory.
    #[arg(long)]
    pub pid: Option<i32>,
    /// Poll the sockets without sleeping: takes a whole core, takes the tool's wake-up out of the latency.
    #[arg(long)]
    pub spin: bool,
    /// How headers are written.
    #[arg(long, value_enum, default_value_t = Header::Json)]
    pub header: Header,
    /// Print the result as one JSON object on standard output (progress stays on standard error).
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Header {
    Json,
    Binary,
}

#[derive(Args, Clone, Debug)]
pub struct Load {
    /// Bytes of a message's body.
    #[arg(short, long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4 * 1024 * 1024))]
    pub size: u32,
    /// Requests in flight on each connection.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Messages of a request (1 = no batch).
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub batch: u32,
    /// Messages per second over all connections (open loop).
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// End after this many messages, warm-up included, instead of after --duration.
    #[arg(long)]
    pub count: Option<u64>,
}

#[derive(Args, Clone, Debug)]
pub struct SendArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    First,
    Last,
}

#[derive(Args, Clone, Debug)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub common: Common,
    /// Where each queue is begun.
    #[arg(long, value_enum, default_value_t = From::First)]
    pub from: From,
    /// Begin a queue again when its end is reached (measures reads without a producer).
    #[arg(long)]
    pub repeat: bool,
    /// Messages asked for in one pull.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub max: u32,
    /// Tag expression.
    #[arg(long, default_value = "*")]
    pub tags: String,
    /// End after this many messages.
    #[arg(long)]
    pub count: Option<u64>,
}

#[derive(Args, Clone, Debug)]
pub struct E2eArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 =
        text.trim_end_matches('s').parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(value).map_err(|e| format!("{text:?}: {e}"))
}

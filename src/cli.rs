//! The command line. Other programs rely on it: names and defaults change only with a major version.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(
    name = "ringmq",
    version,
    about = "A drop-in replacement for the Apache RocketMQ broker and name server",
    after_help = "Without a command: ringmq standalone.\nLogs go to standard error unless there is a --log-dir; RUST_LOG filters them (default: info)."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Name server and broker in one process
    Standalone(Standalone),
    /// A broker that registers with name servers
    Broker(Broker),
    /// A name server
    Namesrv(Namesrv),
    /// Load a broker and measure it
    Bench(ringmq_bench::BenchArgs),
    /// Watch a broker: rates, turns, rings, stalls and busy topics, core by core
    Top(ringmq_tools::TopArgs),
    /// Administer brokers and name servers, RingMQ's and Apache's: by noun and verb
    Admin(ringmq_tools::AdminArgs),
    /// Look at a store that no broker has open: check it, list it, print messages
    Dump(ringmq_tools::DumpArgs),
}

#[derive(Args)]
pub struct Standalone {
    /// Directory of everything that is stored
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,
    /// Port of the name server; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 9876)]
    pub namesrv_port: u16,
    /// Port of the broker; 0 picks a free one [default: broker.conf's listenPort, else 10911]
    #[arg(long, value_name = "PORT")]
    pub listen_port: Option<u16>,
    /// Address that both listen on, and that clients are told unless broker.conf has brokerIP1
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Shards of a new store [default: one per available core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    /// RocketMQ's broker.conf
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub logs: Logs,
}

impl Default for Standalone {
    fn default() -> Self {
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            args: Standalone,
        }
        Defaults::parse_from(["ringmq"]).args
    }
}

#[derive(Args)]
pub struct Broker {
    /// RocketMQ's broker.conf
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Name servers, separated by `;` (wins over broker.conf's namesrvAddr)
    #[arg(short, long, value_name = "NAMESRV[;NAMESRV]")]
    pub namesrv: Option<String>,
    /// Shards of a new store [default: one per available core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    #[command(flatten)]
    pub logs: Logs,
}

#[derive(Args)]
pub struct Namesrv {
    /// Port to listen on; 0 picks a free one [default: namesrv.conf's listenPort, else 9876]
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,
    /// RocketMQ's namesrv.conf
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub logs: Logs,
}

/// Where the logs of a server go.
#[derive(Args)]
pub struct Logs {
    /// Write logs to files in this directory [default: to standard error]
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Log files that are kept, the present one included
    #[arg(long, value_name = "N", default_value_t = 14, requires = "log_dir", value_parser = clap::value_parser!(u32).range(2..))]
    pub log_keep: u32,
    /// How often a new log file is begun, in UTC
    #[arg(long, value_name = "WHEN", default_value = "daily", requires = "log_dir")]
    pub log_rotation: NewLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NewLog {
    Daily,
    Hourly,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_arguments_mean_standalone_with_its_defaults() {
        assert!(Cli::parse_from(["ringmq"]).command.is_none());
        let defaults = Standalone::default();
        assert_eq!(defaults.data, PathBuf::from("./data"));
        assert_eq!(defaults.namesrv_port, 9876);
    }

    #[test]
    fn the_documented_forms_parse() {
        for line in [
            "ringmq standalone --data d --namesrv-port 0 --listen-port 0 --shards 2 -c broker.conf",
            "ringmq broker -c broker.conf -n 127.0.0.1:9876;127.0.0.1:9877 --shards 2",
            "ringmq namesrv -p 0 -c namesrv.conf",
            "ringmq broker -c broker.conf --log-dir logs --log-keep 30 --log-rotation hourly",
            "ringmq namesrv --log-dir logs",
            "ringmq bench send --size 1024 --connections 8 --in-flight 64",
            "ringmq top --admin 127.0.0.1:5557 --interval 1s --once",
            "ringmq dump verify --data d --json",
            "ringmq dump segments --data d",
            "ringmq dump batches --segment 3 --shard 1",
            "ringmq dump messages TopicTest --queue 0 --from 10 --count 5 --export out",
            "ringmq dump recovery",
            "ringmq admin latency --admin 127.0.0.1:5557 --json",
            "ringmq admin -n 127.0.0.1:9876 topic list --all --json",
            "ringmq admin topic create orders --queues 4 --update",
            "ringmq admin topic delete orders --dry-run",
            "ringmq admin group lag billing --topic orders",
            "ringmq admin group delete billing --dry-run",
            "ringmq admin offset reset billing orders --to 2026-11-24T10:00 --dry-run",
            "ringmq admin message send orders --body hello --tag A --key k1 --key k2 --property a=b",
            "ringmq admin message tail orders --tag A --from earliest --count 10 --json",
            "ringmq admin message tail orders -f",
            "ringmq admin message find orders --key k1",
            "ringmq admin message show 7F00000100002A9F0000000000000000",
            "ringmq admin cluster",
            "ringmq admin broker status 127.0.0.1:10911",
            "ringmq admin broker config broker-a",
            "ringmq admin broker config set a=1 b=2 --broker broker-a",
            "ringmq admin completions bash",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn what_concerns_log_files_needs_a_directory_for_them() {
        assert!(Cli::try_parse_from(["ringmq", "namesrv", "--log-keep", "3"]).is_err());
        assert!(Cli::try_parse_from(["ringmq", "namesrv", "--log-dir", "d", "--log-keep", "1"]).is_err());
    }
}

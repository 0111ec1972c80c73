//! Starts and stops the servers that are compared.
//!
//! Owns: the command lines and settings of both, their pinning, their processes. Invariants: each start has ports of its own
//! that were free; a server that this module started is gone when its `Server` is dropped.
//! On failure: an error with the end of the server's output.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::CompareArgs;

/// A server that is not ready by then has failed to start: Apache with a large store takes 10 s here, and three times
/// that on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(180);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum System {
    #[value(name = "apache")]
    Apache,
    #[value(name = "ringmq")]
    Ringmq,
    /// One shard on each of the two cores, the load on both.
    #[value(name = "ringmq-2")]
    Ringmq2,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            System::Apache => "RocketMQ",
            System::Ringmq => "RingMQ",
            System::Ringmq2 => "RingMQ, 2 cores",
        })
    }
}

/// CPUs of server and load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
    /// Both run on both.
    pub both: bool,
}

impl Cores {
    pub fn of_server(&self) -> String {
        if self.both { self.all() } else { self.server.to_string() }
    }

    pub fn of_load(&self) -> String {
        if self.both { self.all() } else { self.load.to_string() }
    }

    pub fn all(&self) -> String {
        format!("{},{}", self.server, self.load)
    }
}

/// How acknowledgements wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    Async,
    Sync,
}

/// A running server, name server and broker in one process.
pub struct Server {
    child: Child,
    pub namesrv: String,
    pub broker: String,
    pub spawned: Instant,
    log: PathBuf,
}

impl Server {
    /// Starts a server on `dir`, which it keeps from an earlier start if that was there. Not ready yet.
    pub fn spawn(args: &CompareArgs, dir: &Path, system: System, cpus: &str, flush: Flush) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let (namesrv_port, listen_port) = free_ports()?;
        let log = dir.with_extension("log");
        let mut command = Command::new("taskset");
        command.args(["-c", cpus]);
        match system {
            System::Apache => apache(&mut command, args, dir, flush),
            System::Ringmq | System::Ringmq2 => ringmq(&mut command, dir, system, flush)?,
        }
        command
            .args(["--namesrv-port", &namesrv_port.to_string(), "--listen-port", &listen_port.to_string()])
            .stdin(Stdio::null())
            .stdout(File::create(log.with_extension("out"))?)
            .stderr(File::create(&log)?);
        let spawned = Instant::now();
        let child = command.spawn().context("start the server through taskset")?;
        Ok(Self {
            child,
            namesrv: format!("127.0.0.1:{namesrv_port}"),
            broker: format!("127.0.0.1:{listen_port}"),
            spawned,
            log,
        })
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the line that begins with `ready`.
    pub fn wait_ready(&mut self) -> Result<()> {
        loop {
            let out = fs::read_to_string(self.log.with_extension("out")).unwrap_or_default();
            if out.lines().any(|line| line.starts_with("ready")) {
                return Ok(());
            }
            self.check_alive()?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// An error if the server has ended, or has had long enough.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("the server ended ({status}): {}", tail.into_iter().rev().collect::<Vec<_>>().join(" | "));
        }
        if self.spawned.elapsed() > READY_WITHIN {
            bail!("the server is not ready after {READY_WITHIN:?}");
        }
        Ok(())
    }

    /// Moves all of its threads.
    pub fn pin(&self, cpus: &str) -> Result<()> {
        let pid = self.pid().to_string();
        let status = Command::new("taskset").args(["-acp", cpus, &pid]).stdout(Stdio::null()).status()?;
        if !status.success() {
            bail!("taskset could not move process {pid} to {cpus}");
        }
        Ok(())
    }

    /// kill -9.
    pub fn crash(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let until = Instant::now() + STOPPED_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ringmq(command: &mut Command, dir: &Path, system: System, flush: Flush) -> Result<()> {
    let shards = if system == System::Ringmq2 { "2" } else { "1" };
    let conf = dir.with_extension("conf");
    let flush = if flush == Flush::Sync { "SYNC_FLUSH" } else { "ASYNC_FLUSH" };
    fs::write(&conf, format!("flushDiskType={flush}\n"))?;
    command.arg(std::env::current_exe()?).args(["standalone", "--shards", shards, "--data"]).arg(dir);
    command.arg("-c").arg(conf);
    Ok(())
}

/// Files and flags of Apache's own production settings; the script's are for tests.
fn apache(command: &mut Command, args: &CompareArgs, dir: &Path, flush: Flush) {
    let flush = if flush == Flush::Sync { "SYNC_FLUSH" } else { "ASYNC_FLUSH" };
    command.arg(&args.apache).args(["standalone", "--dir"]).arg(dir);
    command.args(["mappedFileSizeCommitLog=1073741824", "maxHashSlotNum=5000000", "maxIndexNum=20000000"]);
    command.args(["diskMaxUsedSpaceRatio=75", &format!("flushDiskType={flush}")]);
    command.env("JAVA_HEAP", &args.heap);
    command.env(
        "JAVA_GC",
        "-XX:+UseG1GC -XX:G1HeapRegionSize=16m -XX:G1ReservePercent=25 -XX:InitiatingHeapOccupancyPercent=30 \
         -XX:SoftRefLRUPolicyMSPerMB=0 -XX:+AlwaysPreTouch",
    );
}

/// Two ports that are free now, and whose neighbours below are: Apache's broker listens on port - 2 as well.
fn free_ports() -> Result<(u16, u16)> {
    for _ in 0..100 {
        let (a, b) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (a, b) = (a.local_addr()?.port(), b.local_addr()?.port());
        if a.abs_diff(b) > 4 && TcpListener::bind(("127.0.0.1", b - 2)).is_ok() {
            return Ok((a, b));
        }
    }
    bail!("no free ports")
}

//! The broker's CPU time and memory, read from outside.

use std::fs;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

pub struct Process {
    pid: i32,
    clock: ClockId,
}

/// Resident memory in KiB. Mapped files (a log in the page cache) are apart from memory of its own;
/// `shared` holds mappings of tmpfs files (RingMQ's ring).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub rss_kib: u64,
    pub anonymous_kib: u64,
    pub file_kib: u64,
    pub shared_kib: u64,
}

impl Process {
    pub fn new(pid: i32) -> Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).with_context(|| format!("no process {pid}"))?;
        let process = Self { pid, clock };
        process.cpu_ns()?;
        Ok(process)
    }

    /// User and system time of all its threads, nanoseconds.
    pub fn cpu_ns(&self) -> Result<u64> {
        let time = clock_gettime(self.clock).with_context(|| format!("process {} is gone", self.pid))?;
        Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }

    pub fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.pid);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let field = |name: &str| -> u64 {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
                .unwrap_or(0)
        };
        Ok(Memory {
            rss_kib: field("VmRSS:"),
            anonymous_kib: field("RssAnon:"),
            file_kib: field("RssFile:"),
            shared_kib: field("RssShmem:"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let me = Process::new(std::process::id() as i32).unwrap();
        let before = me.cpu_ns().unwrap();
        let mut x = 1u64;
        while me.cpu_ns().unwrap() < before + 1_000_000 {
            x = x.wrapping_mul(3);
        }
        assert_ne!(x, 0);
        assert!(me.memory().unwrap().rss_kib > 100);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(Process::new(4_194_304 + 1).is_err());
    }
}

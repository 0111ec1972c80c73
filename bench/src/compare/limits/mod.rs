//! What the machine can do: the bounds that any broker on it has.
//!
//! Owns: a copy in memory, bytes over loopback, the disk's own write + fdatasync and its sequential read, what one thread
//! needs to read, check and send it, measured before anything is compared. Invariants: the disk is read and written with
//! O_DIRECT on the file system of the stores.
//! On failure: an error; a comparison without its bounds is not made.

mod cpu;
mod disk;
mod loopback;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use cpu::{beside, beside_a_busy_thread, memcpy, on_cpu, pauses};
pub use disk::read_of;
use disk::{BLOCK, read_and_send, sequential_read, sequential_write, syncs};
use loopback::{answers, loopback, woken};

/// 512 messages of 1 KiB.
const GROUP: usize = 512 << 10;

#[derive(Serialize, Deserialize)]
pub struct Limits {
    /// GB/s of a copy of 64 MiB, more than the caches hold.
    pub memcpy_gb_s: f64,
    /// GB/s of one TCP connection over loopback, sender and receiver on the two CPUs.
    pub loopback_gb_s: f64,
    /// Round trip of 1 KiB and back, both ends blocking, microseconds, p50 and p99.9.
    pub loopback_us: (f64, f64),
    /// The same round trip begun each millisecond by a thread that waits actively, so that only the server's CPU has to wake up
    /// from idleness, microseconds, p50 and p99.9. `None` in older results.
    pub woken_us: Option<(f64, f64)>,
    /// A thread on the server's CPU that answers each small request on 8 connections with 32 KiB from memory: its CPU time in
    /// microseconds for each KiB. That much of a pull is the kernel's. `None` in older results.
    pub answer_us: Option<f64>,
    /// A direct write of 4 KiB and fdatasync, microseconds, p50 and p99.9.
    pub sync_us: (f64, f64),
    /// The same with 512 KiB: 512 messages of 1 KiB that wait for one sync.
    pub group_sync_us: (f64, f64),
    /// Both again while a thread on the load's CPU does nothing but read the clock: a virtual device is the work of the host's
    /// CPUs, which the guest's busy CPUs leave less of, and its interrupts come late. `None` in older results.
    pub busy_sync_us: Option<[(f64, f64); 2]>,
    /// A thread on the server's CPU that does nothing but read the clock, while one on the other CPU does the same: percent
    /// of its time in pauses of over 1 ms, and the longest pause in microseconds. No process on it can do better.
    pub pauses: (f64, f64),
    /// The same while the disk is read as well (direct, 1 MiB): on a virtual machine its device works with CPU time of the
    /// host's that the machine is charged for, and a machine that has used up its share is stopped. `None` in older results.
    pub busy_pauses: Option<(f64, f64)>,
    /// A sequential direct read in pieces of 1 MiB.
    pub disk_read_gb_s: f64,
    /// A sequential direct write in pieces of 1 MiB, one fdatasync at the end.
    pub disk_write_gb_s: f64,
    /// The read while a thread on the load's CPU is busy, as a consumer is. `None` in older results.
    pub busy_read_gb_s: Option<f64>,
    /// A thread on the server's CPU that reads the disk directly in pieces of 1 MiB, checks each with crc32c and writes it to a
    /// socket, whose other end one on the load's CPU reads: GB/s, and its own CPU time in microseconds for each 4 KiB. A
    /// broker that checks what it serves from the disk has all that to do. `None` in older results.
    pub read_and_send: Option<(f64, f64)>,
}

impl Limits {
    pub fn measure(dir: &Path, server_cpu: usize, load_cpu: usize) -> Result<Self> {
        let file = dir.join("limits");
        let disk_write_gb_s = sequential_write(&file)?;
        let read = || sequential_read(std::iter::once(file.clone()));
        let disk_read_gb_s = read()?;
        let busy_read = || beside_a_busy_thread(load_cpu, read);
        let busy_read_gb_s = Some(on_cpu(server_cpu, busy_read)?);
        let read_and_send = Some(read_and_send(&file, server_cpu, load_cpu)?);
        let both = || Ok::<_, anyhow::Error>((syncs(&file, BLOCK)?, syncs(&file, GROUP)?));
        let (sync_us, group_sync_us) = on_cpu(server_cpu, both)?;
        let (busy, busy_group) = on_cpu(server_cpu, || beside_a_busy_thread(load_cpu, both))?;
        let pauses = pauses(server_cpu, load_cpu)?;
        let busy_pauses = Some(beside(|| Ok(()), || read().map(drop), || cpu::pauses(server_cpu, load_cpu))?);
        std::fs::remove_file(&file)?;
        let (loopback_gb_s, loopback_us) = loopback(server_cpu, load_cpu)?;
        let woken_us = Some(woken(server_cpu, load_cpu)?);
        let answer_us = Some(answers(server_cpu, load_cpu)?);
        Ok(Self {
            memcpy_gb_s: memcpy(),
            loopback_gb_s,
            loopback_us,
            woken_us,
            answer_us,
            sync_us,
            group_sync_us,
            busy_sync_us: Some([busy, busy_group]),
            pauses,
            busy_pauses,
            disk_read_gb_s,
            disk_write_gb_s,
            busy_read_gb_s,
            read_and_send,
        })
    }

    /// Takes what is not known here.
    pub fn add(&mut self, other: &Self) {
        self.woken_us = self.woken_us.or(other.woken_us);
        self.answer_us = self.answer_us.or(other.answer_us);
        self.busy_sync_us = self.busy_sync_us.or(other.busy_sync_us);
        self.busy_pauses = self.busy_pauses.or(other.busy_pauses);
        self.busy_read_gb_s = self.busy_read_gb_s.or(other.busy_read_gb_s);
        self.read_and_send = self.read_and_send.or(other.read_and_send);
    }
}

fn gb_s(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}

fn quantiles(times: &Histogram<u64>) -> (f64, f64) {
    let us = |q| times.value_at_quantile(q) as f64 / 1e3;
    (us(0.5), us(0.999))
}

/// Makes the kernel forget what it has of files. Root only.
pub fn drop_page_cache() -> Result<()> {
    let status = Command::new("sync").status()?;
    if !status.success() {
        bail!("sync failed");
    }
    std::fs::write("/proc/sys/vm/drop_caches", "1\n").context("drop the page cache (needs root)")
}

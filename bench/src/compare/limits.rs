//! What the machine can do: the bounds that any broker on it has.
//!
//! Owns: a copy in memory, bytes over loopback, the disk's own write + fdatasync and its sequential read, measured before
//! anything is compared. Invariants: the disk is read and written with O_DIRECT on the file system of the stores.
//! On failure: an error; a comparison without its bounds is not made.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

const BLOCK: usize = 4096;
/// Large enough that neither a cache nor the start of a transfer counts.
const CHUNK: usize = 1 << 20;
const READ_BYTES: usize = 1 << 30;
const SYNCS: usize = 1000;
const GROUP: usize = 512 << 10;
const PAUSES_TIME: Duration = Duration::from_secs(5);
const LOOPBACK_TIME: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
pub struct Limits {
    /// GB/s of a copy of 64 MiB, more than the caches hold.
    pub memcpy_gb_s: f64,
    /// GB/s of one TCP connection over loopback, sender and receiver on the two CPUs.
    pub loopback_gb_s: f64,
    /// Round trip of 1 KiB and back, both ends blocking, microseconds, p50 and p99.9.
    pub loopback_us: (f64, f64),
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
    /// A sequential direct read in pieces of 1 MiB.
    pub disk_read_gb_s: f64,
    /// A sequential direct write in pieces of 1 MiB, one fdatasync at the end.
    pub disk_write_gb_s: f64,
}

impl Limits {
    pub fn measure(dir: &Path, server_cpu: usize, load_cpu: usize) -> Result<Self> {
        let file = dir.join("limits");
        let (disk_write_gb_s, disk_read_gb_s) = sequential(&file)?;
        let both = || Ok::<_, anyhow::Error>((syncs(&file, BLOCK)?, syncs(&file, GROUP)?));
        let (sync_us, group_sync_us) = on_cpu(server_cpu, both)?;
        let (busy, busy_group) = on_cpu(server_cpu, || beside_a_busy_thread(load_cpu, both))?;
        let pauses = pauses(server_cpu, load_cpu)?;
        std::fs::remove_file(&file)?;
        let (loopback_gb_s, loopback_us) = loopback(server_cpu, load_cpu)?;
        Ok(Self {
            memcpy_gb_s: memcpy(),
            loopback_gb_s,
            loopback_us,
            sync_us,
            group_sync_us,
            busy_sync_us: Some([busy, busy_group]),
            pauses,
            disk_read_gb_s,
            disk_write_gb_s,
        })
    }
}

fn gb_s(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}

fn memcpy() -> f64 {
    let (from, mut to) = (vec![1u8; 64 << 20], vec![0u8; 64 << 20]);
    to.copy_from_slice(&from);
    let (rounds, began) = (8, Instant::now());
    for _ in 0..rounds {
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
    }
    gb_s(rounds * from.len(), began.elapsed())
}

/// Memory whose usable part begins at a block: what direct I/O asks for.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(bytes: usize) -> Self {
        let memory = vec![7; bytes + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Self { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let len = self.memory.len() - BLOCK;
        &mut self.memory[self.start..self.start + len]
    }
}

fn direct(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(nix::libc::O_DIRECT)
        .open(path)
        .with_context(|| format!("open {} for direct I/O", path.display()))
}

fn sequential(path: &Path) -> Result<(f64, f64)> {
    let file = direct(path)?;
    let mut chunk = Aligned::new(CHUNK);
    let began = Instant::now();
    for i in 0..READ_BYTES / CHUNK {
        file.write_all_at(chunk.bytes(), (i * CHUNK) as u64)?;
    }
    file.sync_data()?;
    let write = gb_s(READ_BYTES, began.elapsed());
    let began = Instant::now();
    for i in 0..READ_BYTES / CHUNK {
        file.read_exact_at(chunk.bytes(), (i * CHUNK) as u64)?;
    }
    Ok((write, gb_s(READ_BYTES, began.elapsed())))
}

fn syncs(path: &Path, bytes: usize) -> Result<(f64, f64)> {
    let file = direct(path)?;
    let mut block = Aligned::new(bytes);
    let mut times = Histogram::<u64>::new(3)?;
    for i in 0..SYNCS {
        let began = Instant::now();
        file.write_all_at(block.bytes(), (i * bytes) as u64)?;
        file.sync_data()?;
        times.record(began.elapsed().as_nanos() as u64)?;
    }
    Ok(quantiles(&times))
}

fn quantiles(times: &Histogram<u64>) -> (f64, f64) {
    let us = |q| times.value_at_quantile(q) as f64 / 1e3;
    (us(0.5), us(0.999))
}

/// This thread only.
fn pin(cpu: usize) -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
        .with_context(|| format!("use CPU {cpu}"))
}

/// Runs `work` on a thread of its own that is pinned there.
fn on_cpu<R: Send>(cpu: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let pinned = || pin(cpu).and_then(|()| work());
    std::thread::scope(|scope| scope.spawn(pinned).join().expect("no panic"))
}

/// Runs `work` while a thread on `cpu` is busy.
fn beside_a_busy_thread<R>(cpu: usize, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            pin(cpu)?;
            while !done.load(Ordering::Relaxed) {
                std::hint::black_box(Instant::now());
            }
            Ok(())
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        busy.join().expect("no panic").and(result)
    })
}

/// Looks at the clock without a break and notes how far its steps are.
fn watch_clock(cpu: usize) -> Result<(f64, f64)> {
    pin(cpu)?;
    let (began, mut last) = (Instant::now(), Instant::now());
    let (mut paused, mut longest) = (Duration::ZERO, Duration::ZERO);
    while last - began < PAUSES_TIME {
        let now = Instant::now();
        let pause = now - last;
        longest = longest.max(pause);
        if pause >= Duration::from_millis(1) {
            paused += pause;
        }
        last = now;
    }
    Ok((100.0 * paused.as_secs_f64() / PAUSES_TIME.as_secs_f64(), longest.as_secs_f64() * 1e6))
}

fn pauses(server_cpu: usize, load_cpu: usize) -> Result<(f64, f64)> {
    let other = std::thread::spawn(move || watch_clock(load_cpu));
    let server = std::thread::spawn(move || watch_clock(server_cpu));
    other.join().expect("no panic")?;
    server.join().expect("no panic")
}

fn loopback(server_cpu: usize, load_cpu: usize) -> Result<(f64, (f64, f64))> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    // Echoes the first connection, swallows the second.
    let server = std::thread::spawn(move || -> Result<usize> {
        pin(server_cpu)?;
        let (mut echo, _) = listener.accept()?;
        echo.set_nodelay(true)?;
        let mut message = [0; 1024];
        while echo.read_exact(&mut message).is_ok() {
            echo.write_all(&message)?;
        }
        let (mut sink, _) = listener.accept()?;
        let (mut buffer, mut total) = (vec![0; CHUNK], 0);
        loop {
            match sink.read(&mut buffer)? {
                0 => return Ok(total),
                n => total += n,
            }
        }
    });
    let load = std::thread::spawn(move || -> Result<(Duration, (f64, f64))> {
        pin(load_cpu)?;
        let mut echo = TcpStream::connect(addr)?;
        echo.set_nodelay(true)?;
        let (mut message, mut times) = ([1; 1024], Histogram::<u64>::new(3)?);
        for _ in 0..20_000 {
            let began = Instant::now();
            echo.write_all(&message)?;
            echo.read_exact(&mut message)?;
            times.record(began.elapsed().as_nanos() as u64)?;
        }
        drop(echo);
        let mut sink = TcpStream::connect(addr)?;
        let (chunk, began) = (vec![1; CHUNK], Instant::now());
        while began.elapsed() < LOOPBACK_TIME {
            sink.write_all(&chunk)?;
        }
        Ok((began.elapsed(), quantiles(&times)))
    });
    let (time, round_trip) = load.join().expect("no panic")?;
    let total = server.join().expect("no panic")?;
    Ok((gb_s(total, time), round_trip))
}

/// Makes the kernel forget what it has of files. Root only.
pub fn drop_page_cache() -> Result<()> {
    let status = Command::new("sync").status()?;
    if !status.success() {
        bail!("sync failed");
    }
    std::fs::write("/proc/sys/vm/drop_caches", "1\n").context("drop the page cache (needs root)")
}

//! The disk's own speed, by direct I/O.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::cpu::{on_cpu, pin, thread_cpu};
use super::loopback::swallow;
use super::{gb_s, quantiles};

pub(super) const BLOCK: usize = 4096;
/// Large enough that neither a cache nor the start of a transfer counts.
pub(super) const CHUNK: usize = 1 << 20;
const READ_BYTES: usize = 1 << 30;
const SYNCS: usize = 1000;

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

pub(super) fn sequential_write(path: &Path) -> Result<f64> {
    let file = direct(path)?;
    let mut chunk = Aligned::new(CHUNK);
    let began = Instant::now();
    for i in 0..READ_BYTES / CHUNK {
        file.write_all_at(chunk.bytes(), (i * CHUNK) as u64)?;
    }
    file.sync_data()?;
    Ok(gb_s(READ_BYTES, began.elapsed()))
}

/// A sequential direct read of files, up to 2 GiB of them: GB/s.
pub(super) fn sequential_read(paths: impl Iterator<Item = PathBuf>) -> Result<f64> {
    let (mut chunk, mut total) = (Aligned::new(CHUNK), 0);
    let began = Instant::now();
    for path in paths {
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(&path)?;
        let pieces = file.metadata()?.len() as usize / CHUNK;
        for i in 0..pieces.min((2 * READ_BYTES - total) / CHUNK) {
            file.read_exact_at(chunk.bytes(), (i * CHUNK) as u64)?;
            total += CHUNK;
        }
    }
    anyhow::ensure!(total > 0, "there are no files of {CHUNK} bytes");
    Ok(gb_s(total, began.elapsed()))
}

/// What the disk does, asked by a thread on `cpu`, with what has lain there for a while. What was just written may still be in a
/// cache of the host's.
pub fn read_of(paths: impl Iterator<Item = PathBuf> + Send, cpu: usize) -> Result<f64> {
    on_cpu(cpu, move || sequential_read(paths))
}

pub(super) fn read_and_send(path: &Path, server_cpu: usize, load_cpu: usize) -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let receiver = std::thread::spawn(move || -> Result<usize> {
        pin(load_cpu)?;
        swallow(&mut listener.accept()?.0)
    });
    let (time, cpu) = on_cpu(server_cpu, || {
        let file = direct(path)?;
        let (mut chunk, mut socket) = (Aligned::new(CHUNK), TcpStream::connect(addr)?);
        let (began, cpu) = (Instant::now(), thread_cpu()?);
        for i in 0..READ_BYTES / CHUNK {
            file.read_exact_at(chunk.bytes(), (i * CHUNK) as u64)?;
            std::hint::black_box(crc32c::crc32c(chunk.bytes()));
            socket.write_all(chunk.bytes())?;
        }
        Ok((began.elapsed(), thread_cpu()? - cpu))
    })?;
    let received = receiver.join().expect("no panic")?;
    anyhow::ensure!(received == READ_BYTES, "{received} of {READ_BYTES} bytes came over loopback");
    Ok((gb_s(READ_BYTES, time), cpu.as_secs_f64() * 1e6 / (READ_BYTES / BLOCK) as f64))
}

pub(super) fn syncs(path: &Path, bytes: usize) -> Result<(f64, f64)> {
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

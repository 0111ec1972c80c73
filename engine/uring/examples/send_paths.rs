//! What each way from a file to a socket costs the core that sends.
//!
//! `send_paths DIR [SENDER_CPU RECEIVER_CPU]`: CPU time of the sending thread a MiB, and throughput, for answers of 4 KiB to
//! 1 MiB over loopback. First what is in memory already: a mapped file written to the socket (a copy), sendfile, splice through
//! a pipe, SEND_ZC. Then what only the device has, with the check of every byte that a consumer's read includes: a direct
//! read into a buffer and a write, against the page cache, a mapping and sendfile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, types};
use memmap2::Mmap;
use nix::fcntl::{PosixFadviseAdvice, SpliceFFlags, posix_fadvise, splice};
use nix::sys::sendfile::sendfile64;
use nix::time::{ClockId, clock_gettime};
use ringmq_io::AlignedBuf;

const MIB: usize = 1 << 20;
const FILE_BYTES: usize = 1024 * MIB;
const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, MIB];

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("a directory");
    let cpus: Vec<usize> = args.map(|cpu| cpu.parse().expect("a CPU")).collect();
    let (sender, receiver) = (cpus.first().copied().unwrap_or(0), cpus.get(1).copied().unwrap_or(1));
    let path = Path::new(&dir).join("send_paths.data");
    make(&path)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    std::thread::spawn(move || swallow(&listener, receiver));
    pin(sender);
    let run = |name: &str, size, way: &mut dyn FnMut(&mut TcpStream, usize) -> io::Result<()>| {
        let mut stream = TcpStream::connect(addr)?;
        let (cpu, began) = (thread_time(), Instant::now());
        for at in (0..FILE_BYTES).step_by(size) {
            way(&mut stream, at)?;
        }
        let (cpu, wall) = (thread_time() - cpu, began.elapsed());
        println!(
            "{name:<28} {:>5} KiB {:>8.1} us/MiB {:>6.2} GB/s",
            size >> 10,
            cpu.as_secs_f64() * 1e6 / (FILE_BYTES / MIB) as f64,
            FILE_BYTES as f64 / wall.as_secs_f64() / 1e9
        );
        io::Result::Ok(())
    };
    let file = File::open(&path)?;
    // SAFETY: nobody changes the file while this example runs.
    let map = unsafe { Mmap::map(&file)? };
    touch(&map);
    println!("in memory");
    for size in SIZES {
        run("write, from a mapping", size, &mut |stream, at| stream.write_all(&map[at..at + size]))?;
        run("sendfile", size, &mut |stream, at| send_file(stream, &file, at, size))?;
        let pipe = nix::unistd::pipe()?;
        nix::fcntl::fcntl(&pipe.1, nix::fcntl::FcntlArg::F_SETPIPE_SZ(MIB as i32))?;
        run("splice through a pipe", size, &mut |stream, at| send_spliced(stream, &file, &pipe, at, size))?;
        let mut ring = IoUring::new(8)?;
        run("SEND_ZC, from a mapping", size, &mut |stream, at| {
            send_zc(&mut ring, stream, &map[at..at + size])
        })?;
    }
    // Pages that are mapped stay in the page cache whatever is asked.
    drop(map);
    println!("from the device, every byte checked");
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path)?;
    for size in SIZES {
        let mut chunk = AlignedBuf::zeroed(MIB);
        forget(&file)?;
        run("direct read, write", size, &mut |stream, at| {
            let within = at % MIB;
            if within == 0 {
                direct.read_exact_at(&mut chunk, at as u64)?;
            }
            let bytes = &chunk[within..within + size];
            std::hint::black_box(crc32c::crc32c(bytes));
            stream.write_all(bytes)
        })?;
        forget(&file)?;
        // SAFETY: nobody changes the file while this example runs.
        let map = unsafe { Mmap::map(&file)? };
        run("page cache, mapping, sendfile", size, &mut |stream, at| {
            if at % MIB == 0 {
                let ahead = at + 4 * MIB;
                posix_fadvise(&file, ahead as i64, MIB as i64, PosixFadviseAdvice::POSIX_FADV_WILLNEED)?;
            }
            std::hint::black_box(crc32c::crc32c(&map[at..at + size]));
            send_file(stream, &file, at, size)
        })?;
    }
    std::fs::remove_file(&path)
}

fn make(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let chunk: Vec<u8> = (0..MIB).map(|at| ((at * 31) >> 3) as u8).collect();
    for _ in 0..FILE_BYTES / MIB {
        file.write_all(&chunk)?;
    }
    file.sync_all()
}

fn touch(map: &[u8]) {
    std::hint::black_box(map.iter().step_by(4096).fold(0u8, |sum, byte| sum ^ byte));
}

/// Out of the page cache.
fn forget(file: &File) -> io::Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "1")?;
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

fn send_file(stream: &TcpStream, file: &File, at: usize, size: usize) -> io::Result<()> {
    let (mut offset, end) = (at as i64, (at + size) as i64);
    while offset < end {
        let left = (end - offset) as usize;
        sendfile64(stream, file, Some(&mut offset), left)?;
    }
    Ok(())
}

fn send_spliced(
    stream: &TcpStream,
    file: &File,
    pipe: &(std::os::fd::OwnedFd, std::os::fd::OwnedFd),
    at: usize,
    size: usize,
) -> io::Result<()> {
    let (mut offset, mut left) = (at as i64, size);
    while left > 0 {
        let mut inside = splice(file, Some(&mut offset), &pipe.1, None, left, SpliceFFlags::empty())?;
        left -= inside;
        while inside > 0 {
            inside -= splice(&pipe.0, None, stream, None, inside, SpliceFFlags::empty())?;
        }
    }
    Ok(())
}

/// One at a time, until the kernel has let go of the memory.
fn send_zc(ring: &mut IoUring, stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let op =
            opcode::SendZc::new(types::Fd(stream.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32).build();
        // SAFETY: the mapping outlives the operation: its notification is waited for below.
        unsafe { ring.submission().push(&op) }.map_err(io::Error::other)?;
        let mut open = 1;
        while open > 0 {
            ring.submit_and_wait(1)?;
            for done in ring.completion() {
                if cqueue::notif(done.flags()) {
                    open -= 1;
                    continue;
                }
                if done.result() < 0 {
                    return Err(io::Error::from_raw_os_error(-done.result()));
                }
                bytes = &bytes[done.result() as usize..];
                open -= i32::from(!cqueue::more(done.flags()));
            }
        }
    }
    Ok(())
}

fn swallow(listener: &TcpListener, cpu: usize) {
    pin(cpu);
    let mut buffer = vec![0; MIB];
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        while stream.read(&mut buffer).expect("a read") > 0 {}
    }
}

fn pin(cpu: usize) {
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu).expect("a CPU");
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).expect("pinned");
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

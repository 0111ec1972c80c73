//! What the seam costs: CPU time of a framed echo, latency and throughput of log writes.
//!
//! `echo net CONNECTIONS IN_FLIGHT BYTES [SECONDS]`: server on core 0, client on core 1; prints the
//! server thread's CPU time a request, wakes and system calls included.
//! `echo disk DIR`: 4 KiB write + fdatasync one at a time, 1 MiB writes from a registered region and
//! from a buffer.
//! `echo hop IN_FLIGHT [SECONDS]`: messages of 160 bytes that core 1 hands back to core 0; what one costs each core, and how
//! long it takes there and back.
//! `echo idle [SECONDS]`: CPU time of a core that waits, with an open connection.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringmq_io::sync::Event;
use ringmq_io::{
    AlignedBuf, BLOCK, Blocks, Chunk, Class, Disk, Env, File, Lanes, Listener, Mesh, Net, OpenMode, Region,
    Sharing, Stream,
};
use ringmq_uring::{UringEnv, UringStream, run};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| args.get(at).map_or(default, |text| text.parse().expect("a number"));
    match args.first().map(String::as_str) {
        Some("net") => {
            let load = Load {
                connections: number(1, 32),
                in_flight: number(2, 1),
                bytes: number(3, 128) as usize,
                seconds: number(4, 3),
            };
            run(2, move |env| async move {
                if env.core() == 0 { serve(env, load).await } else { drive(env, load).await }
            })
            .expect("two cores");
        }
        Some("disk") => {
            let dir = PathBuf::from(args.get(1).expect("a directory"));
            run(1, move |env| {
                let dir = dir.clone();
                async move { disk(&env, &dir).await }
            })
            .expect("a core");
        }
        Some("hop") => {
            let (in_flight, seconds) = (number(1, 1), number(2, 3));
            run(2, move |env| async move {
                if env.core() == 0 {
                    there_and_back(env, in_flight, seconds).await
                } else {
                    hand_back(env).await
                }
            })
            .expect("two cores");
        }
        Some("idle") => {
            let seconds = number(1, 5);
            run(1, move |env| async move { idle(&env, seconds).await }).expect("a core");
        }
        _ => {
            eprintln!(
                "echo net CONNECTIONS IN_FLIGHT BYTES [SECONDS] | echo disk DIR | echo hop IN_FLIGHT [SECONDS] | \
                 echo idle [SECONDS]"
            )
        }
    }
}

#[derive(Clone, Copy)]
struct Load {
    connections: u64,
    in_flight: u64,
    bytes: usize,
    seconds: u64,
}

fn thread_cpu() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a CPU clock").into()
}

/// Cuts frames (length and bytes) off what arrived and answers each with itself.
async fn echo(stream: UringStream, requests: Rc<Cell<u64>>) {
    let mut partial = Vec::new();
    let mut chunks = Vec::new();
    while let Ok(Some(bytes)) = stream.recv().await {
        partial.extend_from_slice(&bytes);
        drop(bytes);
        let mut at = 0;
        while let Some(head) = partial.get(at..at + 4) {
            let end = at + 4 + u32::from_be_bytes(head.try_into().expect("four bytes")) as usize;
            if end > partial.len() {
                break;
            }
            requests.set(requests.get() + 1);
            at = end;
        }
        if at > 0 {
            chunks.push(Chunk::Owned(partial[..at].to_vec()));
            partial.drain(..at);
            if stream.send(&mut chunks).await.is_err() {
                return;
            }
        }
    }
}

async fn serve(env: UringEnv, load: Load) {
    let lanes = env.mesh().join::<Option<SocketAddr>>("echo", 4).await;
    let listener =
        env.net().listen("127.0.0.1:0".parse().expect("an address"), Sharing::Alone).expect("a port");
    lanes.try_send(1, Some(listener.local_addr())).expect("an empty lane");
    let requests = Rc::new(Cell::new(0));
    for _ in 0..load.connections {
        let stream = listener.accept().await.expect("a connection");
        env.spawn(Class::Foreground, echo(stream, requests.clone()));
    }
    env.sleep(Duration::from_millis(300)).await;
    let (cpu, wall, before, stats) = (thread_cpu(), Instant::now(), requests.get(), env.vital_signs());
    env.sleep(Duration::from_secs(load.seconds)).await;
    let (cpu, wall, done, after) =
        (thread_cpu() - cpu, wall.elapsed(), requests.get() - before, env.vital_signs());
    println!(
        "{} x {}, {} B: {:.2} us of server CPU a request, {:.0} requests/s, {:.0} % busy, {:.1} requests a turn, \
         {:.2} enters and {:.2} sleeps a request, longest turn {:?}",
        load.connections,
        load.in_flight,
        load.bytes,
        cpu.as_secs_f64() * 1e6 / done as f64,
        done as f64 / wall.as_secs_f64(),
        100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
        done as f64 / (after.turns - stats.turns) as f64,
        (after.enters - stats.enters) as f64 / done as f64,
        (after.sleeps - stats.sleeps) as f64 / done as f64,
        after.longest_turn,
    );
    lanes.try_send(1, None).expect("an empty lane");
    lanes.recv().await;
}

async fn drive(env: UringEnv, load: Load) {
    let lanes = env.mesh().join::<Option<SocketAddr>>("echo", 4).await;
    let (_, addr) = lanes.recv().await.expect("the server");
    let addr = addr.expect("its address");
    let times = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..load.connections {
        let stream = env.net().connect(addr).await.expect("a connection");
        let times = times.clone();
        env.spawn(Class::Foreground, async move {
            let mut frame = (load.bytes as u32).to_be_bytes().to_vec();
            frame.resize(4 + load.bytes, 7);
            let mut chunks = Vec::new();
            let mut due = load.in_flight as usize;
            let mut have = 0;
            loop {
                chunks.push(Chunk::Owned(frame.repeat(due)));
                let sent = Instant::now();
                if stream.send(&mut chunks).await.is_err() {
                    return;
                }
                loop {
                    let Ok(Some(bytes)) = stream.recv().await else { return };
                    have += bytes.len();
                    if have >= frame.len() {
                        break;
                    }
                }
                due = have / frame.len();
                have %= frame.len();
                let mut times = times.borrow_mut();
                if times.len() < 2_000_000 {
                    times.push(sent.elapsed());
                }
            }
        });
    }
    lanes.recv().await;
    report("round trip", &mut times.borrow_mut());
    lanes.try_send(0, None).expect("an empty lane");
}

/// What hops: when it left, and as many bytes as a request has in its lane.
type Hopping = Option<(Instant, [u8; 144])>;

async fn there_and_back(env: UringEnv, in_flight: u64, seconds: u64) {
    let lanes = env.mesh().join::<Hopping>("hop", 4096).await;
    let mut times = Vec::new();
    let put = || assert!(lanes.try_send(1, Some((Instant::now(), [7; 144]))).is_ok(), "an empty lane");
    (0..in_flight).for_each(|_| put());
    let (cpu, began, before) = (thread_cpu(), Instant::now(), env.vital_signs());
    let mut hops = 0u64;
    while began.elapsed() < Duration::from_secs(seconds) {
        let Some((_, Some((left, bytes)))) = lanes.recv().await else { return };
        std::hint::black_box(bytes);
        if times.len() < 2_000_000 {
            times.push(left.elapsed());
        }
        hops += 1;
        put();
    }
    let (cpu, after) = (thread_cpu() - cpu, env.vital_signs());
    println!(
        "{in_flight} in flight: {:.3} us of CPU a round trip on core 0, {:.0} round trips/s, {:.1} a turn, {:.2} enters each",
        cpu.as_secs_f64() * 1e6 / hops as f64,
        hops as f64 / began.elapsed().as_secs_f64(),
        hops as f64 / (after.turns - before.turns).max(1) as f64,
        (after.enters - before.enters) as f64 / hops as f64,
    );
    report("there and back", &mut times);
    while lanes.try_send(1, None).is_err() {
        env.yield_now().await;
    }
    while let Some((_, Some(_))) = lanes.recv().await {}
}

async fn hand_back(env: UringEnv) {
    let lanes = env.mesh().join::<Hopping>("hop", 4096).await;
    let (cpu, mut hops) = (thread_cpu(), 0u64);
    while let Some((_, Some(message))) = lanes.recv().await {
        hops += 1;
        assert!(lanes.try_send(0, Some(message)).is_ok(), "room for what was taken out");
    }
    println!("{:.3} us of CPU each on core 1", (thread_cpu() - cpu).as_secs_f64() * 1e6 / hops as f64);
    assert!(lanes.try_send(0, None).is_ok(), "an empty lane");
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{what}: p50 {:?}, p99 {:?}, p99.9 {:?}, {} samples", at(0.5), at(0.99), at(0.999), times.len());
}

async fn disk(env: &UringEnv, dir: &Path) {
    const FILE: u64 = 256 << 20;
    let path = dir.join("echo.segment");
    let _ = env.disk().remove(&path).await;
    let file = env.disk().open(&path, OpenMode::CreateNew).await.expect("a file");
    let began = Instant::now();
    file.preallocate(FILE, Blocks::Write).await.expect("room");
    println!("preallocate {} MiB: {:?}", FILE >> 20, began.elapsed());

    let mut buf = AlignedBuf::zeroed(BLOCK);
    let (mut write, mut sync, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..2000u64 {
        buf[0] = round as u8;
        let began = Instant::now();
        buf = file.write_at(round * BLOCK as u64, buf).await.expect("a write");
        let written = began.elapsed();
        file.sync().await.expect("a sync");
        write.push(written);
        both.push(began.elapsed());
        sync.push(began.elapsed() - written);
    }
    report("4 KiB write", &mut write);
    report("fdatasync", &mut sync);
    report("4 KiB write + fdatasync", &mut both);

    let ring = env.disk().ring_dir(dir).expect("a tmpfs").join("echo.ring");
    let (region, _) = env.disk().map_region(&ring, 64 << 20).await.expect("a region");
    region.with_mut(0..region.len(), |bytes| bytes.fill(3));
    for (depth, what) in [(1, "one at a time"), (4, "four at a time")] {
        for mapped in [true, false] {
            let (began, cpu) = (Instant::now(), thread_cpu());
            let next = Rc::new(Cell::new(0u64));
            let ended = Rc::new((Cell::new(0), Event::new()));
            for _ in 0..depth {
                let (file, region, next, ended) = (file.clone(), region.clone(), next.clone(), ended.clone());
                env.spawn(Class::Flush, async move {
                    let mut buf = AlignedBuf::zeroed(1 << 20);
                    while next.get() < FILE >> 20 {
                        let piece = next.replace(next.get() + 1);
                        if mapped {
                            let from = (piece as usize % 64) << 20;
                            file.write_region(piece << 20, &region, from..from + (1 << 20))
                                .await
                                .expect("a write");
                        } else {
                            buf = file.write_at(piece << 20, buf).await.expect("a write");
                        }
                    }
                    ended.0.set(ended.0.get() + 1);
                    ended.1.notify();
                });
            }
            while ended.0.get() < depth {
                ended.1.wait().await;
            }
            let (wall, cpu) = (began.elapsed(), thread_cpu() - cpu);
            println!(
                "1 MiB writes from {}, {what}: {:.2} GB/s, {:.0} us of CPU each",
                if mapped { "the registered region" } else { "a buffer" },
                FILE as f64 / 1e9 / wall.as_secs_f64(),
                cpu.as_secs_f64() * 1e6 / (FILE >> 20) as f64
            );
        }
    }
    env.disk().remove(&ring).await.expect("a removal");
    env.disk().remove(&path).await.expect("a removal");
}

async fn idle(env: &UringEnv, seconds: u64) {
    let listener =
        env.net().listen("127.0.0.1:0".parse().expect("an address"), Sharing::Alone).expect("a port");
    let near = env.net().connect(listener.local_addr()).await.expect("a connection");
    let far = listener.accept().await.expect("a connection");
    env.spawn(Class::Foreground, async move {
        let _ = far.recv().await;
    });
    let (cpu, before) = (thread_cpu(), env.vital_signs());
    env.sleep(Duration::from_secs(seconds)).await;
    let turns = env.vital_signs().turns - before.turns;
    println!("idle for {seconds} s: {:?} of CPU, {turns} turns", thread_cpu() - cpu);
    near.close();
}

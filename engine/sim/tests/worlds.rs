//! What the simulated world itself promises: determinism, crashes, faults, and that it notices when
//! the code above it breaks a contract.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{
    AlignedBuf, BLOCK, Blocks, Chunk, Class, Disk, Env, File, Listener, Net, OpenMode, Region, Sharing,
    Stream,
};
use ringmq_simenv::{CrashKind, Cut, Faults, SimEnv, World};

async fn send(stream: &impl Stream, bytes: &[u8]) -> io::Result<()> {
    stream.send(&mut vec![Chunk::Owned(bytes.to_vec())]).await
}

/// A writer that numbers its blocks and says which are synced.
async fn write_blocks(env: SimEnv, acked: Rc<Cell<u64>>) {
    let dir = std::path::Path::new("/data");
    env.disk().create_dir_all(dir).await.unwrap();
    let file = env.disk().open(&dir.join("log"), OpenMode::CreateNew).await.unwrap();
    file.preallocate(64 * BLOCK as u64, Blocks::Write).await.unwrap();
    file.sync().await.unwrap();
    env.disk().sync_dir(dir).await.unwrap();
    for n in 0..64u64 {
        let mut buf = AlignedBuf::zeroed(BLOCK);
        buf.fill(n as u8 + 1);
        if file.write_at(n * BLOCK as u64, buf).await.is_err() || file.sync().await.is_err() {
            return;
        }
        acked.set(n + 1);
    }
}

fn busy_world(seed: u64) -> (u64, Vec<String>) {
    let world = World::new(seed);
    world.keep_trace();
    let (broker, client) = (world.host("broker"), world.host("client"));
    broker.set_faults(Faults::drawn(&world.rng("faults")));
    client.set_faults(Faults::drawn(&world.rng("client faults")));
    let addr = SocketAddr::new(broker.ip(), 10_911);
    broker.start(2, move |env| async move {
        if env.core() == 0 {
            env.spawn(Class::Flush, write_blocks(env.clone(), Rc::default()));
        }
        let listener = env.net().listen(addr, Sharing::Further).unwrap();
        loop {
            let stream = listener.accept().await.unwrap();
            env.spawn(Class::Foreground, async move {
                while let Ok(Some(piece)) = stream.recv().await {
                    if send(&stream, &piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    client.start(1, move |env| async move {
        for _ in 0..20 {
            let Ok(stream) = env.net().connect(addr).await else { continue };
            let _ = send(&stream, &env.random().to_be_bytes()).await;
            let _ = stream.recv().await;
        }
    });
    world.run_for(Duration::from_secs(3));
    broker.crash(CrashKind::PowerLoss);
    world.run_for(Duration::from_secs(3));
    (world.trace_hash(), world.trace().iter().map(ToString::to_string).collect())
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        let (first, second) = (busy_world(seed), busy_world(seed));
        assert_eq!(first.1, second.1, "seed {seed}");
        assert_eq!(first.0, second.0);
        assert_ne!(first.0, busy_world(seed + 1).0);
    }
}

#[test]
fn a_crash_at_any_step_keeps_what_was_synced() {
    let mut seen = 0;
    for seed in 0..300 {
        let world = World::new(seed);
        let host = world.host("machine");
        let acked = Rc::new(Cell::new(0));
        let counter = acked.clone();
        host.start(1, move |env| write_blocks(env, counter.clone()));
        world.run_steps(world.rng("steps").below(400));
        let kind = if seed % 2 == 0 { CrashKind::PowerLoss } else { CrashKind::Process };
        host.crash(kind);
        let bytes = host.read_file("/data/log").unwrap_or_default();
        for n in 0..acked.get() as usize {
            let block = &bytes[n * BLOCK..(n + 1) * BLOCK];
            assert!(block.iter().all(|b| *b == n as u8 + 1), "seed {seed}: block {n} after {kind:?}");
        }
        seen += acked.get();
    }
    assert!(seen > 1000, "only {seen} blocks were acknowledged in all runs");
}

/// The planted bug of this crate: a writer that believes a sync which failed before.
#[test]
fn ignoring_a_failed_sync_is_caught() {
    let mut lost = 0;
    for seed in 0..50 {
        let world = World::new(seed);
        let host = world.host("machine");
        world.run(&host, |env| async move {
            env.disk().create_dir_all("/data".as_ref()).await.unwrap();
            let file = env.disk().open("/data/log".as_ref(), OpenMode::CreateNew).await.unwrap();
            file.preallocate(BLOCK as u64, Blocks::Write).await.unwrap();
            file.sync().await.unwrap();
            env.disk().sync_dir("/data".as_ref()).await.unwrap();
        });
        let mut faults = Faults::none();
        faults.disk.sync_error = 1.0;
        host.set_faults(faults);
        let heal = host.clone();
        world.run(&host, move |env| async move {
            let file = env.disk().open("/data/log".as_ref(), OpenMode::Write).await.unwrap();
            let mut buf = AlignedBuf::zeroed(BLOCK);
            buf.fill(1);
            file.write_at(0, buf).await.unwrap();
            file.sync().await.unwrap_err();
            heal.set_faults(Faults::none());
            file.sync().await.unwrap(); // "now it is fine"
        });
        host.crash(CrashKind::PowerLoss);
        lost += usize::from(host.read_file("/data/log").unwrap()[0] == 0);
    }
    assert!(lost > 5, "the block was lost in {lost} of 50 runs");
}

#[test]
fn directory_changes_need_a_sync_of_their_directory() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        let world = World::new(seed);
        let host = world.host("machine");
        world.run(&host, |env| async move {
            let disk = env.disk();
            disk.create_dir_all("/data".as_ref()).await.unwrap();
            for (name, fill) in [("/data/name", 1), ("/data/new", 2)] {
                let file = disk.open(name.as_ref(), OpenMode::CreateNew).await.unwrap();
                let mut buf = AlignedBuf::zeroed(BLOCK);
                buf.fill(fill);
                file.write_at(0, buf).await.unwrap();
                file.sync().await.unwrap();
            }
            disk.sync_dir("/data".as_ref()).await.unwrap();
            disk.rename("/data/new".as_ref(), "/data/name".as_ref()).await.unwrap();
        });
        host.crash(CrashKind::PowerLoss);
        match host.read_file("/data/name").expect("a rename never leaves nothing")[0] {
            1 => old += 1,
            2 => new += 1,
            other => panic!("a file of {other}s"),
        }
    }
    assert!(old > 10 && new > 10, "{old} old, {new} new");
}

#[test]
fn mapped_memory_outlives_the_process_but_not_the_power() {
    let world = World::new(1);
    let host = world.host("machine");
    let fill = |byte: u8| {
        move |env: SimEnv| async move {
            let path = env.disk().ring_dir("/data".as_ref()).unwrap().join("ring");
            let (region, existed) = env.disk().map_region(&path, BLOCK).await.unwrap();
            let before = region.with(0..1, |bytes| bytes[0]);
            region.with_mut(0..BLOCK, |bytes| bytes.fill(byte));
            (existed, before)
        }
    };
    assert_eq!(world.run(&host, fill(1)), (false, 0));
    host.crash(CrashKind::Process);
    assert_eq!(world.run(&host, fill(2)), (true, 1));
    host.crash(CrashKind::PowerLoss);
    assert_eq!(world.run(&host, fill(3)), (false, 0));
}

#[test]
fn a_process_is_killed_within_a_region_write() {
    let mut cut_short = 0;
    for seed in 0..100 {
        let world = World::new(seed);
        let host = world.host("machine");
        host.kill_in_region_write(3);
        let noted = Rc::new(RefCell::new(Vec::new()));
        let notes = noted.clone();
        host.start(1, move |env| {
            let notes = notes.clone();
            async move {
                let (region, _) = env.disk().map_region("/dev/shm/ring".as_ref(), BLOCK).await.unwrap();
                for n in 0..8usize {
                    region.with_mut(n * 16..(n + 1) * 16, |bytes| bytes.fill(n as u8 + 1));
                    if env.alive() {
                        notes.borrow_mut().push(n);
                    }
                }
            }
        });
        assert!(world.run_until(|| !host.is_up(), Duration::from_secs(1)));
        assert_eq!(*noted.borrow(), [0, 1]);
        let bytes = host.read_file("/dev/shm/ring").unwrap();
        assert!(bytes[..16].iter().all(|b| *b == 1) && bytes[16..32].iter().all(|b| *b == 2));
        assert!(bytes[48..].iter().all(|b| *b == 0), "nothing happens after the kill");
        let done = bytes[32..48].iter().filter(|b| **b == 3).count();
        cut_short += usize::from((1..16).contains(&done));
    }
    assert!(cut_short > 50, "{cut_short} of 100 writes were cut short");
}

#[test]
#[should_panic(expected = "while an extent of")]
fn overwriting_a_leased_range_is_caught() {
    World::simulate(1, |env| async move {
        let (region, _) = env.disk().map_region("/dev/shm/ring".as_ref(), BLOCK).await.unwrap();
        let extent = region.extent(0..100);
        region.with_mut(50..60, |bytes| bytes.fill(1));
        drop(extent);
    });
}

#[test]
#[should_panic(expected = "from a task")]
fn a_panic_in_a_task_reaches_the_runner() {
    World::simulate(1, |env| async move {
        env.spawn(Class::Background, async { panic!("from a task") });
        env.sleep(Duration::from_secs(1)).await;
    });
}

#[test]
fn space_runs_out_and_comes_back() {
    let world = World::new(1);
    let host = world.host("machine");
    host.set_capacity(10 * BLOCK as u64);
    world.run(&host, |env| async move {
        let disk = env.disk();
        let file = disk.open("/a".as_ref(), OpenMode::CreateNew).await.unwrap();
        file.preallocate(8 * BLOCK as u64, Blocks::Write).await.unwrap();
        let other = disk.open("/b".as_ref(), OpenMode::CreateNew).await.unwrap();
        let error = other.write_at(0, AlignedBuf::zeroed(3 * BLOCK)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.space("/".as_ref()).await.unwrap().available, 2 * BLOCK as u64);
        disk.remove("/a".as_ref()).await.unwrap();
        other.write_at(0, AlignedBuf::zeroed(3 * BLOCK)).await.unwrap();
    });
}

/// An echo server on its own host, and a connection to it.
fn echo(world: &World) -> (ringmq_simenv::Host, SocketAddr) {
    let server = world.host("server");
    let addr = SocketAddr::new(server.ip(), 7);
    server.start(1, move |env| async move {
        let listener = env.net().listen(addr, Sharing::Alone).unwrap();
        loop {
            let stream = listener.accept().await.unwrap();
            env.spawn(Class::Foreground, async move {
                while let Ok(Some(piece)) = stream.recv().await {
                    if send(&stream, &piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (server, addr)
}

#[test]
fn a_partition_holds_bytes_back_until_it_heals() {
    let world = World::new(3);
    let (server, addr) = echo(&world);
    let client = world.host("client");
    let rounds = Rc::new(Cell::new(0));
    let counter = rounds.clone();
    client.start(1, move |env| {
        let counter = counter.clone();
        async move {
            let stream = env.net().connect(addr).await.unwrap();
            loop {
                send(&stream, b"x").await.unwrap();
                assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"x");
                counter.set(counter.get() + 1);
                env.sleep(Duration::from_millis(10)).await;
            }
        }
    });
    world.run_for(Duration::from_secs(1));
    assert!(rounds.get() > 10);
    world.partition(&client, &server);
    world.run_for(Duration::from_millis(100));
    let before = rounds.get();
    world.run_for(Duration::from_secs(5));
    assert_eq!(rounds.get(), before);
    world.heal();
    world.run_for(Duration::from_secs(1));
    assert!(rounds.get() > before + 10);
}

#[test]
fn a_killed_process_ends_its_connections_and_a_dark_host_does_not() {
    for kind in [CrashKind::Process, CrashKind::PowerLoss] {
        let world = World::new(4);
        let (server, addr) = echo(&world);
        let client = world.host("client");
        let ended = Rc::new(Cell::new(false));
        let flag = ended.clone();
        client.start(1, move |env| {
            let flag = flag.clone();
            async move {
                let stream = env.net().connect(addr).await.unwrap();
                let sender = stream.clone();
                let clock = env.clone();
                env.spawn(Class::Foreground, async move {
                    while send(&sender, b"x").await.is_ok() {
                        clock.sleep(Duration::from_millis(100)).await;
                    }
                });
                while let Ok(Some(_)) = stream.recv().await {}
                flag.set(true);
                std::future::pending::<()>().await;
            }
        });
        world.run_for(Duration::from_secs(1));
        server.crash(kind);
        world.run_for(Duration::from_secs(10));
        assert_eq!(ended.get(), kind == CrashKind::Process, "{kind:?}");
        echo(&world); // the machine is back, and knows nothing of the connection
        world.run_for(Duration::from_secs(10));
        assert!(ended.get(), "{kind:?}");
    }
}

/// What a cut link held back comes before what was sent behind it, also if that is on its way when the link heals.
#[test]
fn a_healed_link_keeps_the_order_of_what_was_sent() {
    for seed in 0..50 {
        let world = World::new(seed);
        let (server, client) = (world.host("server"), world.host("client"));
        let mut faults = Faults::none();
        faults.net.latency_us = 20..=50_000;
        client.set_faults(faults.clone());
        server.set_faults(faults);
        let addr = SocketAddr::new(server.ip(), 9);
        let seen: Rc<RefCell<Vec<u8>>> = Rc::default();
        let log = seen.clone();
        server.start(1, move |env| {
            let log = log.clone();
            async move {
                let listener = env.net().listen(addr, Sharing::Alone).unwrap();
                let stream = listener.accept().await.unwrap();
                while let Ok(Some(bytes)) = stream.recv().await {
                    log.borrow_mut().extend_from_slice(&bytes);
                }
            }
        });
        client.start(1, move |env| async move {
            let stream = env.net().connect(addr).await.unwrap();
            for byte in 0..100 {
                send(&stream, &[byte]).await.unwrap();
                env.sleep(Duration::from_millis(3)).await;
            }
            std::future::pending::<()>().await;
        });
        for _ in 0..8 {
            world.run_for(Duration::from_millis(40));
            world.cut_link(&client, &server);
            world.run_for(Duration::from_millis(25));
            world.heal();
        }
        world.run_for(Duration::from_secs(2));
        assert_eq!(*seen.borrow(), (0..100).collect::<Vec<u8>>(), "seed {seed}");
    }
}

#[test]
fn single_bytes_and_resets_come_from_the_plan() {
    let world = World::new(5);
    let (_, addr) = echo(&world);
    let client = world.host("client");
    let mut faults = Faults::none();
    faults.net.cut = Cut::SingleBytes;
    client.set_faults(faults);
    let plan = client.clone();
    world.run(&client, move |env| async move {
        let stream = env.net().connect(addr).await.unwrap();
        send(&stream, b"abc").await.unwrap();
        for byte in b"abc" {
            assert_eq!(&*stream.recv().await.unwrap().unwrap(), [*byte]);
        }
        let mut faults = Faults::none();
        faults.net.reset = 1.0;
        plan.set_faults(faults);
        let _ = send(&stream, b"abc").await;
        let error = stream.recv().await.err().expect("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn the_wall_clock_jumps_and_the_monotonic_one_does_not() {
    let world = World::new(6);
    let host = world.host("machine");
    let jumping = host.clone();
    world.run(&host, move |env| async move {
        let (wall, steady) = (env.now_ms(), env.monotonic_ns());
        jumping.jump_clock(-60_000);
        assert!(env.now_ms() < wall && env.monotonic_ns() >= steady);
    });
    let mut faults = Faults::none();
    faults.clock.jump = 1.0;
    host.set_faults(faults);
    host.start(1, |env| async move { env.sleep(Duration::from_secs(20)).await });
    world.run_for(Duration::from_secs(20));
    assert!(world.events_of("clock jump") > 10);
}

//! Rings that outlive their process are taken over as they are: what they alone have survives the next crash too, and reaches
//! segments while the shard is open.

use std::time::Duration;

use crate::damage::{QUEUE, body, place_of, reopened, segment};
use crate::support::{acknowledged, append, flushed, open, parts, read_all, small_config, tagged};
use ringmq_io::Env;
use ringmq_simenv::{CrashKind, Faults, Host, SimEnv, World};
use ringmq_store::{Decision, Shard, StoreConfig};

/// Ten messages that are acknowledged when a killed process would keep them.
async fn ten_more(shard: &Shard<SimEnv>) {
    let queue = shard.queue(QUEUE.0, QUEUE.1);
    for _ in 0..10 {
        let body = body(shard.bounds(queue).max);
        let end = append(shard, queue, &[tagged(parts(QUEUE.0, &body, ""), 0)]).await.unwrap().end;
        assert!(acknowledged(shard, end, false).await);
    }
}

/// A process that dies with ten messages in its ring alone.
fn first_life(world: &World, host: &Host, config: &StoreConfig) {
    let config = StoreConfig { flush_interval: Duration::from_millis(100), ..config.clone() };
    world.run(host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        ten_more(&shard).await;
        assert_eq!(shard.synced().get(), 0);
    });
}

fn nothing_lost_by_power(world: &World, host: &Host, config: &StoreConfig, messages: usize) {
    reopened(world, host, config, move |_env, shard, _| async move {
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), messages);
        flushed(&shard).await;
    });
    host.crash(CrashKind::PowerLoss);
    reopened(world, host, config, move |_env, shard, report| async move {
        assert_eq!((report.kept_in_ring, report.quarantined.len()), (0, 0), "{report:?}");
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), messages);
    });
}

/// Batches of several epochs are in the ring, and no flush ever came to its end.
#[test]
fn a_ring_is_taken_over_again_and_again() {
    let world = World::new(61);
    let host = world.host("broker");
    let config = small_config("/data");
    first_life(&world, &host, &config);
    let mut slow = Faults::none();
    slow.disk.slow_sync = 1.0;
    slow.disk.slow_sync_time = Duration::from_secs(3600);
    for life in 1..4 {
        host.set_faults(slow.clone());
        reopened(&world, &host, &config, move |_env, shard, report| async move {
            assert_eq!(report.decisions, [Decision::Replay, Decision::EndClean]);
            assert!(report.kept_in_ring > 0, "{report:?}");
            assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 10 * life);
            ten_more(&shard).await;
            // The flush was begun at once; it does not get as far as its sync.
            assert_eq!(shard.synced().get(), 0);
        });
    }
    host.set_faults(Faults::none());
    nothing_lost_by_power(&world, &host, &config, 40);
}

/// At each write to the ring's memory that a start makes, and in the middle of each.
#[test]
fn a_process_that_dies_while_it_takes_a_ring_over_loses_nothing() {
    for nth in 1..=6 {
        for seed in 0..8 {
            let world = World::new(100 * nth + seed);
            let host = world.host("broker");
            let config = small_config("/data");
            first_life(&world, &host, &config);
            host.kill_in_region_write(nth);
            let again = config.clone();
            host.start(1, move |env| {
                let config = again.clone();
                async move {
                    let (_handle, shard, _) = open(&env, &config).await.unwrap();
                    flushed(&shard).await;
                    env.sleep(Duration::from_secs(3600)).await;
                }
            });
            world.run_for(Duration::from_secs(1));
            if host.is_up() {
                host.crash(CrashKind::Process);
            }
            host.cancel_kill();
            nothing_lost_by_power(&world, &host, &config, 10);
        }
    }
}

/// A segment has rotted where later batches say that it was synced, and the ring still has what was there.
#[test]
fn rot_in_a_segment_is_mended_from_the_ring() {
    let world = World::new(62);
    let host = world.host("broker");
    let config = small_config("/data");
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        crate::damage::send(&env, &shard, 30).await;
    });
    host.crash(CrashKind::Process);
    let path = segment(0, "seg");
    host.damage_file(&path, place_of(&host, &path, 10), b"rotten");
    nothing_lost_by_power(&world, &host, &config, 30);
}

/// A sync had failed: what segments have of it is written again, all of it, before anybody may trust it.
#[test]
fn what_a_failed_sync_left_is_written_again() {
    for seed in 0..20 {
        let world = World::new(70 + seed);
        let host = world.host("broker");
        let config = small_config("/data");
        let first = config.clone();
        let machine = host.clone();
        world.run(&host, move |env| async move {
            let (_handle, shard, _) = open(&env, &first).await.unwrap();
            ten_more(&shard).await;
            let mut faults = Faults::none();
            faults.disk.sync_error = 1.0;
            machine.set_faults(faults);
            while shard.latched().is_none() {
                env.sleep(Duration::from_millis(1)).await;
            }
        });
        host.set_faults(Faults::none());
        nothing_lost_by_power(&world, &host, &config, 10);
    }
}

/// Of a ring that was taken over, less than a message may be known to be in segments. When appends go over its beginning, it is
/// in neither as a whole: a reader waits for the flush, and does not take what is on the disk for it.
#[test]
fn a_message_that_is_half_in_the_ring_is_read_when_it_was_written() {
    const SYNC: Duration = Duration::from_secs(5);
    let world = World::new(63);
    let host = world.host("broker");
    let config = StoreConfig { flush_interval: Duration::from_millis(100), ..small_config("/data") };
    let first = config.clone();
    let ends = world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        crate::damage::send(&env, &shard, 30).await;
        ten_more(&shard).await;
        shard.synced().get()
    });
    let mut slow = Faults::none();
    slow.disk.slow_sync = 1.0;
    slow.disk.slow_sync_time = SYNC;
    host.set_faults(slow);
    reopened(&world, &host, &config, move |env, shard, report| async move {
        let synced = shard.synced().get();
        assert!(report.kept_in_ring > 0 && synced < ends, "{report:?}");
        let queue = shard.queue(QUEUE.0, QUEUE.1);
        let began = env.monotonic_ns();
        // Until the ring is full, which takes no time.
        while shard.append(queue, &tagged(parts(QUEUE.0, &body(40), ""), 0)).is_ok() {}
        let read = read_all(&shard, QUEUE).await.unwrap();
        for (offset, record) in read.range(..40) {
            assert!(record.windows(8).any(|part| part == offset.to_be_bytes()), "message {offset}");
        }
        assert_eq!(read.range(..40).count(), 40, "none is passed over");
        assert!(env.monotonic_ns() - began >= SYNC.as_nanos() as u64 / 2, "the flush was waited for");
        assert_eq!(shard.stats().damaged_records, 0);
    });
}

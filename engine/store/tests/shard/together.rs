//! Appends to several queues at once: all of it or nothing, whatever crashes; and reads by index.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::support::{open, parts, small_config, tagged};
use ringmq_io::{Class, Env};
use ringmq_simenv::{CrashKind, Faults, SimEnv, World};
use ringmq_store::{AppendError, QueueRef, Shard, StoreConfig};
use ringmq_wire::message::records;

/// Appends a number to two queues at once, in rounds that fill batches to the brim; beside it others append alone.
async fn pairs(env: SimEnv, shard: Shard<SimEnv>, begun: u64) {
    let (a, b) = (shard.queue("a", 0), shard.queue("b", 3));
    for number in begun.. {
        let size = 16 + env.random() % 5000;
        let body: Vec<u8> = number.to_le_bytes().into_iter().chain((0..size).map(|i| i as u8)).collect();
        let many = [tagged(parts("a", &body, ""), 1), tagged(parts("a", &body[..8], ""), 2)];
        let one = [tagged(parts("b", &body[..8], ""), 3)];
        match shard.append_together(&[(a, &many), (b, &one)]) {
            Ok(appended) => {
                assert_eq!(appended.len(), 2);
                assert_eq!(appended[0].queue_offset, 2 * appended[1].queue_offset);
            }
            Err(AppendError::RingFull { .. }) => shard.room().await,
            Err(_) => return,
        }
        if env.random().is_multiple_of(4) {
            env.sleep(Duration::from_micros(env.random() % 3000)).await;
        }
    }
}

async fn live(env: SimEnv, config: StoreConfig, opened: Rc<Cell<u64>>) {
    let Ok((_handle, shard, _)) = open(&env, &config).await else { return };
    let (a, b) = (shard.bounds(shard.queue("a", 0)), shard.bounds(shard.queue("b", 3)));
    assert_eq!(a.max, 2 * b.max, "one queue of an append without the other");
    opened.set(opened.get() + b.max);
    env.spawn(Class::Foreground, pairs(env.clone(), shard.clone(), b.max));
    env.sleep(Duration::from_secs(3600)).await;
}

#[test]
fn both_queues_or_none_after_any_crash() {
    let mut seen = 0;
    for seed in 1..60 {
        let world = World::new(seed);
        let host = world.host("broker");
        let rng = world.rng("test");
        let opened = Rc::new(Cell::new(0));
        for _ in 0..4 {
            host.set_faults(if rng.coin() { Faults::none() } else { Faults::drawn(&rng) });
            if rng.coin() {
                host.kill_in_region_write(rng.within(1..=400));
            }
            let (config, count) = (small_config("/data"), opened.clone());
            host.start(1, move |env| live(env, config.clone(), count.clone()));
            world.run_for(Duration::from_millis(rng.within(20..=300)));
            if host.is_up() {
                host.crash(if rng.coin() { CrashKind::Process } else { CrashKind::PowerLoss });
            }
            host.cancel_kill();
        }
        seen += opened.get();
    }
    assert!(seen > 2000, "only {seen} pairs were looked at after a crash");
}

async fn read(shard: &Shard<SimEnv>, queue: QueueRef, offsets: &[u64]) -> Vec<u64> {
    let Some(plan) = shard.read_scattered(queue, offsets) else { return Vec::new() };
    let chunks = shard.fetch(plan).await.unwrap();
    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
    records(&bytes).map(|record| record.unwrap().queue_offset as u64).collect()
}

/// Through the ring, unsealed and sealed segments.
#[test]
fn the_index_is_walked_and_single_messages_are_read() {
    let world = World::new(3);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let mut config = small_config("/data");
        config.retention.max_bytes = Some(4 * config.segment_bytes);
        config.retention.interval = Duration::from_millis(20);
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        let queue = shard.queue("a", 0);
        let count = 3000;
        for number in 0..count {
            let body = vec![number as u8; 1000];
            let record = [tagged(parts("a", &body, ""), number as i64)];
            crate::support::append(&shard, queue, &record).await.unwrap();
        }
        while shard.bounds(queue).min == 0 {
            env.sleep(Duration::from_millis(10)).await;
        }
        let bounds = shard.bounds(queue);
        assert_eq!(bounds.max, count);
        let (mut at, mut seen) = (0, bounds.min);
        while at < count {
            shard.make_legible(queue, at, 100).await.unwrap();
            at = shard.look(queue, at, 100, |entry| {
                assert_eq!((entry.queue_offset, entry.tags_code), (seen, seen as i64));
                assert!(entry.size > 1000);
                seen += 1;
            });
        }
        assert_eq!(seen, count);
        assert_eq!(shard.look(queue, count + 7, 100, |_| panic!("nothing is there")), count + 7);
        let wanted: Vec<u64> = (0..count + 10).filter(|offset| offset % 7 == 0).collect();
        let there: Vec<u64> =
            wanted.iter().copied().filter(|offset| (bounds.min..count).contains(offset)).collect();
        assert_eq!(read(&shard, queue, &wanted).await, there);
        assert!(read(&shard, queue, &[0, count]).await.is_empty());
    });
}

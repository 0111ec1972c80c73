//! Disk room: retention, the refusal above the high watermark, and going on by itself.

use std::time::Duration;

use crate::support::{QueueName, acknowledged, append, flushed, open, parts, read_all, small_config, tagged};
use ringmq_io::Env;
use ringmq_simenv::{CrashKind, SimEnv, World};
use ringmq_store::{AppendError, Shard, StoreConfig};

const BUSY: QueueName = ("busy", 0);
const IDLE: QueueName = ("idle", 5);

async fn send(shard: &Shard<SimEnv>, name: QueueName, count: u64) {
    let queue = shard.queue(name.0, name.1);
    let body = vec![1; 2000];
    for _ in 0..count {
        let end = append(shard, queue, &[tagged(parts(name.0, &body, ""), 0)]).await.expect("room").end;
        assert!(acknowledged(shard, end, false).await);
    }
}

fn kept(segments: u64) -> StoreConfig {
    let mut config = small_config("/data");
    config.retention.max_bytes = Some(segments * config.segment_bytes);
    config.retention.interval = Duration::from_millis(20);
    config
}

async fn settled(env: &SimEnv, shard: &Shard<SimEnv>, segments: u64) {
    while shard.stats().segments > segments {
        env.sleep(Duration::from_millis(10)).await;
    }
}

/// After a power loss: its seven messages are recycled, and nothing else of it is left.
async fn the_idle_queue_goes_on(env: &SimEnv, config: &StoreConfig) {
    let (_handle, shard, report) = open(env, config).await.unwrap();
    assert!(report.log_start > 0);
    let idle = shard.find_queue(IDLE.0, IDLE.1).expect("known by the floor file");
    assert_eq!((shard.bounds(idle).min, shard.bounds(idle).max), (7, 7));
    send(&shard, IDLE, 1).await;
    assert_eq!(shard.bounds(idle).max, 8, "offsets go on");
}

#[test]
fn old_segments_go_and_an_idle_queue_keeps_its_offset() {
    let world = World::new(1);
    let host = world.host("broker");
    let config = kept(3);
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        send(&shard, IDLE, 7).await;
        send(&shard, BUSY, 2000).await;
        settled(&env, &shard, 3).await;
        assert!(shard.stats().recycled_segments >= 4, "{:?}", shard.stats());
        let idle = shard.queue(IDLE.0, IDLE.1);
        assert_eq!((shard.bounds(idle).min, shard.bounds(idle).max), (7, 7));
        let busy = shard.queue(BUSY.0, BUSY.1);
        let bounds = shard.bounds(busy);
        assert!(bounds.min > 0 && bounds.max == 2000);
        assert_eq!(read_all(&shard, BUSY).await.unwrap().len() as u64, bounds.max - bounds.min);
    });
    host.crash(CrashKind::PowerLoss);
    world.run(&host, move |env| async move {
        the_idle_queue_goes_on(&env, &config).await;
    });
}

#[test]
fn an_offset_is_kept_though_power_takes_all_that_retention_left() {
    let world = World::new(1);
    let host = world.host("broker");
    let mut config = small_config("/data");
    config.flush_interval = Duration::from_millis(100);
    config.retention.interval = Duration::from_millis(10);
    config.retention.reserved = Duration::ZERO;
    config.retention.delete_hours = Vec::new();
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        send(&shard, IDLE, 7).await;
        send(&shard, BUSY, 600).await;
        flushed(&shard).await;
        let (before, asked) = (shard.synced().get(), env.monotonic_ns());
        send(&shard, IDLE, 2).await;
        shard.expire_now();
        while shard.stats().recycled_segments == 0 {
            env.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            shard.synced().get(),
            before,
            "the two are in memory only, {} ns after",
            env.monotonic_ns() - asked
        );
    });
    host.crash(CrashKind::PowerLoss);
    world.run(&host, move |env| async move {
        the_idle_queue_goes_on(&env, &config).await;
    });
}

#[test]
fn segments_past_their_time_go_in_their_hour() {
    let world = World::new(2);
    let host = world.host("broker");
    let mut config = small_config("/data");
    config.retention.interval = Duration::from_secs(1);
    config.retention.reserved = Duration::from_secs(3600);
    config.retention.delete_hours = (0..24).collect();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        send(&shard, BUSY, 600).await;
        env.sleep(Duration::from_secs(3500)).await;
        assert_eq!(shard.stats().recycled_segments, 0, "not yet an hour old");
        env.sleep(Duration::from_secs(200)).await;
        assert!(shard.stats().recycled_segments >= 2, "{:?}", shard.stats());
        shard.shutdown().await.unwrap();
    });
}

#[test]
fn a_full_disk_refuses_appends_and_accepts_them_again_by_itself() {
    let world = World::new(3);
    let host = world.host("broker");
    let mut config = small_config("/data");
    config.retention.clean_forcibly = false;
    host.set_capacity(16 << 20);
    let machine = host.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        send(&shard, BUSY, 10).await;
        // The disk is as good as full from here on.
        machine.set_capacity(550 << 10);
        env.sleep(Duration::from_secs(3)).await;
        let body = [0; 10];
        let queue = shard.queue(BUSY.0, BUSY.1);
        let refusal = shard.append(queue, &tagged(parts(BUSY.0, &body, ""), 0)).unwrap_err();
        assert!(matches!(refusal, AppendError::DiskFull { limit_percent: 90, .. }), "{refusal}");
        assert_eq!(read_all(&shard, BUSY).await.unwrap().len(), 10, "reads go on");
        machine.set_capacity(16 << 20);
        env.sleep(Duration::from_secs(3)).await;
        send(&shard, BUSY, 10).await;
        assert_eq!(shard.bounds(queue).max, 20);
        shard.shutdown().await.unwrap();
    });
}

#[test]
fn no_room_for_a_segment_refuses_what_needs_it_and_loses_nothing() {
    let world = World::new(4);
    let host = world.host("broker");
    let mut config = small_config("/data");
    // The ratios see a machine with room to spare; only the allocation hits the wall.
    config.retention.refuse_ratio = 1.0;
    config.retention.forcible_ratio = 1.0;
    config.retention.clean_ratio = 1.0;
    host.set_capacity(900 << 10);
    let machine = host.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        let queue = shard.queue(BUSY.0, BUSY.1);
        let body = vec![1; 2000];
        let mut sent = 0;
        let refusal = loop {
            match shard.append(queue, &tagged(parts(BUSY.0, &body, ""), 0)) {
                Ok(appended) => {
                    sent += 1;
                    assert!(acknowledged(&shard, appended.end, false).await);
                }
                Err(AppendError::RingFull { .. }) => shard.room().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(refusal, AppendError::NoSegment { .. }), "{refusal}");
        assert!((200..300).contains(&sent), "about one segment: {sent}");
        machine.set_capacity(16 << 20);
        env.sleep(Duration::from_secs(3)).await;
        send(&shard, BUSY, 100).await;
        assert_eq!(read_all(&shard, BUSY).await.unwrap().len(), sent + 100);
        shard.shutdown().await.unwrap();
    });
}

#[test]
fn a_dropped_topic_stays_dropped_through_sealing_and_restart() {
    let world = World::new(5);
    let host = world.host("broker");
    let config = small_config("/data");
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        send(&shard, IDLE, 5).await;
        send(&shard, BUSY, 600).await;
        shard.drop_queues(IDLE.0).await.unwrap();
        send(&shard, IDLE, 2).await;
        send(&shard, BUSY, 600).await;
        shard.drop_queues(BUSY.0).await.unwrap();
        send(&shard, BUSY, 300).await;
        shard.shutdown().await.unwrap();
    });
    for kind in [CrashKind::Process, CrashKind::PowerLoss] {
        host.crash(kind);
        let config = config.clone();
        world.run(&host, move |env| async move {
            let (_handle, shard, report) = open(&env, &config).await.unwrap();
            assert!(report.sealed_segments >= 4, "{report:?}");
            assert_eq!(read_all(&shard, IDLE).await.unwrap().len(), 2);
            assert_eq!(read_all(&shard, BUSY).await.unwrap().len(), 300);
            assert_eq!(shard.bounds(shard.queue(BUSY.0, BUSY.1)).min, 0);
        });
    }
}

/// A full segment's index needs room too: the segment waits for it, and the shard goes on.
#[test]
fn a_segment_whose_index_finds_no_room_is_sealed_when_there_is() {
    let world = World::new(9);
    let host = world.host("broker");
    let mut config = small_config("/data");
    config.retention.refuse_ratio = 1.0;
    config.retention.forcible_ratio = 1.0;
    config.retention.clean_ratio = 1.0;
    let (first, machine) = (config.clone(), host.clone());
    let has_index = |machine: &ringmq_simenv::Host| {
        machine.files().iter().any(|(path, _)| path.extension().is_some_and(|end| end == "idx"))
    };
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        send(&shard, BUSY, 200).await;
        while shard.stats().segments < 2 {
            env.sleep(Duration::from_millis(10)).await;
        }
        let used =
            machine.files().iter().filter(|(path, _)| path.starts_with("/data")).map(|(_, len)| len).sum();
        machine.set_capacity(used);
        // Into the second segment.
        send(&shard, BUSY, 90).await;
        env.sleep(Duration::from_secs(5)).await;
        assert!(!has_index(&machine));
        assert_eq!(shard.latched(), None);
        assert_eq!(read_all(&shard, BUSY).await.unwrap().len(), 290);
        send(&shard, BUSY, 1).await;
        machine.set_capacity(1 << 40);
        while !has_index(&machine) {
            env.sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(read_all(&shard, BUSY).await.unwrap().len(), 291);
        shard.shutdown().await.unwrap();
    });
    world.run(&host, move |env| async move {
        let (_handle, shard, report) = open(&env, &config).await.unwrap();
        assert_eq!(report.sealed_segments, 1);
        assert_eq!(read_all(&shard, BUSY).await.unwrap().len(), 291);
    });
}

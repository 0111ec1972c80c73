//! The rows of recovery's decision table, each on files that bring it about. See docs/internals/recovery.md.

use std::path::PathBuf;
use std::time::Duration;

use crate::damage::{QUEUE, body, filled, place_of, reopened, segment, send};
use crate::support::{acknowledged, append, flushed, open, parts, read_all, small_config, tagged};
use ringmq_simenv::{CrashKind, Host, World};
use ringmq_store::{Decision, StoreConfig};

/// Thirty batches, all synced in one go, so that none says of another that it is durable. The process is then gone, and with
/// `kind` perhaps the ring.
fn one_group(world: &World, host: &Host, config: &StoreConfig, kind: CrashKind) {
    let config = StoreConfig { flush_interval: Duration::from_millis(100), ..config.clone() };
    world.run(host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        let queue = shard.queue(QUEUE.0, QUEUE.1);
        let mut end = 0;
        for offset in 0..30 {
            let body = body(offset);
            end = append(&shard, queue, &[tagged(parts(QUEUE.0, &body, ""), 3)]).await.unwrap().end;
            assert!(acknowledged(&shard, end, false).await);
        }
        assert_eq!(shard.synced().get(), 0);
        assert!(acknowledged(&shard, end, true).await);
    });
    host.crash(kind);
}

fn ring(host: &Host, store: &str) -> PathBuf {
    let rings = host.files().into_iter().map(|(path, _)| path);
    let mut own = rings.filter(|path| {
        path.extension().is_some_and(|extension| extension == "ring")
            && path.to_string_lossy().contains(store)
    });
    own.next().expect("a ring")
}

#[test]
fn row_1_what_the_ring_has_is_replayed_whatever_the_segment_has() {
    for torn in [false, true] {
        let world = World::new(51);
        let host = world.host("broker");
        let config = small_config("/data");
        if torn {
            // Written and synced, then rotten; the ring still has it.
            one_group(&world, &host, &config, CrashKind::Process);
            let path = segment(0, "seg");
            host.damage_file(&path, place_of(&host, &path, 10), b"rotten");
        } else {
            let first = StoreConfig { flush_interval: Duration::from_millis(100), ..config.clone() };
            world.run(&host, move |env| async move {
                let (_handle, shard, _) = open(&env, &first).await.unwrap();
                let queue = shard.queue(QUEUE.0, QUEUE.1);
                for offset in 0..30 {
                    let body = body(offset);
                    append(&shard, queue, &[tagged(parts(QUEUE.0, &body, ""), 3)]).await.unwrap();
                }
                let end = shard.stats().log_end;
                assert!(acknowledged(&shard, end, false).await && shard.synced().get() == 0);
            });
            host.crash(CrashKind::Process);
        }
        reopened(&world, &host, &config, |_env, shard, report| async move {
            assert_eq!(report.decisions, [Decision::Replay, Decision::EndClean]);
            assert!(report.replayed_bytes > 0 && report.lost.is_empty());
            assert!(report.kept_in_ring >= report.replayed_bytes, "{report:?}");
            assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 30);
            flushed(&shard).await;
        });
        // What was replayed is in the segments now: the ring is not needed for it any more.
        host.crash(CrashKind::PowerLoss);
        reopened(&world, &host, &config, |_env, shard, report| async move {
            assert_eq!(report.decisions, [Decision::EndClean]);
            assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 30);
        });
    }
}

#[test]
fn row_2_nothing_behind_the_last_batch_is_the_end() {
    let world = World::new(52);
    let host = world.host("broker");
    let config = small_config("/data");
    filled(&world, &host, &config, 30, false);
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::EndClean]);
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 30);
    });
}

#[test]
fn row_3_a_torn_batch_with_nothing_behind_it_is_the_end() {
    let world = World::new(53);
    let host = world.host("broker");
    let config = small_config("/data");
    one_group(&world, &host, &config, CrashKind::PowerLoss);
    let path = segment(0, "seg");
    host.damage_file(&path, place_of(&host, &path, 29), b"rotten");
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::EndTorn]);
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 29);
    });
}

/// Also: what was cut off does not come back when the log has grown over the gap.
#[test]
fn row_4_batches_of_the_same_group_behind_a_gap_are_the_end() {
    let world = World::new(54);
    let host = world.host("broker");
    let config = small_config("/data");
    one_group(&world, &host, &config, CrashKind::PowerLoss);
    let path = segment(0, "seg");
    host.damage_file(&path, place_of(&host, &path, 10), b"rotten");
    reopened(&world, &host, &config, |env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::EndUnsynced]);
        assert!(report.quarantined.is_empty() && report.lost.is_empty());
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 10);
        send(&env, &shard, 1).await;
    });
    host.crash(CrashKind::PowerLoss);
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert!(report.decisions.iter().all(|decision| *decision != Decision::Quarantine), "{report:?}");
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 11);
    });
}

#[test]
fn row_5_a_gap_in_what_was_synced_is_set_aside() {
    let world = World::new(55);
    let host = world.host("broker");
    let config = small_config("/data");
    filled(&world, &host, &config, 30, false);
    let path = segment(0, "seg");
    host.damage_file(&path, place_of(&host, &path, 10), b"rotten");
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::Quarantine, Decision::EndClean]);
        assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, 30);
    });
}

/// The two segments were written in one go: no batch of the second knew that the first was synced.
#[test]
fn row_5_a_batch_of_the_next_segment_says_that_all_of_the_one_before_was_synced() {
    const SEGMENT: u64 = 512 << 10;
    let world = World::new(57);
    let host = world.host("broker");
    let config = StoreConfig { flush_interval: Duration::from_millis(100), ..small_config("/data") };
    let first = config.clone();
    let count = world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        while shard.stats().log_end < SEGMENT - 20_000 {
            send(&env, &shard, 1).await;
        }
        let queue = shard.queue(QUEUE.0, QUEUE.1);
        while shard.stats().log_end < SEGMENT + 20_000 {
            let body = body(shard.bounds(queue).max);
            append(&shard, queue, &[tagged(parts(QUEUE.0, &body, ""), 3)]).await.unwrap();
            assert!(acknowledged(&shard, shard.stats().log_end, false).await);
        }
        assert!(shard.synced().get() <= SEGMENT - 20_000 + 2000, "part of it was synced before");
        assert!(acknowledged(&shard, shard.stats().log_end, true).await);
        shard.bounds(queue).max
    });
    host.crash(CrashKind::PowerLoss);
    host.remove_file(segment(0, "idx"));
    let path = segment(0, "seg");
    let bytes = host.read_file(&path).expect("a segment");
    let is_there = |offset: &u64| bytes.windows(64).any(|window| window == &body(*offset)[..64]);
    let last = (0..count).rev().find(is_there).expect("it has messages");
    assert!(last < count - 5);
    host.damage_file(&path, place_of(&host, &path, last), b"rotten");
    reopened(&world, &host, &config, move |_env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::Quarantine, Decision::EndClean]);
        assert_eq!((report.lost.len(), report.lost[0].first, report.lost[0].count), (1, last, 1));
        assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, count);
    });
}

#[test]
fn the_ring_of_another_store_is_not_looked_at() {
    let world = World::new(56);
    let host = world.host("broker");
    let (config, other) = (small_config("/data"), small_config("/other"));
    one_group(&world, &host, &config, CrashKind::Process);
    let own = ring(&host, "");
    assert!(host.copy_file(&own, "/kept"));
    host.remove_file(&own);
    one_group(&world, &host, &other, CrashKind::Process);
    assert!(host.copy_file(ring(&host, ""), &own));
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert_eq!((report.replayed_bytes, report.decisions), (0, vec![Decision::EndClean]));
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 30, "all of it was synced");
    });
}

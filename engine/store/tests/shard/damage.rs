//! Damage on disk: reported, set aside or made anew, and never served.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::support::{LIMITS, QueueName, acknowledged, append, open, parts, read_all, small_config, tagged};
use ringmq_io::{Disk, Env};
use ringmq_simenv::{CrashKind, Host, SimEnv, World};
use ringmq_store::{Decision, LostRange, OpenError, ReadOutcome, RecoveryReport, Shard, StoreConfig};
use ringmq_wire::message::records;

pub const QUEUE: QueueName = ("damaged", 0);
const BODY: usize = 1000;

pub fn body(offset: u64) -> Vec<u8> {
    offset.to_be_bytes().repeat(BODY / 8)
}

pub async fn send(env: &SimEnv, shard: &Shard<SimEnv>, count: u64) {
    let queue = shard.queue(QUEUE.0, QUEUE.1);
    for _ in 0..count {
        let body = body(shard.bounds(queue).max);
        let end =
            append(shard, queue, &[tagged(parts(QUEUE.0, &body, "KEYS\u{1}k\u{2}"), 3)]).await.unwrap().end;
        // One batch a record, each synced: so that damage hits a durable one.
        assert!(acknowledged(shard, end, true).await);
    }
    env.yield_now().await;
}

/// Fills a store with `count` records and ends it, cleanly or by a power loss (the ring is lost).
pub fn filled(world: &World, host: &Host, config: &StoreConfig, count: u64, clean: bool) {
    let config = config.clone();
    world.run(host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        send(&env, &shard, count).await;
        if clean {
            shard.shutdown().await.unwrap();
        }
    });
    host.crash(CrashKind::PowerLoss);
}

pub fn reopened<T: 'static, F: Future<Output = T> + 'static>(
    world: &World,
    host: &Host,
    config: &StoreConfig,
    check: impl FnOnce(SimEnv, Shard<SimEnv>, RecoveryReport) -> F + 'static,
) -> T {
    let config = config.clone();
    world.run(host, move |env| async move {
        let (_handle, shard, report) = open(&env, &config).await.expect("opens");
        check(env, shard, report).await
    })
}

pub fn segment(number: u64, extension: &str) -> PathBuf {
    format!("/data/shard-00/{:016x}.{extension}", number * (512 << 10)).into()
}

/// Where the body of an offset's record lies in a segment file.
pub fn place_of(host: &Host, path: &Path, offset: u64) -> u64 {
    let bytes = host.read_file(path).expect("a segment");
    let body = body(offset);
    bytes.windows(body.len()).position(|window| window == body).expect("the record is there") as u64
}

#[test]
fn a_damaged_batch_before_intact_ones_is_set_aside_and_bridged() {
    let world = World::new(5);
    let host = world.host("broker");
    let config = small_config("/data");
    filled(&world, &host, &config, 100, false);
    let path = segment(0, "seg");
    for offset in [40, 41, 70] {
        host.damage_file(&path, place_of(&host, &path, offset), b"rotten");
    }
    let report = reopened(&world, &host, &config, |_env, shard, report| async move {
        let queue = shard.find_queue(QUEUE.0, QUEUE.1).expect("recovered");
        assert_eq!((shard.bounds(queue).min, shard.bounds(queue).max), (0, 100), "offsets stay dense");
        let mut at = 0;
        let mut seen = Vec::new();
        while let ReadOutcome::Found(plan) = shard.read_legible(queue, at, &LIMITS, |_| true).await.unwrap() {
            at = plan.next_offset;
            for chunk in shard.fetch(plan).await.unwrap() {
                for record in records(chunk.as_ref()) {
                    let record = record.unwrap();
                    assert_eq!(record.body, body(record.queue_offset as u64));
                    seen.push(record.queue_offset);
                }
            }
        }
        let expected: Vec<i64> = (0..100).filter(|offset| ![40, 41, 70].contains(offset)).collect();
        assert_eq!(seen, expected);
        report
    });
    assert_eq!(report.quarantined.len(), 2, "{report:?}");
    for range in &report.quarantined {
        assert!(host.read_file(&range.copy).is_some_and(|copy| copy.len() as u64 >= range.end - range.start));
    }
    assert_eq!(report.decisions, [Decision::Quarantine, Decision::Quarantine, Decision::EndClean]);
    // The holes are bridged: the next recovery finds nothing to decide, and appends go on.
    reopened(&world, &host, &config, move |env, shard, again| async move {
        assert!(again.quarantined.is_empty(), "{again:?}");
        assert_eq!((again.records, again.end), (97, report.end));
        send(&env, &shard, 5).await;
        let queue = shard.queue(QUEUE.0, QUEUE.1);
        assert_eq!(shard.bounds(queue).max, 105);
    });
}

/// The sealed index is all that a later open sees of the segment: it must not contradict itself.
#[test]
fn a_queue_whose_first_message_is_rotten_opens_again_from_its_sealed_index() {
    let world = World::new(17);
    let host = world.host("broker");
    let config = small_config("/data");
    filled(&world, &host, &config, 100, false);
    let path = segment(0, "seg");
    for offset in [0, 1] {
        host.damage_file(&path, place_of(&host, &path, offset), b"rotten");
    }
    reopened(&world, &host, &config, |env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::Quarantine, Decision::EndClean]);
        let queue = shard.find_queue(QUEUE.0, QUEUE.1).expect("recovered");
        assert_eq!((shard.bounds(queue).min, shard.bounds(queue).max), (0, 100), "offsets stay dense");
        send(&env, &shard, 900).await;
        shard.shutdown().await.unwrap();
    });
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert!(report.sealed_segments > 0, "{report:?}");
        let queue = shard.find_queue(QUEUE.0, QUEUE.1).expect("recovered");
        assert_eq!((shard.bounds(queue).min, shard.bounds(queue).max), (0, 1000));
        let ReadOutcome::Found(plan) = shard.read_legible(queue, 2, &LIMITS, |_| true).await.unwrap() else {
            panic!("found")
        };
        assert!(plan.messages > 0);
    });
}

/// A message of another queue, synced.
async fn send_other(env: &SimEnv, shard: &Shard<SimEnv>, count: u64) {
    let queue = shard.queue("other", 0);
    for _ in 0..count {
        let end = append(shard, queue, &[tagged(parts("other", &[0xEE; BODY], ""), 0)]).await.unwrap().end;
        assert!(acknowledged(shard, end, true).await);
    }
    env.yield_now().await;
}

fn lost(first: u64, count: u64) -> LostRange {
    LostRange { topic: QUEUE.0.into(), queue_id: QUEUE.1, first, count }
}

/// No later batch says of the last ones that they were synced, and the ring is gone: END says it.
#[test]
fn damage_in_what_a_clean_stop_has_synced_is_no_torn_tail() {
    for rotten in [10, 29] {
        let world = World::new(31 + rotten);
        let host = world.host("broker");
        let mut config = small_config("/data");
        config.flush_interval = Duration::from_millis(100);
        let first = config.clone();
        world.run(&host, move |env| async move {
            let (_handle, shard, _) = open(&env, &first).await.unwrap();
            let queue = shard.queue(QUEUE.0, QUEUE.1);
            for offset in 0..30 {
                let body = body(offset);
                let record = tagged(parts(QUEUE.0, &body, ""), 3);
                let end = append(&shard, queue, &[record]).await.unwrap().end;
                assert!(acknowledged(&shard, end, false).await);
            }
            assert_eq!(shard.synced().get(), 0, "one group, none of whose batches says anything of another");
            shard.shutdown().await.unwrap();
        });
        let path = segment(0, "seg");
        host.damage_file(&path, place_of(&host, &path, rotten), b"rotten");
        let end = reopened(&world, &host, &config, move |_env, shard, report| async move {
            assert_eq!(report.decisions, [Decision::Quarantine, Decision::EndClean]);
            assert_eq!(report.lost, [lost(rotten, 1)]);
            assert_eq!((shard.stats().quarantined_ranges, shard.stats().lost_records), (1, 1));
            report.end
        });
        reopened(&world, &host, &config, move |env, shard, again| async move {
            assert_eq!((again.end, &again.lost[..]), (end, &[lost(rotten, 1)][..]));
            send(&env, &shard, 5).await;
            assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, 35);
        });
    }
}

#[test]
fn offsets_of_lost_last_messages_are_not_given_again() {
    let world = World::new(37);
    let host = world.host("broker");
    let config = small_config("/data");
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        send(&env, &shard, 20).await;
        send_other(&env, &shard, 5).await;
    });
    host.crash(CrashKind::PowerLoss);
    let path = segment(0, "seg");
    for offset in [17, 18, 19] {
        host.damage_file(&path, place_of(&host, &path, offset), b"rotten");
    }
    for _ in 0..2 {
        reopened(&world, &host, &config, |_env, shard, report| async move {
            assert_eq!(report.lost, [lost(17, 3)], "{report:?}");
            assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, 20);
        });
        host.crash(CrashKind::PowerLoss);
    }
    reopened(&world, &host, &config, |env, shard, _| async move {
        send(&env, &shard, 3).await;
        let queue = shard.queue(QUEUE.0, QUEUE.1);
        let ReadOutcome::Found(plan) = shard.read_legible(queue, 17, &LIMITS, |_| true).await.unwrap() else {
            panic!("found")
        };
        let chunks = shard.fetch(plan).await.unwrap();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
        let seen: Vec<i64> = records(&bytes).map(|record| record.unwrap().queue_offset).collect();
        assert_eq!(seen, [20, 21, 22]);
    });
}

/// The queue goes on in a later segment than its damage lies in. The damaged segment is sealed first, and a start in between
/// sees its index and not the damage.
#[test]
fn a_gap_is_sealed_with_the_segment_of_its_damage() {
    let world = World::new(41);
    let host = world.host("broker");
    let config = small_config("/data");
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        send(&env, &shard, 20).await;
        while shard.stats().log_end < (512 << 10) {
            send_other(&env, &shard, 1).await;
        }
        send(&env, &shard, 5).await;
    });
    host.crash(CrashKind::PowerLoss);
    let path = segment(0, "seg");
    for offset in [18, 19] {
        host.damage_file(&path, place_of(&host, &path, offset), b"rotten");
    }
    host.remove_file(segment(0, "idx"));
    reopened(&world, &host, &config, |env, shard, report| async move {
        assert_eq!((&report.lost[..], report.sealed_segments), (&[lost(18, 2)][..], 0));
        assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, 25);
        let index = segment(0, "idx");
        let (dir, name) = (index.parent().unwrap(), index.file_name().unwrap().to_str().unwrap());
        while !env.disk().list(dir).await.unwrap().iter().any(|entry| entry.name == name) {
            env.sleep(Duration::from_millis(5)).await;
        }
    });
    host.crash(CrashKind::PowerLoss);
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert_eq!(report.sealed_segments, 1);
        assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, 25);
    });
}

#[test]
fn damage_in_the_last_unsynced_batch_is_a_torn_tail() {
    let world = World::new(6);
    let host = world.host("broker");
    let config = small_config("/data");
    filled(&world, &host, &config, 30, false);
    let path = segment(0, "seg");
    host.damage_file(&path, place_of(&host, &path, 29), b"rotten");
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert_eq!(report.decisions, [Decision::EndTorn]);
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 29);
    });
}

#[test]
fn a_damaged_sealed_index_is_made_anew_from_its_segment() {
    // Each part of the file in turn: header, first entries, catalog (the last block).
    for part in 0..3 {
        let world = World::new(7 + part);
        let host = world.host("broker");
        let config = small_config("/data");
        let count = 2000;
        filled(&world, &host, &config, count, true);
        let index = segment(1, "idx");
        let len = host.read_file(&index).expect("the second segment is sealed").len() as u64;
        let place = [20, 4096 + 100, len - 4096 + 20][part as usize];
        host.damage_file(&index, place, b"rotten");
        let rebuilt = reopened(&world, &host, &config, move |_env, shard, report| async move {
            let queue = shard.find_queue(QUEUE.0, QUEUE.1).unwrap();
            assert_eq!(shard.bounds(queue).max, count);
            assert_eq!(read_all(&shard, QUEUE).await.unwrap().len() as u64, count);
            // A block of entries is looked at when it is used, and made anew then.
            let mended = u64::from(report.rebuilt_indexes == 0);
            assert_eq!((shard.stats().mended_blocks, shard.stats().damaged_records), (mended, 0));
            report.rebuilt_indexes
        });
        assert_eq!(rebuilt, u32::from(part != 1));
    }
}

/// A start keeps the entries of what it scans in memory: one index that is damaged, or gone, must not cost those of all segments behind it.
#[test]
fn an_index_that_cannot_be_used_is_made_anew_by_itself() {
    let world = World::new(23);
    let host = world.host("broker");
    let config = small_config("/data");
    let count = 9000;
    filled(&world, &host, &config, count, true);
    let sound =
        reopened(&world, &host, &config, |_env, _shard, report| async move { report.sealed_segments });
    assert!(sound >= 4, "only {sound} segments are sealed");
    host.crash(CrashKind::PowerLoss);
    let whole = host.read_file(segment(0, "idx")).expect("it is sealed");
    host.damage_file(segment(0, "idx"), 20, b"rotten");
    host.remove_file(segment(2, "idx"));
    reopened(&world, &host, &config, move |_env, shard, report| async move {
        assert_eq!((report.rebuilt_indexes, report.sealed_segments), (2, sound));
        assert!(report.scanned_segments <= 2, "{report:?}");
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len() as u64, count);
        assert_eq!(shard.stats().mended_blocks, 0);
    });
    assert!(host.read_file(segment(0, "idx")).expect("made anew") == whole, "not as it was sealed");
}

#[test]
fn a_rotten_record_in_a_sealed_segment_is_left_out() {
    let world = World::new(11);
    let host = world.host("broker");
    let config = small_config("/data");
    filled(&world, &host, &config, 1500, true);
    let path = segment(0, "seg");
    let physical = Rc::new(RefCell::new(0));
    let slot = physical.clone();
    reopened(&world, &host, &config, move |_env, shard, _| async move {
        let all = read_all(&shard, QUEUE).await.unwrap();
        *slot.borrow_mut() = records(&all[&100]).next().unwrap().unwrap().physical_offset as u64;
    });
    host.damage_file(&path, place_of(&host, &path, 100), b"rotten");
    let physical = *physical.borrow();
    reopened(&world, &host, &config, move |_env, shard, _| async move {
        let queue = shard.find_queue(QUEUE.0, QUEUE.1).unwrap();
        assert_eq!(shard.read_at(physical).await.unwrap(), None);
        let ReadOutcome::Found(plan) = shard.read_legible(queue, 95, &LIMITS, |_| true).await.unwrap() else {
            panic!("found")
        };
        let chunks = shard.fetch(plan).await.unwrap();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
        let seen: Vec<i64> = records(&bytes).map(|record| record.unwrap().queue_offset).collect();
        assert_eq!(seen, (95..127).filter(|offset| *offset != 100).collect::<Vec<_>>());
        let one = crate::support::LIMITS;
        let one = ringmq_store::ReadLimits { max_messages: 1, max_messages_cold: 1, ..one };
        let ReadOutcome::Found(plan) = shard.read_legible(queue, 100, &one, |_| true).await.unwrap() else {
            panic!("found")
        };
        assert_eq!(plan.next_offset, 101);
        let Err(error) = shard.fetch(plan).await.map(|_| ()) else { panic!("damaged bytes were served") };
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    });
}

#[test]
fn missing_and_damaged_files_are_named() {
    let refused = |change: fn(&Host)| -> String {
        let world = World::new(13);
        let host = world.host("broker");
        let config = small_config("/data");
        filled(&world, &host, &config, 1500, true);
        change(&host);
        let config = config.clone();
        world.run(&host, move |env| async move {
            let error: OpenError = open(&env, &config).await.map(|_| ()).expect_err("must be refused");
            error.to_string()
        })
    };
    let text = refused(|host| assert!(host.remove_file(segment(1, "seg"))));
    assert!(text.contains("0000000000080000.seg") && text.contains("missing"), "{text}");
    let text = refused(|host| assert!(host.remove_file(segment(0, "seg"))));
    assert!(text.contains("0000000000000000.seg") && text.contains("missing"), "{text}");
    let text = refused(|host| assert!(host.remove_file("/data/MANIFEST")));
    assert!(text.contains("MANIFEST") && text.contains("missing"), "{text}");
    let text = refused(|host| assert!(host.remove_file("/data/shard-00/STATE")));
    assert!(text.contains("STATE") && text.contains("missing"), "{text}");
    let text = refused(|host| host.damage_file("/data/MANIFEST", 33, b"x"));
    assert!(text.contains("MANIFEST") && text.contains("checksum"), "{text}");
    let text = refused(|host| host.damage_file("/data/shard-00/END", 33, b"x"));
    assert!(text.contains("END") && text.contains("checksum"), "{text}");
    let text = refused(|host| host.damage_file("/data/MANIFEST", 8, &[9]));
    assert!(text.contains("version 9"), "{text}");
}

#[test]
fn the_ring_is_found_after_its_directory_was_changed() {
    let world = World::new(17);
    let host = world.host("broker");
    let mut config = small_config("/data");
    config.flush_interval = Duration::from_millis(100);
    let first = config.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &first).await.unwrap();
        let queue = shard.queue(QUEUE.0, QUEUE.1);
        for offset in 0..20 {
            let body = body(offset);
            let end = append(&shard, queue, &[tagged(parts(QUEUE.0, &body, ""), 0)]).await.unwrap().end;
            assert!(acknowledged(&shard, end, false).await);
        }
        // The process ends here, with everything in the ring alone.
        assert_eq!(shard.synced().get(), 0);
    });
    config.ring_dir = Some("/dev/shm/elsewhere".into());
    config.ring_bytes = 512 << 10;
    reopened(&world, &host, &config, |_env, shard, report| async move {
        assert!(report.replayed_bytes > 0);
        assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 20);
        shard.shutdown().await.unwrap();
    });
    let rings =
        host.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "ring")).count();
    assert_eq!(
        rings, 0,
        "the memory of the old ring is given back, and that of the new one by the clean stop"
    );
}

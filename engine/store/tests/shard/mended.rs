//! Damaged blocks of a sealed index: made anew from the segment when they are needed, so that no reader misses a message.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::damage::segment;
use crate::support::{LIMITS, QueueName, append, flushed, open, parts, read_all, small_config, tagged};
use ringmq_io::Env;
use ringmq_simenv::{CrashKind, Faults, Host, SimEnv, World};
use ringmq_store::{ReadOutcome, RecentKey, Shard, key_hash};
use ringmq_wire::message::records;

const BLOCK: u64 = 4096;
const COUNT: u64 = 3000;
const QUEUES: [QueueName; 4] = [("a", 0), ("a", 1), ("b", 0), ("c", 7)];

/// Everything that the shard gives by any way of looking.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    queues: BTreeMap<QueueName, BTreeMap<u64, Vec<u8>>>,
    by_key: BTreeMap<u64, Vec<Vec<u8>>>,
    recent: Vec<RecentKey>,
    times: Vec<(QueueName, u64)>,
}

fn queue_of(number: u64) -> QueueName {
    QUEUES[(number % 7 % 4) as usize]
}

async fn fill(env: &SimEnv, shard: &Shard<SimEnv>) {
    for number in 0..COUNT {
        let (topic, queue_id) = queue_of(number);
        let properties = format!("UNIQ_KEY\u{1}u{number}\u{2}KEYS\u{1}w{} all\u{2}", number % 5);
        let body = number.to_be_bytes().repeat(60);
        let record = [tagged(parts(topic, &body, &properties), number as i64)];
        append(shard, shard.queue(topic, queue_id), &record).await.unwrap();
        if number % 25 == 0 {
            env.yield_now().await;
        }
    }
    flushed(shard).await;
}

async fn look(shard: &Shard<SimEnv>) -> Seen {
    let mut seen =
        Seen { queues: BTreeMap::new(), by_key: BTreeMap::new(), recent: Vec::new(), times: Vec::new() };
    for number in 0..COUNT {
        let found =
            shard.query_key(queue_of(number).0, &format!("u{number}"), 0, i64::MAX, 10).await.unwrap();
        seen.by_key.insert(number, found);
    }
    seen.recent = shard.recent_keys("a", i64::MIN, usize::MAX).await.unwrap().unwrap();
    seen.recent.sort_unstable();
    seen.recent.dedup();
    for name in QUEUES {
        let queue = shard.find_queue(name.0, name.1).unwrap();
        let bounds = shard.bounds(queue);
        let middle = shard.store_time(queue, bounds.max / 2).await.unwrap().unwrap();
        seen.times.push((name, shard.offset_by_time(queue, middle, false).await.unwrap()));
        let offsets: Vec<u64> = (bounds.min..bounds.max).step_by(13).collect();
        let scattered = shard.records_of(queue, &offsets).await.unwrap();
        let all = read_all(shard, name).await.unwrap();
        for (offset, bytes) in &all {
            let physical = records(bytes).next().unwrap().unwrap().physical_offset as u64;
            assert_eq!(shard.read_at(physical).await.unwrap().as_ref(), Some(bytes), "{name:?} {offset}");
        }
        assert!(scattered.iter().all(|(offset, bytes)| all[offset] == *bytes));
        assert_eq!(scattered.len(), offsets.len());
        seen.queues.insert(name, all);
    }
    seen
}

/// The blocks of entries and of keys of an index, by their place in the file.
fn blocks(index: &[u8]) -> (Range<u64>, Range<u64>) {
    let word = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().unwrap());
    let (entries, keys) = (word(40).div_ceil(127), word(48).div_ceil(255));
    (1..1 + entries, 1 + entries..1 + entries + keys)
}

fn rot(host: &Host, path: &Path, block: u64) {
    host.damage_file(path, block * BLOCK + 33 + block % 4000, b"rotten");
}

/// A store with some sealed segments, and what it gives.
fn filled(world: &World, host: &Host) -> Seen {
    world.run(host, |env| async move {
        let (_handle, shard, _) = open(&env, &small_config("/data")).await.unwrap();
        fill(&env, &shard).await;
        shard.shutdown().await.unwrap();
    });
    host.crash(CrashKind::PowerLoss);
    world.run(host, |env| async move {
        let (_handle, shard, report) = open(&env, &small_config("/data")).await.unwrap();
        assert!(report.sealed_segments >= 3, "{report:?}");
        let seen = look(&shard).await;
        assert!(seen.by_key.values().all(|found| found.len() == 1));
        assert_eq!(seen.queues.values().map(BTreeMap::len).sum::<usize>() as u64, COUNT);
        assert!(seen.recent.iter().any(|key| key.hash == key_hash("a", "all")));
        assert_eq!(shard.stats().mended_blocks, 0);
        shard.shutdown().await.unwrap();
        seen
    })
}

/// Opens the store again and compares; `damaged`: how many blocks are to be made anew.
fn sees_the_same(world: &World, host: &Host, seen: Seen, damaged: u64) -> Seen {
    world.run(host, move |env| async move {
        let (_handle, shard, report) = open(&env, &small_config("/data")).await.unwrap();
        assert_eq!(report.rebuilt_indexes, 0, "the catalogs are intact");
        for _ in 0..2 {
            assert_eq!(look(&shard).await, seen);
            assert_eq!(shard.stats().mended_blocks, damaged, "once each");
            assert_eq!(shard.stats().damaged_records, 0);
        }
        shard.shutdown().await.unwrap();
        seen
    })
}

#[test]
fn nobody_misses_a_message_for_a_damaged_block_of_an_index() {
    let world = World::new(3);
    let host = world.host("broker");
    let mut seen = filled(&world, &host);
    let path = segment(1, "idx");
    let whole = host.read_file(&path).unwrap();
    let (entries, keys) = blocks(&whole);
    assert!(entries.end - entries.start > 4 && keys.end - keys.start > 4, "{entries:?} {keys:?}");
    let mut mended = 0;
    // One by one, then with their neighbours, then all of them. Damage stays: each time a few more.
    for block in [keys.start, entries.start, keys.end - 1, entries.end - 1, keys.start + 2, keys.start + 3] {
        rot(&host, &path, block);
        mended += 1;
        seen = sees_the_same(&world, &host, seen, mended);
    }
    for block in entries.start..keys.end {
        rot(&host, &path, block);
    }
    sees_the_same(&world, &host, seen, keys.end - entries.start);
}

/// A write that went to the wrong file leaves blocks that check, but speak of another segment.
#[test]
fn a_block_of_another_segments_index_is_not_believed() {
    let world = World::new(4);
    let host = world.host("broker");
    let seen = filled(&world, &host);
    let (own, foreign) = (segment(1, "idx"), host.read_file(segment(0, "idx")).unwrap());
    let (entries, keys) = blocks(&host.read_file(&own).unwrap());
    let (foreign_entries, foreign_keys) = blocks(&foreign);
    for (block, from) in
        [(entries.start + 1, foreign_entries.start + 1), (keys.start + 1, foreign_keys.start + 1)]
    {
        let bytes = &foreign[(from * BLOCK) as usize..][..BLOCK as usize];
        host.damage_file(&own, block * BLOCK, bytes);
    }
    sees_the_same(&world, &host, seen, 2);
}

/// What neither has is lost: it keeps its offset, reads pass over it and count it, and only it is missing.
#[test]
fn only_what_the_segment_has_lost_too_is_missing() {
    let world = World::new(5);
    let host = world.host("broker");
    let seen = filled(&world, &host);
    let path = segment(1, "idx");
    let (entries, keys) = blocks(&host.read_file(&path).unwrap());
    for block in entries.start..keys.end {
        rot(&host, &path, block);
    }
    let log = host.read_file(segment(1, "seg")).unwrap();
    let lost = COUNT * 4 / 9;
    let body = lost.to_be_bytes().repeat(60);
    let place = log.windows(body.len()).position(|window| window == body).expect("it is in this segment");
    host.damage_file(segment(1, "seg"), place as u64, b"rotten");
    // Its batch does not check, so none of the batch's records can be checked without the index.
    let batch = (0..place / 64 * 64 + 64).rev().find(|at| log[*at..].starts_with(b"RMQB")).unwrap();
    let length = u32::from_le_bytes(log[batch + 12..batch + 16].try_into().unwrap()) as u64;
    let base = 512 << 10;
    let hit = base + batch as u64..base + batch as u64 + length;
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &small_config("/data")).await.unwrap();
        let mut missing = 0;
        for name in QUEUES {
            let queue = shard.find_queue(name.0, name.1).unwrap();
            let one =
                ringmq_store::ReadLimits { max_messages: 1, max_messages_cold: 1, scan_entries: 1, ..LIMITS };
            for (offset, bytes) in &seen.queues[&name] {
                let physical = records(bytes).next().unwrap().unwrap().physical_offset as u64;
                let is_lost = hit.contains(&physical);
                let before = shard.stats().damaged_records;
                let outcome = loop {
                    match shard.read(queue, *offset, &one, |_| true) {
                        ReadOutcome::Illegible => shard.make_legible(queue, *offset, 1).await.unwrap(),
                        outcome => break outcome,
                    }
                };
                match outcome {
                    ReadOutcome::Found(plan) => {
                        let chunks = shard.fetch(plan).await.unwrap();
                        assert!(!is_lost && chunks[0].as_ref() == &bytes[..], "{name:?} {offset}");
                    }
                    ReadOutcome::NoneMatched { next_offset } => {
                        assert!(is_lost && next_offset == offset + 1, "{name:?} {offset}");
                        assert_eq!(shard.stats().damaged_records, before + 1, "a loss is counted");
                        missing += 1;
                    }
                    _ => panic!("{name:?} {offset}: offsets stay taken"),
                }
            }
        }
        assert!(missing > 0 && shard.stats().mended_blocks > 0);
        for (number, found) in &seen.by_key {
            let physical = records(&found[0]).next().unwrap().unwrap().physical_offset as u64;
            let key = format!("u{number}");
            let now = shard.query_key(queue_of(*number).0, &key, 0, i64::MAX, 10).await.unwrap();
            assert!(now == *found || (now.is_empty() && hit.contains(&physical)), "{key}");
        }
    });
}

#[test]
fn blocks_that_the_device_does_not_read_are_made_anew() {
    let world = World::new(11);
    let host = world.host("broker");
    let seen = world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &small_config("/data")).await.unwrap();
        fill(&env, &shard).await;
        look(&shard).await
    });
    host.crash(CrashKind::Process);
    let disk = host.clone();
    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &small_config("/data")).await.unwrap();
        let mut faults = Faults::none();
        faults.disk.read_error = 0.3;
        disk.set_faults(faults);
        for name in QUEUES {
            let all = loop {
                match read_all(&shard, name).await {
                    Ok(all) => break all,
                    Err(error) => assert_eq!(error.raw_os_error(), Some(5), "the device's: {error}"),
                }
            };
            assert_eq!(all, seen.queues[&name]);
        }
        assert!(shard.stats().mended_blocks > 0, "{:?}", shard.stats());
        disk.set_faults(Faults::none());
        assert_eq!(look(&shard).await, seen);
        assert_eq!((shard.stats().damaged_records, shard.latched().is_some()), (0, false));
    });
}

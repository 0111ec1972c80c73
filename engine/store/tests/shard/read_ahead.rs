//! Readers that are far behind: they share what is read from segments, and get exactly what was stored.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{LIMITS, QueueName, acknowledged, append, open, parts, read_all, small_config, tagged};
use ringmq_io::limits::READ_AHEAD_CHUNKS_MAX;
use ringmq_io::{Chunk, Class, Env};
use ringmq_simenv::{SimEnv, World};
use ringmq_store::{ReadOutcome, Shard, StoreConfig};
use ringmq_wire::message::records;

const QUEUES: [QueueName; 4] = [("behind", 0), ("behind", 1), ("behind", 2), ("behind", 3)];

fn body(queue: u32, offset: u64) -> Vec<u8> {
    // Sizes that let records cross the borders of chunks wherever they may.
    let len = 200 + (offset as usize * 997 + queue as usize * 131) % 5000;
    [&offset.to_be_bytes()[..], &vec![queue as u8; len]].concat()
}

/// Messages of all queues, one after the other, each queue with `count` of them; the ring holds few of the last.
async fn fill(shard: &Shard<SimEnv>, count: u64) {
    let mut end = 0;
    for offset in 0..count {
        for (topic, id) in QUEUES {
            let body = body(id, offset);
            let queue = shard.queue(topic, id);
            end = append(shard, queue, &[tagged(parts(topic, &body, ""), 0)]).await.unwrap().end;
        }
    }
    assert!(acknowledged(shard, end, true).await);
}

/// Small segments, so that chunks are small as well: 512 KiB.
fn config() -> StoreConfig {
    small_config("/data")
}

async fn read_and_check(shard: Shard<SimEnv>, (topic, id): QueueName, from: u64) -> u64 {
    let queue = shard.queue(topic, id);
    let mut at = from;
    while let ReadOutcome::Found(plan) = shard.read_legible(queue, at, &LIMITS, |_| true).await.unwrap() {
        let next = plan.next_offset;
        let chunks = shard.fetch(plan).await.unwrap();
        // Each chunk by itself: it has whole records.
        for record in chunks.iter().flat_map(|chunk| records(chunk.as_ref())) {
            let record = record.unwrap();
            assert_eq!((record.queue_id as u32, record.queue_offset as u64), (id, at));
            assert_eq!(record.body, body(id, at));
            at += 1;
        }
        assert_eq!(at, next);
    }
    at
}

#[test]
fn readers_that_go_on_read_each_chunk_once() {
    let world = World::new(11);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &config()).await.unwrap();
        fill(&shard, 600).await;
        let ends = Rc::new(RefCell::new(Vec::new()));
        for name in QUEUES {
            let (shard, ends) = (shard.clone(), ends.clone());
            env.spawn(Class::ColdRead, async move {
                let end = read_and_check(shard, name, 0).await;
                ends.borrow_mut().push(end);
            });
        }
        while ends.borrow().len() < QUEUES.len() {
            env.yield_now().await;
        }
        assert_eq!(*ends.borrow(), [600; 4]);
        let stats = shard.stats();
        let chunks = (stats.log_end - stats.log_start) / (512 * 1024) + 1;
        let read = stats.chunks_read;
        assert!(read >= chunks - 2 && read <= chunks + 1, "{read} reads of {chunks} chunks");
        shard.shutdown().await.unwrap();
    });
}

#[test]
fn one_that_jumps_about_reads_only_what_it_wants() {
    let world = World::new(12);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &config()).await.unwrap();
        fill(&shard, 900).await;
        let queue = shard.queue(QUEUES[1].0, QUEUES[1].1);
        let one = ringmq_store::ReadLimits { max_messages_cold: 1, ..LIMITS };
        for offset in [700, 10, 450, 200] {
            let ReadOutcome::Found(plan) = shard.read_legible(queue, offset, &one, |_| true).await.unwrap()
            else {
                panic!()
            };
            let chunks = shard.fetch(plan).await.unwrap();
            let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
            assert_eq!(records(&bytes).next().unwrap().unwrap().body, body(QUEUES[1].1, offset));
        }
        assert_eq!(shard.stats().chunks_read, 0);
        shard.shutdown().await.unwrap();
    });
}

/// What lies in memory is not read again by itself only because the others are far ahead.
#[test]
fn one_that_fell_behind_takes_the_chunks_that_are_still_there() {
    let world = World::new(14);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &config()).await.unwrap();
        fill(&shard, 600).await;
        let chunk_bytes = 512 * 1024;
        let ahead = shard.queue(QUEUES[0].0, QUEUES[0].1);
        let mut at = 0;
        while shard.stats().chunks_read < 6 {
            let ReadOutcome::Found(plan) = shard.read_legible(ahead, at, &LIMITS, |_| true).await.unwrap()
            else {
                panic!()
            };
            at = plan.next_offset;
            shard.fetch(plan).await.unwrap();
        }
        let behind = shard.queue(QUEUES[1].0, QUEUES[1].1);
        // In the chunk behind the first, and far from where the other one is.
        let from = 2 * at / 6;
        let ReadOutcome::Found(plan) = shard.read_legible(behind, from, &LIMITS, |_| true).await.unwrap()
        else {
            panic!()
        };
        let chunks = shard.fetch(plan).await.unwrap();
        let is_own =
            |chunk: &Chunk<_>| matches!(chunk, Chunk::Aligned(buffer, _) if buffer.len() != chunk_bytes);
        assert!(!chunks.iter().any(is_own), "it was read once more");
        assert_eq!(shard.stats().chunks_read, 6);
        shard.shutdown().await.unwrap();
    });
}

/// A reader whose answers are not taken by its peer holds the chunks that they are made of.
#[test]
fn chunks_in_use_are_left_alone_and_others_read_past_them() {
    let world = World::new(13);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &config()).await.unwrap();
        // More than all chunks together.
        let mut count = 0;
        while shard.stats().log_end < (READ_AHEAD_CHUNKS_MAX as u64 + 8) * 512 * 1024 {
            for (topic, id) in QUEUES {
                let body = body(id, count);
                append(&shard, shard.queue(topic, id), &[tagged(parts(topic, &body, ""), 0)]).await.unwrap();
            }
            count += 1;
        }
        let queue = shard.queue(QUEUES[0].0, QUEUES[0].1);
        let mut held = Vec::new();
        let mut at = 0;
        while let ReadOutcome::Found(plan) = shard.read_legible(queue, at, &LIMITS, |_| true).await.unwrap() {
            at = plan.next_offset;
            held.push(shard.fetch(plan).await.unwrap());
        }
        assert_eq!(at, count);
        assert!(shard.stats().chunks_read <= READ_AHEAD_CHUNKS_MAX as u64, "none was given away");
        let bytes: Vec<u8> = held.iter().flatten().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
        for (record, offset) in records(&bytes).zip(0..) {
            assert_eq!(record.unwrap().body, body(QUEUES[0].1, offset));
        }
        // All were let go: others use them again.
        drop((held, bytes));
        let before = shard.stats().chunks_read;
        assert_eq!(read_and_check(shard.clone(), QUEUES[3], 0).await, count);
        assert!(shard.stats().chunks_read > before);
        shard.shutdown().await.unwrap();
    });
}

/// The newest chunk grows while it is read: what was written since is read from the device again.
#[test]
fn a_chunk_that_was_read_too_early_is_read_again() {
    let world = World::new(14);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &config()).await.unwrap();
        let mut read = [0; 4];
        for _ in 0..40 {
            for (at, (topic, id)) in read.iter_mut().zip(QUEUES) {
                let queue = shard.queue(topic, id);
                for offset in shard.bounds(queue).max.. {
                    let body = body(id, offset);
                    append(&shard, queue, &[tagged(parts(topic, &body, ""), 0)]).await.unwrap();
                    if offset % 20 == 19 {
                        break;
                    }
                }
                // A little behind, where the ring no longer is.
                *at = (*at).max(shard.bounds(queue).max.saturating_sub(90));
                let one = ringmq_store::ReadLimits { max_messages: 16, ..LIMITS };
                if let ReadOutcome::Found(plan) =
                    shard.read_legible(queue, *at, &one, |_| true).await.unwrap()
                {
                    let next = plan.next_offset;
                    let chunks = shard.fetch(plan).await.unwrap();
                    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
                    for (record, offset) in records(&bytes).zip(*at..) {
                        assert_eq!(record.unwrap().body, body(id, offset));
                    }
                    *at = next;
                }
            }
        }
        assert!(shard.stats().chunks_read > 0);
        for name in QUEUES {
            assert_eq!(read_all(&shard, name).await.unwrap().len(), 800);
        }
        shard.shutdown().await.unwrap();
    });
}

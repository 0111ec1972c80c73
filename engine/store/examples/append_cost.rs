//! What an append costs: `cargo run --release -p ringmq-store --example append_cost [-- DIR]`.
//!
//! Appends as one core does it in turns of 64 messages, with everything behind it running (closing of batches,
//! drain to segments, key index), and prints nanoseconds a message: of the append calls alone (the median turn, so
//! that a busy machine's preemptions do not count), and CPU time of everything. Then what one append in flight
//! waits in SYNC_FLUSH, beside the device's own 4 KiB write and fdatasync.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ringmq_io::{AlignedBuf, BLOCK, Blocks, Disk, Env, File, OpenMode};
use ringmq_store::{Keys, NewRecord, Shard, StoreConfig, open_store};
use ringmq_wire::message::{RecordParts, body_crc};

const TURN: u32 = 64;

fn main() {
    let dir = std::env::args().nth(1).map(PathBuf::from);
    let own = dir.is_none().then(|| tempfile::tempdir().expect("a temporary directory"));
    let dir = dir.unwrap_or_else(|| own.as_ref().expect("made above").path().to_owned());
    ringmq_uring::run(1, move |env| {
        let dir = dir.clone();
        async move {
            for (size, messages) in [(128, 2_000_000), (1024, 1_000_000)] {
                measure(&env, &dir.join(size.to_string()), size, messages).await;
            }
            for blocks in [Blocks::Reserve, Blocks::Write] {
                one_in_flight(&env, &dir.join(format!("sync {blocks:?}")), blocks).await;
            }
        }
    })
    .expect("io_uring is there");
}

async fn measure<E: Env>(env: &E, data: &Path, size: usize, messages: u32) {
    let mut config = StoreConfig::new(data, 1);
    config.retention.max_bytes = Some(4 * config.segment_bytes);
    let handle = open_store(env, &config).await.expect("opens");
    let (shard, _) = Shard::open(env, &handle.layout, 0).await.expect("opens");
    let body = vec![b'x'; size];
    let record = record(&body);
    let record = NewRecord::new(record, 7, Keys::read(record.properties)).expect("it fits");
    let queues: Vec<_> = (0..8).map(|id| shard.queue("BenchmarkTest", id)).collect();
    let begun = Instant::now();
    let cpu = cpu_ns();
    let mut turns = Vec::new();
    let mut waits = 0;
    let mut sent = 0;
    while sent < messages {
        let turn = Instant::now();
        let mut full = false;
        for at in 0..TURN {
            match shard.append(queues[at as usize % queues.len()], &record) {
                Ok(_) => sent += 1,
                Err(ringmq_store::AppendError::RingFull { .. }) => {
                    full = true;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if !full {
            turns.push(turn.elapsed().as_nanos() as u64 / u64::from(TURN));
        } else {
            waits += 1;
            shard.room().await;
        }
        env.yield_now().await;
    }
    let wall = begun.elapsed().as_nanos() as u64 / u64::from(sent);
    let cpu = (cpu_ns() - cpu) / u64::from(sent);
    shard.shutdown().await.expect("no fault");
    println!(
        "{size:5} B: append {} ns ({} ns of it the body's copy and checksums); everything {cpu} ns CPU, {wall} ns \
         wall; {} batches, {} syncs, ring full {waits} times",
        median(turns),
        floor(&body),
        shard.stats().batches,
        shard.stats().syncs,
    );
}

fn record(body: &[u8]) -> RecordParts<'_> {
    RecordParts {
        born_host: "10.0.0.1:4000".parse().expect("an address"),
        properties: "UNIQ_KEY\u{1}0A0000010000000000000000000000AA\u{2}TAGS\u{1}TagA\u{2}WAIT\u{1}true\u{2}",
        added_properties: "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}",
        ..RecordParts::new("BenchmarkTest", body, 1, "10.0.0.2:10911".parse().expect("an address"))
    }
}

async fn one_in_flight<E: Env>(env: &E, data: &Path, blocks: Blocks) {
    let mut config = StoreConfig::new(data, 1);
    config.blocks = blocks;
    let handle = open_store(env, &config).await.expect("opens");
    let (shard, _) = Shard::open(env, &handle.layout, 0).await.expect("opens");
    let queue = shard.queue("BenchmarkTest", 0);
    let body = vec![b'x'; 1024];
    let record = record(&body);
    let record = NewRecord::new(record, 7, Keys::read(record.properties)).expect("it fits");
    let mut waits = Vec::new();
    for _ in 0..2000 {
        let begun = Instant::now();
        let end = shard.append(queue, &record).expect("room").end;
        shard.request_sync();
        while shard.synced().get() < end {
            shard.synced().moved().await;
        }
        waits.push(begun.elapsed().as_nanos() as u64);
    }
    shard.shutdown().await.expect("no fault");
    let file = env.disk().open(&data.join("device"), OpenMode::CreateNew).await.expect("opens");
    file.preallocate(1 << 20, Blocks::Write).await.expect("room");
    file.sync().await.expect("no fault");
    let mut device = Vec::new();
    let mut block = AlignedBuf::zeroed(BLOCK);
    for at in 0..2000 {
        let begun = Instant::now();
        block = file.write_at(at % 256 * BLOCK as u64, block).await.expect("no fault");
        file.sync().await.expect("no fault");
        device.push(begun.elapsed().as_nanos() as u64);
    }
    println!(
        "1024 B, one in flight, synced, {blocks:?}: p50 {} us; the device's 4 KiB write + fdatasync: p50 {} us",
        median(waits) / 1000,
        median(device) / 1000
    );
}

/// What no append can do without: the body's copy, RocketMQ's CRC over it and the store's.
fn floor(body: &[u8]) -> u64 {
    let mut scratch = vec![0u8; body.len()];
    let turn = |_| {
        let begun = Instant::now();
        for _ in 0..TURN {
            scratch.copy_from_slice(std::hint::black_box(body));
            std::hint::black_box(body_crc(std::hint::black_box(&scratch)));
            std::hint::black_box(crc32c::crc32c(std::hint::black_box(&scratch)));
        }
        begun.elapsed().as_nanos() as u64 / u64::from(TURN)
    };
    median((0..10_000).map(turn).collect())
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("three numbers")
}

//! What an append costs: `cargo run --release -p ringmq-store --example append_cost [-- DIR]`.
//!
//! Appends as one core does it in turns of 64 messages, with everything behind it running (closing of batches,
//! drain to segments, key index), and prints nanoseconds a message: of the append calls alone, and of everything.

use std::path::PathBuf;
use std::time::Instant;

use ringmq_io::Env;
use ringmq_store::{Shard, StoreConfig, open_store};
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
        }
    })
    .expect("io_uring is there");
}

async fn measure<E: Env>(env: &E, data: &std::path::Path, size: usize, messages: u32) {
    let mut config = StoreConfig::new(data, 1);
    config.retention.max_bytes = Some(4 * config.segment_bytes);
    let handle = open_store(env, &config).await.expect("opens");
    let (shard, _) = Shard::open(env, &handle.layout, 0).await.expect("opens");
    let body = vec![b'x'; size];
    let record = RecordParts {
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "10.0.0.1:4000".parse().expect("an address"),
        store_timestamp: 0,
        store_host: "10.0.0.2:10911".parse().expect("an address"),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        topic: "BenchmarkTest",
        properties: "UNIQ_KEY\u{1}0A0000010000000000000000000000AA\u{2}TAGS\u{1}TagA\u{2}WAIT\u{1}true\u{2}",
        added_properties: "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}",
    };
    let queues: Vec<_> = (0..8).map(|id| shard.queue("BenchmarkTest", id)).collect();
    let begun = Instant::now();
    let mut appending = std::time::Duration::ZERO;
    let mut waits = 0;
    let mut sent = 0;
    while sent < messages {
        let turn = Instant::now();
        let mut full = false;
        for at in 0..TURN {
            match shard.append(queues[at as usize % queues.len()], &record, 7) {
                Ok(_) => sent += 1,
                Err(ringmq_store::AppendError::RingFull { .. }) => {
                    full = true;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        appending += turn.elapsed();
        if full {
            waits += 1;
            shard.room().await;
        }
        env.yield_now().await;
    }
    let all = begun.elapsed();
    shard.shutdown().await.expect("no fault");
    let per = |time: std::time::Duration| time.as_nanos() as f64 / f64::from(sent);
    let begun = Instant::now();
    let mut sum = 0i64;
    let (mut scratch, rounds) = (vec![0u8; size], 1_000_000u32);
    for _ in 0..rounds {
        scratch.copy_from_slice(std::hint::black_box(&body));
        sum += i64::from(body_crc(std::hint::black_box(&scratch)));
        sum += i64::from(crc32c::crc32c(std::hint::black_box(&scratch)));
    }
    std::hint::black_box(sum);
    let floor = begun.elapsed().as_nanos() as f64 / f64::from(rounds);
    println!(
        "{size:5} B: append {:4.0} ns ({floor:.0} ns of it the body's copy and checksums), with everything behind \
         it {:4.0} ns wall; {:?}; ring full {waits} times",
        per(appending),
        per(all),
        shard.stats()
    );
}

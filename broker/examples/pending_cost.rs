//! What a million messages that wait cost: `cargo run --release -p ringmq-broker --example pending_cost [-- COUNT DIR]`.
//!
//! Puts them into a book of one shard (256 bytes each, due over a minute), stops, opens it again, and delivers them when they are
//! due, in the order of their times, which is not that in which they lie on disk. Prints memory, the time of the start, and how late
//! the deliveries were.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use ringmq_broker::pending::{AddError, Ahead, Books};
use ringmq_broker::placement::Placement;
use ringmq_io::Env;
use ringmq_io::limits::{DELIVERIES_PER_TURN, DELIVERY_BYTES_PER_TURN};
use ringmq_store::{AppendError, Keys, NewRecord, QueueRef, Shard, StoreConfig, open_store};
use ringmq_wire::message::{RecordParts, RecordView};

const SPREAD_MS: u64 = 60_000;
/// Until the first is due: the messages have to be stored, and found again at the start.
const LEAD_MS: i64 = 30_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(1_000_000, |text| text.parse().expect("a number"));
    let dir = arguments.next().map(PathBuf::from);
    let own = dir.is_none().then(|| tempfile::tempdir().expect("a temporary directory"));
    let dir = dir.unwrap_or_else(|| own.as_ref().expect("made above").path().to_owned());
    ringmq_uring::run(1, move |env| {
        let config = StoreConfig::new(&dir, 1);
        async move {
            let begin = env.now_ms() + LEAD_MS;
            store(&env, &config, count, begin).await;
            deliver(&env, &config, count).await;
        }
    })
    .expect("io_uring is there");
}

fn host() -> SocketAddr {
    "127.0.0.1:10911".parse().expect("an address")
}

async fn store<E: Env>(env: &E, config: &StoreConfig, count: u64, begin: i64) {
    let handle = open_store(env, config).await.expect("opens");
    let (shard, _) = Shard::open(env, &handle.layout, 0).await.expect("opens");
    let book = Books::open(env, &shard, Placement::new(1, 1), host()).await.expect("opens").timers;
    let (before, begun) = (resident_mib(), Instant::now());
    for number in 0..count {
        let due = begin + (scattered(number) % SPREAD_MS) as i64;
        let parts = parts(&[b'x'; 256]);
        while let Err(error) = book.add(parts, Keys::default(), due) {
            assert!(matches!(error, AddError::Append(AppendError::RingFull { .. })), "{error}");
            shard.room().await;
        }
        if number % 256 == 0 {
            env.yield_now().await;
        }
    }
    println!(
        "{count} stored in {:.2} s; resident {before} MiB before, {} MiB after",
        begun.elapsed().as_secs_f64(),
        resident_mib()
    );
    shard.shutdown().await.expect("synced");
    drop((book, shard));
    handle.close(env).await;
}

async fn deliver<E: Env>(env: &E, config: &StoreConfig, count: u64) {
    let handle = open_store(env, config).await.expect("opens");
    let (shard, report) = Shard::open(env, &handle.layout, 0).await.expect("opens");
    let begun = Instant::now();
    let book = Books::open(env, &shard, Placement::new(1, 1), host()).await.expect("opens").timers;
    println!(
        "shard opened in {} ms, book of {} in {:.1} ms; resident {} MiB",
        report.took_ms,
        book.len(),
        begun.elapsed().as_secs_f64() * 1000.0,
        resident_mib()
    );
    let real = shard.queue("real", 0);
    let mut late: Vec<i64> = Vec::new();
    let ahead = Ahead::of(&book);
    while (late.len() as u64) < count {
        let mut taken = ahead.due(DELIVERIES_PER_TURN, DELIVERY_BYTES_PER_TURN).await;
        taken.sort_unstable_by_key(|(due, _)| due.offset);
        let offsets: Vec<u64> = taken.iter().map(|(due, _)| due.offset).collect();
        let parts = taken.iter().map(|(_, bytes)| {
            let record = RecordView::parse(bytes.as_ref().expect("not damaged")).expect("a record");
            NewRecord::new(RecordParts { topic: "real", ..record.parts() }, 0, Keys::default()).expect("fits")
        });
        let parts: Vec<NewRecord<'_>> = parts.collect();
        let became: Vec<(QueueRef, &[NewRecord<'_>])> = parts.chunks(1).map(|one| (real, one)).collect();
        while let Err(error) = book.settle(&offsets, &became, &[]) {
            assert!(matches!(error, AppendError::RingFull { .. }), "{error}");
            shard.room().await;
        }
        let now = env.now_ms();
        late.extend(taken.iter().map(|(due, _)| now - due.due_ms));
        env.yield_now().await;
    }
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "delivered; late by ms: p50 {}, p99 {}, p99.9 {}, most {}; resident {} MiB",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        resident_mib()
    );
    shard.shutdown().await.expect("synced");
    handle.close(env).await;
}

/// The same numbers each time, in no order.
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}

fn parts(body: &[u8]) -> RecordParts<'_> {
    RecordParts::new("real", body, 1, host())
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

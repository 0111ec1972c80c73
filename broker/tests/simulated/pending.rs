//! The book of messages that wait, on a shard of its own: whatever crashes, each leaves it exactly once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_broker::pending::{Again, Ahead, Book, Books};
use ringmq_broker::placement::Placement;
use ringmq_io::{Class, Env};
use ringmq_simenv::{CrashKind, Faults, Rng, SimEnv, World};
use ringmq_store::{
    AppendError, Keys, NewRecord, QueueRef, ReadLimits, ReadOutcome, Shard, StoreConfig, open_store,
};
use ringmq_wire::message::{RecordParts, RecordView, records};

const WAITING: &str = "rmq_sys_wheel_timer";
const SMALL: usize = 16;

fn host() -> SocketAddr {
    "10.0.0.1:10911".parse().unwrap()
}

fn parts<'a>(topic: &'a str, body: &'a [u8]) -> RecordParts<'a> {
    RecordParts::new(topic, body, 1, host())
}

/// Body of a message: its number and when it is due.
fn body(number: u64, due_ms: i64, more: usize) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend(due_ms.to_le_bytes());
    body.resize(SMALL + more, 7);
    body
}

fn number_of(record: &RecordView<'_>) -> (u64, i64) {
    let word = |at: usize| record.body[at..at + 8].try_into().unwrap();
    (u64::from_le_bytes(word(0)), i64::from_le_bytes(word(8)))
}

/// What was promised.
#[derive(Default)]
struct Model {
    next: u64,
    taken: BTreeSet<u64>,
    /// Recalls that began, and that were acknowledged.
    recalling: BTreeSet<u64>,
    recalled: BTreeSet<u64>,
    delivered: usize,
    rolled: usize,
}

type Shared = Rc<RefCell<Model>>;

struct Life {
    env: SimEnv,
    shard: Shard<SimEnv>,
    book: Rc<Book<SimEnv>>,
    real: QueueRef,
    waiting: QueueRef,
    model: Shared,
    sync: bool,
}

async fn read_all(shard: &Shard<SimEnv>, queue: QueueRef) -> Vec<Vec<u8>> {
    let limits = ReadLimits {
        max_messages: 100,
        max_bytes_hot: 1 << 20,
        max_bytes_cold: 1 << 20,
        max_messages_cold: 100,
        scan_entries: 100,
    };
    let (mut at, mut all) = (shard.bounds(queue).min, Vec::new());
    while let ReadOutcome::Found(plan) = shard.read_legible(queue, at, &limits, |_| true).await.unwrap() {
        at = plan.next_offset;
        for chunk in shard.fetch(plan).await.unwrap() {
            all.extend(records(chunk.as_ref()).map(|record| record.unwrap().bytes.to_vec()));
        }
    }
    all
}

impl Life {
    async fn open(env: SimEnv, config: &StoreConfig, model: Shared, sync: bool) -> Rc<Self> {
        let handle = open_store(&env, config).await.unwrap();
        let (shard, _) = Shard::open(&env, &handle.layout, 0).await.unwrap();
        let book = Books::open(&env, &shard, Placement::new(1, 1), host()).await.unwrap().timers;
        let (real, waiting) = (shard.queue("real", 0), shard.queue(WAITING, 0));
        // The store stays open as long as its handle.
        std::mem::forget(handle);
        Rc::new(Self { env, shard, book, real, waiting, model, sync })
    }

    /// Each message that was taken is pending or delivered, once; unless it was recalled.
    async fn verify(&self) {
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        let mut first_pending = None;
        for bytes in read_all(&self.shard, self.waiting).await {
            let record = RecordView::parse(&bytes).unwrap();
            if self.book.is_pending(record.queue_offset as u64) {
                first_pending.get_or_insert(record.queue_offset as u64);
                *places.entry(number_of(&record).0).or_default() += 1;
            }
        }
        assert_eq!(places.values().sum::<usize>(), self.book.len());
        let end = self.shard.bounds(self.waiting).max;
        assert_eq!(self.book.floor(), first_pending.unwrap_or(end), "the floor is the first that waits");
        for bytes in read_all(&self.shard, self.real).await {
            *places.entry(number_of(&RecordView::parse(&bytes).unwrap()).0).or_default() += 1;
        }
        let model = self.model.borrow();
        for (number, count) in &places {
            assert_eq!(*count, 1, "message {number} is there {count} times");
            assert!(!model.recalled.contains(number), "message {number} was recalled");
        }
        for number in &model.taken {
            let gone = model.recalling.contains(number);
            assert!(gone || places.contains_key(number), "message {number} is lost");
        }
    }

    /// Waits for a promise; false if there will be none.
    async fn safe(&self, end: u64) -> bool {
        let mark = if self.sync { self.shard.synced() } else { self.shard.kill_safe() };
        if self.sync {
            self.shard.request_sync();
        }
        while mark.get() < end {
            if self.shard.latched().is_some() {
                return false;
            }
            mark.moved().await;
        }
        true
    }

    async fn produce(self: Rc<Self>) {
        loop {
            let number = self.model.borrow().next;
            self.model.borrow_mut().next += 1;
            let due = self.env.now_ms() + (self.env.random() % 200) as i64;
            let more = if self.env.random().is_multiple_of(6) { 20_000 } else { 100 };
            let body = body(number, due, more);
            let added = loop {
                match self.book.add(parts("real", &body), Keys::default(), due) {
                    Ok(added) => break added,
                    Err(ringmq_broker::pending::AddError::Append(AppendError::RingFull { .. })) => {
                        self.shard.room().await
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            if !self.safe(added.end).await {
                return;
            }
            self.model.borrow_mut().taken.insert(number);
            if self.env.random().is_multiple_of(3) {
                self.env.sleep(Duration::from_micros(self.env.random() % 2000)).await;
            }
            if self.env.random().is_multiple_of(7) && self.book.is_pending(added.queue_offset) {
                self.recall(number, added.queue_offset).await;
            }
        }
    }

    async fn recall(&self, number: u64, offset: u64) {
        self.model.borrow_mut().recalling.insert(number);
        if let Ok(end) = self.book.settle(&[offset], &[], &[])
            && self.safe(end).await
        {
            self.model.borrow_mut().recalled.insert(number);
        }
    }

    /// Delivers what is due; a part of it waits again, as a rolled message does.
    async fn deliver(self: Rc<Self>) {
        let ahead = Ahead::of(&self.book);
        loop {
            let taken = ahead.due(32, 60_000).await;
            assert!(taken.is_sorted_by_key(|(due, _)| due.due_ms), "earliest first");
            let mut found: Vec<(u64, Vec<u8>)> =
                taken.into_iter().map(|(due, record)| (due.offset, record.expect("not damaged"))).collect();
            found.sort_unstable();
            loop {
                let (mut done, mut became, mut again) = (Vec::new(), Vec::new(), Vec::new());
                for (offset, bytes) in found.iter().filter(|(offset, _)| self.book.is_pending(*offset)) {
                    let record = RecordView::parse(bytes).unwrap();
                    let (number, due_ms) = number_of(&record);
                    assert!(due_ms <= self.env.now_ms(), "message {number} is early");
                    done.push(*offset);
                    if self.env.random().is_multiple_of(5) {
                        again.push(Again { parts: record.parts(), due_ms: self.env.now_ms() + 20 });
                    } else {
                        let parts = RecordParts { topic: "real", ..record.parts() };
                        became.push(NewRecord::new(parts, 0, Keys::default()).unwrap());
                    }
                }
                let became: Vec<(QueueRef, &[NewRecord<'_>])> =
                    became.chunks(1).map(|record| (self.real, record)).collect();
                if done.is_empty() {
                    break;
                }
                match self.book.settle(&done, &became, &again) {
                    Ok(_) => {
                        let mut model = self.model.borrow_mut();
                        model.delivered += became.len();
                        model.rolled += again.len();
                        break;
                    }
                    Err(AppendError::RingFull { .. }) => self.shard.room().await,
                    Err(error) => panic!("{error}"),
                }
            }
            self.env.yield_now().await;
        }
    }
}

fn config(rng: &Rng) -> StoreConfig {
    let mut config = StoreConfig::new("/data", 1);
    (config.ring_bytes, config.segment_bytes) = (256 * 1024, 512 * 1024);
    config.flush_interval = Duration::from_millis(rng.within(1..=100));
    config
}

fn run_seed(seed: u64) -> Shared {
    let world = World::new(seed);
    let host = world.host("broker");
    let rng = world.rng("test");
    let (config, sync) = (config(&rng), rng.coin());
    let model = Shared::default();
    for _ in 0..rng.within(2..=5) {
        // A ring that is full now and then: an append must not be there by half when it is tried again.
        let mut faults = Faults::none();
        faults.disk.slow_sync = if rng.coin() { 0.5 } else { 0.0 };
        faults.disk.slow_sync_time = Duration::from_millis(50);
        host.set_faults(faults);
        if rng.coin() {
            host.kill_in_region_write(rng.within(1..=3000));
        }
        let (config, model) = (config.clone(), model.clone());
        host.start(1, move |env| {
            let (config, model) = (config.clone(), model.clone());
            async move {
                let life = Life::open(env.clone(), &config, model, sync).await;
                life.verify().await;
                env.spawn(Class::Foreground, life.clone().produce());
                env.spawn(Class::Foreground, life.clone().produce());
                env.spawn(Class::Foreground, life.clone().deliver());
                env.sleep(Duration::from_secs(3600)).await;
            }
        });
        world.run_for(Duration::from_millis(rng.within(10..=800)));
        if host.is_up() {
            // Only what is synced survives a power loss.
            host.crash(if sync && rng.coin() { CrashKind::PowerLoss } else { CrashKind::Process });
        }
        host.cancel_kill();
    }
    host.set_faults(Faults::none());
    let last = model.clone();
    world.run(&host, |env| async move {
        let life = Life::open(env.clone(), &config, last, sync).await;
        life.verify().await;
        env.spawn(Class::Foreground, life.clone().deliver());
        let begun = env.now_ms();
        while !life.book.is_empty() {
            assert!(env.now_ms() < begun + 60_000, "{} messages were not delivered", life.book.len());
            env.sleep(Duration::from_millis(10)).await;
        }
        life.verify().await;
    });
    model
}

#[test]
fn each_message_leaves_exactly_once_whatever_crashes() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first: u64 = number("FIRST_SEED").unwrap_or(1);
    let mut sum = (0, 0, 0);
    for seed in first..first + number("SEEDS").unwrap_or(60) {
        eprintln!("seed {seed}");
        let model = run_seed(seed);
        let model = model.borrow();
        sum = (sum.0 + model.delivered, sum.1 + model.rolled, sum.2 + model.recalled.len());
    }
    let enough = sum.0 > 3000 && sum.1 > 300 && sum.2 > 300;
    assert!(enough || std::env::var("SEEDS").is_ok(), "delivered, rolled, recalled: {sum:?}");
}

/// A segment whose time has come goes, and what waits in it does not.
#[test]
fn retention_takes_the_segment_and_not_what_waits_in_it() {
    for seed in 0..4 {
        let world = World::new(seed);
        let host = world.host("broker");
        let mut config = config(&world.rng("test"));
        config.retention.max_bytes = Some(4 * config.segment_bytes);
        config.retention.interval = Duration::from_millis(20);
        let mut again = config.clone();
        // At once it wants what the first life has kept.
        again.retention.max_bytes = Some(2 * config.segment_bytes);
        let far = world.run(&host, |env| async move {
            let life = Life::open(env.clone(), &config, Shared::default(), false).await;
            env.spawn(Class::Background, life.book.clone().keep_short());
            let far = env.now_ms() + 100_000;
            for number in 0..300 {
                let body = body(number, far, 50);
                life.book.add(parts("real", &body), Keys::default(), far).unwrap();
            }
            life.book.settle(&(0..100).collect::<Vec<_>>(), &[], &[]).unwrap();
            let other = life.shard.queue("other", 0);
            let filler = vec![1; 4000];
            while life.shard.stats().log_start < 32 * config.segment_bytes {
                let record = NewRecord::new(parts("other", &filler), 0, Keys::default()).unwrap();
                if life.shard.append(other, &record).is_err() {
                    life.shard.room().await;
                }
                env.yield_now().await;
            }
            assert_eq!(life.book.len(), 200);
            assert!(life.book.rolled() >= 400, "rolled {}", life.book.rolled());
            let waiting = life.shard.bounds(life.waiting);
            assert!(waiting.min > 300 && life.book.floor() >= waiting.min, "{waiting:?}");
            life.shard.request_sync();
            while life.shard.stats().unsynced_bytes > 0 {
                life.shard.synced().moved().await;
            }
            far
        });
        world.run(&host, move |env| async move {
            let life = Life::open(env.clone(), &again, Shared::default(), false).await;
            assert_eq!(life.book.len(), 200);
            life.verify().await;
            let due = life.book.due(Duration::ZERO, 1000, usize::MAX).await;
            assert!(env.now_ms() >= far && due.len() == 200 && due.iter().all(|due| due.due_ms == far));
            let mut offsets: Vec<u64> = due.iter().map(|due| due.offset).collect();
            offsets.sort_unstable();
            let found = life.book.records(&offsets).await.unwrap();
            let numbers = found.iter().map(|(_, bytes)| number_of(&RecordView::parse(bytes).unwrap()).0);
            assert_eq!(numbers.collect::<BTreeSet<_>>(), (100..300).collect());
        });
    }
}

/// One that waits for long, and many that come and go: it is written again, so that a start need not look at all.
#[test]
fn an_old_message_does_not_keep_the_span_long() {
    let world = World::new(5);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let mut config = StoreConfig::new("/data", 1);
        config.ring_bytes = 16 << 20;
        config.segment_bytes = 32 << 20;
        let life = Life::open(env.clone(), &config, Shared::default(), false).await;
        env.spawn(Class::Background, life.book.clone().keep_short());
        let far = env.now_ms() + 600_000;
        let add = async |number: u64, due: i64| {
            let body = body(number, due, 0);
            loop {
                match life.book.add(parts("real", &body), Keys::default(), due) {
                    Ok(added) => break added.queue_offset,
                    Err(_) => life.shard.room().await,
                }
            }
        };
        add(0, far).await;
        let mut offsets = Vec::new();
        for number in 1..=110_000 {
            offsets.push(add(number, far + 1).await);
            if number % 500 == 0 {
                while life.book.settle(&offsets, &[], &[]).is_err() {
                    life.shard.room().await;
                }
                offsets.clear();
                env.yield_now().await;
            }
        }
        assert_eq!((life.book.len(), life.book.rolled()), (1, 1));
        assert!(life.book.floor() > 99_000, "floor {}", life.book.floor());
        let taken = async { life.book.due(Duration::ZERO, 10, 1000).await };
        let left = Duration::from_millis((far - env.now_ms()) as u64);
        assert!(ringmq_io::deadline(&env, left - Duration::from_secs(1), taken).await.is_err(), "early");
        let due = life.book.due(Duration::ZERO, 10, 1000).await;
        assert_eq!((due.len(), due[0].due_ms), (1, far));
        assert!(env.now_ms() >= far && env.now_ms() < far + 1000);
    });
}

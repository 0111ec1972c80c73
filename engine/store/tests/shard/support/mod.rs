//! A model of what a shard promised, and clients that make it promise things.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_store::{
    AppendError, Appended, Keys, NewRecord, OpenError, QueueRef, ReadLimits, ReadOutcome, RecoveryReport,
    Shard, StoreConfig, StoreHandle, open_store,
};
use ringmq_wire::message::{RecordParts, RecordView, records};

pub const LIMITS: ReadLimits = ReadLimits {
    max_messages: 32,
    max_bytes_hot: 256 * 1024,
    max_bytes_cold: 256 * 1024,
    max_messages_cold: 32,
    scan_entries: 800,
};

pub fn small_config(data: impl Into<std::path::PathBuf>) -> StoreConfig {
    StoreConfig { ring_bytes: 256 * 1024, segment_bytes: 512 * 1024, ..StoreConfig::new(data, 1) }
}

pub type Opened<E> = (StoreHandle<E>, Shard<E>, RecoveryReport);

pub async fn open<E: Env>(env: &E, config: &StoreConfig) -> Result<Opened<E>, OpenError> {
    let handle = open_store(env, config).await?;
    let (shard, report) = Shard::open(env, &handle.layout, 0).await?;
    Ok((handle, shard, report))
}

pub fn parts<'a>(topic: &'a str, body: &'a [u8], properties: &'a str) -> RecordParts<'a> {
    RecordParts {
        born_host: "10.1.2.3:999".parse().unwrap(),
        properties,
        ..RecordParts::new(topic, body, 7, "10.1.2.4:10911".parse().unwrap())
    }
}

/// A record to append.
pub fn tagged<'a>(parts: RecordParts<'a>, tags_code: i64) -> NewRecord<'a> {
    NewRecord::new(parts, tags_code, Keys::read(parts.properties)).expect("it fits")
}

/// The bytes that the store must have made of `parts`.
pub fn stored(parts: &RecordParts<'_>, queue_id: u32, offset: u64, physical: u64, time: i64) -> Vec<u8> {
    let parts = RecordParts {
        queue_id: queue_id as i32,
        queue_offset: offset as i64,
        physical_offset: physical as i64,
        store_timestamp: time,
        ..*parts
    };
    let mut out = vec![0; parts.encoded_len().unwrap()];
    parts.encode_into(&mut out);
    out
}

/// A record that somebody was promised.
#[derive(Clone)]
pub struct Promise {
    pub bytes: Vec<u8>,
    /// Survives a power loss; else only the death of the process.
    pub durable: bool,
}

pub type QueueName = (&'static str, u32);

#[derive(Default)]
pub struct Model {
    pub queues: BTreeMap<QueueName, BTreeMap<u64, Promise>>,
    /// A topic whose drop has begun and is not acknowledged: after a crash it may be there or not.
    pub dropping: Option<&'static str>,
}

impl Model {
    pub fn promise(&mut self, queue: QueueName, offset: u64, promise: Promise) {
        let slot = self.queues.entry(queue).or_default();
        if let Some(known) = slot.get(&offset) {
            assert_eq!(known.bytes, promise.bytes, "{queue:?} offset {offset} was given twice");
            assert!(!known.durable || promise.durable);
        }
        slot.insert(offset, promise);
    }

    pub fn forget_topic(&mut self, topic: &str) {
        self.queues.retain(|(name, _), _| *name != topic);
    }

    pub fn crashed(&mut self) {
        if let Some(topic) = self.dropping.take() {
            self.forget_topic(topic);
        }
    }

    /// What a power loss may take is no promise any more.
    pub fn power_lost(&mut self) {
        for promises in self.queues.values_mut() {
            promises.retain(|_, promise| promise.durable);
        }
    }
}

pub type SharedModel = Rc<RefCell<Model>>;

/// Appends, waiting for room; `None` when the shard takes nothing any more.
pub async fn append<E: Env>(shard: &Shard<E>, queue: QueueRef, batch: &[NewRecord<'_>]) -> Option<Appended> {
    loop {
        match shard.append_batch(queue, batch) {
            Ok(appended) => return Some(appended),
            Err(AppendError::RingFull { .. }) => shard.room().await,
            Err(_) => return None,
        }
    }
}

/// Waits for an acknowledgement; false when there will be none.
pub async fn acknowledged<E: Env>(shard: &Shard<E>, end: u64, sync: bool) -> bool {
    let mark = if sync { shard.synced() } else { shard.kill_safe() };
    if sync {
        shard.request_sync();
    }
    loop {
        if shard.latched().is_some() {
            return false;
        }
        if mark.get() >= end {
            return true;
        }
        mark.moved().await;
    }
}

/// Waits until segments durably have the whole log: a ring that was taken over is flushed while the shard is open.
pub async fn flushed<E: Env>(shard: &Shard<E>) {
    assert!(acknowledged(shard, shard.stats().log_end, true).await, "{:?}", shard.latched());
}

/// Reads a queue from its start to its end. An I/O error is the device's; damage would be `InvalidData`.
pub async fn read_all<E: Env>(shard: &Shard<E>, name: QueueName) -> io::Result<BTreeMap<u64, Vec<u8>>> {
    let Some(queue) = shard.find_queue(name.0, name.1) else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    let mut at = shard.bounds(queue).min;
    loop {
        match shard.read(queue, at, &LIMITS, |_| true) {
            ReadOutcome::Found(plan) => {
                let (next, messages, bytes) = (plan.next_offset, plan.messages, plan.bytes);
                let chunks = shard.fetch(plan).await?;
                let body: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
                assert_eq!(body.len(), bytes);
                let mut count = 0;
                for (record, offset) in records(&body).zip(at..) {
                    let record = record.expect("whole records");
                    assert_eq!(record.queue_offset as u64, offset, "{name:?}: offsets are dense");
                    assert_eq!((record.topic, record.queue_id as u32), name);
                    assert!(record.verify_body_crc());
                    found.insert(offset, record.bytes.to_vec());
                    count += 1;
                }
                assert_eq!(count, messages);
                assert_eq!(next, at + u64::from(count));
                at = next;
            }
            ReadOutcome::Empty | ReadOutcome::AtEnd => break,
            ReadOutcome::BeforeStart => at = shard.bounds(queue).min,
            ReadOutcome::Illegible => shard.make_legible(queue, at, 1).await?,
            ReadOutcome::AfterEnd => panic!("{name:?}: read past the end at {at}"),
            ReadOutcome::NoneMatched { next_offset } => {
                panic!("{name:?}: nothing at {at}, on to {next_offset}")
            }
        }
    }
    let bounds = shard.bounds(queue);
    assert_eq!(at, bounds.max);
    Ok(found)
}

/// Every promise is kept; what is there beyond them becomes one, as durable as the log says that it is.
pub async fn verify<E: Env>(shard: &Shard<E>, model: &SharedModel) -> io::Result<()> {
    let names: Vec<QueueName> = model.borrow().queues.keys().copied().collect();
    for name in names {
        let found = read_all(shard, name).await?;
        let min = shard.find_queue(name.0, name.1).map_or(0, |queue| shard.bounds(queue).min);
        let promises = model.borrow().queues[&name].clone();
        for (offset, promise) in &promises {
            match found.get(offset) {
                Some(bytes) => assert!(*bytes == promise.bytes, "{name:?} offset {offset} has other bytes"),
                None => assert!(*offset < min, "{name:?} offset {offset} is lost; the queue begins at {min}"),
            }
        }
        // Single lookups agree with the queue.
        for (offset, bytes) in found.iter().step_by(17) {
            let record = RecordView::parse(bytes).unwrap();
            let again = shard.read_at(record.physical_offset as u64).await?;
            let position = record.physical_offset as u64; // shard 0
            if position < shard.stats().log_start {
                continue;
            }
            assert_eq!(again.as_ref(), Some(bytes), "{name:?} offset {offset} by physical offset");
            if let Some(key) = record.property("KEYS") {
                let hits = shard.query_key(name.0, key, i64::MIN, i64::MAX, 10_000).await?;
                let recycled = position < shard.stats().log_start;
                assert!(recycled || hits.contains(bytes), "{name:?} offset {offset} by key {key}");
            }
        }
        let mut model = model.borrow_mut();
        let slot = model.queues.entry(name).or_default();
        slot.retain(|offset, _| *offset >= min);
        for (offset, bytes) in found {
            let position = RecordView::parse(&bytes).unwrap().physical_offset as u64; // shard 0
            let is_synced = position + bytes.len() as u64 <= shard.synced().get();
            let durable = is_synced || promises.get(&offset).is_some_and(|promise| promise.durable);
            slot.insert(offset, Promise { bytes, durable });
        }
    }
    Ok(())
}

/// A client: appends to its queues and notes what it was promised, until the shard takes nothing more.
pub async fn produce<E: Env>(env: E, shard: Shard<E>, model: SharedModel, name: QueueName, sync: bool) {
    let queue = shard.queue(name.0, name.1);
    loop {
        let many = if env.random().is_multiple_of(5) { 1 + env.random() % 6 } else { 1 };
        let largest = if env.random().is_multiple_of(40) { 30_000 } else { 1500 };
        let bodies: Vec<Vec<u8>> = (0..many)
            .map(|_| {
                let seed = env.random();
                (0..seed % largest).map(|i| (seed >> (i % 56)) as u8).collect()
            })
            .collect();
        let key = format!("KEYS\u{1}k{}\u{2}", env.random() % 50);
        let batch: Vec<_> =
            bodies.iter().enumerate().map(|(i, body)| tagged(parts(name.0, body, &key), i as i64)).collect();
        let Some(appended) = append(&shard, queue, &batch).await else {
            return;
        };
        if !acknowledged(&shard, appended.end, sync).await {
            return;
        }
        let physicals = appended.physical_offsets(&batch);
        for (at, (body, physical)) in bodies.iter().zip(physicals).enumerate() {
            let offset = appended.queue_offset + at as u64;
            let bytes = stored(&parts(name.0, body, &key), name.1, offset, physical, appended.store_time_ms);
            model.borrow_mut().promise(name, offset, Promise { bytes, durable: sync });
        }
        if env.random().is_multiple_of(8) {
            env.sleep(Duration::from_micros(env.random() % 20_000)).await;
        }
    }
}

/// An administrator: fills a topic and drops it, again and again.
pub async fn drop_again<E: Env>(shard: Shard<E>, model: SharedModel, name: QueueName) {
    let queue = shard.queue(name.0, name.1);
    loop {
        for number in 0..20u32 {
            let body = number.to_be_bytes();
            let record = parts(name.0, &body, "");
            let Some(appended) = append(&shard, queue, &[tagged(record, 0)]).await else {
                return;
            };
            if !acknowledged(&shard, appended.end, true).await {
                return;
            }
            let bytes =
                stored(&record, name.1, appended.queue_offset, appended.physical, appended.store_time_ms);
            model.borrow_mut().promise(name, appended.queue_offset, Promise { bytes, durable: true });
        }
        model.borrow_mut().dropping = Some(name.0);
        if shard.drop_queues(name.0).await.is_err() {
            return;
        }
        assert_eq!(shard.bounds(queue).max, 0);
        let mut model = model.borrow_mut();
        model.dropping = None;
        model.forget_topic(name.0);
    }
}

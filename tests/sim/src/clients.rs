//! Producers and readers of one life.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::SimEnv;
use ringmq_store::{AppendError, Appended, Keys, NewRecord, QueueRef, ReadOutcome, Shard};
use ringmq_wire::message::RecordParts;

use crate::dump::{LIMITS, cut};
use crate::model::{Model, Promise};
use crate::plan::{Bug, QUEUES};

pub type SharedModel = Rc<RefCell<Model>>;

pub fn start(env: &SimEnv, shard: &Shard<SimEnv>, model: &SharedModel, bug: Option<Bug>) {
    for queue in 0..QUEUES.len() {
        env.spawn(Class::Foreground, produce(env.clone(), shard.clone(), model.clone(), queue, bug));
    }
    for _ in 0..2 {
        env.spawn(Class::Foreground, read(env.clone(), shard.clone(), model.clone()));
    }
    env.spawn(Class::Foreground, watch_latch(env.clone(), shard.clone()));
}

fn parts<'a>(topic: &'a str, body: &'a [u8], properties: &'a str) -> RecordParts<'a> {
    RecordParts {
        born_host: ([10, 1, 2, 3], 999).into(),
        properties,
        ..RecordParts::new(topic, body, 7, ([10, 1, 2, 4], 10_911).into())
    }
}

/// The bytes that the store must make of `parts`.
fn stored(parts: &RecordParts<'_>, queue_id: u32, offset: u64, physical: u64, time: i64) -> Vec<u8> {
    let parts = RecordParts {
        queue_id: queue_id as i32,
        queue_offset: offset as i64,
        physical_offset: physical as i64,
        store_timestamp: time,
        ..*parts
    };
    let mut out = vec![0; parts.encoded_len().expect("it was appended")];
    parts.encode_into(&mut out);
    out
}

/// Appends, waiting where the store says that waiting helps; `None` when it takes nothing any more.
async fn append(
    env: &SimEnv,
    shard: &Shard<SimEnv>,
    queue: QueueRef,
    batch: &[NewRecord<'_>],
) -> Option<Appended> {
    loop {
        match shard.append_batch(queue, batch) {
            Ok(appended) => return Some(appended),
            Err(AppendError::RingFull { .. }) => shard.room().await,
            Err(AppendError::DiskFull { .. } | AppendError::NoSegment { .. }) => {
                env.sleep(Duration::from_millis(20)).await;
            }
            Err(AppendError::Latched(_) | AppendError::ShuttingDown { .. }) => return None,
            Err(error @ (AppendError::TooLarge { .. } | AppendError::Record(_))) => panic!("{error}"),
        }
    }
}

/// Waits as a broker does before it answers SEND_OK; false when there will be no answer.
async fn acknowledged(shard: &Shard<SimEnv>, end: u64, sync: bool, bug: Option<Bug>) -> bool {
    let wait_for_disk = sync && bug != Some(Bug::AckBeforeFlush);
    let mark = if wait_for_disk { shard.synced() } else { shard.kill_safe() };
    if wait_for_disk {
        shard.request_sync();
    }
    loop {
        if shard.latched().is_some() {
            return bug == Some(Bug::IgnoreLatch);
        }
        if mark.get() >= end {
            return true;
        }
        mark.moved().await;
    }
}

fn bodies(env: &SimEnv) -> Vec<Vec<u8>> {
    let many = if env.random().is_multiple_of(5) { 1 + env.random() % 8 } else { 1 };
    // A batch stays below half of the smallest ring, which is the store's limit.
    let largest = if env.random().is_multiple_of(40) { 100_000 / many } else { 1500 };
    let body = |_| {
        let seed = env.random();
        (0..seed % largest).map(|i| (seed >> (i % 56)) as u8).collect()
    };
    (0..many).map(body).collect()
}

/// Sends one batch; false when the node takes or acknowledges nothing any more.
pub async fn send(
    env: &SimEnv,
    shard: &Shard<SimEnv>,
    model: &SharedModel,
    queue: usize,
    bug: Option<Bug>,
) -> bool {
    let name = QUEUES[queue];
    let handle = shard.queue(name.topic, name.id);
    let bodies = bodies(env);
    let key = format!("KEYS\u{1}k{}\u{2}", env.random() % 50);
    let new = |body| {
        let parts = parts(name.topic, body, &key);
        NewRecord::new(parts, 3, Keys::read(parts.properties)).expect("it fits")
    };
    let batch: Vec<_> = bodies.iter().map(|body| new(body)).collect();
    let Some(appended) = append(env, shard, handle, &batch).await else { return false };
    let offsets = appended.queue_offset..appended.queue_offset + batch.len() as u64;
    for ((offset, physical), body) in offsets.clone().zip(appended.physical_offsets(&batch)).zip(&bodies) {
        let bytes = stored(&parts(name.topic, body, &key), name.id, offset, physical, appended.store_time_ms);
        model.borrow_mut().stored(queue, offset, physical, bytes);
    }
    if !acknowledged(shard, appended.end, name.sync, bug).await {
        return false;
    }
    if env.alive() {
        let at = Duration::from_nanos(env.monotonic_ns());
        let promise = if name.sync { Promise::Power } else { Promise::Kill { at } };
        for offset in offsets {
            model.borrow_mut().promised(queue, offset, promise);
        }
    }
    true
}

async fn produce(env: SimEnv, shard: Shard<SimEnv>, model: SharedModel, queue: usize, bug: Option<Bug>) {
    while send(&env, &shard, &model, queue, bug).await {
        if env.random().is_multiple_of(6) {
            env.sleep(Duration::from_micros(env.random() % 20_000)).await;
        }
    }
}

/// Pulls from anywhere, keeps what it got for a while, and then looks whether it is still right.
async fn read(env: SimEnv, shard: Shard<SimEnv>, model: SharedModel) {
    loop {
        env.sleep(Duration::from_micros(env.random() % 3000)).await;
        let queue = (env.random() % QUEUES.len() as u64) as usize;
        let name = QUEUES[queue];
        let Some(handle) = shard.find_queue(name.topic, name.id) else { continue };
        let bounds = shard.bounds(handle);
        let span = bounds.max - bounds.min;
        let back = if env.random().is_multiple_of(2) { env.random() % 20 } else { env.random() % (span + 1) };
        let from = bounds.max.saturating_sub(back).max(bounds.min);
        let read = shard.read_legible(handle, from, &LIMITS, |_| true).await;
        let Ok(ReadOutcome::Found(plan)) = read else { continue };
        if env.random().is_multiple_of(4) {
            env.sleep(Duration::from_micros(env.random() % 2000)).await;
        }
        let next = plan.next_offset;
        let chunks = match shard.fetch(plan).await {
            Ok(chunks) => chunks,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
            Err(_) => continue,
        };
        if env.random().is_multiple_of(4) {
            env.sleep(Duration::from_micros(env.random() % 5000)).await;
        }
        let body: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
        drop(chunks);
        let records = cut(queue, &body);
        let mut model = model.borrow_mut();
        model.reads += records.len() as u64;
        let got: BTreeSet<u64> = records.iter().map(|(offset, _)| *offset).collect();
        for offset in (from..next).filter(|offset| !got.contains(offset)) {
            assert!(
                model.may_be_missed(queue, offset),
                "{name:?}: nothing at offset {offset} in {from}..{next}"
            );
        }
        for (offset, bytes) in &records {
            model.same(queue, *offset, bytes);
        }
    }
}

/// After a latch nothing becomes durable any more, as far as anybody is told.
async fn watch_latch(env: SimEnv, shard: Shard<SimEnv>) {
    while shard.latched().is_none() {
        shard.synced().moved().await;
    }
    let at_latch = (shard.synced().get(), shard.written().get());
    loop {
        env.sleep(Duration::from_millis(10)).await;
        assert_eq!(
            (shard.synced().get(), shard.written().get()),
            at_latch,
            "acknowledged after an I/O error"
        );
    }
}

/// Waits until segments durably have all that is closed.
pub async fn all_synced(shard: &Shard<SimEnv>) {
    shard.request_sync();
    while shard.synced().get() < shard.stats().log_end {
        assert!(shard.latched().is_none(), "no fault");
        shard.synced().moved().await;
    }
}

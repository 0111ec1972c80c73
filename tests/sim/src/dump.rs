//! Everything that a shard gives, read as consumers read it.

use std::collections::BTreeMap;
use std::io;

use ringmq_simenv::SimEnv;
use ringmq_store::{ReadLimits, ReadOutcome, Shard};
use ringmq_wire::message::{RecordView, records};

use crate::model::Found;
use crate::plan::QUEUES;

pub const LIMITS: ReadLimits = ReadLimits {
    max_messages: 32,
    max_bytes_hot: 256 * 1024,
    max_bytes_cold: 256 * 1024,
    max_messages_cold: 32,
    scan_entries: 800,
};

/// Cuts a pulled body into records, each checked to be of this queue, and gives them by offset.
pub fn cut(queue: usize, body: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let name = QUEUES[queue];
    let check = |record: RecordView<'_>| {
        assert_eq!(
            (record.topic, record.queue_id as u32),
            (name.topic, name.id),
            "a record of another queue"
        );
        assert!(record.verify_body_crc(), "{name:?}: offset {} has a wrong body", record.queue_offset);
        (record.queue_offset as u64, record.bytes.to_vec())
    };
    records(body).map(|record| check(record.expect("whole records"))).collect()
}

/// A queue from its first offset to its last. Damaged records are left out; an I/O error is the disk's.
pub async fn queue(shard: &Shard<SimEnv>, queue: usize) -> io::Result<Found> {
    let name = QUEUES[queue];
    let Some(handle) = shard.find_queue(name.topic, name.id) else {
        return Ok(Found::default());
    };
    let min = shard.bounds(handle).min;
    let mut found = Found { min, max: min, records: BTreeMap::new() };
    loop {
        match shard.read_legible(handle, found.max, &LIMITS, |_| true).await? {
            ReadOutcome::Found(plan) => {
                let next = plan.next_offset;
                match shard.fetch(plan).await {
                    Ok(chunks) => {
                        let body: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
                        for (offset, bytes) in cut(queue, &body) {
                            assert!(
                                (found.max..next).contains(&offset),
                                "{name:?}: {offset} is out of order"
                            );
                            found.records.insert(offset, bytes);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Err(error) => return Err(error),
                }
                found.max = next;
            }
            ReadOutcome::NoneMatched { next_offset } => found.max = next_offset,
            ReadOutcome::Empty | ReadOutcome::AtEnd => break,
            ReadOutcome::BeforeStart => {
                found.min = shard.bounds(handle).min;
                found.max = found.min;
                found.records = found.records.split_off(&found.min);
            }
            ReadOutcome::Illegible | ReadOutcome::AfterEnd => {
                panic!("{name:?}: read past its end at {}", found.max)
            }
        }
    }
    Ok(found)
}

/// Whether the node, asked for a message that it cannot give, counts it as damaged.
pub async fn is_counted(shard: &Shard<SimEnv>, queue: usize, offset: u64) -> io::Result<bool> {
    let name = QUEUES[queue];
    let Some(handle) = shard.find_queue(name.topic, name.id) else { return Ok(false) };
    let before = shard.stats().damaged_records;
    let one = ReadLimits { max_messages: 1, max_messages_cold: 1, ..LIMITS };
    if let ReadOutcome::Found(plan) = shard.read_legible(handle, offset, &one, |_| true).await? {
        match shard.fetch(plan).await {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
            _ => {}
        }
    }
    Ok(shard.stats().damaged_records > before)
}

/// Look-ups by physical offset and by key agree with the queue; a key may be gone with a damaged index.
pub async fn look_up(
    shard: &Shard<SimEnv>,
    queue: usize,
    found: &Found,
    is_unfindable: impl Fn(u64) -> bool,
) -> io::Result<()> {
    for (offset, bytes) in found.records.iter().step_by(23) {
        let record = RecordView::parse(bytes).expect("checked when it was read");
        let physical = record.physical_offset as u64; // of shard 0: its position
        let by_position = shard.read_at(physical).await?;
        let recycled = || physical < shard.stats().log_start;
        let name = QUEUES[queue];
        assert!(by_position.as_ref() == Some(bytes) || recycled(), "{name:?}: {offset} by physical offset");
        if let Some(key) = record.property("KEYS") {
            let hits = shard.query_key(name.topic, key, i64::MIN, i64::MAX, 10_000).await?;
            let excused = recycled() || is_unfindable(*offset);
            assert!(hits.contains(bytes) || excused, "{name:?}: {offset} by its key {key}");
        }
    }
    Ok(())
}

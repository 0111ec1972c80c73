//! `ringmq dump queues`: which offsets there are.

use std::io::Write;

use anyhow::Result;
use ringmq_store::{QueueEnd, Shard};

use super::StoreArgs;
use super::env::Offline;
use super::store::Store;

const SLICE: usize = 4096;

pub async fn run(env: &Offline, args: &StoreArgs, out: &mut impl Write) -> Result<()> {
    let store = Store::open(env, args).await?;
    writeln!(out, "shard  queue       first        next   topic")?;
    for id in store.shards() {
        let (shard, _) = store.shard(id).await?;
        for end in all(&shard) {
            let (queue, min, max) = (end.queue_id, end.bounds.min, end.bounds.max);
            writeln!(out, "{id:>5}  {queue:>5}  {min:>10}  {max:>10}   {}", end.topic)?;
        }
    }
    Ok(())
}

/// By topic and number.
pub fn all(shard: &Shard<Offline>) -> Vec<QueueEnd> {
    let mut ends = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        let (slice, next) = shard.queue_ends(at, SLICE);
        ends.extend(slice);
        cursor = next;
    }
    ends.sort_by(|a, b| (&a.topic, a.queue_id).cmp(&(&b.topic, b.queue_id)));
    ends
}

//! `ringmq dump segments` and `ringmq dump batches`: the files as they are.

use std::io::Write;

use anyhow::{Result, anyhow};
use ringmq_store::offline::{self, IndexInfo, Stretch};

use super::StoreArgs;
use super::env::Offline;
use super::store::{Store, time};

pub async fn segments(env: &Offline, args: &StoreArgs, out: &mut impl Write) -> Result<()> {
    let store = Store::open(env, args).await?;
    writeln!(out, "shard  segment  position          records  keys  from                      to")?;
    for shard in store.shards() {
        for segment in offline::segments(&store.env, store.layout(), shard).await? {
            let head = format!("{shard:>5}  {:>7}  {:016x}", segment.number, segment.base);
            match segment.index {
                IndexInfo::None => writeln!(out, "{head}  not sealed")?,
                IndexInfo::Damaged => writeln!(out, "{head}  its index is damaged")?,
                IndexInfo::Sealed { entries, keys, oldest_ms, newest_ms } => {
                    let (from, to) = (time(oldest_ms), time(newest_ms));
                    writeln!(out, "{head}  {entries:>7}  {keys:>4}  {from}  {to}")?;
                }
            }
        }
    }
    Ok(())
}

pub async fn batches(
    env: &Offline,
    args: &StoreArgs,
    shard: u16,
    number: u32,
    out: &mut impl Write,
) -> Result<()> {
    let store = Store::open(env, args).await?;
    let segments = offline::segments(&store.env, store.layout(), shard).await?;
    let segment = segments
        .iter()
        .find(|segment| segment.number == number)
        .ok_or_else(|| anyhow!("shard {shard} has no segment {number}; `dump segments` lists them"))?;
    writeln!(out, "position          length  kind     records  epoch  durable           stored")?;
    let mut written = Ok(());
    let walked = offline::batches(&store.env, store.layout(), shard, segment, |stretch| {
        if written.is_ok() {
            written = line(out, stretch);
        }
    });
    walked.await?;
    Ok(written?)
}

fn line(out: &mut impl Write, stretch: Stretch) -> std::io::Result<()> {
    match stretch {
        Stretch::Batch(batch) => writeln!(
            out,
            "{:016x}  {:>6}  {:<7}  {:>7}  {:>5}  {:016x}  {}",
            batch.position,
            batch.length,
            batch.kind,
            batch.records,
            batch.epoch,
            batch.durable,
            time(batch.store_time_ms)
        ),
        Stretch::Nothing { start, end } => writeln!(out, "{start:016x}  {:>6}  no intact batch", end - start),
    }
}

//! Sets a damaged range of the log aside and bridges it.
//!
//! Owns: `<data>/quarantine/`. Invariants: the copy is durable before the range in the log is touched; then a
//! hole's header stands at its start, so that later recoveries and readers go on behind it.

use std::path::PathBuf;

use ringmq_io::limits::SCAN_READ_BYTES;
use ringmq_io::{BLOCK, Disk, Env, File};

use crate::OpenError;
use crate::batch::{Checksum, Header, Kind, LogId};
use crate::envelope::{create_anew, temporary_name};
use crate::segments::{FileOf, Segments};

/// Copies `[start, end)` to a file and puts a hole in its place. Gives the file.
pub async fn set_aside<E: Env>(
    env: &E,
    id: LogId,
    segments: &Segments<E>,
    epoch: u32,
    start: u64,
    end: u64,
) -> Result<PathBuf, OpenError> {
    let data = segments.dir.parent().expect("a shard's directory is in the data directory");
    let dir = data.join("quarantine");
    let path = dir.join(format!("shard-{:02}-{start:016x}-{end:016x}.bin", id.shard));
    let number = segments.number_of(start);
    let segment = segments.get(number).expect("the caller looked");
    let file = segments.file(env, &segment).await.map_err(OpenError::io(&segment.path))?;
    let base = segments.base(number);
    let copied = async {
        env.disk().create_dir_all(&dir).await?;
        let temporary = temporary_name(&path);
        let copy = create_anew(env.disk(), &temporary).await?;
        let first = start - start % BLOCK as u64;
        let last = end.next_multiple_of(BLOCK as u64);
        let mut from = first;
        while from < last {
            let len = (last - from).min(SCAN_READ_BYTES as u64) as usize;
            copy.write_at(from - first, file.read_at(from - base, len).await?).await?;
            from += len as u64;
        }
        copy.sync().await?;
        drop(copy);
        env.disk().rename(&temporary, &path).await?;
        env.disk().sync_dir(&dir).await
    };
    copied.await.map_err(OpenError::io(&path))?;
    let hole = Header {
        kind: Kind::Hole,
        shard: id.shard,
        length: u32::try_from(end - start).expect("a segment's part"),
        body: 0,
        records: 0,
        store_id: id.store_id,
        base: start,
        durable: 0,
        store_time_ms: env.now_ms(),
        epoch,
    };
    let bridged = async {
        overwrite::<E>(&file, base, start, &hole.encode(Checksum::default())).await?;
        file.sync().await
    };
    bridged.await.map_err(OpenError::io(&segment.path))?;
    Ok(path)
}

/// Writes bytes at a log position into a segment, keeping what is around them in their first and last block.
async fn overwrite<E: Env>(file: &FileOf<E>, base: u64, position: u64, bytes: &[u8]) -> std::io::Result<()> {
    let block = BLOCK as u64;
    let start = position - position % block;
    let end = (position + bytes.len() as u64).next_multiple_of(block);
    let mut whole = file.read_at(start - base, (end - start) as usize).await?;
    let at = (position - start) as usize;
    whole[at..at + bytes.len()].copy_from_slice(bytes);
    file.write_at(start - base, whole).await.map(drop)
}

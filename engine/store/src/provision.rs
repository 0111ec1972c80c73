//! Keeps the next segment ready before the log reaches it.
//!
//! Owns: creating segment files, the next one well before it is needed: a recycled file is renamed, else
//! a new one is allocated. With `Blocks::Write` (see [`crate::StoreConfig::blocks`]) zeros are then written to it, in step
//! with the log: all at once they would take the device from the syncs that somebody waits for. What is not done when
//! the log comes near stays reserved, and so does a segment that the log waits for already.
//! Invariants: a `.seg` file always has its full length; an allocation that a crash interrupted leaves only a
//! `.tmp` file, which is removed at the next open.
//! On failure: no room on the disk makes appends fail that need the segment, until an attempt succeeds; any
//! other error latches the shard.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::PREALLOCATE_STEP_BYTES;
use ringmq_io::{AlignedBuf, Blocks, Disk, Env, File, OpenMode};

use crate::envelope::{create_anew, temporary_name};
use crate::inner::Inner;
use crate::segments::{FileOf, Segment, Segments, base_of};

/// The next segment is made when the log has filled one part in so many of the current one: an empty store does
/// not pay for two segments, and there is time left to allocate one under full load.
const AHEAD_SHARE: u64 = 4;
/// Between attempts while the disk is full.
const RETRY: Duration = Duration::from_secs(1);

pub async fn run<E: Env>(inner: Rc<Inner<E>>) {
    loop {
        if inner.is_ending() {
            return;
        }
        let needed = inner
            .segments
            .number_of(inner.closed.get() + inner.segments.bytes / AHEAD_SHARE * (AHEAD_SHARE - 1));
        let next = inner
            .segments
            .end()
            .map_or(inner.segments.number_of(inner.synced.get()), |end| inner.segments.number_of(end));
        if next > needed {
            inner.provision.wait().await;
            continue;
        }
        match make_ready(&inner, next).await {
            Ok(()) => {
                if inner.no_segment.replace(false) {
                    tracing::info!(shard = inner.id.shard, "disk has room for a segment again");
                }
                inner.ring.leases.room.notify();
            }
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                if !inner.no_segment.replace(true) {
                    tracing::error!(shard = inner.id.shard, "no room for another segment: {error}");
                }
                inner.ring.leases.room.notify();
                inner.provision.wait().or(inner.env.sleep(RETRY)).await;
            }
            Err(error) => inner.latch("segment allocation", &error.to_string()),
        }
    }
}

/// Makes segment `number`, its blocks written as far as there is time for it, and adds it to the list.
async fn make_ready<E: Env>(inner: &Inner<E>, number: u32) -> io::Result<()> {
    add(&inner.env, &inner.segments, number, async |file| write_ahead(inner, file, number).await).await
}

/// Makes segment `number` at once and adds it to the list.
pub async fn add_segment<E: Env>(env: &E, segments: &Segments<E>, number: u32) -> io::Result<()> {
    add(env, segments, number, async |_| Ok(())).await
}

/// `prepare` is given a file that was allocated, before it becomes a segment.
async fn add<E: Env>(
    env: &E,
    segments: &Segments<E>,
    number: u32,
    prepare: impl AsyncFnOnce(&FileOf<E>) -> io::Result<()>,
) -> io::Result<()> {
    let path = segments.path(number, "seg");
    let disk = env.disk();
    let recycled = disk
        .list(&segments.dir)
        .await?
        .into_iter()
        .find(|entry| base_of(&entry.name, "free").is_some() && entry.len == segments.bytes);
    if let Some(entry) = recycled {
        disk.rename(&segments.dir.join(&entry.name), &path).await?;
    } else {
        allocate::<E>(env, segments, &path, prepare).await?;
    }
    disk.sync_dir(&segments.dir).await?;
    let file = disk.open(&path, OpenMode::Write).await?;
    segments.push(Segment::new(number, path, Some(file)));
    Ok(())
}

/// How many bytes of segment `number` should have been written by now: all of them when the log has filled seven eighths of the
/// segment before it. `None` when there is no time left for more: making a segment of the file takes some.
fn written_ahead<E: Env>(inner: &Inner<E>, number: u32) -> Option<u64> {
    let bytes = inner.segments.bytes;
    // Of the segment before it.
    let filled = (inner.closed.get() + bytes).saturating_sub(inner.segments.base(number));
    let (begin, end) = (bytes / AHEAD_SHARE, bytes / 8 * 7);
    let due = filled.saturating_sub(begin) as u128 * u128::from(bytes) / u128::from(end - begin);
    (filled < bytes / 16 * 15).then_some((due as u64).min(bytes))
}

async fn write_ahead<E: Env>(inner: &Inner<E>, file: &FileOf<E>, number: u32) -> io::Result<()> {
    if inner.segments.blocks != Blocks::Write {
        return Ok(());
    }
    // A power of two, and so a divisor of the segment, which is a multiple of the ring.
    let step = (inner.ring.bytes() / 16).min(PREALLOCATE_STEP_BYTES as u64);
    let mut zeros = AlignedBuf::zeroed(step as usize);
    let mut written = 0;
    while written < inner.segments.bytes && !inner.is_ending() {
        match written_ahead(inner, number) {
            None => break,
            Some(due) if due < written + step => inner.provision.wait().await,
            Some(_) => {
                zeros = file.write_at(written, zeros).await?;
                written += step;
            }
        }
    }
    Ok(())
}

async fn allocate<E: Env>(
    env: &E,
    segments: &Segments<E>,
    path: &std::path::Path,
    prepare: impl AsyncFnOnce(&FileOf<E>) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file: FileOf<E> = create_anew(env.disk(), &temporary).await?;
    let allocated = async {
        file.preallocate(segments.bytes, Blocks::Reserve).await?;
        prepare(&file).await?;
        file.sync().await
    };
    if let Err(error) = allocated.await {
        drop(file);
        // Gives back what was allocated; should that fail too, the next open removes the file.
        let _ = env.disk().remove(&temporary).await;
        return Err(error);
    }
    drop(file);
    env.disk().rename(&temporary, path).await
}

//! Keeps the next segment ready before the log reaches it.
//!
//! Owns: creating segment files, the next one well before it is needed: a recycled file is renamed, else
//! a new one is allocated (see [`crate::StoreConfig::blocks`]).
//! Invariants: a `.seg` file always has its full length; an allocation that a crash interrupted leaves only a
//! `.tmp` file, which is removed at the next open.
//! On failure: no room on the disk makes appends fail that need the segment, until an attempt succeeds; any
//! other error latches the shard.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::{Disk, Env, File, OpenMode};

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
        match add_segment(&inner.env, &inner.segments, next).await {
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

/// Makes segment `number` and adds it to the list.
pub async fn add_segment<E: Env>(env: &E, segments: &Segments<E>, number: u32) -> io::Result<()> {
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
        allocate::<E>(env, segments, &path).await?;
    }
    disk.sync_dir(&segments.dir).await?;
    let file = disk.open(&path, OpenMode::Write).await?;
    segments.push(Segment::new(number, path, Some(file)));
    Ok(())
}

async fn allocate<E: Env>(env: &E, segments: &Segments<E>, path: &std::path::Path) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file: FileOf<E> = create_anew(env.disk(), &temporary).await?;
    let allocated = async {
        file.preallocate(segments.bytes, segments.blocks).await?;
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

//! Looking at a store that no broker has open: what `ringmq dump` is made of.
//!
//! Owns: walks over whole files for people, with the decoders that the broker itself uses. What a recovery would do is
//! not here: it is done, by opening the shard in an environment that keeps writes to itself.
//! Invariants: nothing here writes. On failure: an [`OpenError`] if a file cannot be read; what does not check is a
//! [`Finding`], and the walk goes on behind it.

mod scrub;
mod walk;

use std::path::{Path, PathBuf};

use ringmq_io::{Disk, Env, OpenMode};

use crate::batch::LogId;
use crate::recovery::LostRange;
use crate::recovery::source::SegmentSource;
use crate::sealed::SealedIndex;
use crate::segments::{base_of, file_name};
use crate::{OpenError, StoreConfig, StoreLayout, config, manifest};

pub use scrub::{Scrubbed, scrub};
pub use walk::{BatchInfo, Stretch, batches};

/// Something that does not check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    pub what: String,
    /// Messages that cannot be read because of it.
    pub lost: Option<LostRange>,
}

/// A segment file, and what its index says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub number: u32,
    pub base: u64,
    pub path: PathBuf,
    pub index: IndexInfo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexInfo {
    /// Not sealed: a start scans the segment.
    None,
    /// A start makes it anew from the segment.
    Damaged,
    Sealed {
        entries: u64,
        keys: u64,
        oldest_ms: i64,
        newest_ms: i64,
    },
}

/// The settings to open the store with as it is: shards and segment size are those that it was made with.
pub async fn config<E: Env>(env: &E, data: &Path) -> Result<StoreConfig, OpenError> {
    let missing = || {
        let error = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store");
        OpenError::io(data.join(manifest::NAME))(error)
    };
    let fixed = manifest::read(env, data).await?.ok_or_else(missing)?;
    Ok(StoreConfig {
        segment_bytes: fixed.segment_bytes,
        ring_bytes: config::RING_BYTES_MIN,
        ..StoreConfig::new(data, fixed.shards)
    })
}

/// The segments of a shard, oldest first.
pub async fn segments<E: Env>(
    env: &E,
    layout: &StoreLayout,
    shard: u16,
) -> Result<Vec<SegmentInfo>, OpenError> {
    let dir = layout.shard_dir(shard);
    let entries = match env.disk().list(&dir).await {
        // Made at the shard's first start.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(OpenError::io(&dir))?,
    };
    let mut found = Vec::new();
    for entry in &entries {
        let Some(base) = base_of(&entry.name, "seg") else { continue };
        let index = file_name(base, "idx");
        let index = match entries.iter().any(|entry| entry.name == index) {
            false => IndexInfo::None,
            true => match open_index(env, layout, shard, base).await? {
                None => IndexInfo::Damaged,
                Some(sealed) => {
                    let (entries, keys) = sealed.counts();
                    let (oldest_ms, newest_ms) = (sealed.oldest_ms, sealed.newest_ms);
                    IndexInfo::Sealed { entries, keys, oldest_ms, newest_ms }
                }
            },
        };
        let number = (base / layout.config.segment_bytes) as u32;
        found.push(SegmentInfo { number, base, path: dir.join(&entry.name), index });
    }
    Ok(found)
}

fn log_id(layout: &StoreLayout, shard: u16) -> LogId {
    LogId { store_id: layout.store_id, shard }
}

async fn open_index<E: Env>(
    env: &E,
    layout: &StoreLayout,
    shard: u16,
    base: u64,
) -> Result<Option<SealedIndex<E>>, OpenError> {
    let path = layout.shard_dir(shard).join(file_name(base, "idx"));
    let (id, bytes) = (log_id(layout, shard), layout.config.segment_bytes);
    SealedIndex::open(env, &path, id, base, bytes).await.map_err(OpenError::io(&path))
}

/// The file of a segment; one of a wrong length is damaged as a whole.
async fn open_segment<E: Env>(
    env: &E,
    layout: &StoreLayout,
    shard: u16,
    segment: &SegmentInfo,
) -> Result<SegmentSource<<E::Disk as Disk>::File>, OpenError> {
    use ringmq_io::File;
    let path = &segment.path;
    let file = env.disk().open(path, OpenMode::Read).await.map_err(OpenError::io(path))?;
    let bytes = layout.config.segment_bytes;
    if file.len() != bytes {
        let what = format!("it has {} bytes instead of {bytes}", file.len());
        return Err(OpenError::Damaged { path: path.clone(), what });
    }
    Ok(SegmentSource::new(file, log_id(layout, shard), segment.base, bytes))
}

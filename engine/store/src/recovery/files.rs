//! What is in a shard's directory, put in order before the log is walked.
//!
//! Owns: finishing what a crash interrupted. Invariants: leftovers of unfinished files go; segments below the log
//! start were being recycled and go; the segments that stay are consecutive from the log start.
//! On failure: a missing segment is [`OpenError::Damaged`]: it is never passed over.

use std::collections::BTreeSet;
use std::path::Path;

use ringmq_io::{Disk, Env};

use crate::OpenError;
use crate::floor::Floor;
use crate::segments::base_of;

pub struct Inventory {
    pub floor: Floor,
    /// Numbers of the segments, ascending.
    pub segments: BTreeSet<u32>,
    /// Numbers of the segments that have a sealed index.
    pub indexes: BTreeSet<u32>,
}

impl Inventory {
    pub async fn take<E: Env>(env: &E, dir: &Path, segment_bytes: u64) -> Result<Self, OpenError> {
        let disk = env.disk();
        let floor = Floor::read(disk, dir).await?;
        let mut found = Self { floor, segments: BTreeSet::new(), indexes: BTreeSet::new() };
        for entry in disk.list(dir).await.map_err(OpenError::io(dir))? {
            let path = dir.join(&entry.name);
            let segment = base_of(&entry.name, "seg");
            let index = base_of(&entry.name, "idx");
            if let Some(base) = segment.or(index)
                && !base.is_multiple_of(segment_bytes)
            {
                let what = format!("its name is no multiple of the segment size {segment_bytes}");
                return Err(OpenError::Damaged { path, what });
            }
            let recycled = segment.or(index).is_some_and(|base| base < found.floor.log_start);
            if entry.name.ends_with(".tmp") || recycled {
                disk.remove(&path).await.map_err(OpenError::io(&path))?;
            } else if let Some(base) = segment {
                if entry.len != segment_bytes {
                    let what = format!("it has {} bytes instead of {segment_bytes}", entry.len);
                    return Err(OpenError::Damaged { path, what });
                }
                found.segments.insert((base / segment_bytes) as u32);
            } else if let Some(base) = index {
                found.indexes.insert((base / segment_bytes) as u32);
            }
        }
        found.check(dir, segment_bytes)?;
        Ok(found)
    }

    fn check(&self, dir: &Path, segment_bytes: u64) -> Result<(), OpenError> {
        let start = (self.floor.log_start / segment_bytes) as u32;
        let missing = (start..).zip(&self.segments).find(|(expected, number)| expected != *number);
        let missing = match missing {
            Some((expected, _)) => Some(expected),
            None if self.segments.is_empty() && start > 0 => Some(start),
            None => None,
        };
        if let Some(number) = missing {
            let name = crate::segments::file_name(u64::from(number) * segment_bytes, "seg");
            let what = "it is missing between other segments; restore it from a copy".to_owned();
            return Err(OpenError::Damaged { path: dir.join(name), what });
        }
        if let Some(orphan) = self.indexes.iter().find(|number| !self.segments.contains(number)) {
            let name = crate::segments::file_name(u64::from(*orphan) * segment_bytes, "seg");
            let what = "it is missing, but its index is there; restore it from a copy".to_owned();
            return Err(OpenError::Damaged { path: dir.join(name), what });
        }
        Ok(())
    }
}

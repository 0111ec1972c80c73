//! `STATE` of a shard: its epoch, and where the ring of that epoch is.
//!
//! ```text
//! envelope body: 0 u64 store id   8 u64 ring bytes   16 u32 epoch   20 u16 shard   22 u16 ring path bytes
//!                24 ring path   .. data directory (both UTF-8)
//! ```
//! Invariants: each open makes a new epoch, durable before its first batch; a ring counts only if its header has
//! the epoch recorded here, so a ring left over from an older time is never replayed. The path is recorded so
//! that a ring is found after its directory was changed in the configuration; the data directory is recorded so
//! that a copy of a store leaves the ring of the original alone.

use std::path::{Path, PathBuf};

use ringmq_io::Disk;

use crate::OpenError;
use crate::batch::LogId;
use crate::envelope::{self, Form};

pub const NAME: &str = "STATE";
const FORM: Form = Form { magic: *b"RINGMQST", version: 1 };
const FIXED: usize = 24;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub epoch: u32,
    pub ring_path: PathBuf,
    pub ring_bytes: u64,
    /// Where the store was when this was written.
    pub data: PathBuf,
}

impl State {
    pub(crate) fn encode(&self, id: LogId) -> Vec<u8> {
        let mut body = Vec::with_capacity(FIXED + 64);
        body.extend_from_slice(&id.store_id.to_le_bytes());
        body.extend_from_slice(&self.ring_bytes.to_le_bytes());
        body.extend_from_slice(&self.epoch.to_le_bytes());
        body.extend_from_slice(&id.shard.to_le_bytes());
        let text = |path: &PathBuf| path.to_str().expect("checked when the store was opened").to_owned();
        let ring_path = text(&self.ring_path);
        let len = u16::try_from(ring_path.len()).expect("a path that a file could be made at");
        body.extend_from_slice(&len.to_le_bytes());
        body.extend_from_slice(ring_path.as_bytes());
        body.extend_from_slice(text(&self.data).as_bytes());
        body
    }

    pub(crate) fn decode(id: LogId, body: &[u8]) -> Option<Self> {
        let fixed: &[u8; FIXED] = body.first_chunk()?;
        let word = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("8 bytes"));
        let shard = u16::from_le_bytes([fixed[20], fixed[21]]);
        if word(0) != id.store_id || shard != id.shard {
            return None;
        }
        let len = u16::from_le_bytes([fixed[22], fixed[23]]) as usize;
        let (ring_path, data) = body[FIXED..].split_at_checked(len)?;
        Some(Self {
            epoch: u32::from_le_bytes(fixed[16..20].try_into().expect("4 bytes")),
            ring_path: PathBuf::from(std::str::from_utf8(ring_path).ok()?),
            ring_bytes: word(8),
            data: PathBuf::from(std::str::from_utf8(data).ok()?),
        })
    }

    pub async fn read<D: Disk>(disk: &D, id: LogId, dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(NAME);
        let Some(body) = envelope::read(disk, FORM, &path).await? else {
            return Ok(None);
        };
        let what = "it belongs to another store or shard".to_owned();
        Self::decode(id, &body).map(Some).ok_or(OpenError::Damaged { path, what })
    }

    pub async fn write<D: Disk>(&self, disk: &D, id: LogId, dir: &Path) -> Result<(), OpenError> {
        let body = self.encode(id);
        envelope::replace(disk, FORM, dir, NAME, &body).await.map_err(OpenError::io(dir.join(NAME)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn states_round_trip(epoch: u32, ring_bytes: u64, path in "/[a-zü/]{0,40}", data in "/[a-z/]{0,40}") {
            let id = LogId { store_id: 5, shard: 2 };
            let state = State { epoch, ring_path: path.into(), ring_bytes, data: data.into() };
            prop_assert_eq!(State::decode(id, &state.encode(id)), Some(state.clone()));
            prop_assert_eq!(State::decode(LogId { store_id: 6, ..id }, &state.encode(id)), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = State::decode(LogId { store_id: 0, shard: 0 }, &bytes);
        }
    }
}

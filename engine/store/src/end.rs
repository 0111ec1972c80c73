//! `END` of a shard: how far the log was synced at its last clean stop.
//!
//! ```text
//! envelope body: 0 u64 store id   8 u64 log position   16 u16 shard
//! ```
//! What was synced last is said to be durable by no later batch. After a clean stop the ring is gone too, and a rotten last
//! batch would look like one that a power loss has cut. This file tells them apart.
//! Invariants: written when everything below the position is synced; a log never gets shorter than that, so an old one is
//! as true as a new one, and none is no more than a missing hint.

use std::path::Path;

use ringmq_io::Disk;

use crate::OpenError;
use crate::batch::{ALIGN, LogId};
use crate::envelope::{self, Form};

pub const NAME: &str = "END";
const FORM: Form = Form { magic: *b"RINGMQEN", version: 1 };
const BODY: usize = 18;

pub(crate) fn encode(id: LogId, position: u64) -> [u8; BODY] {
    let mut body = [0; BODY];
    body[0..8].copy_from_slice(&id.store_id.to_le_bytes());
    body[8..16].copy_from_slice(&position.to_le_bytes());
    body[16..18].copy_from_slice(&id.shard.to_le_bytes());
    body
}

pub(crate) fn decode(id: LogId, body: &[u8]) -> Option<u64> {
    let body: &[u8; BODY] = body.try_into().ok()?;
    let position = u64::from_le_bytes(body[8..16].try_into().expect("8 bytes"));
    (encode(id, position) == *body && position.is_multiple_of(ALIGN)).then_some(position)
}

/// 0 without such a file.
pub async fn read<D: Disk>(disk: &D, id: LogId, dir: &Path) -> Result<u64, OpenError> {
    let path = dir.join(NAME);
    let Some(body) = envelope::read(disk, FORM, &path).await? else {
        return Ok(0);
    };
    let what = "it belongs to another store or shard".to_owned();
    decode(id, &body).ok_or(OpenError::Damaged { path, what })
}

pub async fn write<D: Disk>(disk: &D, id: LogId, dir: &Path, position: u64) -> std::io::Result<()> {
    envelope::replace(disk, FORM, dir, NAME, &encode(id, position)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ends_round_trip_and_other_logs_are_not_ours(store_id: u64, shard: u16, blocks in 0u64..1 << 40, bit in 0usize..BODY * 8) {
            let id = LogId { store_id, shard };
            let position = blocks * ALIGN;
            let mut body = encode(id, position);
            prop_assert_eq!(decode(id, &body), Some(position));
            prop_assert_eq!(decode(LogId { shard: shard ^ 1, ..id }, &body), None);
            body[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(decode(id, &body), Some(position));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = decode(LogId { store_id: 0, shard: 0 }, &bytes);
        }
    }
}

//! `FLOOR` of a shard: where the log starts, and the offset at which queues go on that have no sealed message there.
//!
//! ```text
//! envelope body: 0 u64 log start   8 u64 rows, each: u64 offset  u32 queue id  u16 topic bytes  topic
//! ```
//! Invariants: written and durable before a segment below the log start is touched; so offsets never start anew because
//! retention took a queue's last message, or its last but those that a power loss takes; and an interrupted recycling is
//! finished at the next open.

use std::path::Path;

use ringmq_io::Disk;

use crate::OpenError;
use crate::envelope::{self, Form};

pub const NAME: &str = "FLOOR";
const FORM: Form = Form { magic: *b"RINGMQFL", version: 1 };

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub log_start: u64,
    pub queues: Vec<QueueStart>,
}

/// A queue without a message in a sealed segment at or after the log start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStart {
    pub topic: String,
    pub queue_id: u32,
    /// Of its first message that is not recycled, or will be.
    pub first: u64,
}

impl Floor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.queues.len() * 48);
        out.extend_from_slice(&self.log_start.to_le_bytes());
        out.extend_from_slice(&(self.queues.len() as u64).to_le_bytes());
        for queue in &self.queues {
            out.extend_from_slice(&queue.first.to_le_bytes());
            out.extend_from_slice(&queue.queue_id.to_le_bytes());
            let len = u16::try_from(queue.topic.len()).expect("a topic fits into a record");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(queue.topic.as_bytes());
        }
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        let log_start = u64::from_le_bytes(take(&mut rest)?);
        let rows = u64::from_le_bytes(take(&mut rest)?);
        let mut queues = Vec::new();
        for _ in 0..rows {
            let first = u64::from_le_bytes(take(&mut rest)?);
            let queue_id = u32::from_le_bytes(take(&mut rest)?);
            let len = u16::from_le_bytes(take(&mut rest)?) as usize;
            let (topic, behind) = rest.split_at_checked(len)?;
            rest = behind;
            queues.push(QueueStart { topic: std::str::from_utf8(topic).ok()?.to_owned(), queue_id, first });
        }
        rest.is_empty().then_some(Self { log_start, queues })
    }

    pub async fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        match envelope::read(disk, FORM, &path).await? {
            None => Ok(Self::default()),
            Some(body) => {
                let what = "its rows do not fit its length".to_owned();
                Self::decode(&body).ok_or(OpenError::Damaged { path, what })
            }
        }
    }

    pub async fn write<D: Disk>(&self, disk: &D, dir: &Path) -> std::io::Result<()> {
        envelope::replace(disk, FORM, dir, NAME, &self.encode()).await
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn floors_round_trip(log_start: u64, rows in proptest::collection::vec(("[a-zü%]{0,20}", any::<u32>(), any::<u64>()), 0..20)) {
            let queues = rows.into_iter().map(|(topic, queue_id, first)| QueueStart { topic, queue_id, first }).collect();
            let floor = Floor { log_start, queues };
            prop_assert_eq!(Floor::decode(&floor.encode()), Some(floor));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Floor::decode(&bytes);
        }
    }
}

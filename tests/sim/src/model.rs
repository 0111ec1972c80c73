//! What the clients know: every record that was stored, and which of them they were promised.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_simenv::{CrashKind, Damage};

use crate::plan::QUEUES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nobody was told that it is stored: it may be there.
    None,
    /// Survives the end of the process. Survives a power loss too if it was made long enough before.
    Kill {
        at: Duration,
    },
    Power,
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub bytes: Vec<u8>,
    /// In the log of the shard.
    pub position: u64,
    pub promise: Promise,
}

#[derive(Debug, Default)]
pub struct Model {
    queues: Vec<BTreeMap<u64, Stored>>,
    /// Acknowledged commit of each queue, and what was last asked for.
    committed: Vec<(u64, u64)>,
    /// Records acknowledged in all lives.
    pub acknowledged: u64,
    pub commits: u64,
    pub reads: u64,
    pub damages: Vec<Damage>,
    pub segment_bytes: u64,
    pub recycles: bool,
}

/// A queue as a node has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub min: u64,
    pub max: u64,
    pub records: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    pub fn new(segment_bytes: u64, recycles: bool) -> Self {
        Self {
            queues: vec![BTreeMap::new(); QUEUES.len()],
            committed: vec![(0, 0); QUEUES.len()],
            segment_bytes,
            recycles,
            ..Self::default()
        }
    }

    pub fn stored(&mut self, queue: usize, offset: u64, position: u64, bytes: Vec<u8>) {
        let stored = Stored { bytes, position, promise: Promise::None };
        let before = self.queues[queue].insert(offset, stored);
        assert!(before.is_none(), "{:?}: offset {offset} was given twice", QUEUES[queue]);
    }

    pub fn promised(&mut self, queue: usize, offset: u64, promise: Promise) {
        self.acknowledged += 1;
        // Retention may have taken it already.
        if let Some(stored) = self.queues[queue].get_mut(&offset) {
            stored.promise = promise;
        }
    }

    /// What a crash may take is no promise any more. `kept_after`: how long before a power loss a
    /// record must have been acknowledged to survive it; `None` if the disk gave no such bound.
    pub fn crashed(&mut self, kind: CrashKind, ring_lost: bool, now: Duration, kept_after: Option<Duration>) {
        if kind == CrashKind::Process && !ring_lost {
            return;
        }
        for queue in &mut self.queues {
            for stored in queue.values_mut() {
                if let Promise::Kill { at } = stored.promise {
                    let old = kept_after.is_some_and(|bound| at + bound <= now);
                    stored.promise = if old { Promise::Power } else { Promise::None };
                }
            }
        }
    }

    /// The bounds of an opened node, before anything is read: nothing promised is cut off, and what was
    /// cut off may be stored anew.
    pub fn opened(&mut self, queue: usize, min: u64, max: u64) {
        assert!(min <= max, "{:?}: from {min} to {max}", QUEUES[queue]);
        if !self.recycles && self.damages.is_empty() {
            assert_eq!(min, 0, "{:?}: the first messages are gone", QUEUES[queue]);
        }
        let cut = self.queues[queue].split_off(&max);
        for (offset, stored) in cut {
            let excused = stored.promise == Promise::None || self.is_damaged(stored.position);
            assert!(excused, "{:?}: acknowledged offset {offset} is behind the end {max}", QUEUES[queue]);
        }
        self.recycled(queue, min);
    }

    /// Offsets below `min` are gone by the rules of retention.
    pub fn recycled(&mut self, queue: usize, min: u64) {
        let kept = self.queues[queue].split_off(&min);
        let gone = std::mem::replace(&mut self.queues[queue], kept);
        assert!(
            gone.is_empty() || self.recycles || !self.damages.is_empty(),
            "{:?}: cut at {min}",
            QUEUES[queue]
        );
    }

    /// Everything that a node has in a queue is as it was stored, and everything promised is there. `synced`: where the log
    /// was at `now` that segments durably have.
    pub fn verify(&mut self, queue: usize, found: &Found, synced: u64, now: Duration) {
        let name = QUEUES[queue];
        for (offset, bytes) in &found.records {
            self.same(queue, *offset, bytes);
        }
        for offset in found.min..found.max {
            if found.records.contains_key(&offset) {
                continue;
            }
            let known = self.queues[queue].get(&offset);
            let excused = known.is_some_and(|stored| self.is_damaged(stored.position));
            assert!(excused, "{name:?}: nothing at offset {offset} between {} and {}", found.min, found.max);
        }
        // What is there after a recovery is durable, or in a ring that was taken over and is being flushed.
        for (offset, stored) in &mut self.queues[queue] {
            if found.records.contains_key(offset) && stored.promise != Promise::Power {
                let is_durable = stored.position + stored.bytes.len() as u64 <= synced;
                stored.promise = if is_durable { Promise::Power } else { Promise::Kill { at: now } };
            }
        }
    }

    /// A record that a reader got.
    pub fn same(&self, queue: usize, offset: u64, bytes: &[u8]) {
        let name = QUEUES[queue];
        let known = self.queues[queue].get(&offset);
        let known = known.unwrap_or_else(|| panic!("{name:?}: offset {offset} was never stored"));
        assert!(known.bytes == bytes, "{name:?}: offset {offset} has other bytes than were stored");
    }

    pub fn len(&self, queue: usize) -> usize {
        self.queues[queue].len()
    }

    /// Whether damage to the medium explains that a record is missing: it hit the record's segment, where a checksum
    /// cannot tell a rotten last batch from a torn one, or the segment's index, whose damaged blocks are not used.
    pub fn is_damaged(&self, position: u64) -> bool {
        let segment = position / self.segment_bytes;
        self.damages.iter().any(|damage| {
            let name =
                damage.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let stem = name.strip_suffix(".seg").or_else(|| name.strip_suffix(".idx"));
            let base = stem.and_then(|hex| u64::from_str_radix(hex, 16).ok());
            base.is_some_and(|base| base / self.segment_bytes == segment)
        })
    }

    pub fn commit_asked(&mut self, queue: usize, offset: u64) {
        self.committed[queue].1 = offset;
    }

    pub fn commit_acknowledged(&mut self, queue: usize, offset: u64) {
        self.commits += 1;
        let acknowledged = &mut self.committed[queue].0;
        *acknowledged = offset.max(*acknowledged);
    }

    pub fn last_commit(&self, queue: usize) -> u64 {
        self.committed[queue].1
    }

    /// The offset that a recovered journal gives.
    pub fn commit_found(&mut self, queue: usize, offset: u64) {
        let (acknowledged, asked) = self.committed[queue];
        assert!(
            (acknowledged..=asked).contains(&offset),
            "{:?}: consumer offset {offset}, but {acknowledged} was acknowledged and {asked} the last asked for",
            QUEUES[queue]
        );
        self.committed[queue] = (offset, offset);
    }
}

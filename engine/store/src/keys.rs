//! The key index: which records carry a key.
//!
//! Owns: what a key is (each word of KEYS, and UNIQ_KEY, with the topic: RocketMQ 5.5.0
//! `IndexService#buildIndex`), its hash, and the keys of unsealed segments.
//! Invariants: the hash is part of the sealed index's format; a match of hashes is only a candidate, the record
//! itself is looked at; positions are in log order.

use std::collections::VecDeque;

use ringmq_io::limits::KEYS_PER_MESSAGE_MAX;
use ringmq_wire::message::RecordView;
use ringmq_wire::properties;

const KEYS: &str = "KEYS";
const UNIQ_KEY: &str = "UNIQ_KEY";
const SEPARATOR: char = ' ';

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEntry {
    pub hash: u64,
    pub position: u64,
}

/// 64 bits of `topic#key`: FNV-1a taking eight bytes at a time, then mixed. On disk: do not change.
pub fn hash(topic: &str, key: &str) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for part in [topic.as_bytes(), b"#", key.as_bytes()] {
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
        state = (state ^ part.len() as u64).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state ^= state >> 32;
    state.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The keys of a record.
pub fn of<'a>(record: &RecordView<'a>) -> impl Iterator<Item = &'a str> {
    let words = properties::get(record.properties, KEYS).unwrap_or("").split(SEPARATOR);
    let unique = properties::get(record.properties, UNIQ_KEY);
    unique.into_iter().chain(words.filter(|word| !word.is_empty())).take(KEYS_PER_MESSAGE_MAX)
}

/// Whether a record is one that was asked for.
pub fn has(record: &RecordView<'_>, topic: &str, key: &str) -> bool {
    record.topic == topic && of(record).any(|own| own == key)
}

/// Keys of the unsealed segments, oldest first, in chunks so that no growing buffer is ever copied.
#[derive(Default)]
pub struct OpenKeys {
    chunks: VecDeque<Vec<KeyEntry>>,
    /// Chunks that were forgotten: the number of the oldest one left. Numbers stay while chunks go.
    first: usize,
}

const CHUNK: usize = 4096;

impl OpenKeys {
    pub fn push(&mut self, entry: KeyEntry) {
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(entry),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.chunks.push_back(chunk);
            }
        }
    }

    pub fn first_chunk(&self) -> usize {
        self.first
    }

    /// A chunk by its number, the oldest left if that one was forgotten; `None` past the newest.
    pub fn chunk(&self, number: usize) -> Option<&[KeyEntry]> {
        self.chunks.get(number.saturating_sub(self.first)).map(Vec::as_slice)
    }

    /// Removes the keys of records below `position`: their segment is sealed.
    pub fn forget_below(&mut self, position: u64) {
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.last().is_some_and(|entry| entry.position >= position) {
                let below = chunk.partition_point(|entry| entry.position < position);
                chunk.drain(..below);
                return;
            }
            self.chunks.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::record;

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(hash("TopicTest", "order-1"), hash("TopicTest", "order-1"));
        assert_ne!(hash("a", "b"), hash("a#", "b"));
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        assert_ne!(hash("t", "k\0"), hash("t", "k"));
        assert_eq!(hash("TopicTest", "order-1"), 0x9ed6_5027_fbd6_aa48);
    }

    #[test]
    fn keys_are_words_and_the_unique_key() {
        let plain = record(0, 0, b"x");
        let mut parts = RecordView::parse(&plain).unwrap().parts();
        parts.properties = "KEYS\u{1}a  b\u{2}UNIQ_KEY\u{1}U1\u{2}TAGS\u{1}a\u{2}";
        let mut bytes = vec![0; parts.encoded_len().unwrap()];
        parts.encode_into(&mut bytes);
        let view = RecordView::parse(&bytes).unwrap();
        assert_eq!(of(&view).collect::<Vec<_>>(), ["U1", "a", "b"]);
        assert!(has(&view, "TopicTest", "b") && !has(&view, "Other", "b") && !has(&view, "TopicTest", "c"));
    }

    #[test]
    fn sealed_keys_are_forgotten() {
        let mut keys = OpenKeys::default();
        for position in 0..10_000 {
            keys.push(KeyEntry { hash: position, position });
        }
        keys.forget_below(5_000);
        assert_eq!(keys.first_chunk(), 1);
        assert_eq!(keys.chunk(1).unwrap()[0].position, 5_000);
        assert_eq!(keys.chunk(2).unwrap()[0].position, 8_192);
        keys.forget_below(20_000);
        assert!(keys.chunk(keys.first_chunk()).is_none());
    }
}

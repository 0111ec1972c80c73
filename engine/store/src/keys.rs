//! The key index: which records carry a key.
//!
//! Owns: what a key is (each word of KEYS, and UNIQ_KEY, with the topic: RocketMQ 5.5.0
//! `IndexService#buildIndex`), its hash, and the keys of unsealed segments.
//! Invariants: the hash is part of the sealed index's format; a match of hashes is only a candidate, the record
//! itself is looked at; positions are in log order.

use std::collections::VecDeque;

use ringmq_io::limits::KEYS_PER_MESSAGE_MAX;
use ringmq_wire::message::RecordView;
use ringmq_wire::properties::{self, name};

const SEPARATOR: char = ' ';

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEntry {
    pub hash: u64,
    pub position: u64,
}

/// The keys of a message, as its properties have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys<'a> {
    /// UNIQ_KEY.
    pub unique: Option<&'a str>,
    /// KEYS: words with spaces between them.
    pub words: &'a str,
}

impl<'a> Keys<'a> {
    /// Looks for them in the text of the properties. Whoever reads the properties anyway need not.
    pub fn read(properties: &'a str) -> Self {
        let mut keys = Self::default();
        properties::iter(properties).for_each(|(name, value)| keys.take(name, value));
        keys
    }

    /// Takes a property, if it is one of keys.
    #[inline]
    pub fn take(&mut self, name: &str, value: &'a str) {
        match name {
            name::UNIQUE_KEY => self.unique = Some(value),
            name::KEYS => self.words = value,
            _ => {}
        }
    }

    /// At most `KEYS_PER_MESSAGE_MAX` of them.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let words = self.words.split(SEPARATOR).filter(|word| !word.is_empty());
        self.unique.into_iter().chain(words).take(KEYS_PER_MESSAGE_MAX)
    }
}

/// The part of a key's hash that its topic makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicHash(u64);

impl TopicHash {
    pub fn new(topic: &str) -> Self {
        Self(mix(mix(0xcbf2_9ce4_8422_2325, topic.as_bytes()), b"#"))
    }

    /// 64 bits of `topic#key`: FNV-1a taking eight bytes at a time, then mixed. On disk: do not change.
    pub fn key(self, key: &str) -> u64 {
        let mut state = mix(self.0, key.as_bytes());
        state ^= state >> 32;
        state.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// By which the index knows a key of a topic's messages. Different keys can have one hash.
pub fn key_hash(topic: &str, key: &str) -> u64 {
    TopicHash::new(topic).key(key)
}

fn mix(mut state: u64, part: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let (words, rest) = part.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(29);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        state = (state ^ word).wrapping_mul(PRIME).rotate_left(29);
    }
    (state ^ part.len() as u64).wrapping_mul(PRIME)
}

/// Whether a record is one that was asked for.
pub fn has(record: &RecordView<'_>, topic: &str, key: &str) -> bool {
    record.topic == topic && Keys::read(record.properties).iter().any(|own| own == key)
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
    #[inline]
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

    /// Number of keys of records below `position`.
    pub fn count_below(&self, position: u64) -> usize {
        self.chunks.iter().map(|chunk| chunk.partition_point(|entry| entry.position < position)).sum()
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
        let hash = |topic, key| TopicHash::new(topic).key(key);
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
        assert_eq!(Keys::read(view.properties).iter().collect::<Vec<_>>(), ["U1", "a", "b"]);
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

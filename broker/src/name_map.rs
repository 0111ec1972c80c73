//! A map by name that grows in small steps.
//!
//! A hash table that grows moves all that it has at once, which with some ten thousand names takes milliseconds. So this is many
//! tables, each with the names whose hashes say so, and each grows by itself.
//! Invariants: a name is in the part that its hash says, once. Nothing walks over it: the order is random.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// With a million names a part has four thousand.
const PARTS: usize = 256;

pub struct NameMap<T> {
    hashes: DefaultHashBuilder,
    parts: [HashTable<(Box<str>, T)>; PARTS],
}

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        Self { hashes: DefaultHashBuilder::default(), parts: [const { HashTable::new() }; PARTS] }
    }
}

/// By bits that a part does not look at: it takes the lowest for a place, and the highest seven for a mark.
fn part_of(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

impl<T> NameMap<T> {
    pub fn get(&self, name: &str) -> Option<&T> {
        let hash = self.hashes.hash_one(name);
        let found = self.parts[part_of(hash)].find(hash, |(known, _)| **known == *name);
        found.map(|(_, value)| value)
    }

    /// Gives what the name had before.
    pub fn insert(&mut self, name: Box<str>, value: T) -> Option<T> {
        let hashes = &self.hashes;
        let hash = hashes.hash_one(&*name);
        let part = &mut self.parts[part_of(hash)];
        match part.entry(hash, |(known, _)| *known == name, |(known, _)| hashes.hash_one(&**known)) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(&mut entry.get_mut().1, value)),
            Entry::Vacant(entry) => {
                entry.insert((name, value));
                None
            }
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<T> {
        let hash = self.hashes.hash_one(name);
        let part = &mut self.parts[part_of(hash)];
        let entry = part.find_entry(hash, |(known, _)| **known == *name).ok()?;
        let ((_, value), _) = entry.remove();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_map() {
        let (mut map, mut model) = (NameMap::default(), BTreeMap::new());
        for step in 0..60_000_u64 {
            // Some names come again, and some of them go.
            let name = (step * 7919 % 20_011).to_string();
            if step % 5 == 3 {
                assert_eq!(map.remove(&name), model.remove(&name));
            } else {
                assert_eq!(map.insert(name.as_str().into(), step), model.insert(name.clone(), step));
            }
            assert_eq!(map.get(&name), model.get(&name));
        }
        assert!((0..20_011).map(|n| n.to_string()).all(|name| map.get(&name) == model.get(&name)));
        let sizes = map.parts.iter().map(HashTable::len);
        let (most, all) = (sizes.clone().max().unwrap_or(0), sizes.sum::<usize>());
        assert_eq!(all, model.len());
        assert!(most < 2 * all / PARTS, "{most} of {all} are in one part");
    }
}

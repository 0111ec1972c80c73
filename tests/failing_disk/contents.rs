//! What is on a disk: a tree of files, each as programs see it and as the medium has it.
//!
//! Invariants: what was written is seen at once; the medium has it after the next good sync of its file and not before. Names and
//! lengths of files that were reserved are the exception: names are durable at once, for whether a directory was synced is
//! the simulator's to look at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

pub const BLOCK: usize = 4096;
pub const ROOT: u64 = 1;

type Block = Arc<[u8; BLOCK]>;

/// The bytes of a file; blocks that are not there are zeros.
#[derive(Default)]
struct Image {
    blocks: HashMap<u64, Block>,
    len: u64,
}

#[derive(Default)]
pub struct File {
    seen: Image,
    medium: Image,
    /// Blocks in which they may differ.
    unsynced: BTreeSet<u64>,
}

pub enum Node {
    Dir(BTreeMap<OsString, u64>),
    File(File),
}

/// All files of a disk by number. One that was removed stays: it may be open.
pub struct Contents {
    nodes: HashMap<u64, Node>,
    names: HashMap<u64, OsString>,
}

/// The blocks that `len` bytes at `at` touch: number, place in the block, place in the bytes, and how many.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let position = at + done as u64;
        let within = (position % BLOCK as u64) as usize;
        let piece = (BLOCK - within).min(len - done);
        let found = (piece > 0).then_some((position / BLOCK as u64, within, done, piece));
        done += piece;
        found
    })
}

impl File {
    pub fn len(&self) -> u64 {
        self.seen.len
    }

    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let len = len.min(self.seen.len.saturating_sub(at) as usize);
        let mut out = vec![0; len];
        for (number, within, from, piece) in pieces(at, len) {
            if let Some(block) = self.seen.blocks.get(&number) {
                out[from..from + piece].copy_from_slice(&block[within..within + piece]);
            }
        }
        out
    }

    pub fn write(&mut self, at: u64, data: &[u8]) {
        for (number, within, from, piece) in pieces(at, data.len()) {
            let block = self.seen.blocks.entry(number).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[within..within + piece].copy_from_slice(&data[from..from + piece]);
            self.unsynced.insert(number);
        }
        self.seen.len = self.seen.len.max(at + data.len() as u64);
    }

    pub fn set_len(&mut self, len: u64) {
        if len < self.seen.len {
            let kept = len.div_ceil(BLOCK as u64);
            self.unsynced.extend(self.seen.blocks.keys().filter(|number| **number >= kept));
            self.seen.blocks.retain(|number, _| *number < kept);
            let within = (len % BLOCK as u64) as usize;
            if let Some(block) = self.seen.blocks.get_mut(&(len / BLOCK as u64)) {
                Arc::make_mut(block)[within..].fill(0);
                self.unsynced.insert(len / BLOCK as u64);
            }
        }
        self.seen.len = len;
    }

    /// The medium has all that was written.
    pub fn sync(&mut self) {
        for number in std::mem::take(&mut self.unsynced) {
            copy(&self.seen, &mut self.medium, number);
        }
        self.medium.len = self.seen.len;
    }

    /// What was written since the last good sync is gone, but for blocks that made it; whoever looks sees what the medium has.
    pub fn lose(&mut self, made_it: impl Fn(u64) -> bool) {
        for number in std::mem::take(&mut self.unsynced) {
            if made_it(number) {
                copy(&self.seen, &mut self.medium, number);
            } else {
                copy(&self.medium, &mut self.seen, number);
            }
        }
    }
}

fn copy(from: &Image, to: &mut Image, number: u64) {
    match from.blocks.get(&number) {
        Some(block) => to.blocks.insert(number, block.clone()),
        None => to.blocks.remove(&number),
    };
}

impl Contents {
    pub fn new() -> Self {
        Self { nodes: HashMap::from([(ROOT, Node::Dir(BTreeMap::new()))]), names: HashMap::new() }
    }

    pub fn node(&self, number: u64) -> Option<&Node> {
        self.nodes.get(&number)
    }

    pub fn dir(&self, number: u64) -> Option<&BTreeMap<OsString, u64>> {
        match self.nodes.get(&number)? {
            Node::Dir(entries) => Some(entries),
            Node::File(_) => None,
        }
    }

    fn dir_mut(&mut self, number: u64) -> Option<&mut BTreeMap<OsString, u64>> {
        match self.nodes.get_mut(&number)? {
            Node::Dir(entries) => Some(entries),
            Node::File(_) => None,
        }
    }

    pub fn file(&self, number: u64) -> Option<&File> {
        match self.nodes.get(&number)? {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        }
    }

    pub fn file_mut(&mut self, number: u64) -> Option<&mut File> {
        match self.nodes.get_mut(&number)? {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        }
    }

    /// The name that it has, or had last.
    pub fn name(&self, number: u64) -> &OsStr {
        self.names.get(&number).map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// Gives the number of what was made; `None` without such a directory.
    pub fn make(&mut self, parent: u64, name: &OsStr, node: Node) -> Option<u64> {
        let number = ROOT + self.nodes.len() as u64;
        let before = self.dir_mut(parent)?.insert(name.to_owned(), number);
        assert!(before.is_none(), "the kernel looks first");
        self.nodes.insert(number, node);
        self.names.insert(number, name.to_owned());
        Some(number)
    }

    /// False if it is not there.
    pub fn remove(&mut self, parent: u64, name: &OsStr) -> bool {
        self.dir_mut(parent).is_some_and(|entries| entries.remove(name).is_some())
    }

    /// False if it is not there.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> bool {
        let Some(number) = self.dir_mut(from.0).and_then(|entries| entries.remove(from.1)) else {
            return false;
        };
        self.names.insert(number, to.1.to_owned());
        self.dir_mut(to.0).is_some_and(|entries| {
            entries.insert(to.1.to_owned(), number);
            true
        })
    }

    /// The power goes: of what was not synced only these blocks, of each file, have made it to the medium.
    pub fn lose_power(&mut self, made_it: impl Fn(u64) -> bool) {
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.lose(&made_it);
                let len = file.medium.len;
                file.set_len(len);
                file.sync();
            }
        }
    }
}

#[test]
fn what_was_synced_stays_and_what_was_not_goes() {
    let mut file = File::default();
    file.write(0, &[1; 3 * BLOCK]);
    file.sync();
    file.write(BLOCK as u64 - 1, &[2; 2]);
    file.write(5 * BLOCK as u64, &[3]);
    assert_eq!(file.read(BLOCK as u64 - 2, 4), [1, 2, 2, 1]);
    assert_eq!(file.len(), 5 * BLOCK as u64 + 1);
    file.lose(|block| block == 1);
    assert_eq!(file.read(BLOCK as u64 - 2, 4), [1, 1, 2, 1], "the second block has made it");
    file.set_len(BLOCK as u64 - 1);
    assert_eq!(file.read(0, 2 * BLOCK), [1; BLOCK - 1]);
    file.set_len(3 * BLOCK as u64);
    assert_eq!(file.read(BLOCK as u64 - 2, 3), [1, 0, 0]);
    file.lose(|_| false);
    assert_eq!(file.read(BLOCK as u64 - 2, 4), [1, 1, 2, 1], "the medium has it as it was synced");
    assert_eq!(file.read(2 * BLOCK as u64, BLOCK), [1; BLOCK]);
}

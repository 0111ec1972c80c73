//! Real processes for the integration tests: the `ringmq` binary, Apache's servers, the official clients.
//!
//! Invariants: everything listens on 127.0.0.1 and on ports that the system chose; whatever a test started ends
//! with it, by its own process id, and what it left on disks and in memory is removed, whether the test passes or panics; every wait has a limit and says in its failure what
//! was waited for and what the process wrote last.

// Each test binary compiles this module for itself and uses a part of it.
#![allow(dead_code)]

pub mod load;
pub mod process;
pub mod proxy;
pub mod remoting;
pub mod server;
pub mod suite;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The repository, where the clients' projects are.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of this test, removed at its end, as are the rings of stores in it whose servers were killed. It is below
/// cargo's target directory, so on a disk and not on a tmpfs, which has no O_DIRECT on older kernels.
pub fn scratch() -> Scratch {
    let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&base).expect("create cargo's directory for tests");
    Scratch(tempfile::tempdir_in(base).expect("create a directory for the test"))
}

pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for store in stores(self.path()) {
            remove_rings(store);
        }
    }
}

/// The ids of the stores below a directory.
fn stores(dir: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(stores(&entry.path()));
        } else if entry.file_name() == "MANIFEST" {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let id = bytes.get(32..40).map(|id| u64::from_le_bytes(id.try_into().expect("8 bytes")));
            found.extend(id);
        }
    }
    found
}

/// A ring that a killed server left for its next start, which does not come. Its name begins with the store's id.
fn remove_rings(store: u64) {
    let prefix = format!("ringmq-{store:016x}-");
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The rings that a process has mapped.
pub fn rings_of(process: u32) -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("read its maps");
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    paths.filter(|path| path.ends_with(".ring")).map(PathBuf::from).collect()
}

/// The rings of a store that [`scratch`] does not see, for it is on a disk of its own: removed at the end.
pub struct Rings(BTreeSet<PathBuf>);

impl Rings {
    pub fn of(process: u32) -> Self {
        Self(rings_of(process))
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for ring in &self.0 {
            let _ = std::fs::remove_file(ring);
        }
    }
}

/// One test with servers and JVMs at a time: scenarios have bounds on latency, and a JVM beside another one on a small
/// machine breaks them. A test that panicked while it held the turn does not spoil it for the next.
pub fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

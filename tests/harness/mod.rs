//! Real processes for the integration tests: the `ringmq` binary, Apache's servers, the official clients.
//!
//! Invariants: everything listens on 127.0.0.1 and on ports that the system chose; whatever a test started ends
//! with it, by its own process id, whether the test passes or panics; every wait has a limit and says in its failure what
//! was waited for and what the process wrote last.

// Each test binary compiles this module for itself and uses a part of it.
#![allow(dead_code)]

pub mod load;
pub mod process;
pub mod proxy;
pub mod remoting;
pub mod server;
pub mod suite;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The repository, where the clients' projects are.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of this test, removed at its end. It is below cargo's target directory, so on a disk and not on a
/// tmpfs, which has no O_DIRECT on older kernels.
pub fn scratch() -> tempfile::TempDir {
    let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&base).expect("create cargo's directory for tests");
    tempfile::tempdir_in(base).expect("create a directory for the test")
}

/// One test with servers and JVMs at a time: scenarios have bounds on latency, and a JVM beside another one on a small
/// machine breaks them. A test that panicked while it held the turn does not spoil it for the next.
pub fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

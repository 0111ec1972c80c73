//! A disk in the memory of the test that fails, stalls and loses power when it is told to, served to the kernel by FUSE.
//!
//! Invariants: nobody else sees its mount, which ends with this process at the latest; once it is taken off, or its power is
//! gone, nothing that a dead process's operations still do reaches what is on it.
//! On failure: a kernel or a container that does not let a test mount such a disk is told, and the test is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config};
use nix::sched::{CloneFlags, unshare};

use super::contents::Contents;
use super::serve::Served;

/// What a device does that does not work as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next sync of a segment fails with EIO, once, and what was written to it since its last good one is gone.
    FailSync,
    /// Each write to a segment fails with EIO.
    FailWrites,
    /// The next sync of a segment takes so long, and nothing else is done meanwhile.
    Stall(Duration),
}

/// What is on the disk and what it was told, for all that have been put on it.
pub(super) struct State {
    pub contents: Contents,
    pub order: Option<Order>,
    /// When an order was last carried out.
    pub carried_out: Option<Instant>,
    /// The number of the mount that is served; others find a device that is gone.
    pub mount: u64,
}

pub(super) type Shared = Arc<Mutex<State>>;

pub(super) fn locked(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics with it")
}

pub struct Disk(Shared);

/// The disk, as long as it is mounted.
pub struct Attached {
    state: Shared,
    at: PathBuf,
    _session: BackgroundSession,
}

impl Disk {
    pub fn empty() -> Self {
        let state = State { contents: Contents::new(), order: None, carried_out: None, mount: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Puts it, healthy, where a program looks for it. `None`, with the reason printed, if the kernel does not let us.
    pub fn attach(&self, at: &Path) -> Option<Attached> {
        fs::create_dir_all(at).expect("create a mount point");
        let mount = {
            let mut state = locked(&self.0);
            state.mount += 1;
            state.order = None;
            state.mount
        };
        match fuser::spawn_mount(Served::new(&self.0, mount), at, &Config::default()) {
            Ok(session) => Some(Attached { state: self.0.clone(), at: at.to_owned(), _session: session }),
            Err(error) => {
                println!("SKIPPED: cannot mount a disk of our own: needs root and FUSE: {error}");
                None
            }
        }
    }
}

impl Attached {
    pub fn order(&self, order: Order) {
        let mut state = locked(&self.state);
        (state.order, state.carried_out) = (Some(order), None);
    }

    /// Waits until the order was carried out, or has begun to be; gives when.
    pub fn obeyed(&self, limit: Duration) -> Instant {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = locked(&self.state).carried_out {
                return at;
            }
            assert!(Instant::now() < deadline, "no segment was written or synced within {limit:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The power goes: whatever is asked from now on fails, and of what was not synced each file keeps only every other block, or
    /// nothing. Gives when.
    pub fn lose_power(&self, torn: bool) -> Instant {
        let mut state = locked(&self.state);
        state.mount += 1;
        state.contents.lose_power(|block| torn && block % 2 == 1);
        Instant::now()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // A dead process may hold it for a moment longer.
        locked(&self.state).mount += 1;
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !std::thread::panicking() {
            assert!(unmounted.is_ok_and(|status| status.success()), "umount {}", self.at.display());
        }
    }
}

/// Runs a test where no other process sees what it mounts. Not at all, with the reason printed, if we may not.
pub fn unseen(test: impl FnOnce() + Send + 'static) {
    // A thread has a view of its own of what is mounted, and the processes that it starts have the same.
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
            println!("SKIPPED: cannot mount a disk of our own: needs root and FUSE: {error}");
            return;
        }
        let private = Command::new("mount").args(["--make-rprivate", "/"]).status();
        assert!(private.is_ok_and(|status| status.success()), "mount --make-rprivate /");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

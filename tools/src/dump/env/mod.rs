//! `Offline`: an environment for looking at a store. The store's own code runs in it unchanged, recovery included, and
//! nothing reaches the disk.
//!
//! Owns: the machine as one command sees it: files whose changes stay in memory (`disk`, `file`), no network and no other
//! cores (`absent`), the real clock. Invariants: nothing on disk is created, written, renamed or removed; the lock of a
//! directory is shared, so that commands may run side by side and a broker may not run beside them. Tasks are dropped
//! unrun: what a shard does in the background is not asked for here.

mod absent;
mod disk;
mod file;

use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringmq_io::{Class, Env, VitalSigns};

use absent::{NoMesh, NoNet};
pub use disk::{Change, OfflineDisk};

#[derive(Clone)]
pub struct Offline {
    disk: OfflineDisk,
    begun: Instant,
}

impl Offline {
    pub fn new() -> Self {
        Self { disk: OfflineDisk::default(), begun: Instant::now() }
    }

    /// Files that would be different on disk, had this been for real.
    pub fn disk_changes(&self) -> Vec<(PathBuf, Change)> {
        self.disk.changes()
    }
}

impl Env for Offline {
    type Disk = OfflineDisk;
    type Net = NoNet;
    type Mesh = NoMesh;

    fn disk(&self) -> &OfflineDisk {
        &self.disk
    }

    fn net(&self) -> &NoNet {
        &NoNet
    }

    fn mesh(&self) -> &NoMesh {
        &NoMesh
    }

    fn core(&self) -> usize {
        0
    }

    fn cores(&self) -> usize {
        1
    }

    fn now_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn random(&self) -> u64 {
        std::hash::RandomState::new().build_hasher().finish()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        // The only task of its thread.
        std::future::poll_fn(move |_| {
            std::thread::sleep(time);
            Poll::Ready(())
        })
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        std::future::ready(())
    }

    fn spawn(&self, _class: Class, task: impl Future<Output = ()> + 'static) {
        drop(task);
    }

    fn vital_signs(&self) -> VitalSigns {
        VitalSigns::default()
    }
}

//! `Offline`: an environment for looking at a store. The store's own code runs in it unchanged, recovery included, and
//! nothing reaches the disk.
//!
//! Owns: the machine as one command sees it: files whose changes stay in memory (`disk`, `file`), no network and no other
//! cores (`absent`), the real clock. Invariants: nothing on disk is created, written, renamed or removed; the lock of a
//! directory is shared, so that commands may run side by side and a broker may not run beside them. Of the tasks that a shard
//! starts only its cold reads run, which somebody waits for; flushing, sealing and recycling are not asked for here.

mod absent;
mod disk;
mod file;

use std::cell::RefCell;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringmq_io::{Class, Env, VitalSigns};

use absent::{NoMesh, NoNet};
pub use disk::{Change, OfflineDisk};

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone)]
pub struct Offline {
    disk: OfflineDisk,
    begun: Instant,
    tasks: Rc<RefCell<Vec<Task>>>,
}

impl Offline {
    pub fn new() -> Self {
        Self { disk: OfflineDisk::default(), begun: Instant::now(), tasks: Rc::default() }
    }

    /// Runs to the end. Nothing here waits for anything outside of the process, so whoever is asked again goes on.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(value) = main.as_mut().poll(&mut context) {
                return value;
            }
            let tasks = self.tasks.take();
            assert!(!tasks.is_empty(), "waits for something that never happens in a store that is looked at");
            for mut task in tasks {
                if task.as_mut().poll(&mut context).is_pending() {
                    self.tasks.borrow_mut().push(task);
                }
            }
        }
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

    fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        if class == Class::ColdRead {
            self.tasks.borrow_mut().push(Box::pin(task));
        }
    }

    fn vital_signs(&self) -> VitalSigns {
        VitalSigns::default()
    }
}

#[cfg(test)]
mod tests {
    use ringmq_io::sync::Event;

    use super::*;

    #[test]
    fn a_cold_read_runs_and_other_tasks_do_not() {
        let env = Offline::new();
        let done = Rc::new(Event::new());
        let told = done.clone();
        env.spawn(Class::Background, async { panic!("nobody asked for it") });
        env.spawn(Class::ColdRead, async move { told.notify() });
        let waited = async {
            done.wait().await;
            7
        };
        assert_eq!(env.run(waited), 7);
    }
}

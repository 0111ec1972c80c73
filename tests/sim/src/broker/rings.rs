//! What becomes of a broker's hot rings between two lives, other than to be there as they were left.
//!
//! Owns: the copies of rings that come into the place of others. Invariant: each takes the place of the same shard's. Without a
//! ring a broker is as after a power loss; whatever a ring of another time or of another store has must not appear.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use ringmq_simenv::CrashKind;

use super::books::Books;
use super::plan::Life;
use super::{Scene, clients};
use crate::plan::RingFate;
use crate::run::rings;

const STALE: &str = "stale";
const FOREIGN: &str = "foreign";
const OTHER_DATA: &str = "/other";
/// Rounds of messages to each queue of another store.
const FOREIGN_ROUNDS: usize = 4;

/// Where the ring of a shard is kept, which the end of its name tells.
fn kept(kind: &str, ring: &std::path::Path) -> PathBuf {
    let name = ring.file_name().and_then(|name| name.to_str()).expect("a ring has a name");
    let shard = name.rsplit('-').next().expect("at least one part");
    PathBuf::from(format!("/{kind}-{shard}"))
}

impl Scene<'_> {
    /// Puts the rings of another store aside, as they are after a kill, if they are to come into the place of ours.
    pub(super) fn keep_foreign_rings(&self) {
        if self.plan.lives.iter().all(|life| life.rings != RingFate::Foreign) {
            return;
        }
        let start = self.start_with(OTHER_DATA);
        let opened = self.world.run_until(|| start.is_ready.get(), super::START_TIME_MAX);
        assert!(opened, "no fault, but no start: {:?}", start.failures.borrow());
        let books = Rc::new(RefCell::new(Books::new(self.machine.clone(), &self.plan)));
        for _ in 0..FOREIGN_ROUNDS {
            let (addr, books) = (self.addr, books.clone());
            self.world.run(&self.auditor, |env| clients::are_served(env, addr, books));
        }
        self.machine.crash(CrashKind::Process);
        for ring in rings(&self.machine) {
            assert!(self.machine.copy_file(&ring, kept(FOREIGN, &ring)) && self.machine.remove_file(&ring));
        }
        for (path, _) in self.machine.files().into_iter().filter(|(path, _)| path.starts_with(OTHER_DATA)) {
            self.machine.remove_file(path);
        }
    }

    /// As they are before a life, for after it.
    pub(super) fn keep_rings(&self, life: &Life) {
        if life.rings == RingFate::Stale {
            rings(&self.machine)
                .iter()
                .for_each(|ring| assert!(self.machine.copy_file(ring, kept(STALE, ring))));
        }
    }

    /// Whether what the rings had is gone.
    pub(super) fn change_rings(&self, life: &Life) -> bool {
        let mut are_lost = false;
        if life.end == CrashKind::Process {
            for ring in rings(&self.machine) {
                are_lost |= match life.rings {
                    RingFate::Kept => false,
                    RingFate::Lost => self.machine.remove_file(&ring),
                    RingFate::Stale => self.machine.copy_file(kept(STALE, &ring), &ring),
                    RingFate::Foreign => self.machine.copy_file(kept(FOREIGN, &ring), &ring),
                };
            }
        }
        for (path, _) in self.machine.files() {
            if path.to_str().is_some_and(|path| path.starts_with(&format!("/{STALE}-"))) {
                self.machine.remove_file(path);
            }
        }
        are_lost
    }
}

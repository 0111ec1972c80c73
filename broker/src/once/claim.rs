//! The right to store the message of one unique key.
//!
//! Invariants: it ends exactly once, with the message stored or not; whoever drops it before has not stored the message. It
//! goes with the request from core to core: the one left behind is disarmed.
//! On failure: a process that dies takes it along; the log says what was stored.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use ringmq_io::Env;

use crate::core::Core;

/// Names a claim; crosses cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimName {
    /// The core that granted it.
    pub home: u16,
    pub number: u64,
}

pub struct Claim<E: Env> {
    core: Weak<Core<E>>,
    name: ClaimName,
    ended: Cell<bool>,
}

impl<E: Env> Claim<E> {
    pub fn new(core: &Rc<Core<E>>, name: ClaimName) -> Rc<Self> {
        Rc::new(Self { core: Rc::downgrade(core), name, ended: Cell::new(false) })
    }

    pub fn name(&self) -> ClaimName {
        self.name
    }

    /// Another core has it now.
    pub fn passed_on(&self) {
        assert!(!self.ended.replace(true), "a claim ends once");
    }

    /// The message was laid into the log.
    pub fn stored(&self, physical: u64) {
        assert!(!self.ended.replace(true), "a claim ends once");
        self.tell(Some(physical));
    }

    fn tell(&self, stored: Option<u64>) {
        // Without a core the process is ending.
        if let Some(core) = self.core.upgrade() {
            core.tell_claim(self.name, stored);
        }
    }
}

impl<E: Env> Drop for Claim<E> {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.tell(None);
        }
    }
}

//! Keeps a file up to date with something in memory, one write at a time.
//!
//! Invariants: a change's future is done when a write that contains it is durable; changes that come while a write is
//! under way share the next one. A failed write fails the changes that it contained; the next change writes all again.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringmq_io::sync::Event;
use ringmq_io::{Class, Env};
use thiserror::Error;
use tracing::error;

use crate::durable_text;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("changed in memory but not on disk: {0}")]
pub struct NotDurable(String);

pub struct Saver<E: Env> {
    env: E,
    path: PathBuf,
    /// The file's next content.
    render: Box<dyn Fn() -> String>,
    changes: Cell<u64>,
    /// The last change that a finished write contained, and the last that a failed one did.
    written: Cell<u64>,
    failed: RefCell<(u64, String)>,
    writing: Cell<bool>,
    settled: Event,
}

impl<E: Env> Saver<E> {
    pub fn new(env: &E, path: &Path, render: impl Fn() -> String + 'static) -> Rc<Self> {
        Rc::new(Self {
            env: env.clone(),
            path: path.to_owned(),
            render: Box::new(render),
            changes: Cell::new(0),
            written: Cell::new(0),
            failed: RefCell::default(),
            writing: Cell::new(false),
            settled: Event::new(),
        })
    }

    /// Something has changed. The write happens whether or not the future is awaited.
    pub fn changed(self: &Rc<Self>) -> impl Future<Output = Result<(), NotDurable>> + use<E> {
        let change = self.changes.get() + 1;
        self.changes.set(change);
        if !self.writing.replace(true) {
            self.env.spawn(Class::Background, self.clone().write());
        }
        let saver = self.clone();
        async move {
            loop {
                if saver.written.get() >= change {
                    return Ok(());
                }
                if saver.failed.borrow().0 >= change {
                    return Err(NotDurable(saver.failed.borrow().1.clone()));
                }
                saver.settled.wait().await;
            }
        }
    }

    /// Waits until no write is under way.
    pub async fn idle(&self) {
        while self.writing.get() {
            self.settled.wait().await;
        }
    }

    async fn write(self: Rc<Self>) {
        let mut seen = 0;
        while seen < self.changes.get() {
            seen = self.changes.get();
            match durable_text::replace(self.env.disk(), &self.path, &(self.render)()).await {
                Ok(()) => self.written.set(seen),
                Err(error) => {
                    error!(path = %self.path.display(), %error, "cannot write");
                    *self.failed.borrow_mut() = (seen, format!("{}: {error}", self.path.display()));
                }
            }
            self.settled.notify();
        }
        self.writing.set(false);
        self.settled.notify();
    }
}

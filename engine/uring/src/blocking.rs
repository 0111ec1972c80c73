//! One thread a core for system calls that block and that io_uring does not have or would hand to a
//! thread of its own anyway: open, rename, list, map, lock.
//!
//! Our own instead of glommio's: its results are seen only when the executor polls its rings, and one
//! that comes after the executor's end panics. Invariants: jobs run in order; at most
//! [`BLOCKING_JOBS_MAX`] are queued; a job whose future was dropped runs all the same.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{Builder, JoinHandle};

use ringmq_io::limits::BLOCKING_JOBS_MAX;
use ringmq_io::sync::Event;

use crate::doorbell::Doorbell;
use crate::driver::Inbox;

type Job = Box<dyn FnOnce() + Send>;

/// The thread's side, made before the cores are pinned, so that it may run on any CPU of the process.
pub(crate) struct BlockingThread {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl BlockingThread {
    pub(crate) fn start(core: usize) -> io::Result<Self> {
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = channel();
        let thread = Builder::new().name(format!("ringmq-disk-{core}")).spawn(move || {
            crate::launch::abort_on_panic_here();
            for job in queue {
                job();
            }
        })?;
        Ok(Self { jobs, thread })
    }
}

pub(crate) struct Blocking {
    jobs: RefCell<Option<Sender<Job>>>,
    thread: RefCell<Option<JoinHandle<()>>>,
    bell: Arc<Doorbell>,
    under_way: Cell<usize>,
    done: Event,
    waiting: RefCell<Vec<Waker>>,
}

impl Blocking {
    pub(crate) fn new(thread: BlockingThread, bell: Arc<Doorbell>) -> Rc<Self> {
        Rc::new(Self {
            jobs: RefCell::new(Some(thread.jobs)),
            thread: RefCell::new(Some(thread.thread)),
            bell,
            under_way: Cell::new(0),
            done: Event::new(),
            waiting: RefCell::default(),
        })
    }

    /// Runs `work` on the blocking thread.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        while self.under_way.get() >= BLOCKING_JOBS_MAX {
            self.done.wait().await;
        }
        let slot: Arc<Mutex<Option<io::Result<R>>>> = Arc::default();
        let job = {
            let (slot, bell) = (slot.clone(), self.bell.clone());
            move || {
                let result = work();
                *slot.lock().expect("never poisoned: a panic aborts") = Some(result);
                bell.ring();
            }
        };
        match &*self.jobs.borrow() {
            Some(jobs) => jobs.send(Box::new(job)).map_err(|_| ended())?,
            None => return Err(ended()),
        }
        self.under_way.set(self.under_way.get() + 1);
        let _finish = Finish(self);
        poll_fn(|cx| match slot.lock().expect("never poisoned: a panic aborts").take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Ends the thread after the jobs that are queued.
    pub(crate) fn stop(&self) {
        self.jobs.borrow_mut().take();
        if let Some(thread) = self.thread.borrow_mut().take() {
            thread.join().expect("a panic of the blocking thread aborts the process");
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the core is ending: no more file operations")
}

struct Finish<'a>(&'a Blocking);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.done.notify();
    }
}

impl Inbox for Blocking {
    fn look(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

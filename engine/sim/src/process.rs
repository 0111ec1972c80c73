//! A running process of a host: its cores, and the operations it has under way.
//!
//! After its end, or once it is doomed (killed in the middle of a poll), nothing that it asks for
//! takes effect: operations stay pending for ever and lanes are full.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringmq_io::sync::Event;

use crate::faults::NetFaults;
use crate::host::HostState;
use crate::sched::TimerKey;
use crate::world::Inner;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Killed within the poll that runs now; ends when it returns.
    Doomed,
    Ended,
}

pub(crate) struct Process {
    pub id: u64,
    pub inner: Rc<Inner>,
    pub host: Rc<HostState>,
    pub cores: usize,
    pub started_ns: u64,
    pub life: Cell<Life>,
    pub mains_left: Cell<usize>,
    /// The meshes in the order of their joins; see [`crate::mesh`].
    pub meshes: RefCell<Vec<Rc<dyn Any>>>,
    pub mesh_joined: Event,
    pub pools: Vec<RecvPool>,
}

/// The receive buffers of one core: receiving waits when all are out, as with the kernel's pool.
#[derive(Default)]
pub(crate) struct RecvPool {
    pub out: Cell<usize>,
    pub returned: Event,
}

impl Process {
    pub fn runs(&self) -> bool {
        self.life.get() == Life::Running
    }

    pub fn net_faults<T>(&self, look: impl FnOnce(&NetFaults) -> T) -> T {
        look(&self.host.faults.borrow().net)
    }

    pub fn event(&self, what: &'static str, a: u64, b: u64) {
        self.inner.event(Some(self.host.index), what, a, b);
    }

    /// The result of `work`, which runs after `wait` unless the process has ended by then. Submitted
    /// now: dropping the operation does not stop it, as with an io_uring submission.
    pub fn after<T: 'static>(
        self: &Rc<Self>,
        wait: Duration,
        work: impl FnOnce(&Rc<Inner>) -> T + 'static,
    ) -> Op<T> {
        let slot = Rc::new(Slot { value: RefCell::new(None), waker: RefCell::new(None) });
        if self.runs() {
            let filled = slot.clone();
            self.inner.after(
                wait,
                Some(self.id),
                Box::new(move |inner| {
                    let value = work(inner);
                    *filled.value.borrow_mut() = Some(value);
                    if let Some(waker) = filled.waker.take() {
                        waker.wake();
                    }
                }),
            );
        }
        Op(slot)
    }

    pub fn sleep(self: &Rc<Self>, time: Duration) -> Sleep {
        let process = self.clone();
        let deadline = self.inner.sched.now().saturating_add(time.as_nanos() as u64);
        Sleep { process, deadline, fired: Rc::default(), timer: None }
    }
}

struct Slot<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

/// An operation under way.
pub(crate) struct Op<T>(Rc<Slot<T>>);

impl<T> Future for Op<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.0.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.0.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

#[derive(Default)]
struct Fired {
    yes: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

pub(crate) struct Sleep {
    process: Rc<Process>,
    deadline: u64,
    fired: Rc<Fired>,
    timer: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.fired.yes.get() || (self.timer.is_none() && self.process.inner.sched.now() >= self.deadline) {
            return Poll::Ready(());
        }
        self.fired.waker.replace(Some(cx.waker().clone()));
        if self.timer.is_none() {
            let fired = self.fired.clone();
            let timer = self.process.inner.sched.at(
                self.deadline,
                Some(self.process.id),
                Box::new(move |_| {
                    fired.yes.set(true);
                    if let Some(waker) = fired.waker.take() {
                        waker.wake();
                    }
                }),
            );
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.process.inner.sched.cancel(timer);
        }
    }
}

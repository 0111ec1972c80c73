//! The seeded executor: tasks, rounds and timers of all simulated cores, on one thread.
//!
//! Each core runs in rounds. A round polls what was ready at its start, once, in an order drawn from
//! the seed; what is woken meanwhile belongs to the next round. Which core runs next is drawn too.
//! Time stands still except for a little with every poll, and jumps to the next timer when nothing is
//! ready. Futures and timer actions are dropped outside of every borrow, since their destructors call
//! back into the world.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use crate::rng::Rng;
use crate::world::Inner;

/// A core of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CoreKey {
    pub process: u64,
    pub core: usize,
}

pub(crate) type Action = Box<dyn FnOnce(&Rc<Inner>)>;
pub(crate) type TimerKey = (u64, u64);

pub(crate) struct Task {
    pub core: CoreKey,
    pub future: Pin<Box<dyn Future<Output = ()>>>,
    pub waker: Waker,
    wake: Arc<TaskWake>,
}

struct TaskWake {
    id: u64,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.lock().expect("no panic while waking").push(self.id);
        }
    }
}

#[derive(Default)]
struct CoreQueue {
    round: u64,
    current: Vec<u64>,
    next: Vec<u64>,
}

struct Timer {
    process: Option<u64>,
    action: Action,
}

#[derive(Default)]
pub(crate) struct Sched {
    now: Cell<u64>,
    serial: Cell<u64>,
    woken: Arc<Mutex<Vec<u64>>>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    cores: RefCell<BTreeMap<CoreKey, CoreQueue>>,
    timers: RefCell<BTreeMap<TimerKey, Timer>>,
}

impl Sched {
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn advance(&self, to: u64) {
        assert!(to >= self.now.get(), "virtual time never goes back");
        self.now.set(to);
    }

    /// A number that is never used again in this world.
    pub fn serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    pub fn add_core(&self, key: CoreKey) {
        self.cores.borrow_mut().insert(key, CoreQueue::default());
    }

    pub fn has_core(&self, key: CoreKey) -> bool {
        self.cores.borrow().contains_key(&key)
    }

    pub fn spawn(&self, core: CoreKey, future: Pin<Box<dyn Future<Output = ()>>>) {
        let id = self.serial();
        let wake = Arc::new(TaskWake { id, queued: AtomicBool::new(false), woken: self.woken.clone() });
        let waker = Waker::from(wake.clone());
        waker.wake_by_ref();
        self.tasks.borrow_mut().insert(id, Task { core, future, waker, wake });
    }

    /// The round that `core` is in; see [`crate::env::YieldNow`].
    pub fn round(&self, core: CoreKey) -> u64 {
        self.cores.borrow().get(&core).map_or(u64::MAX, |queue| queue.round)
    }

    /// Takes the task that runs next out of the table; [`Sched::put_back`] returns it.
    pub fn pick(&self, rng: &Rng) -> Option<(u64, Task)> {
        loop {
            self.sort_woken();
            let mut cores = self.cores.borrow_mut();
            let ready = cores.values().filter(|q| !q.current.is_empty() || !q.next.is_empty()).count();
            if ready == 0 {
                return None;
            }
            let queue = cores
                .values_mut()
                .filter(|q| !q.current.is_empty() || !q.next.is_empty())
                .nth(rng.index(ready))
                .expect("counted above");
            if queue.current.is_empty() {
                queue.round += 1;
                std::mem::swap(&mut queue.current, &mut queue.next);
                rng.shuffle(&mut queue.current);
            }
            let id = queue.current.pop().expect("not empty");
            drop(cores);
            if let Some(task) = self.tasks.borrow_mut().remove(&id) {
                task.wake.queued.store(false, Ordering::Relaxed);
                return Some((id, task));
            }
        }
    }

    pub fn put_back(&self, id: u64, task: Task) {
        self.tasks.borrow_mut().insert(id, task);
    }

    fn sort_woken(&self) {
        let woken = std::mem::take(&mut *self.woken.lock().expect("no panic while waking"));
        let tasks = self.tasks.borrow();
        let mut cores = self.cores.borrow_mut();
        for id in woken {
            if let Some(task) = tasks.get(&id)
                && let Some(queue) = cores.get_mut(&task.core)
            {
                queue.next.push(id);
            }
        }
    }

    /// Runs `action` at `at`, unless `process` has ended by then.
    pub fn at(&self, at: u64, process: Option<u64>, action: Action) -> TimerKey {
        let key = (at.max(self.now()), self.serial());
        self.timers.borrow_mut().insert(key, Timer { process, action });
        key
    }

    pub fn cancel(&self, key: TimerKey) {
        let timer = self.timers.borrow_mut().remove(&key);
        drop(timer);
    }

    pub fn next_timer(&self) -> Option<u64> {
        self.timers.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    pub fn take_due(&self) -> Option<Action> {
        let mut timers = self.timers.borrow_mut();
        let entry = timers.first_entry()?;
        (entry.key().0 <= self.now()).then(|| entry.remove().action)
    }

    /// Drops every task and timer of a process; of all when `None`.
    pub fn end(&self, process: Option<u64>) {
        let ends = |of: u64| process.is_none_or(|p| p == of);
        let mut tasks = Vec::new();
        let mut timers = Vec::new();
        {
            let mut all = self.tasks.borrow_mut();
            let ids: Vec<u64> = all.iter().filter(|(_, t)| ends(t.core.process)).map(|(id, _)| *id).collect();
            tasks.extend(ids.into_iter().filter_map(|id| all.remove(&id)));
            self.cores.borrow_mut().retain(|key, _| !ends(key.process));
            let mut all = self.timers.borrow_mut();
            let keys: Vec<TimerKey> = all
                .iter()
                .filter(|(_, t)| process.is_none() || t.process.is_some_and(ends))
                .map(|(key, _)| *key)
                .collect();
            timers.extend(keys.into_iter().filter_map(|key| all.remove(&key)));
        }
        drop(tasks);
        drop(timers);
    }
}

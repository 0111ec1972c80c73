//! `World`: the machines, their network and their time, all from one seed.
//!
//! Owns the run loop. A panic in a task passes through it to the caller; a world that is dropped
//! while panicking prints its seed and its newest events.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use crate::env::SimEnv;
use crate::host::{CrashKind, Host, HostState};
use crate::net::NetState;
use crate::rng::Rng;
use crate::sched::{Action, Sched, TimerKey};
use crate::trace::{POLL, Trace, TraceEvent};

/// What the wall clock shows when a world begins (2023-11-14T22:13:20Z).
pub const EPOCH_MS: i64 = 1_700_000_000_000;

pub(crate) struct Inner {
    pub seed: u64,
    pub sched: Sched,
    pub trace: Trace,
    pub order: Rng,
    pub disk: Rng,
    pub net_rng: Rng,
    pub values: Rng,
    pub hosts: RefCell<Vec<Rc<HostState>>>,
    pub net: NetState,
    /// Processes to end once the task that is running has returned.
    pub ending: RefCell<Vec<(Rc<HostState>, CrashKind)>>,
    steps: Cell<u64>,
}

impl Inner {
    pub fn event(&self, host: Option<usize>, what: &'static str, a: u64, b: u64) {
        self.trace.add(TraceEvent { at_ns: self.sched.now(), host, what, a, b, note: None });
    }

    pub fn note(&self, host: Option<usize>, what: &'static str, note: String) {
        self.trace.add(TraceEvent {
            at_ns: self.sched.now(),
            host,
            what,
            a: 0,
            b: note.len() as u64,
            note: Some(note),
        });
    }

    pub fn after(&self, wait: Duration, process: Option<u64>, action: Action) -> TimerKey {
        self.sched.at(self.sched.now() + wait.as_nanos() as u64, process, action)
    }
}

/// The owner of a simulated world. Dropping it drops every task in it.
pub struct World(Rc<Inner>);

impl World {
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            seed,
            sched: Sched::default(),
            trace: Trace::default(),
            order: Rng::stream(seed, "order"),
            disk: Rng::stream(seed, "disk"),
            net_rng: Rng::stream(seed, "net"),
            values: Rng::stream(seed, "values"),
            hosts: RefCell::default(),
            net: NetState::default(),
            ending: RefCell::default(),
            steps: Cell::new(0),
        }))
    }

    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// A stream for the test's own choices, independent of the world's.
    pub fn rng(&self, label: &str) -> Rng {
        Rng::stream(self.0.seed, label)
    }

    /// The machine of that name; made on first use, with an empty disk.
    pub fn host(&self, name: &str) -> Host {
        let mut hosts = self.0.hosts.borrow_mut();
        let found = hosts.iter().find(|host| host.name == name).cloned();
        let state = found.unwrap_or_else(|| {
            let state = Rc::new(HostState::new(hosts.len(), name, EPOCH_MS));
            hosts.push(state.clone());
            state
        });
        Host::new(self.0.clone(), state)
    }

    /// Virtual time since the world began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.sched.now())
    }

    /// How many times a task has been polled.
    pub fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    /// Polls one ready task, or lets time jump to the next timer. False when there is neither.
    pub fn step(&self) -> bool {
        let inner = &self.0;
        while let Some(action) = inner.sched.take_due() {
            action(inner);
        }
        if let Some((id, mut task)) = inner.sched.pick(&inner.order) {
            inner.event(None, POLL, id, task.core.core as u64);
            inner.steps.set(inner.steps.get() + 1);
            let waker = task.waker.clone();
            let done = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            // Put back before anything ends, so that the end drops it with the others; a task that
            // ended its own process has no core to go back to.
            if done || !inner.sched.has_core(task.core) {
                drop(task);
            } else {
                inner.sched.put_back(id, task);
            }
            inner.sched.advance(inner.sched.now() + inner.order.within(100..=2000));
            self.end_processes();
            return true;
        }
        let Some(at) = inner.sched.next_timer() else { return false };
        inner.sched.advance(at.max(inner.sched.now()));
        if let Some(action) = inner.sched.take_due() {
            action(inner);
        }
        self.end_processes();
        true
    }

    fn end_processes(&self) {
        loop {
            let ending = std::mem::take(&mut *self.0.ending.borrow_mut());
            if ending.is_empty() {
                return;
            }
            for (host, kind) in ending {
                Host::new(self.0.clone(), host).crash(kind);
            }
        }
    }

    /// At most `steps` steps; false when the world came to rest before.
    pub fn run_steps(&self, steps: u64) -> bool {
        (0..steps).all(|_| self.step())
    }

    pub fn run_for(&self, time: Duration) {
        let end = self.0.sched.now() + time.as_nanos() as u64;
        // The last step may be a timer beyond the end: mark the end with a timer of its own.
        self.0.sched.at(end, None, Box::new(|_| {}));
        while self.0.sched.now() < end && self.step() {}
    }

    /// Runs until `done`; false when `most` virtual time has passed or nothing can happen any more.
    pub fn run_until(&self, mut done: impl FnMut() -> bool, most: Duration) -> bool {
        let end = self.0.sched.now() + most.as_nanos() as u64;
        while !done() {
            if self.0.sched.now() >= end || !self.step() {
                return done();
            }
        }
        true
    }

    /// Runs a process of one core on `host` until its main task returns, and gives its result.
    pub fn run<F, T>(&self, host: &Host, main: impl FnOnce(SimEnv) -> F) -> T
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let result = Rc::new(RefCell::new(None));
        let slot = result.clone();
        let main = RefCell::new(Some(main));
        host.start(1, move |env| {
            let task = (main.borrow_mut().take().expect("one core"))(env);
            let slot = slot.clone();
            async move {
                let value = task.await;
                *slot.borrow_mut() = Some(value);
            }
        });
        let ended = self.run_until(|| result.borrow().is_some(), Duration::from_secs(24 * 3600));
        assert!(ended, "the main task did not end: it waits for something that never happens");
        self.run_until(|| !host.is_up(), Duration::from_secs(1));
        let value = result.borrow_mut().take();
        value.expect("checked above")
    }

    /// Nothing passes from one host to the other, in both directions, until [`World::heal`].
    pub fn partition(&self, one: &Host, other: &Host) {
        for (from, to) in [(one, other), (other, one)] {
            self.cut_link(from, to);
        }
    }

    /// Nothing passes in this direction only.
    pub fn cut_link(&self, from: &Host, to: &Host) {
        self.0.event(Some(from.index()), "cut link", from.index() as u64, to.index() as u64);
        self.0.net.cut(from.index(), to.index());
    }

    /// Ends every partition; what was held back arrives late.
    pub fn heal(&self) {
        self.0.event(None, "heal", 0, 0);
        NetState::heal(&self.0);
    }

    /// Keeps every event from now on (memory grows with the run).
    pub fn keep_trace(&self) {
        self.0.trace.keep_all();
    }

    pub fn trace(&self) -> Vec<TraceEvent> {
        self.0.trace.events()
    }

    /// Of every event so far: equal for two runs of the same seed.
    pub fn trace_hash(&self) -> u64 {
        self.0.trace.hash()
    }

    /// Puts a remark of the test into the trace.
    pub fn remark(&self, note: impl Into<String>) {
        self.0.note(None, "remark", note.into());
    }

    /// How often each kind of event happened so far.
    pub fn event_counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.trace.counts()
    }

    /// For tests of coverage: was a sync ever failed?
    pub fn events_of(&self, what: &str) -> u64 {
        self.0.trace.counts().get(what).copied().unwrap_or(0)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let events = self.0.trace.events();
            let count: u64 = self.0.trace.counts().values().sum();
            eprintln!(
                "simulation failed: seed {} after {count} events; the newest, without polls:",
                self.0.seed
            );
            for event in &events[events.len().saturating_sub(60)..] {
                eprintln!("{event}");
            }
            // The tasks are leaked: a destructor that panics now would hide the first panic.
            return;
        }
        self.0.sched.end(None);
        for host in self.0.hosts.borrow().iter() {
            host.process.borrow_mut().take();
        }
    }
}

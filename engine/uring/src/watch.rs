//! Watches how long the turns of one core are, and says what held it up.
//!
//! Owns: the lengths of the turns, and of the present one the longest poll (with the place that spawned the task) and the
//! time within io_uring_enter. A turn in which one of them, or the driver's own work, took longer than [`STALL`] is counted
//! as a stall, and told in the log, once a second at most. One that had lost the CPU for most of its time is counted apart
//! and not told: nothing here can mend it. A turn that is long because hundreds of requests came at once is neither: under
//! full load those are many, and none of their tasks holds the others up (histogram of the turns).
//! Cost: two looks at the clock for each poll of a task and two for each turn, and one getrusage(2) for each time that
//! glommio polls or the core wakes up (not more often than each 250 us while it is busy).
//! Invariant: nothing here waits or fails.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use ringmq_io::Class;
use ringmq_io::vitals::{STALL, nanoseconds};

/// Stalls are told at most so often on one core.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A task's class, and who spawned it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) class: Class,
    pub(crate) spawned: &'static Location<'static>,
}

/// What the kernel says about this thread.
#[derive(Clone, Copy)]
struct Usage {
    at: Instant,
    cpu: Duration,
    /// Times that the thread gave up the CPU itself: it waited.
    waited: i64,
}

impl Usage {
    fn now() -> Self {
        let at = Instant::now();
        match getrusage(UsageWho::RUSAGE_THREAD) {
            Ok(usage) => Self {
                at,
                cpu: micros(usage.user_time().num_microseconds())
                    + micros(usage.system_time().num_microseconds()),
                waited: usage.voluntary_context_switches(),
            },
            // Never seen.
            Err(_) => Self { at, cpu: at.elapsed(), waited: 0 },
        }
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

pub(crate) struct Watch {
    core: usize,
    polls: Cell<u32>,
    polled: Cell<Duration>,
    longest: Cell<Duration>,
    longest_by: Cell<Option<Place>>,
    entered: Cell<Duration>,
    /// In glommio's poll of its rings, which is to last a microsecond.
    away: Cell<Duration>,
    /// The driver is: what runs now is in no turn of its.
    asleep: Cell<bool>,
    turn_ns: RefCell<Histogram<u64>>,
    longest_turn: Cell<Duration>,
    stalls: Cell<u64>,
    preempted: Cell<u64>,
    usage: Cell<Usage>,
    told: Cell<Option<Instant>>,
    /// Stalls since then that were not told.
    passed_over: Cell<u64>,
}

impl Watch {
    pub(crate) fn new(core: usize) -> Self {
        Self {
            core,
            polls: Cell::new(0),
            polled: Cell::new(Duration::ZERO),
            longest: Cell::new(Duration::ZERO),
            longest_by: Cell::new(None),
            entered: Cell::new(Duration::ZERO),
            away: Cell::new(Duration::ZERO),
            asleep: Cell::new(false),
            turn_ns: RefCell::new(nanoseconds()),
            longest_turn: Cell::new(Duration::ZERO),
            stalls: Cell::new(0),
            preempted: Cell::new(0),
            usage: Cell::new(Usage::now()),
            told: Cell::new(None),
            passed_over: Cell::new(0),
        }
    }

    /// Polls a task and notes how long it took.
    #[inline]
    pub(crate) fn poll<R>(&self, place: Place, poll: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = poll();
        let took = began.elapsed();
        self.polls.set(self.polls.get() + 1);
        self.polled.set(self.polled.get() + took);
        if took > self.longest.get() {
            self.longest.set(took);
            self.longest_by.set(Some(place));
        }
        if took > STALL && self.asleep.get() {
            // Nobody knows when the driver's next turn will be.
            self.turn_ended(None, false);
        }
        result
    }

    pub(crate) fn driver_sleeps(&self, sleeps: bool) {
        self.asleep.set(sleeps);
    }

    /// So much of this turn went into io_uring_enter.
    pub(crate) fn entered(&self, took: Duration) {
        self.entered.set(self.entered.get() + took);
    }

    /// So much of this turn glommio was polling: the thread gives up its CPU there, and may get it back late.
    pub(crate) fn was_away(&self, took: Duration) {
        self.away.set(self.away.get() + took);
    }

    /// A good moment to ask the kernel about this thread: what it says is compared with at the next stall.
    pub(crate) fn look_at_usage(&self) {
        self.usage.set(Usage::now());
    }

    /// A turn is over. `took`: unless the core slept when it began. `worked`: I/O was submitted or reaped.
    pub(crate) fn turn_ended(&self, took: Option<Duration>, worked: bool) {
        let polls = self.polls.take();
        let polled = self.polled.take();
        let longest = self.longest.take();
        let longest_by = self.longest_by.take();
        let entered = self.entered.take();
        let away = self.away.take();
        // A task that a timer woke may have run before the driver was.
        let took = took.unwrap_or_default().max(longest);
        if polls == 0 && !worked {
            return;
        }
        self.turn_ns.borrow_mut().saturating_record(took.as_nanos() as u64);
        self.longest_turn.set(self.longest_turn.get().max(took));
        let own = took.saturating_sub(polled + entered + away);
        if longest.max(entered).max(own) <= STALL {
            if away > STALL {
                self.preempted.set(self.preempted.get() + 1);
            }
            return;
        }
        let (before, now) = (self.usage.get(), Usage::now());
        self.usage.set(now);
        let lost = (now.at - before.at).saturating_sub(now.cpu.saturating_sub(before.cpu));
        if lost > took / 2 && now.waited == before.waited {
            self.preempted.set(self.preempted.get() + 1);
            return;
        }
        self.stalls.set(self.stalls.get() + 1);
        self.tell(&Stall { took, polls, longest, longest_by, entered, own, waited: lost.min(took) });
    }

    fn tell(&self, stall: &Stall) {
        let now = Instant::now();
        if self.told.get().is_some_and(|told| now - told < TELL_EVERY) {
            self.passed_over.set(self.passed_over.get() + 1);
            return;
        }
        self.told.set(Some(now));
        let Stall { took, polls, longest, longest_by, entered, own, waited } = *stall;
        let (class, spawned) = match longest_by {
            Some(place) => (format!("{:?}", place.class), place.spawned.to_string()),
            None => ("none".into(), "nowhere".into()),
        };
        tracing::warn!(
            core = self.core,
            ?took,
            ?longest,
            class,
            spawned,
            polls,
            ?entered,
            ?own,
            ?waited,
            passed_over = self.passed_over.take(),
            "a core was held up: `longest` is the longest poll, of a task spawned there; `entered` the time in \
             io_uring_enter; `own` what is neither; `waited` the time without the CPU"
        );
    }

    pub(crate) fn turn_ns(&self) -> Histogram<u64> {
        self.turn_ns.borrow().clone()
    }

    pub(crate) fn longest_turn(&self) -> Duration {
        self.longest_turn.get()
    }

    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.get()
    }

    pub(crate) fn preempted(&self) -> u64 {
        self.preempted.get()
    }
}

/// A turn that was too long.
struct Stall {
    took: Duration,
    polls: u32,
    longest: Duration,
    longest_by: Option<Place>,
    entered: Duration,
    own: Duration,
    waited: Duration,
}

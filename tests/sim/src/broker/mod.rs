//! A run with a whole broker: its clients stay while it crashes and starts again, over a network that cuts, delays, resets and
//! takes apart what passes.
//!
//! Owns: the order of a run, and what is checked when. A life opens the broker, audits it while nothing fails, and lets clients
//! and faults at it until it ends. The clients know nothing of lives. Invariant: what [`Books`] says holds in every life.
//! On failure: a broken promise is a panic; a start that is refused for damage that was done ends the run.

mod books;
mod clients;
mod heard;
mod places;
mod plan;
mod promise;
mod rings;
mod settings;
mod waiters;
mod waits;
mod wire;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_broker::config::{BrokerConfig, FlushMode, HostFacts};
use ringmq_broker::start::{BrokerPlan as StartPlan, StartError, run_core};
use ringmq_io::sync::Stop;
use ringmq_simenv::{CrashKind, Faults, Host, World};

use self::books::Books;
use self::clients::Known;
pub use self::plan::BrokerPlan;
use self::plan::{Life, LinkCut, Passes};
use self::promise::End;
use self::waits::Waits;
use crate::plan::Bug;
use crate::run::{Failure, Outcome, Verdict};
use crate::shrink::Fault;

const PORT: u16 = 10_911;
const DATA: &str = "/data";
/// Of the disk, while nothing fills it.
const ROOM: u64 = 1 << 40;
/// More than all jumps of a clock, and less than messages are kept.
const LONG_AFTER_MS: i64 = 24 * 3_600_000;
/// Of the delivery of all that is due.
const COME_TIME_MAX_SECS: u32 = 10;
const START_TIME_MAX: Duration = Duration::from_secs(600);

pub fn run(world: &World, without: &[Fault], bug: Option<Bug>) -> Outcome {
    let mut plan = BrokerPlan::drawn(&world.rng("broker plan"));
    plan.add_losses(&world.rng("broker losses"));
    plan.leave_out(without);
    world.remark(format!(
        "a broker of {} cores and {} shards, flush {}",
        plan.cores,
        plan.shards,
        if plan.sync { "sync" } else { "async" }
    ));
    let machine = world.host("broker");
    let scene = Scene {
        addr: SocketAddr::new(machine.ip(), PORT),
        machine: machine.clone(),
        clients: world.host("clients"),
        auditor: world.host("auditor"),
        known: Known {
            books: Rc::new(RefCell::new(Books::new(machine.clone(), &plan))),
            waits: Rc::new(RefCell::new(Waits::new(machine, &plan))),
            settings: Rc::default(),
        },
        world,
        bug,
        plan,
    };
    scene.run()
}

struct Scene<'w> {
    world: &'w World,
    machine: Host,
    clients: Host,
    auditor: Host,
    addr: SocketAddr,
    plan: BrokerPlan,
    known: Known,
    bug: Option<Bug>,
}

/// How a start goes on.
#[derive(Default)]
struct Start {
    is_ready: Cell<bool>,
    failures: RefCell<Vec<StartError>>,
}

impl From<&StartError> for Failure {
    fn from(error: &StartError) -> Self {
        use ringmq_broker::control::OpenError as ControlError;
        match error {
            StartError::Store(error) => error.into(),
            StartError::Metadata(ControlError::Log(error)) => error.into(),
            // Another core says why, or the disk did not let it read or listen.
            StartError::Peer(text) => Self::Io(text.clone()),
            StartError::Waiting { .. } | StartError::Sync(_) => Self::Io(error.to_string()),
            _ => Self::Verdict { path: None, text: error.to_string() },
        }
    }
}

impl Scene<'_> {
    fn run(&self) -> Outcome {
        let mut outcome = Outcome::default();
        self.keep_foreign_rings();
        let (addr, known) = (self.addr, self.known.clone());
        self.clients.start(1, move |env| clients::run(env, addr, known.clone()));
        for life in &self.plan.lives {
            outcome.lives += 1;
            self.world.remark(format!("life: {life:?}"));
            outcome.refused = self.life(life) == Verdict::Refused;
            if outcome.refused {
                break;
            }
        }
        if !outcome.refused {
            outcome.refused = self.end() == Verdict::Refused;
        }
        let books = self.known.books.borrow();
        Outcome {
            trace_hash: self.world.trace_hash(),
            acknowledged: books.acknowledged,
            commits: books.commits_acknowledged,
            reads: books.read,
            came: self.known.waits.borrow().came,
            ..outcome
        }
    }

    fn config(&self, data: &str) -> BrokerConfig {
        let facts = HostFacts { host_name: "broker-a".into(), address: self.machine.ip(), data: data.into() };
        let lies = self.bug == Some(Bug::AckBeforeFlush);
        BrokerConfig {
            listen_port: PORT,
            shards: self.plan.shards,
            ring_bytes: 256 * 1024 * u64::from(self.plan.shards),
            segment_bytes: self.plan.segment_bytes,
            max_message_size: 64 * 1024,
            flush_disk_type: if self.plan.sync && !lies { FlushMode::Sync } else { FlushMode::Async },
            flush_interval_ms: self.plan.flush_interval.as_millis() as u64,
            ..BrokerConfig::defaults(&facts)
        }
    }

    fn start(&self) -> Rc<Start> {
        self.start_with(DATA)
    }

    /// Starts a broker with the store in `data`.
    fn start_with(&self, data: &str) -> Rc<Start> {
        let plan = StartPlan { config: self.config(data), name_servers: Vec::new(), utc_offset_secs: 0 };
        let start = Rc::new(Start::default());
        let seen = start.clone();
        self.machine.start(self.plan.cores, move |env| {
            let (plan, seen) = (plan.clone(), seen.clone());
            async move {
                let ready = seen.clone();
                let outcome = run_core(env, plan, Stop::new(), move |_| ready.is_ready.set(true)).await;
                if let Err(error) = outcome {
                    seen.failures.borrow_mut().push(error);
                }
            }
        });
        start
    }

    /// The faults of a life, with the defect that was asked for.
    fn set_faults(&self, life: &Life) {
        let mut faults = life.faults.clone();
        faults.disk.hide_sync_error = self.bug == Some(Bug::IgnoreSyncError);
        faults.net.lose_short_send = self.bug == Some(Bug::ShortSendIsWhole);
        faults.net.stale_descriptor = self.bug == Some(Bug::StaleDescriptor);
        self.machine.set_faults(faults);
        self.clients.set_faults(Faults { net: life.clients.clone(), ..Faults::none() });
    }

    fn life(&self, life: &Life) -> Verdict {
        self.set_faults(life);
        self.keep_rings(life);
        self.fill_disk(life);
        let start = self.start();
        if life.dies_young {
            self.world.run_until(|| !self.machine.is_up(), life.time / 4);
        } else {
            let is_over = || start.is_ready.get() || !self.machine.is_up();
            assert!(self.world.run_until(is_over, START_TIME_MAX), "the broker neither opens nor fails");
        }
        let verdict = self.judge(&start);
        let serves = start.is_ready.get() && self.machine.is_up();
        if serves {
            self.machine.set_faults(Faults::none());
            self.machine.set_capacity(ROOM);
            self.audit(!life.calm());
            self.set_faults(life);
            self.fill_disk(life);
            if let Some(nth) = life.kill_in_region_write {
                self.machine.kill_in_region_write(nth);
            }
        }
        let died = if serves { self.serve(life) } else { self.world.now() };
        self.machine.cancel_kill();
        self.machine.set_capacity(ROOM);
        let died =
            if serves && self.machine.is_up() && self.comes_back(life) { self.world.now() } else { died };
        self.crash(life, died);
        verdict
    }

    fn crash(&self, life: &Life, died: Duration) {
        let mut faults = self.machine.faults();
        faults.disk.rot_at_crash = if life.rot { 1.0 } else { 0.0 };
        self.machine.set_faults(faults);
        if self.machine.is_up() || life.end == CrashKind::PowerLoss {
            self.machine.crash(life.end);
        }
        let are_lost = self.change_rings(life);
        self.ended(died, life.calm());
        if life.end == CrashKind::PowerLoss || are_lost {
            self.rings_lost();
        }
    }

    /// The process has ended; `calm`: its disk did what it was asked for, soon.
    fn ended(&self, at: Duration, calm: bool) {
        // A flush begins at most an interval after the append; writing and syncing take their time.
        let flushed_after = self.plan.flush_interval + Duration::from_millis(50);
        let end = End { at, bound: calm.then_some(flushed_after) };
        self.known.books.borrow_mut().ended(end);
        self.known.waits.borrow_mut().ended(end);
    }

    fn rings_lost(&self) {
        self.known.books.borrow_mut().rings_lost();
        self.known.waits.borrow_mut().rings_lost();
    }

    fn fill_disk(&self, life: &Life) {
        if let Some(room) = life.room {
            self.machine.leave_room(room);
        }
    }

    /// After a full disk, and nothing else that was wrong with it: the broker goes on by itself. Whether it was asked to.
    fn comes_back(&self, life: &Life) -> bool {
        let is_asked = life.room.is_some() && life.faults.disk.is_calm();
        if is_asked {
            self.machine.set_faults(Faults::none());
            let (addr, books) = (self.addr, self.known.books.clone());
            self.world.run(&self.auditor, |env| clients::comes_back(env, addr, books));
        }
        is_asked
    }

    /// Lets the clients and the network at it; when the process died.
    fn serve(&self, life: &Life) -> Duration {
        let died = Cell::new(None);
        let is_dead = || {
            if died.get().is_none() && !self.machine.is_up() {
                died.set(Some(self.world.now()));
            }
            died.get().is_some()
        };
        let begin = self.world.now();
        let (half, end) = (begin + life.time / 2, begin + life.time);
        let is_dead = || {
            if self.world.now() >= half {
                self.machine.set_capacity(ROOM);
            }
            is_dead()
        };
        for cut in &life.cuts {
            self.world.run_until(is_dead, cut.after);
            self.cut(cut);
            self.world.run_until(is_dead, cut.lasts);
            self.world.heal();
        }
        self.world.run_until(is_dead, end.saturating_sub(self.world.now()));
        is_dead();
        died.get().unwrap_or(self.world.now())
    }

    fn cut(&self, cut: &LinkCut) {
        match cut.passes {
            Passes::Nothing => self.world.partition(&self.clients, &self.machine),
            Passes::ToClients => self.world.cut_link(&self.clients, &self.machine),
            Passes::ToBroker => self.world.cut_link(&self.machine, &self.clients),
        }
    }

    fn audit(&self, may_be_latched: bool) {
        let now = self.world.now();
        self.known.books.borrow_mut().recovered(now);
        self.known.waits.borrow_mut().recovered(now);
        let (addr, known) = (self.addr, self.known.clone());
        self.world.run(&self.auditor, |env| clients::audit(env, addr, known, may_be_latched));
    }

    fn judge(&self, start: &Start) -> Verdict {
        let failures = start.failures.borrow();
        let mut books = self.known.books.borrow_mut();
        // A start may meet what a misdirected write of its own has just hit.
        let damages = books.look_for_damage();
        let verdicts = failures.iter().map(|error| Failure::from(error).judge(damages));
        verdicts.fold(Verdict::GoesOn, |all, one| if one == Verdict::Refused { one } else { all })
    }

    /// A start without faults, which may be refused for damage that was done.
    fn undisturbed(&self) -> Verdict {
        let start = self.start();
        let is_over = || start.is_ready.get() || !self.machine.is_up();
        assert!(self.world.run_until(is_over, START_TIME_MAX), "the broker neither opens nor fails");
        if self.judge(&start) == Verdict::Refused {
            return Verdict::Refused;
        }
        assert!(start.is_ready.get(), "no fault, but no start: {:?}", start.failures.borrow());
        Verdict::GoesOn
    }

    /// No faults from here on: a recovery gives what another one after it gives; the broker serves its clients, delivers what is
    /// due, loses its power, and has everything.
    fn end(&self) -> Verdict {
        self.machine.set_faults(Faults::none());
        self.clients.set_faults(Faults::none());
        if self.recovers_twice_as_once() == Verdict::Refused {
            return Verdict::Refused;
        }
        for round in 0..2 {
            if self.undisturbed() == Verdict::Refused {
                return Verdict::Refused;
            }
            self.audit(false);
            let (addr, known) = (self.addr, self.known.clone());
            if round == 0 {
                self.world.run(&self.auditor, |env| clients::are_served(env, addr, known.books));
                // Whatever its clock has been through, all that waits is due.
                self.machine.jump_clock(LONG_AFTER_MS);
            }
            self.world
                .run(&self.auditor, |env| waiters::all_come(env, addr, known.waits, COME_TIME_MAX_SECS));
            if round == 0 {
                self.machine.crash(CrashKind::PowerLoss);
                self.ended(self.world.now(), true);
                self.rings_lost();
            }
        }
        Verdict::GoesOn
    }

    /// Two starts in turn that no client disturbs.
    fn recovers_twice_as_once(&self) -> Verdict {
        self.world.partition(&self.clients, &self.machine);
        let mut wholes = Vec::new();
        for _ in 0..2 {
            if self.undisturbed() == Verdict::Refused {
                return Verdict::Refused;
            }
            let addr = self.addr;
            wholes.push(self.world.run(&self.auditor, |env| clients::whole(env, addr)));
            self.machine.crash(CrashKind::Process);
            self.ended(self.world.now(), true);
        }
        self.world.heal();
        assert!(wholes[0] == wholes[1], "recovery twice is not recovery once");
        Verdict::GoesOn
    }
}

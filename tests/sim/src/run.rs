//! One run: the lives of a node, what happens between them, and the checks at the end.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::{CrashKind, Damage, Faults, Host, SimEnv, World};
use ringmq_store::meta::OpenError as JournalError;
use ringmq_store::{Defects, OpenError, RecoveryReport, Shard, StoreConfig, StoreHandle, open_store};

use crate::clients::{self, SharedModel};
use crate::model::{Found, Model};
use crate::plan::{Bug, Life, Plan, QUEUES, Queue, RingFate};
use crate::shrink::Fault;
use crate::{broker, dump, offsets};

/// Each so-manieth seed is a whole broker with its clients, the others the storage of a node.
const BROKER_SEEDS: u64 = 4;
const STALE_RING: &str = "/kept.ring";
const FOREIGN_RING: &str = "/foreign.ring";

/// What a run that kept every promise has put to the test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub trace_hash: u64,
    pub acknowledged: u64,
    pub commits: u64,
    pub reads: u64,
    /// Messages of whole brokers that were not seen at once.
    pub came: u64,
    pub lives: u64,
    /// Refused to start because of damage that had been done, and said where.
    pub refused: bool,
}

/// How a life's opening went.
enum Opened {
    NotYet,
    Serving,
    Failed(Failure),
}

pub(crate) enum Failure {
    /// The disk's: another attempt may succeed.
    Io(String),
    /// The store's verdict on what it found, and the file that it blames.
    Verdict { path: Option<PathBuf>, text: String },
    /// One of the files there is not what it was.
    VerdictOn { dir: PathBuf, text: String },
}

impl From<&OpenError> for Failure {
    fn from(error: &OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Io { .. } => Self::Io(text),
            OpenError::Damaged { path, .. } | OpenError::FormatVersion { path, .. } => {
                Self::Verdict { path: Some(path.clone()), text }
            }
            _ => Self::Verdict { path: None, text },
        }
    }
}

impl From<&JournalError> for Failure {
    fn from(error: &JournalError) -> Self {
        let text = error.to_string();
        match error {
            JournalError::Io { .. } => Self::Io(text),
            JournalError::Damaged { path, .. }
            | JournalError::ForeignStore { path, .. }
            | JournalError::FormatVersion { path, .. } => Self::Verdict { path: Some(path.clone()), text },
            JournalError::Missing { dir, .. } => Self::VerdictOn { dir: dir.clone(), text },
        }
    }
}

impl Failure {
    /// What it means: a store may only be refused for what was done to what it names.
    pub(crate) fn judge(&self, damages: &[Damage]) -> Verdict {
        let (blamed, text) = match self {
            Self::Io(_) => return Verdict::GoesOn,
            Self::Verdict { path, text } => {
                (damages.iter().any(|damage| Some(&damage.path) == path.as_ref()), text)
            }
            Self::VerdictOn { dir, text } => {
                (damages.iter().any(|damage| damage.path.starts_with(dir)), text)
            }
        };
        assert!(blamed, "the node refuses to start, but nobody damaged what it names: {text}");
        Verdict::Refused
    }
}

struct Node {
    _handle: StoreHandle<SimEnv>,
    shard: Shard<SimEnv>,
    journal: Rc<ringmq_store::meta::MetaLog<SimEnv>>,
    report: RecoveryReport,
}

/// Opens store and journal, and checks what can be checked without reading.
async fn open(env: &SimEnv, config: &StoreConfig, model: &SharedModel) -> Result<Node, Failure> {
    let handle = open_store(env, config).await.map_err(|error| Failure::from(&error))?;
    let opened = Shard::open(env, &handle.layout, 0).await;
    let (shard, report) = opened.map_err(|error| Failure::from(&error))?;
    // Now, and not when all is open: the node has said it, and indexes that are sealed from here on know it.
    told_of_losses(&report, &mut model.borrow_mut());
    let journal = offsets::open(env, &config.data).await;
    let (journal, commits) = journal.map_err(|error| Failure::from(&error))?;
    let mut model = model.borrow_mut();
    for (queue, name) in QUEUES.iter().enumerate() {
        let bounds = shard.find_queue(name.topic, name.id).map_or_else(Default::default, |q| shard.bounds(q));
        model.opened(queue, bounds.min, bounds.max);
        model.commit_found(queue, commits[queue]);
    }
    drop(model);
    Ok(Node { _handle: handle, shard, journal: Rc::new(journal), report })
}

fn told_of_losses(report: &RecoveryReport, model: &mut Model) {
    for lost in &report.lost {
        let is_its = |name: &Queue| name.topic == &*lost.topic && name.id == lost.queue_id;
        let Some(queue) = QUEUES.iter().position(is_its) else {
            model.reported_elsewhere(&lost.topic, lost.queue_id);
            continue;
        };
        (lost.first..lost.first + lost.count).for_each(|offset| model.reported(queue, offset));
    }
}

/// Reads everything and compares; false if the disk did not let it.
async fn verify(env: &SimEnv, node: &Node, model: &SharedModel) -> Option<Vec<Found>> {
    let mut all = Vec::new();
    for (queue, name) in QUEUES.iter().enumerate() {
        let found = dump::queue(&node.shard, queue).await.ok()?;
        dump::look_up(&node.shard, queue, &found, |offset| model.borrow().is_unfindable(queue, offset))
            .await
            .ok()?;
        for offset in found.min..found.max {
            if !found.records.contains_key(&offset) && !model.borrow().is_reported(queue, offset) {
                let is_counted = dump::is_counted(&node.shard, queue, offset).await.ok()?;
                let gone = node.shard.find_queue(name.topic, name.id).map(|q| node.shard.bounds(q).min);
                let excused = gone.is_some_and(|min| offset < min);
                assert!(is_counted || excused, "{name:?}: offset {offset} is missing, and nothing says so");
            }
        }
        // Retention may have gone on since.
        let min = node.shard.find_queue(name.topic, name.id).map_or(0, |q| node.shard.bounds(q).min);
        model.borrow_mut().recycled(queue, found.min.min(min));
        model.borrow_mut().look_for_damage();
        let (synced, now) = (node.shard.synced().get(), Duration::from_nanos(env.monotonic_ns()));
        model.borrow_mut().verify(queue, &found, synced, now);
        all.push(found);
    }
    Some(all)
}

async fn live(
    env: SimEnv,
    config: StoreConfig,
    model: SharedModel,
    opened: Rc<RefCell<Opened>>,
    bug: Option<Bug>,
) {
    let node = match open(&env, &config, &model).await {
        Ok(node) => node,
        Err(failure) => {
            *opened.borrow_mut() = Opened::Failed(failure);
            return;
        }
    };
    verify(&env, &node, &model).await;
    *opened.borrow_mut() = Opened::Serving;
    clients::start(&env, &node.shard, &model, bug);
    env.spawn(Class::Foreground, offsets::commit(env.clone(), node.journal.clone(), model, bug));
    std::future::pending::<()>().await;
}

struct Run<'w> {
    world: &'w World,
    host: Host,
    plan: Plan,
    model: SharedModel,
    bug: Option<Bug>,
}

/// Says at the end of a run, whatever the end, what helps to look into it.
struct Report {
    world: World,
    bug: Option<Bug>,
    keep_trace: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.keep_trace {
            for event in self.world.trace() {
                println!("{event}");
            }
        }
        if std::thread::panicking() {
            let bug = self.bug.and_then(|bug| clap::ValueEnum::to_possible_value(&bug));
            let bug = bug.map(|bug| format!(" --bug {}", bug.get_name())).unwrap_or_default();
            eprintln!("replay it: cargo run -p sim -- --seed {}{bug}", self.world.seed());
        }
    }
}

/// Runs a seed. A broken promise is a panic, after which the seed is printed. With `keep_trace` every event is printed.
pub fn run_seed(seed: u64, bug: Option<Bug>, keep_trace: bool) -> Outcome {
    run_seed_without(&[], seed, bug, keep_trace)
}

/// The same with some faults left out.
pub fn run_seed_without(without: &[Fault], seed: u64, bug: Option<Bug>, keep_trace: bool) -> Outcome {
    let report = Report { world: World::new(seed), bug, keep_trace };
    let world = &report.world;
    if keep_trace {
        world.keep_trace();
    }
    if seed.is_multiple_of(BROKER_SEEDS) {
        return broker::run(world, without, bug);
    }
    let mut plan = Plan::drawn(&world.rng("plan"));
    plan.add_strays(&world.rng("strays"));
    plan.leave_out(without);
    plan.config.defects = Defects {
        cut_at_damage: bug == Some(Bug::CutAtDamage),
        index_before_sync: bug == Some(Bug::IndexBeforeSync),
    };
    let host = world.host("node");
    host.set_tmpfs(plan.tmpfs);
    let (data, segment_bytes) = (plan.config.data.clone(), plan.config.segment_bytes);
    let model = Rc::new(RefCell::new(Model::new(host.clone(), data, segment_bytes, plan.recycles())));
    let run = Run { world, host, plan, model, bug };
    run.keep_a_foreign_ring();
    let mut outcome = Outcome::default();
    let lives = run.plan.lives.clone();
    outcome.refused = lives.iter().any(|life| run.life(life, &mut outcome) == Verdict::Refused);
    if !outcome.refused {
        outcome.refused = run.end() == Verdict::Refused;
    }
    let model = run.model.borrow();
    Outcome {
        trace_hash: run.world.trace_hash(),
        acknowledged: model.acknowledged,
        commits: model.commits,
        reads: model.reads,
        ..outcome
    }
}

#[derive(PartialEq, Eq)]
pub(crate) enum Verdict {
    GoesOn,
    Refused,
}

/// The hot rings of a machine, of all its shards.
pub(crate) fn rings(host: &Host) -> Vec<PathBuf> {
    let is_ring =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "ring") && path.starts_with("/dev/shm");
    host.files().into_iter().map(|(path, _)| path).filter(is_ring).collect()
}

impl Run<'_> {
    fn ring(&self) -> Option<PathBuf> {
        rings(&self.host).into_iter().next()
    }

    /// Puts the ring of another store aside, as it is after a kill, if it is to come into the place of ours.
    fn keep_a_foreign_ring(&self) {
        if !self.plan.tmpfs || self.plan.lives.iter().all(|life| life.ring != RingFate::Foreign) {
            return;
        }
        let config = StoreConfig { data: "/other".into(), ..self.plan.config.clone() };
        let model = Model::new(self.host.clone(), config.data.clone(), config.segment_bytes, true);
        let model = Rc::new(RefCell::new(model));
        self.to_its_end(move |env| {
            let (config, model) = (config.clone(), model.clone());
            async move {
                let Ok(node) = open(&env, &config, &model).await else { panic!("no fault, no damage") };
                for queue in (0..QUEUES.len()).cycle().take(30) {
                    assert!(clients::send(&env, &node.shard, &model, queue, None).await, "takes no message");
                }
            }
        });
        let ring = self.ring().expect("a store that was not closed leaves its ring");
        assert!(self.host.copy_file(&ring, FOREIGN_RING) && self.host.remove_file(&ring));
        for (path, _) in self.host.files().into_iter().filter(|(path, _)| path.starts_with("/other")) {
            self.host.remove_file(path);
        }
    }

    fn life(&self, life: &Life, outcome: &mut Outcome) -> Verdict {
        let (world, host) = (self.world, &self.host);
        outcome.lives += 1;
        world.remark(format!("life: {life:?}"));
        let mut faults = life.faults.clone();
        faults.disk.hide_sync_error = self.bug == Some(Bug::IgnoreSyncError);
        host.set_faults(faults);
        if let Some(nth) = life.kill_in_region_write {
            host.kill_in_region_write(nth);
        }
        if let Some(ring) = self.ring() {
            host.copy_file(&ring, STALE_RING);
        }
        if life.disk_full {
            host.leave_room(12 * 1024 * 1024 + 2 * self.plan.config.segment_bytes);
        }
        let opened = Rc::new(RefCell::new(Opened::NotYet));
        let (config, model, seen, bug) =
            (self.plan.config.clone(), self.model.clone(), opened.clone(), self.bug);
        host.start(1, move |env| live(env, config.clone(), model.clone(), seen.clone(), bug));
        let begin = world.now();
        let died = Cell::new(None);
        let is_dead = || {
            if died.get().is_none() && !host.is_up() {
                died.set(Some(world.now()));
            }
            died.get().is_some()
        };
        if !life.dies_young {
            // Most crashes hit a node that serves, the others its recovery.
            let past_opening = || is_dead() || !matches!(*opened.borrow(), Opened::NotYet);
            let in_time = world.run_until(past_opening, Duration::from_secs(600));
            assert!(in_time, "the node neither opens nor fails");
        }
        for _ in 0..2 {
            let end = world.now() + life.time / 2;
            world.run_until(is_dead, life.time / 2);
            world.run_for(end.saturating_sub(world.now()));
            host.set_capacity(1 << 40);
        }
        is_dead();
        let verdict = self.judge(&opened);
        // A process that was killed before the power went had flushed nothing since.
        self.crash(life, died.get().unwrap_or(world.now()) - begin);
        verdict
    }

    /// What a failure to open means.
    fn judge(&self, opened: &RefCell<Opened>) -> Verdict {
        // A start may meet what a misdirected write of its own has just hit.
        self.model.borrow_mut().look_for_damage();
        match &*opened.borrow() {
            Opened::NotYet | Opened::Serving => Verdict::GoesOn,
            Opened::Failed(failure) => failure.judge(&self.model.borrow().damages),
        }
    }

    /// `lived`: how long the process ran.
    fn crash(&self, life: &Life, lived: Duration) {
        let host = &self.host;
        let mut faults = host.faults();
        faults.disk.rot_at_crash = if life.rot { 1.0 } else { 0.0 };
        host.set_faults(faults);
        if host.is_up() || life.end == CrashKind::PowerLoss {
            host.crash(life.end);
        }
        let mut ring_lost = false;
        if life.end == CrashKind::Process
            && let Some(ring) = self.ring()
        {
            match life.ring {
                RingFate::Kept => {}
                RingFate::Lost => ring_lost = host.remove_file(&ring),
                RingFate::Stale => ring_lost = host.copy_file(STALE_RING, &ring),
                RingFate::Foreign => ring_lost = host.copy_file(FOREIGN_RING, &ring),
            }
        }
        // A flush begins at most an interval after the append; writing and syncing take their time.
        let bound = self.plan.config.flush_interval + Duration::from_millis(50);
        let mut model = self.model.borrow_mut();
        model.look_for_damage();
        model.crashed(life.end, ring_lost, lived, life.calm().then_some(bound));
    }

    /// No faults from here on: the node opens, twice with the same result, and serves.
    fn end(&self) -> Verdict {
        let host = &self.host;
        host.set_faults(Faults::none());
        host.cancel_kill();
        let Some(first) = self.open_and_dump(CrashKind::PowerLoss) else { return Verdict::Refused };
        let Some(second) = self.open_and_dump(CrashKind::Process) else { return Verdict::Refused };
        for (queue, (first, second)) in first.iter().zip(&second).enumerate() {
            // Of what damage has hit either may have less: a power loss undoes a misdirected write that nobody synced, and a
            // ring that was taken over may still have had what the medium has lost. `verify` has judged each of those.
            let model = self.model.borrow();
            let whole = |(offset, _): &(&u64, &Vec<u8>)| !model.is_hit(queue, **offset);
            let left = first.records.range(second.min..).filter(whole);
            let later = left.eq(second.records.iter().filter(whole));
            assert!(
                later && first.max == second.max,
                "{:?}: recovery twice is not recovery once",
                QUEUES[queue]
            );
            assert!(first.min == second.min || self.plan.recycles(), "{:?}", QUEUES[queue]);
        }
        let (config, model) = (self.plan.config.clone(), self.model.clone());
        let served = Rc::new(Cell::new(false));
        let flag = served.clone();
        let ended = self.to_its_end(move |env| {
            let (config, model, flag) = (config.clone(), model.clone(), flag.clone());
            async move {
                let Ok(node) = open(&env, &config, &model).await else { panic!("no fault, no damage") };
                for queue in 0..QUEUES.len() {
                    assert!(clients::send(&env, &node.shard, &model, queue, None).await, "takes no message");
                }
                verify(&env, &node, &model).await.expect("no fault");
                node.shard.shutdown().await.expect("no fault");
                flag.set(true);
            }
        });
        assert!(ended && served.get(), "a recovered node does not serve");
        let last = self.open_and_dump(CrashKind::PowerLoss).expect("it was just open");
        for (queue, found) in last.iter().enumerate() {
            assert!(found.max > 0 && self.model.borrow().len(queue) > 0, "{:?}", QUEUES[queue]);
        }
        Verdict::GoesOn
    }

    /// Runs a process until it ends by itself.
    fn to_its_end<F: Future<Output = ()> + 'static>(&self, main: impl Fn(SimEnv) -> F) -> bool {
        self.host.start(1, main);
        self.world.run_until(|| !self.host.is_up(), Duration::from_secs(600))
    }

    fn open_and_dump(&self, end: CrashKind) -> Option<Vec<Found>> {
        let result = Rc::new(RefCell::new(None));
        let opened = Rc::new(RefCell::new(Opened::NotYet));
        let (config, model) = (self.plan.config.clone(), self.model.clone());
        let (slot, failure) = (result.clone(), opened.clone());
        let ended = self.to_its_end(move |env| {
            let (config, model, slot, failure) =
                (config.clone(), model.clone(), slot.clone(), failure.clone());
            async move {
                match open(&env, &config, &model).await {
                    Ok(node) => {
                        // What it took over in the ring is no better than an append until then.
                        clients::all_synced(&node.shard).await;
                        let found = verify(&env, &node, &model).await.expect("no fault");
                        let damaged = !model.borrow().damages.is_empty();
                        assert!(node.report.quarantined.is_empty() || damaged, "{:?}", node.report);
                        *slot.borrow_mut() = Some(found);
                    }
                    Err(error) => *failure.borrow_mut() = Opened::Failed(error),
                }
            }
        });
        assert!(ended, "opening without faults does not end");
        if end == CrashKind::PowerLoss {
            self.host.crash(end);
            self.model.borrow_mut().look_for_damage();
            self.model.borrow_mut().crashed(end, false, Duration::ZERO, None);
        }
        if let Opened::Failed(Failure::Io(text)) = &*opened.borrow() {
            panic!("no fault, but opening fails: {text}");
        }
        if self.judge(&opened) == Verdict::Refused {
            return None;
        }
        let found = result.take();
        assert!(found.is_some(), "a node without faults does not come to its end");
        found
    }
}

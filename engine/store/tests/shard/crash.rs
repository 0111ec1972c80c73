//! Crashes at any await, in both flush modes, over many seeds: what was acknowledged is there afterwards.
//!
//! `SEEDS=N` and `FIRST_SEED=S` run others; a failure prints its seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::support::{
    Model, QueueName, SharedModel, drop_again, flushed, open, produce, small_config, verify,
};
use ringmq_io::{Class, Env};
use ringmq_simenv::{CrashKind, Faults, Host, Rng, SimEnv, World};
use ringmq_store::{Decision, StoreConfig};

const QUEUES: [(QueueName, bool); 4] =
    [(("a", 0), false), (("a", 1), true), (("b", 7), false), (("%RETRY%g", 0), true)];

pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = number("FIRST_SEED").unwrap_or(1);
    first..first + number("SEEDS").unwrap_or(default)
}

fn config(rng: &Rng) -> StoreConfig {
    let mut config = small_config("/data");
    config.flush_interval = Duration::from_millis(rng.within(1..=100));
    if rng.coin() {
        config.retention.max_bytes = Some(3 * config.segment_bytes);
        config.retention.interval = Duration::from_millis(20);
    }
    config
}

/// One life of the broker: opens, checks, serves until it is killed. Opening may fail under faults.
async fn live(env: SimEnv, config: StoreConfig, model: SharedModel, verified: Rc<Cell<bool>>) {
    let Ok((handle, shard, _)) = open(&env, &config).await else {
        return;
    };
    if let Err(error) = verify(&shard, &model).await {
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::InvalidData,
            "damage where nothing was damaged: {error}"
        );
        return;
    }
    verified.set(true);
    for (name, sync) in QUEUES {
        env.spawn(Class::Foreground, produce(env.clone(), shard.clone(), model.clone(), name, sync));
    }
    env.spawn(Class::Foreground, drop_again(shard.clone(), model.clone(), ("dropped", 1)));
    env.sleep(Duration::from_secs(3600)).await;
    drop(handle);
}

fn start(host: &Host, config: &StoreConfig, model: &SharedModel) -> Rc<Cell<bool>> {
    let verified = Rc::new(Cell::new(false));
    let (config, model, seen) = (config.clone(), model.clone(), verified.clone());
    host.start(1, move |env| live(env, config.clone(), model.clone(), seen.clone()));
    verified
}

fn crash(host: &Host, kind: CrashKind, model: &SharedModel) {
    if host.is_up() || kind == CrashKind::PowerLoss {
        host.crash(kind);
    }
    model.borrow_mut().crashed();
    if kind == CrashKind::PowerLoss {
        model.borrow_mut().power_lost();
    }
}

fn kind(rng: &Rng) -> CrashKind {
    if rng.coin() { CrashKind::Process } else { CrashKind::PowerLoss }
}

/// A life without faults that ends well; false if it was killed.
fn last_life(world: &World, host: &Host, config: &StoreConfig, model: &SharedModel) -> bool {
    let ended = Rc::new(Cell::new(false));
    let (config, model, done) = (config.clone(), model.clone(), ended.clone());
    host.start(1, move |env| {
        let (config, model, done) = (config.clone(), model.clone(), done.clone());
        async move {
            let (handle, shard, _) = open(&env, &config).await.expect("opens without faults");
            verify(&shard, &model).await.expect("no fault");
            shard.shutdown().await.expect("no fault");
            drop(handle);
            done.set(true);
        }
    });
    assert!(world.run_until(|| !host.is_up(), Duration::from_secs(3600)), "a life without faults hangs");
    ended.get()
}

/// Without faults every life must open; the last one is checked in full and opened twice.
fn run_seed(seed: u64, with_faults: bool) -> (u64, usize) {
    let world = World::new(seed);
    let host = world.host("broker");
    let rng = world.rng("test");
    host.set_tmpfs(rng.below(5) > 0);
    let config = config(&rng);
    let model: SharedModel = Rc::new(RefCell::new(Model::default()));
    for round in 0..rng.within(2..=5) {
        if with_faults {
            host.set_faults(Faults::drawn(&rng));
        }
        if rng.below(4) == 0 {
            host.kill_in_region_write(rng.within(1..=2000));
        }
        let verified = start(&host, &config, &model);
        world.run_for(Duration::from_millis(rng.within(0..=400)));
        if !with_faults && host.is_up() {
            // Give a slow recovery its time, then crash at a moment of its own.
            let opened = world.run_until(|| verified.get() || !host.is_up(), Duration::from_secs(20));
            assert!(opened, "round {round} did not open");
            world.run_for(Duration::from_micros(rng.within(0..=50_000)));
        }
        crash(&host, kind(&rng), &model);
        host.set_faults(Faults::none());
    }
    let records = model.borrow().queues.values().map(|promises| promises.len()).sum();
    for _ in 0..2 {
        // A kill that was planned for a region write may still come, once.
        assert!(last_life(&world, &host, &config, &model) || last_life(&world, &host, &config, &model));
    }
    (world.trace_hash(), records)
}

#[test]
fn what_was_acknowledged_survives_crashes() {
    let mut records = 0;
    for seed in seeds(60) {
        records += run_seed(seed, false).1;
    }
    assert!(records > 1000 || std::env::var("SEEDS").is_ok(), "only {records} promises were put to the test");
}

#[test]
fn what_was_acknowledged_survives_crashes_and_io_errors() {
    let mut records = 0;
    for seed in seeds(60) {
        records += run_seed(seed, true).1;
    }
    assert!(records > 1000 || std::env::var("SEEDS").is_ok(), "only {records} promises were put to the test");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run_seed(4711, true), run_seed(4711, true));
}

/// After a sync has failed, nothing is acknowledged, and what was acknowledged is there after a restart.
#[test]
fn a_failed_sync_latches_the_shard() {
    for seed in seeds(20) {
        let world = World::new(seed);
        let host = world.host("broker");
        let config = small_config("/data");
        let model: SharedModel = Rc::new(RefCell::new(Model::default()));
        let verified = start(&host, &config, &model);
        assert!(world.run_until(|| verified.get(), Duration::from_secs(5)));
        world.run_for(Duration::from_millis(100));
        let mut faults = Faults::none();
        faults.disk.sync_error = 1.0;
        host.set_faults(faults);
        world.run_for(Duration::from_millis(500));
        let before: usize = model.borrow().queues.values().map(|p| p.len()).sum();
        world.run_for(Duration::from_millis(500));
        let after: usize = model.borrow().queues.values().map(|p| p.len()).sum();
        assert!(before > 0);
        assert_eq!(before, after, "seed {seed}: acknowledged after a failed sync");
        host.set_faults(Faults::none());
        // What is found is made durable, also what that sync was about: the second crash takes the power.
        for kind in [CrashKind::Process, CrashKind::PowerLoss] {
            crash(&host, kind, &model);
            let (config, model) = (config.clone(), model.clone());
            world.run(&host, |env| async move {
                let (_handle, shard, _) = open(&env, &config).await.expect("opens again");
                verify(&shard, &model).await.expect("no fault");
                flushed(&shard).await;
            });
        }
    }
}

/// A lost or foreign ring and a damaged one: nothing durable is lost, nothing foreign appears.
#[test]
fn a_ring_of_another_time_is_not_replayed() {
    let world = World::new(99);
    let host = world.host("broker");
    let config = small_config("/data");
    let model: SharedModel = Rc::new(RefCell::new(Model::default()));
    let verified = start(&host, &config, &model);
    assert!(world.run_until(|| verified.get(), Duration::from_secs(5)));
    world.run_for(Duration::from_millis(30));
    crash(&host, CrashKind::Process, &model);
    let is_ring = |(path, _): &(std::path::PathBuf, u64)| path.extension().is_some_and(|e| e == "ring");
    let ring = host.files().into_iter().find(is_ring).expect("a ring on tmpfs").0;
    assert!(host.copy_file(&ring, "/old.ring"));
    let verified = start(&host, &config, &model);
    assert!(world.run_until(|| verified.get(), Duration::from_secs(5)));
    world.run_for(Duration::from_millis(200));
    crash(&host, CrashKind::PowerLoss, &model);
    // Somebody puts a ring of an earlier epoch where the ring was.
    assert!(host.copy_file("/old.ring", &ring));
    let report = world.run(&host, |env| async move {
        let (_handle, shard, report) = open(&env, &config).await.expect("opens");
        verify(&shard, &model).await.expect("no fault");
        report
    });
    assert_eq!(report.replayed_bytes, 0);
    assert!(!report.decisions.contains(&Decision::Replay));
}

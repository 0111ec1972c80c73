//! Crashes at every step of a history, and of the recovery after it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmq_simenv::{CrashKind, Faults, Host, World};

use super::book::{Book, SharedBook, live, open};

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = number("FIRST_SEED").unwrap_or(1);
    first..first + number("SEEDS").unwrap_or(default)
}

fn start(host: &Host, book: &SharedBook) -> Rc<Cell<bool>> {
    let opened = Rc::new(Cell::new(false));
    let (book, seen) = (book.clone(), opened.clone());
    host.start(1, move |env| live(env, book.clone(), seen.clone()));
    opened
}

fn crash(host: &Host, kind: CrashKind) {
    if host.is_up() || kind == CrashKind::PowerLoss {
        host.crash(kind);
    }
}

/// A life in which nothing goes wrong finds everything, takes more, and is found again.
fn opens_and_serves(world: &World, host: &Host, book: &SharedBook) {
    host.set_faults(Faults::none());
    let opened = start(host, book);
    assert!(world.run_until(|| opened.get(), Duration::from_secs(60)), "a life without faults does not open");
    let before = book.borrow().acknowledged;
    let serves = world.run_until(|| book.borrow().acknowledged > before, Duration::from_secs(60));
    assert!(serves, "a life without faults takes nothing");
    host.crash(CrashKind::PowerLoss);
    let book = book.clone();
    world.run(host, |env| async move {
        open(&env, &book).await.expect("opens twice");
    });
}

/// Steps until the first life has rotated and taken a snapshot.
fn steps_of_a_life(seed: u64) -> u64 {
    let world = World::new(seed);
    let host = world.host("broker");
    let book = Book::shared();
    start(&host, &book);
    let rich = world.run_until(
        || {
            let rotated = host.files().iter().any(|(path, _)| path.ends_with("log-0000000000000001"));
            book.borrow().snapshots >= 2 && !rotated
        },
        Duration::from_secs(10),
    );
    assert!(rich, "seed {seed}: {} snapshots", book.borrow().snapshots);
    world.steps()
}

/// Every step of the first life is a crash; the second life dies at a step of its recovery, or soon after.
#[test]
fn what_was_acknowledged_survives_a_crash_at_every_step() {
    for seed in seeds(6) {
        let steps = steps_of_a_life(seed);
        for step in 0..steps {
            for kind in [CrashKind::Process, CrashKind::PowerLoss] {
                let world = World::new(seed);
                let host = world.host("broker");
                let book = Book::shared();
                start(&host, &book);
                world.run_steps(step);
                crash(&host, kind);
                start(&host, &book);
                world.run_steps(step % 83);
                let second = if step % 3 == 0 { CrashKind::Process } else { CrashKind::PowerLoss };
                crash(&host, second);
                opens_and_serves(&world, &host, &book);
            }
        }
    }
}

/// Many lives, each with another end, and disks that fail in every way they may.
#[test]
fn what_was_acknowledged_survives_crashes_and_io_errors() {
    let (mut acknowledged, mut opened_lives) = (0, 0);
    for seed in seeds(150) {
        let world = World::new(seed);
        let host = world.host("broker");
        let rng = world.rng("test");
        let book = Book::shared();
        for _ in 0..rng.within(2..=6) {
            host.set_faults(Faults::drawn(&rng));
            let opened = start(&host, &book);
            if rng.coin() {
                world.run_until(|| opened.get() || !host.is_up(), Duration::from_secs(60));
            }
            world.run_for(Duration::from_micros(rng.within(0..=60_000)));
            crash(&host, if rng.coin() { CrashKind::Process } else { CrashKind::PowerLoss });
            opened_lives += u64::from(opened.get());
        }
        opens_and_serves(&world, &host, &book);
        acknowledged += book.borrow().acknowledged;
    }
    let of_one_seed = std::env::var("SEEDS").is_ok();
    assert!(of_one_seed || (acknowledged > 5000 && opened_lives > 150), "{acknowledged} {opened_lives}");
}

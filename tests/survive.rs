//! A broker under load that is killed, stopped and robbed of its rings: what was acknowledged is where it was acknowledged.
//!
//! `ROUNDS=50` kills more often, `STOP_SECONDS=10` stops for longer; see tests/README.md.

mod harness;

use std::process::Command;
use std::time::{Duration, Instant};

use harness::load::{Acked, Load, missing, stored};
use harness::server::{Server, Standalone};
use harness::{rings_of, scratch, take_turn};

/// Between a start and the kill.
const ACKS: u64 = 4000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What ASYNC_FLUSH may lose is younger than the flush interval and what the flush itself takes; on a busy machine that
/// includes waiting for a CPU.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
const FLUSH_ITSELF: Duration = Duration::from_millis(450);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([name, &server.process.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
}

fn killed_again_and_again(flush: &str) {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2).broker_conf(&[flush]);
    let mut acked: Vec<Acked> = Vec::new();
    let rounds = setting("ROUNDS", 3);
    for round in 0..rounds {
        let server = standalone.start();
        let load = Load::start(&server, round << 32);
        load.reaches(ACKS, PATIENCE);
        server.crash();
        acked.extend(load.end());
    }
    let server = standalone.start();
    let stored = stored(&server);
    let missing = missing(&acked, &stored);
    assert!(missing.is_empty(), "{} of {} are lost: {:?}", missing.len(), acked.len(), missing[0]);
    println!("{flush}: {rounds} kills, {} acknowledged, {} stored, none lost", acked.len(), stored.len());
    server.stop();
}

#[test]
fn nothing_is_lost_by_kill_nine_in_async_flush() {
    killed_again_and_again("flushDiskType=ASYNC_FLUSH");
}

#[test]
fn nothing_is_lost_by_kill_nine_in_sync_flush() {
    killed_again_and_again("flushDiskType=SYNC_FLUSH");
}

#[test]
fn a_process_that_was_stopped_goes_on() {
    let _turn = take_turn();
    for flush in ["flushDiskType=ASYNC_FLUSH", "flushDiskType=SYNC_FLUSH"] {
        let dir = scratch();
        let server = Standalone::new(dir.path()).shards(2).broker_conf(&[flush]).start();
        let load = Load::start(&server, 0);
        load.reaches(ACKS, PATIENCE);
        signal(&server, "-STOP");
        std::thread::sleep(Duration::from_secs(setting("STOP_SECONDS", 3)));
        let before = load.acked();
        signal(&server, "-CONT");
        load.reaches(before + ACKS, PATIENCE);
        let acked = load.end();
        let stored = stored(&server);
        let missing = missing(&acked, &stored);
        assert!(missing.is_empty(), "{} of {} are lost", missing.len(), acked.len());
        server.stop();
    }
}

/// A power loss as far as a process can have one: the rings, which are memory, are gone; what was written is not.
/// Gives the age of the oldest acknowledged message that is missing, and how many are.
fn without_rings(flush: &str) -> (Option<Duration>, usize) {
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2).broker_conf(&[flush]);
    let server = standalone.start();
    let rings = rings_of(server.process.id());
    assert!(!rings.is_empty(), "no ring is mapped");
    let load = Load::start(&server, 0);
    load.reaches(ACKS, PATIENCE);
    let killed = Instant::now();
    server.crash();
    let acked = load.end();
    for ring in &rings {
        std::fs::remove_file(ring).expect("remove a ring");
    }
    let server = standalone.start();
    let stored = stored(&server);
    let missing = missing(&acked, &stored);
    let oldest = missing.iter().map(|acked| killed.saturating_duration_since(acked.at)).max();
    println!("{flush}: {} of {} lost with the rings, the oldest {oldest:?} old", missing.len(), acked.len());
    server.stop();
    (oldest, missing.len())
}

#[test]
fn sync_flush_loses_nothing_with_the_rings() {
    let _turn = take_turn();
    assert_eq!(without_rings("flushDiskType=SYNC_FLUSH"), (None, 0));
}

#[test]
fn async_flush_loses_no_more_than_the_flush_interval_with_the_rings() {
    let _turn = take_turn();
    let (oldest, _) = without_rings("flushDiskType=ASYNC_FLUSH");
    assert!(oldest.is_none_or(|age| age <= FLUSH_INTERVAL + FLUSH_ITSELF), "{oldest:?} old");
}

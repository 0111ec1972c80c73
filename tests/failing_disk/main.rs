//! A disk that fails under the real process: no SEND_OK from a shard any more once it has said so, the reason in reply, log,
//! metric and health, and after a restart on a disk that is well again everything that was acknowledged. And one that stalls, and
//! one whose machine loses power.
//!
//! The disk is our own (`disk`): served by FUSE from this process's memory, so that a sync or a write fails when it is told to. Without
//! that, writes fail by a limit on file sizes (`prlimit`) that is set while the broker runs: the kernel refuses them with EFBIG.

mod contents;
mod disk;
#[path = "../harness/mod.rs"]
mod harness;
mod serve;

use std::process::Command;
use std::time::{Duration, Instant};

use disk::{Disk, Order, unseen};
use harness::load::{Acked, Load, missing, stored};
use harness::server::{Server, Standalone};
use harness::suite::tools_present;
use harness::{Rings, rings_of, scratch, take_turn};

const PATIENCE: Duration = Duration::from_secs(60);
const ACKS: u64 = 2000;
/// Refusals to hear before the end: each connection goes on sending to what is latched.
const REFUSALS: u64 = 2000;
/// A signal of its own comes with a write beyond the limit, and kills who does not ignore it.
const IGNORING_THE_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
/// Below it stay the log and the metadata journal's beginning; segments are written beyond it soon.
const FILE_BYTES: u64 = 2 << 20;
/// Segments fill while a test runs.
const SMALL: [&str; 2] = ["segmentBytes=1048576", "ringBytes=2097152"];
const STALL: Duration = Duration::from_secs(5);
/// What an answer that has left already may take to its reader on a busy machine.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// What ASYNC_FLUSH may lose is younger than the flush interval and what the flush itself takes; on a busy machine that
/// includes waiting for a CPU.
const FLUSH_INTERVAL_AND_FLUSH: Duration = Duration::from_millis(500);

/// Waits until sends are refused for the latch, looks at what is said of it, and ends the load.
fn latches(server: &Server, load: Load) -> Vec<Acked> {
    let deadline = Instant::now() + PATIENCE;
    while load.latched() < REFUSALS {
        assert!(
            Instant::now() < deadline,
            "{} acknowledged, {} refused: no write has failed?\n{}",
            load.acked(),
            load.latched(),
            server.process.log_tail()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let reason = load.reason().expect("a refusal says why");
    assert!(reason.contains("after a failed") && reason.contains("restart the broker"), "{reason}");
    let metrics = server.ask_admin("/metrics");
    let shards = metrics.lines().filter(|line| line.starts_with("ringmq_shard_latched{"));
    assert!(shards.into_iter().any(|line| line.ends_with(" 1")), "no shard is latched in {metrics}");
    let health = server.ask_admin("/healthz");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("is latched after a failed"), "{health}");
    assert!(server.process.log_tail().contains("is latched after a failed"), "{}", server.process.log_tail());
    let acked = load.end();
    println!("{} acknowledged before: {reason}", acked.len());
    acked
}

fn is_all_there(standalone: &mut Standalone, acked: &[Acked]) {
    let server = standalone.start();
    let stored = stored(&server);
    let missing = missing(acked, &stored);
    assert!(missing.is_empty(), "{} of {} are lost: {:?}", missing.len(), acked.len(), missing[0]);
    // It takes messages again.
    let load = Load::start(&server, 1 << 40);
    load.reaches(ACKS, PATIENCE);
    load.end();
    server.stop();
}

/// With `robbed` the rings go as well: what was acknowledged has to be on the disk.
fn writes_fail(flush: &str, robbed: bool) {
    let _turn = take_turn();
    assert!(tools_present(&["prlimit", "sh"]), "they are of util-linux, which every installation has");
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path())
        .restartable()
        .shards(2)
        .broker_conf(&[flush])
        .launched_by(&IGNORING_THE_SIGNAL);
    let server = standalone.start();
    let load = Load::start(&server, 0);
    load.reaches(ACKS, PATIENCE);
    let (process, limit) = (server.process.id().to_string(), format!("--fsize={FILE_BYTES}"));
    let limited = Command::new("prlimit").args(["--pid", &process, &limit]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit");
    let acked = latches(&server, load);
    if robbed {
        remove_rings(&server);
    }
    server.crash();
    is_all_there(&mut standalone, &acked);
}

#[test]
fn no_send_is_acknowledged_after_a_failed_write_in_sync_flush() {
    writes_fail("flushDiskType=SYNC_FLUSH", true);
}

#[test]
fn what_async_flush_acknowledged_before_a_failed_write_is_in_the_ring() {
    writes_fail("flushDiskType=ASYNC_FLUSH", false);
}

fn settings(flush: &str) -> Vec<&str> {
    [&SMALL[..], &[flush]].concat()
}

fn remove_rings(server: &Server) {
    let rings = rings_of(server.process.id());
    assert!(!rings.is_empty(), "no ring is mapped");
    rings.iter().for_each(|ring| std::fs::remove_file(ring).expect("remove a ring"));
}

/// With `robbed` the rings go as well: what was acknowledged has to be on the disk, which has dropped what was not synced.
fn the_device_fails(order: Order, flush: &'static str, robbed: bool) {
    let _turn = take_turn();
    unseen(move || {
        let dir = scratch();
        let mut standalone =
            Standalone::new(dir.path()).restartable().shards(2).broker_conf(&settings(flush));
        let disk = Disk::empty();
        let Some(attached) = disk.attach(&standalone.data()) else { return };
        let server = standalone.start();
        let _rings = Rings::of(server.process.id());
        let load = Load::start(&server, 0);
        load.reaches(ACKS, PATIENCE);
        attached.order(order);
        attached.obeyed(PATIENCE);
        let acked = latches(&server, load);
        if robbed {
            remove_rings(&server);
        }
        server.crash();
        drop(attached);
        let _healthy = disk.attach(&standalone.data()).expect("it was mounted before");
        is_all_there(&mut standalone, &acked);
    });
}

#[test]
fn a_failed_sync_loses_nothing_that_sync_flush_acknowledged() {
    the_device_fails(Order::FailSync, "flushDiskType=SYNC_FLUSH", true);
}

#[test]
fn what_async_flush_acknowledged_before_a_failed_sync_is_in_the_ring() {
    the_device_fails(Order::FailSync, "flushDiskType=ASYNC_FLUSH", false);
}

#[test]
fn an_io_error_of_a_write_loses_nothing_that_sync_flush_acknowledged() {
    the_device_fails(Order::FailWrites, "flushDiskType=SYNC_FLUSH", true);
}

/// The age, when the power went, of the oldest acknowledged message that is missing, and how many are.
fn the_power_goes(disk: &Disk, flush: &str, torn: bool) -> Option<(Option<Duration>, usize)> {
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2).broker_conf(&settings(flush));
    let attached = disk.attach(&standalone.data())?;
    let server = standalone.start();
    let _rings = Rings::of(server.process.id());
    let load = Load::start(&server, 0);
    load.reaches(ACKS, PATIENCE);
    remove_rings(&server);
    let gone = attached.lose_power(torn);
    server.crash();
    let acked = load.end();
    drop(attached);
    let _again = disk.attach(&standalone.data()).expect("it was mounted before");
    let server = standalone.start();
    let stored = stored(&server);
    let missing = missing(&acked, &stored);
    let oldest = missing.iter().map(|acked| gone.saturating_duration_since(acked.at)).max();
    println!("{flush}: {} of {} lost with the power, the oldest {oldest:?} old", missing.len(), acked.len());
    server.stop();
    Some((oldest, missing.len()))
}

#[test]
fn sync_flush_loses_nothing_with_the_power() {
    let _turn = take_turn();
    unseen(|| {
        for torn in [false, true] {
            let Some(lost) = the_power_goes(&Disk::empty(), "flushDiskType=SYNC_FLUSH", torn) else { return };
            assert_eq!(lost, (None, 0), "torn: {torn}");
        }
    });
}

#[test]
fn async_flush_loses_no_more_than_the_flush_interval_with_the_power() {
    let _turn = take_turn();
    unseen(|| {
        let lost = the_power_goes(&Disk::empty(), "flushDiskType=ASYNC_FLUSH", true);
        if let Some((Some(age), _)) = lost {
            assert!(age <= FLUSH_INTERVAL_AND_FLUSH, "{age:?} old");
        }
    });
}

/// The kernel carries out what is asked of a FUSE disk in the thread that asks, so that the broker's core stands still as well. What
/// a broker says while its disk does nothing is the simulator's.
#[test]
fn a_disk_that_stalls_holds_acknowledgements_up_and_then_goes_on() {
    let _turn = take_turn();
    unseen(|| {
        let dir = scratch();
        let conf = settings("flushDiskType=SYNC_FLUSH");
        let mut standalone = Standalone::new(dir.path()).shards(2).broker_conf(&conf);
        let disk = Disk::empty();
        let Some(attached) = disk.attach(&standalone.data()) else { return };
        let server = standalone.start();
        let _rings = Rings::of(server.process.id());
        let load = Load::start(&server, 0);
        load.reaches(ACKS, PATIENCE);
        attached.order(Order::Stall(STALL));
        let began = attached.obeyed(PATIENCE);
        let before = load.acked();
        load.reaches(before + ACKS, PATIENCE);
        let acked = load.end();
        let waiting = began + ON_ITS_WAY..began + STALL;
        let early = acked.iter().filter(|acked| waiting.contains(&acked.at)).count();
        assert_eq!(early, 0, "acknowledged while the disk did nothing");
        let after = acked.iter().filter(|acked| acked.at >= began + STALL).count();
        let health = server.ask_admin("/healthz");
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        let stored = stored(&server);
        let missing = missing(&acked, &stored);
        assert!(missing.is_empty(), "{} of {} are lost", missing.len(), acked.len());
        println!("{after} of {} acknowledged after a stall of {STALL:?}", acked.len());
        server.stop();
    });
}

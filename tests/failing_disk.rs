//! A disk whose writes fail under the real process: no SEND_OK from a shard any more once it has said so, the reason in reply, log,
//! metric and health, and after a restart on a disk that is well again everything that was acknowledged.
//!
//! Writes fail by a limit on file sizes (`prlimit`) that is set while the broker runs: the kernel refuses them with EFBIG. A failed
//! fsync and EIO are the simulator's.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::load::{Acked, Load, missing, stored};
use harness::server::{Server, Standalone};
use harness::suite::tools_present;
use harness::{rings_of, scratch, take_turn};

const PATIENCE: Duration = Duration::from_secs(60);
const ACKS: u64 = 2000;
/// Refusals to hear before the end: each connection goes on sending to what is latched.
const REFUSALS: u64 = 2000;
/// A signal of its own comes with a write beyond the limit, and kills who does not ignore it.
const IGNORING_THE_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
/// Below it stay the log and the metadata journal's beginning; segments are written beyond it soon.
const FILE_BYTES: u64 = 2 << 20;

/// What the admin port answers.
fn admin(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.admin()).expect("connect to the admin port");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
    write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("ask the admin port");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

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
    let metrics = admin(server, "/metrics");
    let shards = metrics.lines().filter(|line| line.starts_with("ringmq_shard_latched{"));
    assert!(shards.into_iter().any(|line| line.ends_with(" 1")), "no shard is latched in {metrics}");
    let health = admin(server, "/healthz");
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
    let rings = rings_of(server.process.id());
    server.crash();
    if robbed {
        assert!(!rings.is_empty(), "no ring is mapped");
        rings.iter().for_each(|ring| std::fs::remove_file(ring).expect("remove a ring"));
    }
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

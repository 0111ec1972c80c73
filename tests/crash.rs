//! kill -9 and restart under load: nothing that was acknowledged is missing, and a group goes on where it was.

mod harness;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::server::Standalone;
use harness::suite::{Suite, stress};
use harness::{scratch, take_turn};

const KILLS: usize = 4;
/// Acknowledgements to see between one kill and the next, so that each kill hits a busy broker.
const BETWEEN_KILLS: usize = 1500;

/// A consumer that is given nothing for so long gets nothing: the first message comes within 5 s.
const FIRST_MESSAGE: &str = "15";

#[test]
fn acknowledged_messages_survive_kill_nine() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    survive(&[]);
}

#[test]
fn acknowledged_messages_survive_kill_nine_with_sync_flush() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    survive(&["flushDiskType=SYNC_FLUSH"]);
}

fn survive(conf: &[&str]) {
    let dir = scratch();
    let dir = dir.path();
    let mut standalone = Standalone::new(dir).restartable().broker_conf(conf);
    let mut server = standalone.start();
    let namesrv = server.namesrv().to_owned();
    let acks = dir.join("acks");
    let acks_text = acks.to_string_lossy().into_owned();
    // Far more messages and time than it gets: it is stopped after the last restart.
    let mut sender = stress(
        "send",
        &namesrv,
        &[
            "send",
            "--topic",
            "crash",
            "--acks",
            &acks_text,
            "--messages",
            "100000000",
            "--seconds",
            "3600",
            "--threads",
            "4",
        ],
        dir,
    );
    sender.line_starting("sending", Duration::from_secs(60));
    for _ in 0..KILLS {
        let goal = lines(&acks) + BETWEEN_KILLS;
        wait_for_lines(&mut sender, &acks, goal);
        server.crash();
        server = standalone.start();
        assert_eq!(server.namesrv(), namesrv, "restarted on another port");
    }
    let goal = lines(&acks) + BETWEEN_KILLS;
    wait_for_lines(&mut sender, &acks, goal);
    sender.terminate(Duration::from_secs(30));
    server.crash();
    let server = standalone.start();

    // Half of the books: what the group was given before it was stopped, what it is given after another crash.
    let consumed = dir.join("consumed").to_string_lossy().into_owned();
    consume(&namesrv, &consumed, dir);
    let first: HashSet<String> =
        fs::read_to_string(&consumed).expect("read").lines().map(ToOwned::to_owned).collect();
    server.crash();
    let server = standalone.start();
    let again = dir.join("again").to_string_lossy().into_owned();
    consume(&namesrv, &again, dir);
    let repeated = fs::read_to_string(&again)
        .map(|text| text.lines().filter(|line| first.contains(*line)).count())
        .unwrap_or(0);
    assert_eq!(
        repeated,
        0,
        "the group committed all {} messages and was given {repeated} of them again",
        first.len()
    );

    let mut verify =
        stress("verify", &namesrv, &["verify", "--acks", &acks_text, "--consumed", &consumed], dir);
    let (output, status) = verify.finish(Duration::from_secs(120));
    println!("{}", output.join("\n"));
    assert!(
        status.success() && output.iter().any(|line| line.starts_with("VERIFIED ")),
        "{}",
        output.join("\n")
    );
    server.stop();
}

/// Consumes to the end and leaves the group cleanly, its offsets committed.
fn consume(namesrv: &str, out: &str, dir: &Path) {
    let mut consumer = stress(
        "consume",
        namesrv,
        &[
            "consume",
            "--topic",
            "crash",
            "--group",
            "crash-group",
            "--out",
            out,
            "--first-seconds",
            FIRST_MESSAGE,
        ],
        dir,
    );
    let (output, status) = consumer.finish(Duration::from_secs(180));
    assert!(status.success(), "consume: {status}: {output:?}");
    println!("{}", output.join("\n"));
}

fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

fn wait_for_lines(sender: &mut Process, path: &Path, goal: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while lines(path) < goal {
        if !sender.is_running() || Instant::now() > deadline {
            sender.fail(&format!("{} acknowledgements, waiting for {goal}", lines(path)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! SIGTERM: under a second whoever is connected, nothing that was acknowledged is lost, and what is missing is in the log files.

mod harness;

use std::time::{Duration, Instant};

use harness::load::{Acked, Load, missing, stored};
use harness::process::Process;
use harness::remoting::{Remote, pull_header, send_header};
use harness::server::{Server, Standalone};
use harness::{scratch, take_turn};
use ringmq_wire::code::{request_code, response_code};

/// The promise.
const STOP: Duration = Duration::from_secs(1);
/// Generous, for a machine that does other things at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
/// A machine that is busy may hold up one stop, a wait in the broker holds up each.
const ROUNDS: u64 = 3;
const ACKS: u64 = 4000;
const IDLE: usize = 500;

/// Terminates; how long it took.
fn stop(mut server: Server) -> Duration {
    let began = Instant::now();
    let status = server.process.terminate(PATIENCE);
    let took = began.elapsed();
    assert!(status.success(), "{status}; its log:\n{}", server.process.log_tail());
    took
}

fn shortest(stops: &[Duration]) {
    println!("stops: {stops:?}");
    assert!(stops.iter().min().is_some_and(|shortest| *shortest < STOP), "each stop was too long: {stops:?}");
}

#[test]
fn under_load_it_takes_less_than_a_second_and_loses_nothing() {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2);
    let mut acked: Vec<Acked> = Vec::new();
    let mut stops = Vec::new();
    for round in 0..ROUNDS {
        let server = standalone.start();
        let idle: Vec<Remote> = (0..IDLE).map(|_| Remote::connect(server.broker())).collect();
        // One that waits for a message of a queue that gets none.
        let mut waiting = Remote::connect(server.broker());
        let made = waiting.send(send_header("quiet", 0), b"the only one");
        assert_eq!(made.code, response_code::SUCCESS, "{made:?}");
        let next = made.field("queueOffset").parse::<i64>().expect("an offset") + 1;
        let mut held = pull_header("quiet", 0, next);
        (held.sys_flag, held.suspend_timeout_millis) = (6, 15_000);
        let held = waiting.pull_frame(held);
        waiting.write(&held).expect("ask");
        let load = Load::start(&server, round << 32);
        load.reaches(ACKS, PATIENCE);
        stops.push(stop(server));
        acked.extend(load.end());
        drop((idle, waiting));
    }
    let server = standalone.start();
    let stored = stored(&server);
    let missing = missing(&acked, &stored);
    assert!(missing.is_empty(), "{} of {} are lost: {:?}", missing.len(), acked.len(), missing[0]);
    server.stop();
    shortest(&stops);
}

/// Answers that nobody reads, and a name server that does not answer, get their moment and no more.
#[test]
fn peers_that_hang_do_not_hold_it_up() {
    let _turn = take_turn();
    let mut stops = Vec::new();
    for _ in 0..ROUNDS {
        let dir = scratch();
        let names = Server::ringmq(&["namesrv", "-p", "0"], dir.path());
        let conf = dir.path().join("broker.conf");
        let text = "listenPort=0\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\n";
        std::fs::write(&conf, text).expect("write broker.conf");
        let arguments = ["broker", "-c", &conf.to_string_lossy(), "-n", names.namesrv()];
        let server = Server::ringmq(&arguments, dir.path());
        let mut remote = Remote::connect(server.broker());
        for _ in 0..64 {
            let sent = remote.send(send_header("deaf", 0), &vec![5; 60_000]);
            assert_eq!(sent.code, response_code::SUCCESS, "{sent:?}");
        }
        let mut deaf = Remote::connect(server.broker());
        // 1,000 answers of 240 KB each: more than any buffer takes.
        let asks: Vec<u8> = (0..1000).flat_map(|_| deaf.pull_frame(pull_header("deaf", 0, 0))).collect();
        let asking = std::thread::spawn(move || {
            // Fails once the server has stopped reading and then ends.
            let _ = deaf.write(&asks);
            deaf
        });
        no_more_is_read_for_it(&mut remote);
        signal(&names.process, "-STOP");
        stops.push(stop(server));
        signal(&names.process, "-CONT");
        names.stop();
        drop(asking.join().expect("the writer ends"));
    }
    shortest(&stops);
}

#[test]
fn log_files_tell_of_start_and_end() {
    let _turn = take_turn();
    let dir = scratch();
    let logs = dir.path().join("logs");
    let server = Server::ringmq(
        &[
            "standalone",
            "--namesrv-port",
            "0",
            "--listen-port",
            "0",
            "--log-dir",
            "logs",
            "--log-rotation",
            "hourly",
        ],
        dir.path(),
    );
    server.stop();
    let text = std::fs::read_to_string(logs.join("ringmq-standalone.log")).expect("the link to the log");
    for told in ["registered name_server=", "stopping", "the broker stops"] {
        assert!(text.contains(told), "no {told:?} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours in a file: {text}");
    let stderr = std::fs::read_to_string(dir.path().join("ringmq-standalone.log")).expect("standard error");
    assert_eq!(stderr, "", "it is in the files");
    // Why a start fails is there as well as on standard error.
    std::fs::write(dir.path().join("broken.conf"), "listenPort=many\n").expect("write");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringmq"));
    command.current_dir(dir.path()).args(["broker", "-c", "broken.conf", "--log-dir", "logs"]);
    let mut broken = Process::start("broken", &mut command, dir.path());
    assert!(!broken.wait(PATIENCE).success());
    assert!(broken.log_tail().contains("line 1: listenPort=many"), "{}", broken.log_tail());
    let text = std::fs::read_to_string(logs.join("ringmq-broker.log")).expect("the link to the log");
    assert!(text.contains("line 1: listenPort=many"), "{text}");
}

/// Waits until the broker has stopped making answers, which is when the other side's buffers and its own are full.
fn no_more_is_read_for_it(remote: &mut Remote) {
    let mut before = 0;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let figures = remote.ask(request_code::GET_BROKER_RUNTIME_INFO, &[], b"");
        let text = String::from_utf8(figures.body).expect("the table is text");
        let number = text.split("\"msgGetTotalTodayNow\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let got: u64 = number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("in {text}"));
        if got > 0 && got == before {
            return;
        }
        assert!(Instant::now() < deadline, "it goes on and on: {got}");
        before = got;
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(process: &Process, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &process.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
}

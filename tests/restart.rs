//! Ports at the start: a restart right after kill -9 gets them, another server's are an error that names them.

mod harness;

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::remoting::{Remote, pull_header, send_header};
use harness::server::{Server, Standalone};
use harness::{scratch, take_turn};

/// A start may wait for a port for 5 s.
const REFUSED: Duration = Duration::from_secs(20);

#[test]
fn a_restart_right_after_a_kill_gets_its_ports() {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable();
    let mut server = standalone.start();
    let (namesrv, broker) = (server.namesrv().to_owned(), server.broker().to_owned());
    for _ in 0..5 {
        server.crash();
        server = standalone.start();
        assert_eq!((server.namesrv(), server.broker()), (namesrv.as_str(), broker.as_str()));
    }
    server.stop();
}

/// What a killed process's listener does, for longer than any start takes.
#[test]
fn a_start_waits_for_ports_that_come_free() {
    let _turn = take_turn();
    let dir = scratch();
    for is_namesrv in [true, false] {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("a bound address").to_string();
        let (first, second) = if is_namesrv { (port(&address), "0") } else { ("0", port(&address)) };
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
        command
            .args(["standalone", "--namesrv-port", first, "--listen-port", second, "--data"])
            .arg(dir.path().join("data"));
        let mut process = Process::start("waiting", &mut command, dir.path());
        process.logged(&format!("the port is in use; waiting for it addr={address}"), REFUSED);
        drop(held);
        let ready = process.line_starting("ready", REFUSED);
        assert!(ready.contains(&address), "{ready}");
        assert!(process.terminate(REFUSED).success());
    }
}

#[test]
fn a_port_of_another_server_is_an_error_that_names_it() {
    let _turn = take_turn();
    let (dir, other) = (scratch(), scratch());
    let server = Standalone::new(dir.path()).start();
    // Both run as the same user on as many cores: sharing a port by accident would be possible.
    for (namesrv, broker, taken) in
        [(port(server.namesrv()), "0", server.namesrv()), ("0", port(server.broker()), server.broker())]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
        command
            .args(["standalone", "--namesrv-port", namesrv, "--listen-port", broker, "--data"])
            .arg(other.path());
        let mut second = Process::start("second", &mut command, other.path());
        let (output, status) = second.finish(REFUSED);
        assert!(!status.success() && output.is_empty(), "{status}: {output:?}");
        let log = second.log_tail();
        let message = format!("cannot listen on {taken}: port {} is in use by another process", port(taken));
        assert!(log.contains(&message), "no {message:?} in:\n{log}");
    }
    server.stop();
}

/// Clients with `vipChannelEnabled`, the dashboard among them, know only the port two below the broker's.
#[test]
fn the_port_of_the_vip_channel_is_the_brokers_too() {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable();
    let mut server = standalone.start();
    let vip = neighbour(server.broker());
    for restarted in [false, true] {
        // After a kill it may be there a moment later than the other.
        wait_for_listener(&vip);
        let sent = Remote::connect(&vip).send(send_header("orders", 0), b"m");
        assert_eq!(sent.code, 0, "{sent:?}");
        if !restarted {
            server.crash();
            server = standalone.start();
        }
    }
    let pulled = Remote::connect(server.broker()).pull(pull_header("orders", 0, 0));
    assert_eq!(pulled.messages(), [b"m".to_vec(), b"m".to_vec()], "{pulled:?}");
    let mut idle = Remote::connect(&vip);
    server.stop();
    assert!(idle.is_closed_within(Duration::from_secs(5)), "a stop ends its connections as well");

    // Where somebody else has it a broker is ready without it, takes it when it comes free, or says that it does without.
    for comes_free in [true, false] {
        let taken = TcpListener::bind(&vip).expect("the port is free again");
        let mut server = standalone.start();
        let given_up = "clients with vipChannelEnabled will not find this broker";
        assert!(!server.process.log_tail().contains(given_up), "the start waited for it");
        let sent = Remote::connect(server.broker()).send(send_header("orders", 0), b"m");
        assert_eq!(sent.code, 0, "{sent:?}");
        if comes_free {
            drop(taken);
            server.process.logged("clients with vipChannelEnabled find this broker now", REFUSED);
            // More connections than cores: whichever gets one serves it.
            for _ in 0..8 {
                let sent = Remote::connect(&vip).send(send_header("orders", 0), b"m");
                assert_eq!(sent.code, 0, "{sent:?}");
            }
        } else {
            server.process.logged(given_up, REFUSED);
        }
        server.stop();
    }
}

fn wait_for_listener(address: &str) {
    let deadline = Instant::now() + REFUSED;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn neighbour(broker: &str) -> String {
    let (host, port) = broker.rsplit_once(':').expect("an address has a port");
    format!("{host}:{}", port.parse::<u16>().expect("a port") - 2)
}

/// The rings outlive a crash, which is what they are for, and nothing else.
#[test]
fn a_clean_stop_gives_the_memory_of_the_rings_back() {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable();
    let server = standalone.start();
    let rings = rings_of(&server);
    assert!(!rings.is_empty(), "no ring is mapped");
    let sent = Remote::connect(server.broker()).send(send_header("kept", 0), b"m");
    assert_eq!(sent.code, 0, "{sent:?}");
    server.crash();
    assert!(rings.iter().all(|ring| ring.exists()), "a crash took a ring of {rings:?}");
    let server = standalone.start();
    server.stop();
    for ring in rings {
        assert!(
            !ring.exists() && !ring.parent().expect("a directory").exists(),
            "{} is left",
            ring.display()
        );
    }
    let server = standalone.start();
    let pulled = Remote::connect(server.broker()).pull(pull_header("kept", 0, 0));
    assert_eq!(pulled.messages(), [b"m".to_vec()], "{pulled:?}");
    server.stop();
}

/// The rings that a server has mapped.
fn rings_of(server: &Server) -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.process.id())).expect("read its maps");
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    paths.filter(|path| path.ends_with(".ring")).map(PathBuf::from).collect()
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("an address has a port").1
}

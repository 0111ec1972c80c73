//! What clients do wrong, to the real binary over plain sockets: garbage, half frames, silence, crowds, answers that nobody
//! reads. Each costs its own connection at most; others go on all the while, and memory stays bounded.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::remoting::{ANSWER, Answer, Heard, Remote, pull_header, send_header};
use harness::scratch;
use harness::server::{Server, Standalone};
use ringmq_wire::code::{request_code, response_code};

const TOPIC: &str = "bad-input";

/// A client that does everything right, again and again, while others do not.
struct Bystander {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Bystander {
    fn start(address: &str, mut round: impl FnMut(&mut Remote) + Send + 'static) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut remote = Remote::connect(address);
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                round(&mut remote);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, rounds, thread }
    }

    /// Sends to the broker.
    fn sends(broker: &str) -> Self {
        Self::start(broker, |remote| stored(&remote.send(send_header(TOPIC, 0), &[7; 100])))
    }

    /// Asks the name server for routes.
    fn asks(namesrv: &str) -> Self {
        Self::start(namesrv, |remote| assert_eq!(route(remote, "TBW102").code, response_code::SUCCESS))
    }

    /// Something was done since the last look, without an error.
    fn goes_on(&self) {
        let before = self.rounds.load(Ordering::Relaxed);
        let deadline = Instant::now() + ANSWER;
        while self.rounds.load(Ordering::Relaxed) < before + 3 {
            assert!(!self.thread.is_finished(), "the bystander has failed");
            assert!(Instant::now() < deadline, "the bystander is stuck");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) {
        self.goes_on();
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the bystander saw no error");
    }
}

fn stored(answer: &Answer) {
    assert_eq!(answer.code, response_code::SUCCESS, "{answer:?}");
}

fn route(remote: &mut Remote, topic: &str) -> Answer {
    remote.ask(request_code::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)], b"")
}

/// One message there and back, on a new connection.
fn a_good_send_and_pull(broker: &str) {
    let mut remote = Remote::connect(broker);
    let sent = remote.send(send_header(TOPIC, 1), b"after it all");
    stored(&sent);
    let offset = sent.field("queueOffset").parse().expect("an offset");
    let pulled = remote.pull(pull_header(TOPIC, 1, offset));
    stored(&pulled);
    assert_eq!(pulled.messages(), [b"after it all".to_vec()]);
}

/// A figure of the broker's runtime information.
fn figure(remote: &mut Remote, name: &str) -> u64 {
    let answer = remote.ask(request_code::GET_BROKER_RUNTIME_INFO, &[], b"");
    let text = String::from_utf8(answer.body).expect("the table is text");
    let value = text.split(&format!("\"{name}\":\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no figure {name} in {text}"))
}

/// Memory of the process's own, without the rings.
fn private_memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("read its status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// A frame from its parts, with whatever length the test claims.
fn frame(length: i32, header_word: u32, rest: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &header_word.to_be_bytes(), rest].concat()
}

/// Bytes that are no request, each with a name. The connection is closed on all of them.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> =
        (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("noise", noise),
        ("zeros", vec![0; 4096]),
        ("a frame over 16 MiB", frame(16 * 1024 * 1024 + 1, 2, b"{}")),
        ("the largest length", frame(i32::MAX, 2, b"{}")),
        ("a negative length", frame(-1, 2, b"{}")),
        ("the smallest length", frame(i32::MIN, 2, b"{}")),
        ("no room for a header", frame(3, 2, b"{}")),
        ("a header longer than its frame", frame(6, 3, b"{}")),
        ("the longest header", frame(6, 0x00FF_FFFF, b"{}")),
        ("an unknown serialization", frame(6, 0x0900_0002, b"{}")),
        ("a header that is no JSON", frame(6, 2, b"}{")),
        ("a header that ends too early", frame(11, 7, b"{\"code\"")),
        ("a binary header that lies", frame(6, 0x0100_0002, b"\xff\xff")),
    ]
}

fn garbage_costs_its_connection_only(address: &str, bystander: &Bystander) {
    for (name, bytes) in garbage() {
        let mut remote = Remote::connect(address);
        // The server may have closed before it was given everything.
        let _ = remote.write(&bytes);
        assert!(remote.is_closed_within(ANSWER), "{name}: the connection is still open");
        bystander.goes_on();
    }
    // A frame cut anywhere, and then the end.
    let mut whole = Remote::connect(address);
    let request = whole.request(request_code::GET_ROUTEINFO_BY_TOPIC, &[("topic", TOPIC)], b"body");
    for length in 1..request.len() {
        let mut remote = Remote::connect(address);
        remote.write(&request[..length]).expect("send a part of a frame");
        remote.end();
        assert!(remote.is_closed_within(ANSWER), "open after {length} bytes and the end");
    }
    bystander.goes_on();
    // What came before the garbage is answered.
    whole.write(&[&request[..], b"\xff\xff\xff\xff garbage"].concat()).expect("send");
    assert!(matches!(whole.hear(ANSWER), Heard::Answer(_)));
    assert!(whole.is_closed_within(ANSWER));
}

#[test]
fn garbage_closes_its_connection_and_no_other() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    let (sender, asker) = (Bystander::sends(server.broker()), Bystander::asks(server.namesrv()));
    garbage_costs_its_connection_only(server.broker(), &sender);
    garbage_costs_its_connection_only(server.namesrv(), &asker);
    sender.end();
    asker.end();
    a_good_send_and_pull(server.broker());
    server.stop();
}

#[test]
fn an_unknown_request_is_answered_and_counted() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    let mut remote = Remote::connect(server.broker());
    let before = figure(&mut remote, "requestsNotSupported");
    for code in [29_999, 0, -1, i32::MAX, i32::MIN] {
        let answer = remote.ask(code, &[("a", "b")], b"body");
        assert_eq!(answer.code, response_code::REQUEST_CODE_NOT_SUPPORTED, "{code}: {answer:?}");
        assert!(answer.remark.contains(&code.to_string()), "{answer:?}");
        let answer = Remote::connect(server.namesrv()).ask(code, &[], b"");
        assert_eq!(answer.code, response_code::REQUEST_CODE_NOT_SUPPORTED, "{code}: {answer:?}");
    }
    assert_eq!(figure(&mut remote, "requestsNotSupported"), before + 5);
    a_good_send_and_pull(server.broker());
    server.stop();
}

#[test]
fn bad_requests_get_rocketmqs_codes() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&["maxMessageSize=1000000"]).start();
    let mut remote = Remote::connect(server.broker());
    stored(&remote.send(send_header(TOPIC, 0), b"first"));

    let too_large = remote.send(send_header(TOPIC, 0), &vec![1; 1_000_001]);
    assert_eq!(too_large.code, response_code::MESSAGE_ILLEGAL, "{too_large:?}");
    assert!(too_large.remark.contains("1000000B"), "{too_large:?}");
    stored(&remote.send(send_header(TOPIC, 0), &vec![1; 1_000_000]));

    for topic in ["", "no such character!", "a b", &"x".repeat(128)] {
        let answer = remote.send(send_header(topic, 0), b"m");
        assert_eq!(answer.code, response_code::INVALID_PARAMETER, "{topic:?}: {answer:?}");
    }
    let answer = remote.send(send_header("SCHEDULE_TOPIC_XXXX", 0), b"m");
    assert_eq!(answer.code, response_code::NO_PERMISSION, "{answer:?}");
    let answer = remote.send(send_header(TOPIC, 99), b"m");
    assert_eq!(answer.code, response_code::INVALID_PARAMETER, "{answer:?}");
    let answer = remote.send(send_header(TOPIC, 0), b"");
    assert_eq!(answer.code, response_code::MESSAGE_ILLEGAL, "{answer:?}");
    let long = format!("key\u{1}{}\u{2}", "v".repeat(40_000));
    let mut header = send_header(TOPIC, 0);
    header.properties = &long;
    let answer = remote.send(header, b"m");
    assert_eq!(answer.code, response_code::MESSAGE_ILLEGAL, "{answer:?}");
    // Odd, but not wrong.
    for properties in ["", "\u{1}\u{2}", "no separator", "\u{2}\u{2}\u{2}", "a\u{1}b"] {
        header.properties = properties;
        stored(&remote.send(header, b"m"));
    }
    // Fields that are missing, and numbers that are none.
    for fields in [&[][..], &[("b", TOPIC)], &[("a", "g"), ("b", TOPIC), ("e", "x"), ("d", "4")]] {
        let answer = remote.ask(request_code::SEND_MESSAGE_V2, fields, b"m");
        assert_eq!(answer.code, response_code::SYSTEM_ERROR, "{fields:?}: {answer:?}");
    }

    let answer = remote.pull(pull_header("nowhere", 0, 0));
    assert_eq!(answer.code, response_code::TOPIC_NOT_EXIST, "{answer:?}");
    for queue in [-1, 99] {
        let answer = remote.pull(pull_header(TOPIC, queue, 0));
        assert_eq!(answer.code, response_code::INVALID_PARAMETER, "{answer:?}");
    }
    let mut header = pull_header(TOPIC, 0, 0);
    header.subscription = Some("a || || b |");
    let answer = remote.pull(header);
    assert!(
        [response_code::SUCCESS, response_code::PULL_RETRY_IMMEDIATELY].contains(&answer.code),
        "{answer:?}"
    );
    // Nobody has told what this group wants.
    header.sys_flag = 0;
    let answer = remote.pull(header);
    assert_eq!(answer.code, response_code::SUBSCRIPTION_NOT_EXIST, "{answer:?}");
    for (offset, code) in
        [(-5, response_code::PULL_OFFSET_MOVED), (i64::MAX, response_code::PULL_OFFSET_MOVED)]
    {
        let answer = remote.pull(pull_header(TOPIC, 0, offset));
        assert_eq!(answer.code, code, "{offset}: {answer:?}");
    }

    let mut names = Remote::connect(server.namesrv());
    for topic in ["nowhere", "", "a b!", &"x".repeat(100_000)] {
        let answer = route(&mut names, topic);
        assert_eq!(answer.code, response_code::TOPIC_NOT_EXIST, "{answer:?}");
    }
    let answer = names.ask(request_code::REGISTER_BROKER, &[], b"not a registration");
    assert_eq!(answer.code, response_code::SYSTEM_ERROR, "{answer:?}");
    assert_eq!(route(&mut names, TOPIC).code, response_code::SUCCESS);
    a_good_send_and_pull(server.broker());
    server.stop();
}

#[test]
fn without_auto_creation_an_unknown_topic_does_not_exist() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&["autoCreateTopicEnable=false"]).start();
    let mut remote = Remote::connect(server.broker());
    let answer = remote.send(send_header("unknown", 0), b"m");
    assert_eq!(answer.code, response_code::TOPIC_NOT_EXIST, "{answer:?}");
    let answer = remote.pull(pull_header("unknown", 0, 0));
    assert_eq!(answer.code, response_code::TOPIC_NOT_EXIST, "{answer:?}");
    server.stop();
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    const IDLE: usize = 1000;
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    raise_open_files(2 * IDLE as u64 + 500);
    let (sender, asker) = (Bystander::sends(server.broker()), Bystander::asks(server.namesrv()));
    sender.goes_on();
    let before = private_memory(&server.process);
    let mut idle: Vec<Remote> = Vec::new();
    for address in [server.broker(), server.namesrv()] {
        idle.extend((0..IDLE).map(|_| Remote::connect(address)));
    }
    let mut remote = Remote::connect(server.broker());
    until("all are connected", || figure(&mut remote, "connections") >= IDLE as u64);
    sender.goes_on();
    asker.goes_on();
    let grown = private_memory(&server.process).saturating_sub(before);
    println!("{} bytes for each idle connection", grown / (2 * IDLE as u64));
    assert!(grown < 2 * IDLE as u64 * 8 * 1024, "{grown} bytes for {} idle connections", 2 * IDLE);
    // Idle, not forgotten.
    for (i, remote) in idle.iter_mut().enumerate().step_by(50) {
        match i < IDLE {
            true => stored(&remote.send(send_header(TOPIC, 2), b"awake")),
            false => assert_eq!(route(remote, TOPIC).code, response_code::SUCCESS),
        }
    }
    drop(idle);
    until("all are gone", || figure(&mut remote, "connections") < 10);
    sender.end();
    asker.end();
    a_good_send_and_pull(server.broker());
    server.stop();
}

#[test]
fn a_reader_that_never_reads_is_bounded_and_cut() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    let mut remote = Remote::connect(server.broker());
    for _ in 0..64 {
        stored(&remote.send(send_header(TOPIC, 3), &vec![5; 60_000]));
    }
    let sender = Bystander::sends(server.broker());
    let before = private_memory(&server.process);
    let others = figure(&mut remote, "connections");
    let mut deaf = Remote::connect(server.broker());
    // 4,000 answers of 240 KB each: a gigabyte, were they all made.
    let asks: Vec<u8> = (0..4000).flat_map(|_| deaf.pull_frame(pull_header(TOPIC, 3, 0))).collect();
    let asking = std::thread::spawn(move || {
        // Fails once the server has stopped reading and then cuts.
        let _ = deaf.write(&asks);
        deaf
    });
    until("it is served", || figure(&mut remote, "connections") > others);
    let mut most = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    // 30 s without progress.
    while figure(&mut remote, "connections") > others {
        most = most.max(private_memory(&server.process).saturating_sub(before));
        sender.goes_on();
        assert!(Instant::now() < deadline, "it is still connected");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("at most {} KiB for a peer that does not read", most / 1024);
    assert!(most < 64 * 1024 * 1024, "{most} bytes for one connection");
    drop(asking.join().expect("the writer ends"));
    sender.end();
    a_good_send_and_pull(server.broker());
    server.stop();
}

#[test]
fn a_silent_connection_is_closed_after_its_time() {
    let dir = scratch();
    let conf = dir.path().join("namesrv.conf");
    std::fs::write(&conf, "serverChannelMaxIdleTimeSeconds=5\n").expect("write namesrv.conf");
    let names = Server::ringmq(&["namesrv", "-p", "0", "-c", &conf.to_string_lossy()], dir.path());
    let server = Standalone::new(dir.path()).broker_conf(&["serverChannelMaxIdleTimeSeconds=5"]).start();
    let sender = Bystander::sends(server.broker());
    let asker = Bystander::start(names.namesrv(), |remote| {
        assert_eq!(route(remote, "nowhere").code, response_code::TOPIC_NOT_EXIST);
    });
    for address in [server.broker(), names.namesrv()] {
        let start = Instant::now();
        let (mut silent, mut half) = (Remote::connect(address), Remote::connect(address));
        half.write(&[0, 0, 1]).expect("send half a length");
        assert!(silent.is_closed_within(ANSWER) && half.is_closed_within(ANSWER), "still open");
        assert!(start.elapsed() > Duration::from_millis(4900), "closed after {:?}", start.elapsed());
    }
    sender.end();
    asker.end();
    a_good_send_and_pull(server.broker());
    server.stop();
    names.stop();
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + ANSWER;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Each connection takes a descriptor of this process as well.
fn raise_open_files(wanted: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
    assert!(hard >= wanted, "at most {hard} open files are allowed, {wanted} are needed");
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).expect("raise the limit of open files");
    }
}

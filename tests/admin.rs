//! The admin port of the real process over plain sockets, and the tools on top of it.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::remoting::{ANSWER, Remote, pull_header, send_header};
use harness::scratch;
use harness::server::{Server, Standalone};
use ringmq_wire::code::{request_code, response_code};

const TOPIC: &str = "watched-topic";
const END: Duration = Duration::from_secs(60);

/// Everything that comes back for these bytes, up to the end of the connection.
fn talk(admin: &str, bytes: &[u8]) -> String {
    let mut stream = connect(admin);
    stream.write_all(bytes).expect("send a request");
    let mut answer = Vec::new();
    // A server that refuses before it has read everything may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("the answer is text")
}

fn connect(admin: &str) -> TcpStream {
    let stream = TcpStream::connect(admin).unwrap_or_else(|error| panic!("connect to {admin}: {error}"));
    stream.set_read_timeout(Some(ANSWER)).expect("set a time-out");
    stream
}

/// Status and body.
fn get(admin: &str, path: &str) -> (u16, String) {
    let answer = talk(admin, format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    assert_eq!(length.parse(), Ok(body.len()));
    (status(&answer), body.to_owned())
}

fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

type Labels = BTreeMap<String, String>;

/// The text format as its specification has it, strictly: what a scraper would trip over fails.
struct Metrics(Vec<(String, Labels, f64)>);

impl Metrics {
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut types, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let mut family = String::new();
        let mut samples = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
                family = name.to_owned();
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("no labels: {line}"));
            let (labels, value) = rest.rsplit_once("} ").unwrap_or_else(|| panic!("no value: {line}"));
            let kind = &types[&family];
            let own = name == family
                || (kind == "histogram"
                    && ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}")));
            assert!(own, "{name} is outside of its family {family}");
            assert!(kind != "counter" || name.ends_with("_total"), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
            let labels = Self::labels(labels);
            assert!(seen.insert((name.to_owned(), labels.clone())), "a sample comes twice: {line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(value.is_finite() && value >= 0.0, "{line}");
            samples.push((name.to_owned(), labels, value));
        }
        Self(samples)
    }

    fn labels(text: &str) -> Labels {
        let mut labels = Labels::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").expect("a label");
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let end = loop {
                match chars.next().expect("a label's end") {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().expect("an escape").1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("escape of {c}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(name.to_owned(), value).is_none(), "label {name} twice: {text}");
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        labels
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&(String, Labels, f64)| {
            sample.0 == name && labels.iter().all(|(k, v)| sample.1.get(*k).is_some_and(|value| value == v))
        };
        self.0.iter().filter(fits).map(|sample| sample.2).sum()
    }
}

fn scrape(admin: &str) -> Metrics {
    let (status, text) = get(admin, "/metrics");
    assert_eq!(status, 200, "{text}");
    Metrics::parse(&text)
}

fn send(broker: &str, count: usize) {
    let mut remote = Remote::connect(broker);
    for n in 0..count {
        let sent = remote.send(send_header(TOPIC, (n % 4) as i32), &[7; 1000]);
        assert_eq!(sent.code, response_code::SUCCESS, "{sent:?}");
    }
}

fn ringmq(arguments: &[&str], dir: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    let mut process = Process::start("tool", command.args(arguments), dir);
    let (lines, status) = process.finish(END);
    assert!(status.success(), "{arguments:?}: {status}\n{}\n{}", lines.join("\n"), process.log_tail());
    lines.join("\n") + "\n"
}

#[test]
fn what_clients_did_adds_up_in_the_metrics() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(2).start();
    let (broker, admin) = (server.broker().to_owned(), server.admin().to_owned());
    assert_eq!(get(&admin, "/healthz"), (200, "ok\n".to_owned()));
    send(&broker, 300);
    let mut remote = Remote::connect(&broker);
    let (mut offset, mut messages) = (0, 0);
    while messages < 75 {
        let pulled = remote.pull(pull_header(TOPIC, 0, offset));
        assert_eq!(pulled.code, response_code::SUCCESS, "{pulled:?}");
        messages += pulled.messages().len();
        offset = pulled.field("nextBeginOffset").parse().expect("an offset");
    }
    let commit = [("consumerGroup", "consumers"), ("topic", TOPIC), ("queueId", "0"), ("commitOffset", "70")];
    let answer = remote.ask(request_code::UPDATE_CONSUMER_OFFSET, &commit, b"");
    assert_eq!(answer.code, response_code::SUCCESS, "{answer:?}");
    assert_ne!(remote.ask(9999, &[], b"").code, response_code::SUCCESS);

    let metrics = scrape(&admin);
    let (topic, node) = (("topic", TOPIC), ("node_type", "broker"));
    assert_eq!(metrics.sum("rocketmq_messages_in_total", &[topic, node]), 300.0);
    let bytes = metrics.sum("rocketmq_throughput_in_total", &[topic]);
    assert!((300_000.0..400_000.0).contains(&bytes), "{bytes}");
    let group = ("consumer_group", "consumers");
    assert_eq!(metrics.sum("rocketmq_messages_out_total", &[topic, group]), 75.0);
    assert_eq!(metrics.sum("rocketmq_consumer_lag_messages", &[topic, group]), 5.0);
    assert_eq!(metrics.sum("rocketmq_consumer_inflight_messages", &[topic, group]), 5.0);
    assert_eq!(metrics.sum("ringmq_requests_unsupported_total", &[("code", "9999")]), 1.0);
    assert_eq!(metrics.sum("ringmq_shard_records_total", &[]), 300.0);
    assert_eq!(metrics.sum("ringmq_shard_latched", &[]), 0.0);
    assert!(metrics.sum("ringmq_core_turns_total", &[("core", "0")]) > 0.0);
    assert!(metrics.sum("ringmq_connections", &[]) >= 1.0);
    assert!(metrics.sum("ringmq_stage_seconds_count", &[("stage", "append")]) >= 4.0);
    let flushed = Instant::now() + ANSWER;
    while scrape(&admin).sum("ringmq_shard_flush_seconds_count", &[]) < 1.0 {
        assert!(Instant::now() < flushed, "nothing was flushed");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (status, by_queue) = get(&admin, "/metrics/queues");
    assert_eq!(status, 200);
    let by_queue = Metrics::parse(&by_queue);
    let queue = [group, ("queue_id", "0")];
    assert_eq!(by_queue.sum("ringmq_consumer_lag_queue_messages", &queue), 5.0);

    // The rates of the runtime information, which the control core samples.
    let deadline = Instant::now() + ANSWER;
    loop {
        let table = remote.ask(request_code::GET_BROKER_RUNTIME_INFO, &[], b"");
        let text = String::from_utf8(table.body).expect("text");
        let rates = text.split("\"putTps\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let rates: Vec<f64> = rates.expect("putTps").split(' ').map(|rate| rate.parse().unwrap()).collect();
        assert_eq!(rates.len(), 3);
        if rates[0] > 0.0 {
            break;
        }
        assert!(Instant::now() < deadline, "no rate in {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.stop();
}

/// What the dashboard in `docs` asks Prometheus for is there: names, and the labels that it chooses and groups by.
#[test]
fn the_grafana_dashboard_asks_for_metrics_that_there_are() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(2).start();
    send(server.broker(), 8);
    let mut remote = Remote::connect(server.broker());
    assert_eq!(remote.pull(pull_header(TOPIC, 0, 0)).code, response_code::SUCCESS);
    let commit = [("consumerGroup", "consumers"), ("topic", TOPIC), ("queueId", "0"), ("commitOffset", "1")];
    assert_eq!(remote.ask(request_code::UPDATE_CONSUMER_OFFSET, &commit, b"").code, response_code::SUCCESS);
    assert_ne!(remote.ask(9999, &[], b"").code, response_code::SUCCESS);
    let (_, text) = get(server.admin(), "/metrics");
    let Metrics(samples) = Metrics::parse(&text);
    let families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();

    let file = harness::repository().join("docs/grafana-dashboard.json");
    let file = std::fs::read_to_string(file).expect("read the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() >= 10, "{queries:?}");
    for query in queries {
        let mut names = 0;
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for name in query.split(word).filter(|w| w.starts_with("ringmq_") || w.starts_with("rocketmq_")) {
            names += 1;
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = families.contains(name) || family.is_some_and(|family| families.contains(family));
            assert!(known, "no {name}, which is in {query}");
            let labels: BTreeSet<&str> = samples
                .iter()
                .filter(|(of, ..)| of == name)
                .flat_map(|(_, labels, _)| labels.keys().map(String::as_str))
                .collect();
            // Some families have no sample until something has gone wrong.
            let by = query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
            for label in by.flat_map(|list| list.split(", ")).filter(|_| !labels.is_empty()) {
                assert!(
                    labels.contains(label),
                    "no label {label} of {name}, which is in {query}: {labels:?}"
                );
            }
        }
        assert!(names > 0, "no metric of ours in {query}");
    }
    server.stop();
}

/// The texts of all queries, wherever they are.
fn collect_queries(of: &serde_json::Value, queries: &mut Vec<String>) {
    match of {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "expr" || name == "query") {
                    Some(text) if text != "prometheus" => queries.push(text.to_owned()),
                    _ => collect_queries(value, queries),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect_queries(value, queries)),
        _ => {}
    }
}

#[test]
fn bad_requests_cost_only_themselves() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    let admin = server.admin().to_owned();
    // Half a request, and one that never says a word: they stay while the others are served.
    let mut half = connect(&admin);
    half.write_all(b"GET /metr").expect("send half a request");
    let silent = connect(&admin);
    assert_eq!(status(&talk(&admin, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")), 400, "TLS");
    assert_eq!(status(&talk(&admin, b"hello\r\n\r\n")), 400);
    assert_eq!(status(&talk(&admin, b"DELETE /metrics HTTP/1.1\r\n\r\n")), 405);
    let huge = format!("GET /metrics HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(1 << 20));
    let mut stream = connect(&admin);
    // The server may have answered and closed before it was all sent.
    let _ = stream.write_all(huge.as_bytes());
    let mut start = [0; 12];
    if stream.read_exact(&mut start).is_ok() {
        assert_eq!(&start, b"HTTP/1.1 431");
    }
    assert_eq!(get(&admin, "/none").0, 404);
    let head = talk(&admin, b"HEAD /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(status(&head) == 200 && head.ends_with("\r\n\r\n"), "{head:?}");
    let two = talk(&admin, b"GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(two.matches("HTTP/1.1 200 OK").count(), 2, "{two:?}");
    half.write_all(b"ics HTTP/1.1\r\nConnection: close\r\n\r\n").expect("send the other half");
    let mut rest = String::new();
    half.read_to_string(&mut rest).expect("an answer");
    assert_eq!(status(&rest), 200);
    drop(silent);
    send(server.broker(), 10);
    server.stop();
}

#[test]
fn the_tools_show_what_is_going_on() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(2).start();
    let (namesrv, admin) = (server.namesrv().to_owned(), server.admin().to_owned());
    let load =
        ["bench", "send", "-n", &namesrv, "-t", TOPIC, "-d", "4", "--warmup", "0", "-s", "200", "--json"];
    let mut bench = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    let mut bench = Process::start("bench", bench.args(load), dir.path());
    let deadline = Instant::now() + END;
    while scrape(&admin).sum("rocketmq_messages_in_total", &[("topic", TOPIC)]) < 1000.0 {
        assert!(Instant::now() < deadline && bench.is_running(), "no load:\n{}", bench.log_tail());
        std::thread::sleep(Duration::from_millis(10));
    }
    let screen = ringmq(&["top", "--admin", &admin, "--once", "--interval", "500ms"], dir.path());
    let line = |first: &str| {
        let line = screen.lines().find(|line| line.split_whitespace().next() == Some(first));
        line.unwrap_or_else(|| panic!("no {first} in\n{screen}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_ne!(line(TOPIC)[1], "0", "{screen}");
    assert_ne!(line("all")[1], "0", "{screen}");
    assert_eq!((line("0").len(), line("1").len()), (16, 16), "{screen}");
    bench.finish(END);

    let sent = scrape(&admin);
    let total = sent.sum("rocketmq_messages_in_total", &[("topic", TOPIC)]);
    assert_eq!(total, sent.sum("ringmq_shard_records_total", &[]));
    let text = ringmq(&["admin", "latency", "--admin", &admin], dir.path());
    for stage in ["decode", "hop", "append", "flush", "sync", "pull", "send", "turn"] {
        assert!(text.lines().any(|line| line.starts_with(stage)), "no {stage} in\n{text}");
    }
    let json = ringmq(&["admin", "latency", "--admin", &admin, "--json"], dir.path());
    let count = |stage: &str| -> f64 {
        let after = json.split(&format!("\"{stage}\":{{\"count\":")).nth(1);
        after
            .and_then(|rest| rest.split(',').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{stage}: {json}"))
    };
    // One in 64 of each core.
    assert!((count("append") - total / 64.0).abs() <= 2.0, "{} of {total}", count("append"));
    for stage in ["decode", "flush", "send", "sync", "turn"] {
        assert!(count(stage) > 0.0, "{stage}: {json}");
    }
    server.stop();
}

#[test]
fn ports_are_taken_as_they_are_asked_for() {
    let dir = scratch();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = format!("metricsPromExporterPort={}", taken.local_addr().expect("bound").port());
    let conf = dir.path().join("broker.conf");
    std::fs::write(&conf, &port).expect("write broker.conf");
    let data = dir.path().join("refused");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    command
        .args(["standalone", "--namesrv-port", "0", "--listen-port", "0", "-c"])
        .arg(&conf)
        .arg("--data")
        .arg(data);
    let mut refused = Process::start("refused", &mut command, dir.path());
    let (lines, status) = refused.finish(END);
    assert_eq!((lines.len(), status.code()), (0, Some(1)), "{lines:?}");
    let log = refused.log_tail();
    assert!(log.contains("for metrics (metricsPromExporterPort): port"), "{log}");

    // The default port, on a broker with a port of its own. If somebody else has it already, so much the better.
    let default = TcpListener::bind("127.0.0.1:5557");
    let server = Standalone::new(&dir.path().join("")).restartable().start();
    assert!(!server.admin().ends_with(":5557"), "{}", server.admin());
    assert_eq!(get(server.admin(), "/healthz").0, 200);
    drop(default);
    server.stop();

    let off = scratch();
    let server = Standalone::new(off.path()).broker_conf(&["metricsExporterType=DISABLE"]).start();
    assert_eq!(server.admin, None);
    server.stop();
}

#[test]
fn a_broker_alone_names_its_admin_port_too() {
    let dir = scratch();
    let conf = dir.path().join("broker.conf");
    let data = dir.path().join("data");
    let lines = format!(
        "listenPort=0\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nstorePathRootDir={}\n",
        data.display()
    );
    std::fs::write(&conf, lines).expect("write broker.conf");
    let server = Server::ringmq(&["broker", "-c", &conf.to_string_lossy()], dir.path());
    assert_eq!(get(server.admin(), "/healthz").0, 200);
    server.stop();
}

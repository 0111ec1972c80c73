//! Many topics: made by lists, registered with the name server, listed by every way that tools list them, and there again after a
//! restart.
//!
//! `TOPICS=100000 cargo test --release --test many_topics -- --nocapture` for figures.

mod harness;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::remoting::Remote;
use harness::server::{Server, Standalone};
use harness::{scratch, take_turn};
use ringmq_wire::code::{request_code, response_code};
use serde_json::Value;

/// Topics of one list, as `mqadmin updateTopicList` reads them from a file.
const PER_LIST: usize = 1000;
/// An operator's tools wait three to five seconds.
const TOOL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);

fn count() -> usize {
    std::env::var("TOPICS").map_or(10_000, |text| text.parse().expect("a number"))
}

/// Long names, as those that come from paths and departments.
fn name(number: usize) -> String {
    format!("department-{:03}_application-{:04}_events-of-some-kind-{number:06}", number % 500, number % 3000)
}

fn make(broker: &str, numbers: std::ops::Range<usize>) {
    let topics: Vec<String> = numbers
        .map(|number| {
            format!(
                r#"{{"topicName":"{}","readQueueNums":4,"writeQueueNums":4,"perm":6,"topicFilterType":"SINGLE_TAG","topicSysFlag":0,"order":false,"attributes":{{}}}}"#,
                name(number)
            )
        })
        .collect();
    let body = format!(r#"{{"topicConfigList":[{}]}}"#, topics.join(","));
    let answer =
        Remote::connect(broker).ask(request_code::UPDATE_AND_CREATE_TOPIC_LIST, &[], body.as_bytes());
    assert_eq!(answer.code, response_code::SUCCESS, "{}", answer.remark);
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

/// What the name server lists, of ours.
fn registered(namesrv: &str) -> usize {
    let answer = Remote::connect(namesrv).ask(request_code::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], b"");
    assert_eq!(answer.code, response_code::SUCCESS, "{}", answer.remark);
    let list = json(&answer.body);
    let names = list["topicList"].as_array().expect("a list");
    names.iter().filter(|name| name.as_str().is_some_and(|name| name.starts_with("department-"))).count()
}

/// Page by page, as mqadmin and slaves of 5.x ask.
fn paged(broker: &str) -> (usize, usize, Duration) {
    let mut remote = Remote::connect(broker);
    let (mut names, mut pages, mut longest) = (BTreeSet::new(), 0, Duration::ZERO);
    let mut version = String::new();
    loop {
        let began = Instant::now();
        let from = names.len().to_string();
        let fields = [("topicSeq", &*from), ("maxTopicNum", "2000"), ("dataVersion", &*version)];
        let fields = if version.is_empty() { &fields[..2] } else { &fields[..] };
        let answer = remote.ask(request_code::GET_ALL_TOPIC_CONFIG, fields, b"");
        assert_eq!(answer.code, response_code::SUCCESS, "{}", answer.remark);
        longest = longest.max(began.elapsed());
        let total: usize = answer.field("totalTopicNum").parse().expect("a number");
        let page = json(&answer.body);
        version = page["dataVersion"].to_string();
        let table = page["topicConfigTable"].as_object().expect("a table");
        names.extend(table.keys().cloned());
        pages += 1;
        if names.len() >= total {
            return (names.iter().filter(|name| name.starts_with("department-")).count(), pages, longest);
        }
        assert!(!table.is_empty(), "an empty page after {} of {total}", names.len());
    }
}

fn listed_by_the_tool(server: &Server) -> (usize, Duration) {
    let began = Instant::now();
    let run = Command::new(env!("CARGO_BIN_EXE_ringmq"))
        .args(["admin", "-n", server.namesrv(), "topic", "list", "--json"])
        .output()
        .expect("run ringmq admin");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    (String::from_utf8_lossy(&run.stdout).matches("\"department-").count(), began.elapsed())
}

/// How often something held a core up for over a millisecond, and the longest turn of each, in seconds: for who looks at the output.
fn stalls(server: &Server) -> String {
    let text = server.ask_admin("/metrics");
    let wanted = |line: &&str| {
        ["ringmq_core_stalls_total{", "ringmq_core_turn_seconds_max{"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let values = |line: &str| line.rsplit(' ').next().map(str::to_owned);
    text.lines().filter(wanted).filter_map(values).collect::<Vec<_>>().join(" ")
}

#[test]
fn they_are_registered_listed_and_there_after_a_restart() {
    let _turn = take_turn();
    let (dir, count) = (scratch(), count());
    let mut standalone = Standalone::new(dir.path()).shards(2).restartable();
    let server = standalone.start();
    let began = Instant::now();
    for first in (0..count).step_by(PER_LIST) {
        make(server.broker(), first..(first + PER_LIST).min(count));
    }
    // The answer to a list says that the name server knows it.
    assert_eq!(registered(server.namesrv()), count);
    println!("{count} topics made and registered in {:?}", began.elapsed());

    let looks = |server: &Server| {
        let began = Instant::now();
        assert_eq!(registered(server.namesrv()), count);
        let names = began.elapsed();
        let (found, pages, longest) = paged(server.broker());
        assert_eq!(found, count);
        let (found, tool) = listed_by_the_tool(server);
        assert_eq!(found, count);
        println!(
            "listed by the name server in {names:?}, by {pages} pages of at most {longest:?}, by the tool in {tool:?}"
        );
        println!("stalls and longest turns so far: {}", stalls(server));
        assert!(names < TOOL && longest < TOOL && tool < TOOL);
    };
    looks(&server);
    // A name server that comes later hears of all of them, in pieces that fit a frame.
    server.crash();
    let began = Instant::now();
    let server = standalone.start();
    println!("ready again after {:?}", began.elapsed());
    let deadline = Instant::now() + PATIENCE;
    while registered(server.namesrv()) < count {
        assert!(Instant::now() < deadline, "{} of {count} are registered", registered(server.namesrv()));
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("all registered again after {:?}", began.elapsed());
    looks(&server);
    server.stop();
}

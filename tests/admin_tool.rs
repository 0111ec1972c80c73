//! `ringmq admin`: each verb by the real binary against a real standalone server, looked at for facts; and what it says when
//! it cannot do what it is asked.

mod harness;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::remoting::{ANSWER, Remote, send_header};
use harness::scratch;
use harness::server::{Server, Standalone};
use ringmq_wire::code::{request_code, response_code};
use serde_json::{Value, json};

const END: Duration = Duration::from_secs(60);

/// The tool, aimed at one server.
struct Tool<'t> {
    namesrv: &'t str,
    dir: &'t Path,
}

impl Tool<'_> {
    /// Output and whether it went well.
    fn run(&self, arguments: &[&str]) -> (String, bool) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
        command.args(["admin", "-n", self.namesrv]).args(arguments);
        let log = self.dir.join("tool.log");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::start("tool", &mut command, self.dir);
        let (lines, status) = process.finish(END);
        if status.success() {
            return (lines.join("\n") + "\n", true);
        }
        assert_eq!((status.code(), lines.len()), (Some(1), 0), "{arguments:?} printed {lines:?} and failed");
        (process.log_tail(), false)
    }

    fn text(&self, arguments: &[&str]) -> String {
        let (output, good) = self.run(arguments);
        assert!(good, "{arguments:?}: {output}");
        output
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.text(&[arguments, &["--json"]].concat());
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{arguments:?}: {error} in {output}"))
    }

    fn refused(&self, arguments: &[&str], reason: &str) {
        let (output, good) = self.run(arguments);
        assert!(!good, "{arguments:?} succeeded: {output}");
        assert!(output.contains(reason), "{arguments:?} failed for another reason than {reason:?}: {output}");
    }
}

fn send(server: &Server, topic: &str, queue: i32, count: usize) {
    let mut remote = Remote::connect(server.broker());
    for _ in 0..count {
        let sent = remote.send(send_header(topic, queue), b"body");
        assert_eq!(sent.code, response_code::SUCCESS, "{sent:?}");
    }
}

fn names(list: &Value, key: &str) -> Vec<String> {
    let name = |row: &Value| row[key].as_str().expect("a name").to_owned();
    list.as_array().expect("a list").iter().map(name).collect()
}

#[test]
fn topics_are_made_listed_shown_and_deleted() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(2).start();
    let tool = Tool { namesrv: server.namesrv(), dir: dir.path() };

    let created = tool.json(&["topic", "create", "orders", "--queues", "3"]);
    assert_eq!(created["created"][0]["address"], server.broker());
    tool.text(&["topic", "create", "other"]);
    tool.refused(&["topic", "create", "orders"], "there already");
    tool.refused(&["topic", "create", "bad name"], "code 29");
    tool.refused(&["topic", "create", "more", "--cluster", "elsewhere"], "no broker is in cluster elsewhere");
    assert_eq!(names(&tool.json(&["topic", "list"])["topics"], "topic"), ["orders", "other"]);
    let all = tool.json(&["topic", "list", "--all"]);
    let rows = all["topics"].as_array().expect("a list");
    assert!(rows.contains(&json!({"topic": "TBW102", "kind": "system"})), "{all}");
    assert!(rows.contains(&json!({"topic": "orders", "kind": "topic"})), "{all}");
    let table = tool.text(&["topic", "list"]);
    assert_eq!(table, "topic   kind\norders  topic\nother   topic\n");

    send(&server, "orders", 0, 5);
    send(&server, "orders", 2, 2);
    let shown = tool.json(&["topic", "show", "orders"]);
    assert_eq!((&shown["topic"], &shown["messages"]), (&json!("orders"), &json!(7)));
    assert_eq!(shown["brokers"][0]["write_queues"], 3);
    let queues = shown["queues"].as_array().expect("queues");
    let offsets: Vec<_> = queues.iter().map(|queue| queue["max_offset"].as_i64()).collect();
    assert_eq!(offsets, [Some(5), Some(0), Some(2)]);
    assert!(queues[0]["last_message"].is_string() && queues[1]["last_message"].is_null(), "{shown}");

    tool.text(&["topic", "create", "orders", "--queues", "4", "--update"]);
    assert_eq!(tool.json(&["topic", "show", "orders"])["brokers"][0]["read_queues"], 4);

    let would = tool.json(&["topic", "delete", "orders", "--dry-run"]);
    assert_eq!((&would["dry_run"], &would["deleted"][0]["messages"]), (&json!(true), &json!(7)));
    assert_eq!(tool.json(&["topic", "show", "orders"])["messages"], 7);
    tool.text(&["topic", "delete", "orders"]);
    for gone in [["topic", "show", "orders"], ["topic", "delete", "orders"]] {
        tool.refused(&gone, "no broker has topic orders");
    }
    assert_eq!(names(&tool.json(&["topic", "list"])["topics"], "topic"), ["other"]);
    server.stop();
}

#[test]
fn brokers_tell_their_state_and_take_a_configuration() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(1).start();
    let (namesrv, broker) = (server.namesrv().to_owned(), server.broker().to_owned());
    let tool = Tool { namesrv: &namesrv, dir: dir.path() };

    let cluster = tool.json(&["cluster"]);
    let row = &cluster["brokers"][0];
    assert_eq!(cluster["brokers"].as_array().map(Vec::len), Some(1));
    assert_eq!((&row["address"], &row["id"], &row["state"]), (&json!(broker), &json!(0), &json!("up")));
    assert!(row["in_per_second"].is_number() && row["disk_used"].is_number(), "{cluster}");
    let name = row["broker"].as_str().expect("a name");

    tool.text(&["topic", "create", "one"]);
    send(&server, "one", 0, 9);
    for which in [&[][..], &[name], &[&broker]] {
        let status = tool.json(&[&["broker", "status"], which].concat());
        assert_eq!(status["msgPutTotalTodayNow"], "9", "{which:?}");
    }
    tool.refused(&["broker", "status", "nobody"], &format!("no broker is named nobody; there are {name}"));

    let key = "maxTransferCountOnMessageInMemory";
    let config = tool.json(&["broker", "config"]);
    assert_eq!(config[key], "32");
    let set = tool.json(&["broker", "config", "set", &format!("{key}=17"), "--broker", name]);
    assert_eq!(set["changed"], json!([{"key": key, "before": "32", "now": "17"}]));
    let answer = Remote::connect(&broker).ask(request_code::GET_BROKER_CONFIG, &[], b"");
    assert!(String::from_utf8_lossy(&answer.body).contains(&format!("{key}=17\n")));
    tool.refused(&["broker", "config", "set", "listenPort=1"], "listenPort");
    tool.refused(&["broker", "config", "set", "noSuchKey=1"], "noSuchKey");
    server.stop();

    let nobody = format!("connect to {namesrv}");
    for verb in [&["cluster"][..], &["topic", "list"], &["topic", "delete", "one"], &["broker", "config"]] {
        tool.refused(verb, &nobody);
    }
    tool.refused(&["broker", "status", &broker], &format!("connect to {broker}"));
}

/// A broker that was killed is in the name server's tables for a while.
#[test]
fn a_broker_that_is_down_is_named() {
    let dir = scratch();
    let names = Server::ringmq(&["namesrv", "-p", "0"], dir.path());
    let conf = dir.path().join("broker.conf");
    let store = dir.path().join("store");
    let text = format!(
        "brokerName=lonely\nlistenPort=0\nbrokerIP1=127.0.0.1\nstorePathRootDir={}\n",
        store.display()
    );
    std::fs::write(&conf, text).expect("write broker.conf");
    let conf = conf.to_string_lossy().into_owned();
    let broker = Server::ringmq(&["broker", "-c", &conf, "-n", names.namesrv(), "--shards", "1"], dir.path());
    let tool = Tool { namesrv: names.namesrv(), dir: dir.path() };
    tool.text(&["topic", "create", "lost"]);
    let address = broker.broker().to_owned();
    broker.crash();
    // The kernel may keep the port of a killed process for a moment.
    let deadline = Instant::now() + ANSWER;
    while std::net::TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "{address} still takes connections");
    }
    // The name server has noticed the end of the connection, or not yet.
    let (output, good) = tool.run(&["topic", "show", "lost"]);
    assert!(!good && (output.contains(&address) || output.contains("no broker has topic lost")), "{output}");
    let cluster = tool.json(&["cluster"]);
    let brokers = cluster["brokers"].as_array().expect("a list");
    assert!(
        brokers.iter().all(|broker| broker["state"].as_str().is_some_and(|s| s.contains("connect to"))),
        "{cluster}"
    );
    names.stop();
}

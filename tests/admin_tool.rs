//! `ringmq admin`: each verb by the real binary against a real standalone server, looked at for facts; and what it says when
//! it cannot do what it is asked.

mod harness;

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::DateTime;
use harness::process::Process;
use harness::remoting::{ANSWER, Heard, Remote, send_header};
use harness::scratch;
use harness::server::{Server, Standalone};
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::encode::begin_response;
use ringmq_wire::json_dialect::{
    ConsumerData, HeartbeatData, MessageQueue, RegisterBrokerBody, TopicConfig, to_vec,
};
use ringmq_wire::subscription::SubscriptionData;
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
    let once = "+ringmq.dedup.window=60s";
    tool.text(&["topic", "create", "orders", "--queues", "4", "--update", "--attributes", once]);
    let config =
        Remote::connect(server.broker()).ask(request_code::GET_TOPIC_CONFIG, &[("topic", "orders")], b"");
    let config = String::from_utf8_lossy(&config.body).into_owned();
    assert!(config.contains(r#""ringmq.dedup.window":"60s""#), "{config}");
    tool.refused(&["topic", "create", "more", "--attributes", "+ringmq.dedup.window=soon"], "such as 60s");
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

/// A broker that the name server still knows: one that registered and whose connection to the name server stands, but which takes no
/// connections.
#[test]
fn a_broker_that_does_not_answer_is_named() {
    let dir = scratch();
    let server = Server::ringmq(&["namesrv", "-p", "0"], dir.path());
    let tool = Tool { namesrv: server.namesrv(), dir: dir.path() };
    let address = "127.0.0.1:1";
    let mut body = RegisterBrokerBody::default();
    // A single topic would be taken for an addition to a registration before.
    for name in ["lost", "other"] {
        let topic = TopicConfig { topic_name: name.into(), ..TopicConfig::default() };
        body.topic_config_serialize_wrapper.topic_config_table.insert(name.into(), topic);
    }
    let header = [
        ("brokerName", "lonely"),
        ("brokerAddr", address),
        ("clusterName", "c"),
        ("haServerAddr", ""),
        ("brokerId", "0"),
    ];
    let mut broker = Remote::connect(server.namesrv());
    let registered = broker.ask(request_code::REGISTER_BROKER, &header, &to_vec(&body));
    assert_eq!(registered.code, response_code::SUCCESS, "{registered:?}");

    let row = &tool.json(&["cluster"])["brokers"][0];
    assert_eq!(
        (&row["broker"], &row["version"], &row["in_per_second"]),
        (&json!("lonely"), &json!(null), &json!(null))
    );
    assert!(row["state"].as_str().is_some_and(|state| state.contains("connect to 127.0.0.1:1")), "{row}");
    assert_eq!(names(&tool.json(&["topic", "list"])["topics"], "topic"), ["lost", "other"]);
    for verb in [
        &["topic", "show", "lost"][..],
        &["topic", "create", "more"],
        &["topic", "delete", "lost"],
        &["broker", "status"],
        &["group", "list"],
        &["group", "lag", "g"],
        &["group", "clients", "g"],
        &["offset", "reset", "g", "lost", "--to", "latest"],
    ] {
        tool.refused(verb, "connect to 127.0.0.1:1");
    }
    server.stop();
}

/// A consumer that is online in a thread of its own, and tells which queue it has.
struct Consumer {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    fn start(broker: &str, group: &str, client: &str, queue: MessageQueue) -> Self {
        let mut remote = Remote::connect(broker);
        let subscription = SubscriptionData { topic: queue.topic.clone(), ..SubscriptionData::default() };
        let group = ConsumerData {
            group_name: group.into(),
            subscription_data_set: vec![subscription],
            ..ConsumerData::default()
        };
        let beat = HeartbeatData {
            client_id: client.into(),
            consumer_data_set: vec![group],
            ..HeartbeatData::default()
        };
        let frame = remote.request(request_code::HEART_BEAT, &[], &to_vec(&beat));
        remote.write(&frame).expect("send a heartbeat");
        // That the group has changed is told before.
        loop {
            match remote.hear(ANSWER) {
                Heard::Answer(told) if told.code == request_code::NOTIFY_CONSUMER_IDS_CHANGED => {}
                Heard::Answer(answer) => {
                    assert_eq!(
                        (answer.opaque, answer.code),
                        (remote.opaque(), response_code::SUCCESS),
                        "{answer:?}"
                    );
                    break;
                }
                other => panic!("no answer to a heartbeat: {other:?}"),
            }
        }
        let (stop, stopped) = channel();
        let queue = String::from_utf8(to_vec(&queue)).expect("text");
        let info = format!(r#"{{"mqTable":{{{queue}:{{"locked":false}}}},"properties":{{}}}}"#);
        let thread = std::thread::spawn(move || {
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                match remote.hear(Duration::from_millis(20)) {
                    Heard::Answer(asked) if asked.code == request_code::GET_CONSUMER_RUNNING_INFO => {
                        let mut frame = Vec::new();
                        begin_response(
                            &mut frame,
                            Serialization::Json,
                            response_code::SUCCESS,
                            asked.opaque,
                            0,
                            None,
                        )
                        .finish(info.as_bytes())
                        .expect("an answer fits a frame");
                        remote.write(&frame).expect("answer");
                    }
                    Heard::Answer(_) | Heard::Silence => {}
                    Heard::Closed => return,
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the consumer's thread panicked");
    }
}

#[test]
fn groups_are_looked_at_moved_and_deleted() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(2).start();
    let tool = Tool { namesrv: server.namesrv(), dir: dir.path() };
    tool.text(&["topic", "create", "orders", "--queues", "2"]);
    let broker_name =
        tool.json(&["topic", "show", "orders"])["brokers"][0]["broker"].as_str().expect("a name").to_owned();
    send(&server, "orders", 0, 6);
    // Later than all messages of queue 0, by the clock that stamps them.
    let stored = tool.json(&["topic", "show", "orders"])["queues"][0]["last_message"].clone();
    let stored =
        DateTime::parse_from_rfc3339(stored.as_str().expect("a time")).expect("a time").timestamp_millis();
    let between = stored + 1;
    let deadline = Instant::now() + ANSWER;
    while chrono::Utc::now().timestamp_millis() <= between {
        assert!(Instant::now() < deadline, "the clock stands still");
    }
    send(&server, "orders", 0, 1);
    send(&server, "orders", 1, 3);

    for verb in
        [&["group", "lag", "billing"][..], &["group", "clients", "billing"], &["group", "delete", "billing"]]
    {
        tool.refused(verb, "no broker has group billing");
    }
    let queue = MessageQueue { broker_name, queue_id: 1, topic: "orders".into() };
    let consumer = Consumer::start(server.broker(), "billing", "client-7", queue);
    let mut remote = Remote::connect(server.broker());
    for (queue, offset) in [("0", "4"), ("1", "3")] {
        let commit =
            [("consumerGroup", "billing"), ("topic", "orders"), ("queueId", queue), ("commitOffset", offset)];
        let answer = remote.ask(request_code::UPDATE_CONSUMER_OFFSET, &commit, b"");
        assert_eq!(answer.code, response_code::SUCCESS, "{answer:?}");
    }

    assert_eq!(names(&tool.json(&["group", "list"])["groups"], "group"), ["billing"]);
    assert!(
        names(&tool.json(&["group", "list", "--all"])["groups"], "group")
            .contains(&"TOOLS_CONSUMER".to_owned())
    );
    let lag = tool.json(&["group", "lag", "billing", "--topic", "orders"]);
    assert_eq!(lag["total_lag"], 3, "{lag}");
    let shown =
        |lag: &Value, column: &str| [lag["queues"][0][column].clone(), lag["queues"][1][column].clone()];
    assert_eq!(shown(&lag, "broker_offset"), [7, 3]);
    assert_eq!(shown(&lag, "consumer_offset"), [4, 3]);
    assert_eq!(shown(&lag, "lag"), [3, 0]);
    assert_eq!(shown(&lag, "client"), [Value::Null, "client-7".into()]);
    assert_eq!(tool.json(&["group", "lag", "billing"])["total_lag"], 3);
    tool.refused(&["group", "lag", "billing", "--topic", "nothing"], "no broker has topic nothing");
    let clients = tool.json(&["group", "clients", "billing"]);
    assert_eq!(names(&clients["clients"], "client"), ["client-7"]);
    assert_eq!((&clients["online"], &clients["subscriptions"][0]["topic"]), (&json!(true), &json!("orders")));

    let reset = |to: &str, more: &[&str]| {
        let moved = tool.json(&[&["offset", "reset", "billing", "orders", "--to", to], more].concat());
        [shown(&moved, "from"), shown(&moved, "to")]
    };
    let now = || shown(&tool.json(&["group", "lag", "billing", "--topic", "orders"]), "consumer_offset");
    for to in ["earliest", "latest", &between.to_string()] {
        let before = now();
        let would = reset(to, &["--dry-run"]);
        assert_eq!(now(), before, "a dry run to {to} moved the group");
        assert_eq!(reset(to, &[]), would, "{to}");
        assert_eq!([before, now()], would, "{to}");
    }
    assert_eq!(now(), [6, 0]);
    tool.refused(&["offset", "reset", "nobody", "orders", "--to", "latest"], "no broker has group nobody");
    tool.refused(&["offset", "reset", "billing", "nothing", "--to", "latest"], "no broker has topic nothing");

    assert_eq!(tool.json(&["group", "delete", "billing", "--dry-run"])["online"], 1);
    tool.refused(&["group", "delete", "billing"], "client-7");
    drop(consumer);
    let deadline = Instant::now() + ANSWER;
    while tool.json(&["group", "clients", "billing"])["online"] == true {
        assert!(Instant::now() < deadline, "the client has not left");
    }
    assert_eq!(
        tool.json(&["group", "delete", "billing", "--dry-run"])["deleted"][0]["address"],
        server.broker()
    );
    assert_eq!(now(), [6, 0]);
    tool.text(&["group", "delete", "billing"]);
    tool.refused(&["group", "lag", "billing"], "no broker has group billing");
    assert_eq!(tool.json(&["group", "list"])["groups"], json!([]));
    let retry = &tool.json(&["topic", "list", "--all"])["topics"];
    assert!(!names(retry, "topic").iter().any(|topic| topic.contains("billing")), "{retry}");
    server.stop();
}

#[test]
fn messages_are_sent_found_shown_and_followed() {
    let dir = scratch();
    let server = Standalone::new(dir.path()).shards(2).start();
    let tool = Tool { namesrv: server.namesrv(), dir: dir.path() };
    tool.text(&["topic", "create", "orders", "--queues", "2"]);
    let send = |body: &str, more: &[&str]| {
        tool.json(&[&["message", "send", "orders", "--body", body], more].concat())
    };
    let first = send(
        "first",
        &["--tag", "A", "--key", "k1", "--key", "k2", "--property", "colour=red=ish", "--queue", "1"],
    );
    assert_eq!((&first["queue"], &first["offset"]), (&json!(1), &json!(0)));
    // These tags have the same Java hash code, which is what a broker compares.
    send("second", &["--tag", "Aa", "--key", "k2"]);
    send("third", &["--tag", "BB"]);
    let file = dir.path().join("body");
    std::fs::write(&file, [0xff, 0, 0x1b]).expect("write a body");
    tool.text(&["message", "send", "orders", "--file", &file.to_string_lossy()]);

    let (id, offset_id) =
        (first["message_id"].as_str().expect("an id"), first["offset_id"].as_str().expect("an id"));
    let by_offset = tool.json(&["message", "show", offset_id]);
    let by_id = tool.json(&["message", "show", id, "--topic", "orders"]);
    assert_eq!(by_offset, by_id);
    assert_eq!(
        (&by_id["body"], &by_id["message_id"], &by_id["offset_id"]),
        (&json!("first"), &json!(id), &json!(offset_id))
    );
    let own = &by_id["properties"];
    assert_eq!(
        (&own["colour"], &own["TAGS"], &own["KEYS"]),
        (&json!("red=ish"), &json!("A"), &json!("k1 k2"))
    );

    let bodies = |found: &Value| names(&found["messages"], "body");
    let both = tool.json(&["message", "find", "orders", "--key", "k2"]);
    let mut both = bodies(&both);
    both.sort();
    assert_eq!(both, ["first", "second"]);
    assert_eq!(bodies(&tool.json(&["message", "find", "orders", "--key", "k1"])), ["first"]);

    let tail = |more: &[&str]| -> Vec<Value> {
        let text = tool.text(&[&["message", "tail", "orders", "--json"], more].concat());
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let read = |more: &[&str]| -> Vec<String> {
        let mut bodies: Vec<_> =
            tail(more).iter().map(|m| m["body"].as_str().unwrap_or("-").to_owned()).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(read(&[]), ["-", "first", "second", "third"]);
    assert_eq!(read(&["--tag", "Aa"]), ["second"]);
    assert_eq!(read(&["--tag", "A", "--tag", "BB"]), ["first", "third"]);
    assert_eq!(tail(&["--count", "2"]).len(), 2);
    assert_eq!(read(&["--from", "latest"]).len(), 0);
    assert_eq!(read(&["--from", "2020-01-01"]).len(), 4);
    assert_eq!(read(&["--from", "2100-01-01"]).len(), 0);
    let line = tool.text(&["message", "tail", "orders", "--tag", "A"]);
    assert!(line.contains("queue 1 offset 0 tag A keys k1 k2  first"), "{line}");

    // More than one pull takes, in order of each queue.
    let mut remote = Remote::connect(server.broker());
    for _ in 0..150 {
        assert_eq!(remote.send(send_header("orders", 0), b"many").code, response_code::SUCCESS);
    }
    let offsets: Vec<_> =
        tail(&[]).iter().filter(|m| m["queue"] == 0).map(|m| m["offset"].as_i64()).collect();
    assert!(offsets.len() >= 150 && offsets.is_sorted(), "{offsets:?}");
    assert_eq!(offsets.last(), Some(&Some(offsets.len() as i64 - 1)));

    // Following: what comes after the start, until there is enough.
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    command.args([
        "admin",
        "-n",
        server.namesrv(),
        "message",
        "tail",
        "orders",
        "-f",
        "--tag",
        "late",
        "--count",
        "2",
    ]);
    let mut follower = Process::start("follower", &mut command, dir.path());
    let deadline = Instant::now() + ANSWER;
    let mut sent = 0;
    // It does not say when it has begun, hence several.
    while follower.is_running() {
        assert!(Instant::now() < deadline, "it does not end after {sent} messages");
        send("fresh", &["--tag", "late"]);
        sent += 1;
    }
    let (lines, status) = follower.finish(END);
    assert!(
        status.success() && lines.len() == 2 && lines.iter().all(|line| line.ends_with("fresh")),
        "{lines:?}"
    );

    for (arguments, reason) in [
        (&["send", "nothing", "--body", "x"][..], "no broker has topic nothing"),
        (&["send", "orders", "--body", "x", "--queue", "9"], "no such queue"),
        (&["send", "orders", "--body", "x", "--property", "TAGS=x"], "RocketMQ uses this name"),
        (&["send", "orders", "--body", "x", "--property", "novalue"], "no ="),
        (&["send", "orders", "--file", "/nothing/there"], "/nothing/there"),
        (&["tail", "nothing"], "no broker has topic nothing"),
        (&["find", "orders", "--key", "k"], "no message with the key k"),
        (&["find", "nothing", "--key", "k"], "no broker has topic nothing"),
        (&["show", "123"], "no message id"),
        (&["show", id], "--topic says where"),
        (&["show", id, "--topic", "nothing"], "no broker has topic nothing"),
        (&["show", offset_id, "--topic", "orders"], "no message with the id"),
        (&["show", &format!("{}7FFFFFFFFFFFFFFF", &offset_id[..16])], "can not find message"),
    ] {
        tool.refused(&[&["message"], arguments].concat(), reason);
    }
    server.stop();
}

#[test]
fn a_shell_completes_commands() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_ringmq"))
            .args(["admin", "completions"])
            .args(arguments)
            .output()
            .expect("run")
    };
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = run(&[shell]);
        assert!(script.status.success() && script.stdout.len() > 1000, "{shell}");
    }
    assert!(!run(&["csh"]).status.success());
    let script = String::from_utf8(run(&["bash"]).stdout).expect("text");
    // As bash does it when the tab key is pressed.
    for (words, expected) in
        [("ringmq adm", "admin"), ("ringmq admin gro", "group"), ("ringmq admin group la", "lag")]
    {
        let words: Vec<&str> = words.split(' ').collect();
        let (word, before) = (words[words.len() - 1], words[words.len() - 2]);
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _ringmq ringmq {word} {before}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let completed = Command::new("bash").args(["--norc", "-c", &ask]).output().expect("run bash");
        let text = String::from_utf8_lossy(&completed.stdout).into_owned();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [expected],
            "{}",
            String::from_utf8_lossy(&completed.stderr)
        );
    }
}

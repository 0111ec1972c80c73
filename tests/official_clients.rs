//! The unmodified Java (5.5 and 4.9) and Go clients against the real binary: every scenario of `tests/clients` passes.

mod harness;

use std::collections::BTreeSet;

use harness::server::Standalone;
use harness::suite::Suite;
use harness::{scratch, take_turn};

const WITHOUT_AUTO_CREATE: &str = "unknown_topic_without_autocreate";
/// What the scenarios of delayed messages and retries want: recall, and retries that do not take their minutes.
const CONF: [&str; 2] = ["recallMessageEnable=true", "messageDelayLevel=1s 2s 1s 1s 1s 1s"];
const ALL: [&str; 3] = ["--exact", "--recall", "all"];
const BINARY_HEADERS: &str = "-Drocketmq.serialize.type=ROCKETMQ";

fn java_scenarios(suite: Suite) -> BTreeSet<String> {
    let mut names = suite.scenarios();
    assert!(names.remove(WITHOUT_AUTO_CREATE), "{WITHOUT_AUTO_CREATE} is gone from the list");
    names
}

#[test]
fn java_client() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&CONF).start();
    Suite::Java.run(server.namesrv(), &ALL, "", &java_scenarios(Suite::Java), dir.path());
    server.stop();
}

#[test]
fn java_client_of_4_9() {
    let _turn = take_turn();
    if !Suite::Java49.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&CONF).start();
    let all = ["--exact", "all"];
    Suite::Java49.run(server.namesrv(), &all, "", &java_scenarios(Suite::Java49), dir.path());
    server.stop();
}

#[test]
fn java_client_with_binary_headers() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&CONF).start();
    Suite::Java.run(server.namesrv(), &ALL, BINARY_HEADERS, &java_scenarios(Suite::Java), dir.path());
    server.stop();
}

/// One shard: everything that the shards hand to each other is local here.
#[test]
fn java_client_on_one_shard() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&CONF).shards(1).start();
    Suite::Java.run(server.namesrv(), &ALL, "", &java_scenarios(Suite::Java), dir.path());
    server.stop();
}

#[test]
fn java_client_without_auto_creation() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&["autoCreateTopicEnable=false"]).start();
    let names = [WITHOUT_AUTO_CREATE, "admin_created_topic", "send_sync", "offsets_resume"];
    let mut arguments = vec!["--no-auto-create"];
    arguments.extend(names);
    let expected = names.iter().map(ToString::to_string).collect();
    Suite::Java.run(server.namesrv(), &arguments, "", &expected, dir.path());
    server.stop();
}

#[test]
fn go_client() {
    let _turn = take_turn();
    if !Suite::Go.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&CONF).start();
    Suite::Go.run(server.namesrv(), &["all"], "", &Suite::Go.scenarios(), dir.path());
    server.stop();
}

//! RingMQ beside Apache RocketMQ 5.5.0: its broker registers with Apache's name server, its name server takes Apache's
//! broker, and brokers that know two name servers are found through either.

mod harness;

use std::collections::BTreeSet;
use std::path::Path;

use harness::server::Server;
use harness::suite::Suite;
use harness::{scratch, take_turn};

/// Scenarios that depend on registration and routes: topics that come and go through the name server, retry topics
/// that a heartbeat registers, and the rebalancing that finds its brokers by them.
const THROUGH_ROUTES: [&str; 7] = [
    "auto_created_topic",
    "admin_created_topic",
    "send_sync",
    "send_batch",
    "push_long_polling",
    "cluster_two_consumers",
    "offsets_resume",
];

fn run(namesrv: &str, dir: &Path) {
    let expected: BTreeSet<String> = THROUGH_ROUTES.iter().map(ToString::to_string).collect();
    Suite::Java.run(namesrv, &THROUGH_ROUTES, "", &expected, dir);
}

fn ringmq_broker(dir: &Path, namesrv: &str) -> Server {
    let conf = dir.join("ringmq-broker.conf");
    let store = dir.join("ringmq-store");
    std::fs::write(
        &conf,
        format!(
            "listenPort=0\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nstorePathRootDir={}\n",
            store.display()
        ),
    )
    .expect("write broker.conf");
    Server::ringmq(&["broker", "-c", &conf.to_string_lossy(), "-n", namesrv], dir)
}

#[test]
fn ringmq_broker_with_apache_name_server() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let names = Server::apache_namesrv(dir.path());
    let broker = ringmq_broker(dir.path(), names.namesrv());
    run(names.namesrv(), dir.path());
    broker.stop();
}

#[test]
fn apache_broker_with_ringmq_name_server() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let names = Server::ringmq(&["namesrv", "-p", "0"], dir.path());
    let _broker = Server::apache_broker(dir.path(), names.namesrv());
    run(names.namesrv(), dir.path());
    names.stop();
}

/// Clients that know both name servers go on with the one that is left, new topics included.
#[test]
fn two_name_servers_and_one_of_them_dies() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let (first_dir, dir) = (scratch(), scratch());
    let first = Server::ringmq(&["namesrv", "-p", "0"], first_dir.path());
    let second = Server::ringmq(&["namesrv", "-p", "0"], dir.path());
    let both = format!("{};{}", first.namesrv(), second.namesrv());
    let broker = ringmq_broker(dir.path(), &both);
    // Each of them alone knows the broker.
    run(first.namesrv(), first_dir.path());
    run(second.namesrv(), dir.path());
    first.crash();
    // The broker goes on registering where it can: topics made now are found through the one that lives. (A Java client
    // that starts with a list whose head is dead fails its first call; that is the client's own rule.)
    run(second.namesrv(), dir.path());
    broker.stop();
    second.stop();
}

//! Apache RocketMQ's own integration tests, unmodified, against a name server and three brokers of ours: a part of them in the
//! test command, all by
//! `cargo test --release --test apache_it -- --ignored --nocapture`. Which classes, and why others cannot: tests/apache/it/classes.txt.

mod harness;

use std::collections::BTreeSet;
use std::path::Path;

use harness::server::Server;
use harness::suite::Suite;
use harness::{scratch, take_turn};

/// What the tests' own brokers are configured with, as far as it shows.
const CONF: &str = "recallMessageEnable=true\nmaxTransferCountOnMessageInMemory=1024\nmaxTransferCountOnMessageInDisk=1024\n";

fn broker(dir: &Path, namesrv: &str, name: &str) -> Server {
    let own = dir.join(name);
    std::fs::create_dir_all(&own).expect("create a directory");
    let conf = own.join("broker.conf");
    let text = format!(
        "brokerName={name}\nlistenPort=0\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nmetricsExporterType=DISABLE\n{CONF}"
    );
    std::fs::write(&conf, text).expect("write broker.conf");
    Server::ringmq(&["broker", "-c", &conf.to_string_lossy(), "-n", namesrv], &own)
}

fn run(part: &str, expected: &BTreeSet<String>) {
    let _turn = take_turn();
    let dir = scratch();
    let names = Server::ringmq(&["namesrv", "-p", "0"], dir.path());
    let brokers = ["broker-a", "broker-b", "broker-c"].map(|name| broker(dir.path(), names.namesrv(), name));
    Suite::ApacheIt.run(names.namesrv(), &[part], "", expected, dir.path());
    for broker in brokers {
        broker.stop();
    }
    names.stop();
}

#[test]
fn the_quick_ones() {
    if Suite::ApacheIt.prepare() {
        run("quick", &Suite::ApacheIt.listed(&["quick"]));
    }
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn all_that_can_run_from_outside() {
    if Suite::ApacheIt.prepare() {
        run("all", &Suite::ApacheIt.listed(&["all"]));
    }
}

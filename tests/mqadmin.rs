//! RocketMQ's own administration tool against the real binary: every subcommand that means something here does its job.

mod harness;

use harness::server::Standalone;
use harness::suite::Suite;
use harness::{scratch, take_turn};

/// Its request is not answered yet.
const NOT_YET: &str = "updateBrokerConfig";

#[test]
fn every_subcommand() {
    let _turn = take_turn();
    if !Suite::Mqadmin.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    let mut names = Suite::Mqadmin.scenarios();
    assert!(names.remove(NOT_YET), "{NOT_YET} is gone from the list");
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    Suite::Mqadmin.run(server.namesrv(), &arguments, "", &names, dir.path());
    server.stop();
}

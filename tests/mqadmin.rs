//! RocketMQ's own administration tool against the real binary: every subcommand that means something here does its job.

mod harness;

use harness::server::Standalone;
use harness::suite::Suite;
use harness::{scratch, take_turn};

#[test]
fn every_subcommand() {
    let _turn = take_turn();
    if !Suite::Mqadmin.prepare() {
        return;
    }
    let dir = scratch();
    let server = Standalone::new(dir.path()).start();
    Suite::Mqadmin.run(server.namesrv(), &["all"], "", &Suite::Mqadmin.scenarios(), dir.path());
    server.stop();
}

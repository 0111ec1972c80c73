//! Order over rebalance, restart and kill -9: consumers that take their queues in order see each key's messages in the order of
//! their sends, while consumers join and leave and the broker goes and comes back. Some thirty seconds.

mod harness;

use std::process::Command;
use std::time::Duration;

use harness::process::Process;
use harness::server::Standalone;
use harness::suite::Suite;
use harness::{repository, scratch, take_turn};

const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn order_is_kept_over_rebalance_restart_and_kill_nine() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let dir = scratch();
    let dir = dir.path();
    let mut standalone = Standalone::new(dir).restartable().shards(2);
    let mut server = standalone.start();
    let mut command = Command::new(repository().join("tests/clients/java/run.sh"));
    command.args(["ordered", server.namesrv()]).env("CLIENTS_WORK", dir.join("ordered-client"));
    let mut program = Process::start("ordered", &mut command, dir);
    // A consumer joins at 1333 of its 4000 messages, and another leaves at 2666.
    for (progress, kill) in [(500, true), (1400, false), (2000, true), (2700, true)] {
        program.line_starting(&format!("progress {progress}"), LIMIT);
        if kill {
            server.crash();
        } else {
            server.stop();
        }
        server = standalone.start();
    }
    let (lines, status) = program.finish(LIMIT);
    let last = lines.last().map_or("", String::as_str);
    assert!(status.success() && last.starts_with("ORDERED keys=20 messages=4000"), "{status}: {last}");
    println!("{last}");
    server.stop();
}

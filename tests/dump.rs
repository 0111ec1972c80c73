//! `ringmq dump` on stores of a real process: what it says of a sound one, of one that was killed, and of one that rots; and
//! that the broker does with the same store what was said.

mod harness;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use harness::process::Process;
use harness::remoting::{Remote, pull_header, send_header};
use harness::server::{Server, Standalone};
use harness::{scratch, take_turn};
use ringmq_wire::message;

const MESSAGES: u64 = 20_000;
const LATER: u32 = 30;
const SEGMENT_BYTES: u64 = 1 << 20;
const SMALL: &[&str] = &["ringBytes=524288", "segmentBytes=1048576", "flushDiskType=SYNC_FLUSH"];

fn dump(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    let output = command.arg("dump").args(arguments).arg("--data").arg(data).output();
    output.expect("run ringmq dump")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The number behind a name in JSON or text: `"records":20000`, `20000 records`.
fn number(text: &str, name: &str) -> u64 {
    let after = text.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {text}")).1;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} is no number in {text}"))
}

/// Everything in the data directory, by path.
fn contents(dir: &Path) -> HashMap<PathBuf, Vec<u8>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(dir).expect("list") {
        let path = entry.expect("list").path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => {
                found.insert(path.clone(), fs::read(&path).expect("read"));
            }
        }
    }
    found
}

fn bench(server: &Server, dir: &Path) {
    let count = MESSAGES.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    command.args(["bench", "send", "-n", server.namesrv(), "-t", "T", "--count", &count, "--size", "200"]);
    command.args(["--connections", "4", "--in-flight", "16", "--warmup", "0"]);
    let (_, status) = Process::start("bench", &mut command, dir).finish(Duration::from_secs(120));
    assert!(status.success(), "bench send: {status}");
}

/// Flips a byte in the body of a message; gives the segment's file.
fn rot(data: &Path, topic: &str, queue: u32, offset: u64) -> PathBuf {
    let (queue, from) = (queue.to_string(), offset.to_string());
    let arguments = ["messages", topic, "--queue", &queue, "--from", &from, "--count", "1", "--json"];
    let physical = number(&text(&dump(data, &arguments)), "physical_offset");
    let (shard, position) = (physical >> 48, physical & ((1 << 48) - 1));
    let base = position - position % SEGMENT_BYTES;
    let path = data.join(format!("shard-{shard:02}/{base:016x}.seg"));
    let file = fs::File::options().read(true).write(true).open(&path).expect("open a segment");
    // The body begins 88 bytes into a record.
    let at = position - base + 100;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read a byte");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("write a byte");
    path
}

/// Offsets and bodies of a queue as a consumer gets them.
fn pulled(client: &mut Remote, topic: &str, queue: i32) -> HashMap<i64, Vec<u8>> {
    let mut found = HashMap::new();
    let mut at = 0;
    loop {
        let answer = client.pull(pull_header(topic, queue, at));
        for record in message::records(&answer.body) {
            let record = record.expect("a whole record");
            assert!(record.verify_body_crc(), "offset {} was served damaged", record.queue_offset);
            found.insert(record.queue_offset, record.body.to_vec());
        }
        let next = answer.field("nextBeginOffset").parse().expect("an offset");
        let max: i64 = answer.field("maxOffset").parse().expect("an offset");
        if next >= max {
            return found;
        }
        assert!(next > at, "the consumer is not led past {at}: {answer:?}");
        at = next;
    }
}

#[test]
fn a_store_is_checked_and_its_damage_named() {
    let _turn = take_turn();
    let dir = scratch();
    let dir = dir.path();
    let mut standalone = Standalone::new(dir).restartable().shards(2).broker_conf(SMALL);
    let data = standalone.data();

    let server = standalone.start();
    bench(&server, dir);
    let in_use = dump(&data, &["verify"]);
    let said = String::from_utf8_lossy(&in_use.stderr).into_owned();
    assert!(!in_use.status.success() && said.contains("in use by another process"), "{said}");
    server.crash();

    let before = contents(&data);
    let verified = dump(&data, &["verify", "--json"]);
    let said = text(&verified);
    assert!(verified.status.success() && said.contains("\"clean\":true"), "{said}");
    assert_eq!(number(&said, "records"), MESSAGES, "{said}");
    let sealed = number(&said, "index_entries");
    assert!(sealed > MESSAGES / 2 && sealed <= MESSAGES, "{said}");
    for command in ["recovery", "segments", "queues"] {
        let output = dump(&data, &[command]);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let queues = text(&dump(&data, &["queues"]));
    let next = |line: &str| line.split_whitespace().nth(3).and_then(|word| word.parse::<u64>().ok());
    assert_eq!(queues.lines().filter_map(next).sum::<u64>(), MESSAGES, "{queues}");
    assert!(contents(&data) == before, "a dump has changed the store");

    // A few more, one batch each, that stay in a segment which is not sealed.
    let server = standalone.start();
    let mut client = Remote::connect(server.broker());
    for number in 0..LATER {
        let answer = client.send(send_header("U", 0), &number.to_be_bytes().repeat(50));
        assert_eq!(answer.code, 0, "{}", answer.remark);
    }
    let sound = pulled(&mut client, "T", 1);
    server.stop();
    assert!(text(&dump(&data, &["verify"])).ends_with("clean\n"));

    let sealed_file = rot(&data, "T", 1, 100);
    rot(&data, "U", 0, 5);
    let verified = dump(&data, &["verify"]);
    let said = text(&verified);
    assert_eq!(verified.status.code(), Some(1), "{said}");
    let sealed_line =
        format!("{}: the record does not check; lost: T queue 1 offset 100\n", sealed_file.display());
    assert!(said.contains(&sealed_line), "no {sealed_line:?} in:\n{said}");
    assert!(
        said.contains("lost: U queue 0 offset 5\n") && said.contains("the next start sets them aside"),
        "{said}"
    );
    let lost = number(&text(&dump(&data, &["verify", "--json"])), "messages_lost");
    assert_eq!(lost, 2, "{said}");
    let planned = text(&dump(&data, &["recovery"]));
    assert!(planned.contains("Quarantine") && planned.contains("lost: U queue 0 offset 5"), "{planned}");
    let copy = planned.split_once(", to ").expect("a copy is named").1.lines().next().expect("a line");
    assert!(!Path::new(copy).exists(), "a dump has set something aside");
    let export = dir.join("exported");
    let exported = dump(&data, &["messages", "T", "--queue", "1", "--export", &export.to_string_lossy()]);
    assert_eq!(exported.status.code(), Some(1), "it leaves a message out");
    let exported = fs::read(&export).expect("the export");
    let exported: Vec<i64> = message::records(&exported).map(|r| r.expect("a record").queue_offset).collect();
    let without = |rotten: i64, end: i64| (0..end).filter(|offset| *offset != rotten).collect::<Vec<_>>();
    assert_eq!(exported, without(100, sound.len() as i64));

    // The broker does what was said, and consumers are led past both.
    let server = standalone.start();
    assert!(Path::new(copy).is_file(), "nothing at {copy}");
    let mut client = Remote::connect(server.broker());
    let found = pulled(&mut client, "T", 1);
    assert_eq!(found.len(), sound.len() - 1);
    assert!(found.iter().all(|(offset, body)| sound[offset] == *body) && !found.contains_key(&100));
    let mut offsets: Vec<i64> = pulled(&mut client, "U", 0).into_keys().collect();
    offsets.sort_unstable();
    assert_eq!(offsets, without(5, i64::from(LATER)));
    server.stop();
    let said = text(&dump(&data, &["verify"]));
    assert!(
        said.contains("lost: U queue 0 offset 5") && said.contains("lost: T queue 1 offset 100"),
        "{said}"
    );
}

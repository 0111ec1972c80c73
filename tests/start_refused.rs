//! Starts that must not happen: the real process ends with status 1 and one line that says what is wrong and what to do.

mod harness;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::process::Process;
use harness::scratch;
use harness::server::Standalone;

const END: Duration = Duration::from_secs(30);

/// Runs `ringmq standalone` on the directory; its last line on standard error.
fn refused(data: &Path, options: &[&str]) -> String {
    let logs = scratch();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    command
        .args(["standalone", "--namesrv-port", "0", "--listen-port", "0", "--data"])
        .arg(data)
        .args(options);
    let mut process = Process::start("refused", &mut command, logs.path());
    let (lines, status) = process.finish(END);
    assert_eq!(status.code(), Some(1), "it printed {lines:?}; its log:\n{}", process.log_tail());
    assert!(!lines.iter().any(|line| line.starts_with("ready")), "it served before it ended: {lines:?}");
    let log = process.log_tail();
    let last = log.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("ringmq: "), "the last line is no message to an operator:\n{log}");
    last
}

/// A store of two shards that was stopped in good order.
fn stopped(dir: &Path) -> Standalone {
    let mut standalone = Standalone::new(dir).shards(2);
    standalone.start().stop();
    standalone
}

#[test]
fn a_directory_in_use_is_refused_and_its_owner_goes_on() {
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path());
    let server = standalone.start();
    let said = refused(&standalone.data(), &[]);
    let data = standalone.data();
    assert!(said.contains(&format!("data directory {} is in use", data.display())), "{said}");
    server.stop();
    standalone.start().stop();
}

#[test]
fn another_number_of_shards_is_refused_and_the_right_one_is_named() {
    let dir = scratch();
    let mut standalone = stopped(dir.path());
    let said = refused(&standalone.data(), &["--shards", "3"]);
    assert!(said.contains("made for 2 shards, but 3 are asked for"), "{said}");
    assert!(said.contains("start with --shards 2"), "{said}");
    standalone.start().stop();
}

#[test]
fn another_segment_size_is_refused() {
    let dir = scratch();
    let standalone = stopped(dir.path());
    let conf = dir.path().join("other.conf");
    fs::write(&conf, "segmentBytes=67108864\n").expect("write a configuration");
    let said = refused(&standalone.data(), &["-c", conf.to_str().expect("text")]);
    assert!(said.contains("67108864 are asked for") && said.contains("134217728"), "{said}");
}

/// Files that a later version wrote, each by the number in its head.
#[test]
fn another_format_version_is_refused_with_both_numbers() {
    let dir = scratch();
    let mut standalone = stopped(dir.path());
    let data = standalone.data();
    let mut versioned = vec![data.join("MANIFEST")];
    let metadata = fs::read_dir(data.join("metadata")).expect("the metadata's directory");
    let logs = metadata.map(|entry| entry.expect("an entry").path());
    versioned.extend(
        logs.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))),
    );
    assert!(versioned.len() > 1, "{versioned:?}");
    for path in versioned {
        let good = fs::read(&path).expect("read");
        let mut other = good.clone();
        other[8..12].copy_from_slice(&9u32.to_le_bytes());
        fs::write(&path, other).expect("write");
        let said = refused(&data, &[]);
        let named = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(said.contains(&named), "{said}");
        assert!(said.contains("format version 9") && said.contains("reads version 1"), "{said}");
        fs::write(&path, good).expect("write");
    }
    standalone.start().stop();
}

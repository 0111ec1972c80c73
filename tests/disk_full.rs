//! A disk that fills up under the real process: what is refused says why, and is accepted again once there is room,
//! without a restart; what was acknowledged stays readable.
//!
//! The disk is a small ext4 in a file, mounted in a mount namespace of the server alone. Needs root and a loop device.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::remoting::{Answer, Remote, pull_header, send_header};
use harness::suite::tools_present;
use harness::{Rings, scratch};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::json_dialect::{SubscriptionGroupConfig, to_vec};

const DISK_BYTES: u64 = 256 << 20;
const START: Duration = Duration::from_secs(30);
/// The store looks at the disk each 10 s.
const NOTICED: Duration = Duration::from_secs(40);
const BODY_BYTES: usize = 256 * 1024;

struct Server {
    process: Process,
    _rings: Rings,
    broker: String,
    /// The disk, as this process reaches it.
    disk: PathBuf,
}

/// False, with the reason printed, when this machine does not let a test mount a disk.
fn may_mount(dir: &Path) -> bool {
    if !tools_present(&["unshare", "mount", "mkfs.ext4", "truncate", "sh"]) {
        return false;
    }
    let image = image(dir, "probe", 16 << 20);
    let mount = dir.join("probe-mount");
    fs::create_dir(&mount).expect("create a mount point");
    let mounted = in_own_namespace(&image, &mount, &["true"]).status().expect("run unshare");
    if mounted.success() {
        return true;
    }
    // A right that no installation brings: a container without it may run everything else.
    println!("SKIPPED: cannot mount a file as a disk: needs root and a loop device");
    false
}

/// An empty file system in a sparse file.
fn image(dir: &Path, name: &str, bytes: u64) -> PathBuf {
    let image = dir.join(name);
    let file = fs::File::create(&image).expect("create the disk's file");
    file.set_len(bytes).expect("size the disk's file");
    // No blocks kept back for root, and all inodes now: what is free is what a write gets.
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
        .arg(&image)
        .status()
        .expect("run mkfs.ext4");
    assert!(made.success(), "mkfs.ext4: {made}");
    image
}

/// `program`, in whose view alone `image` is mounted at `mount`. It keeps the process id.
fn in_own_namespace(image: &Path, mount: &Path, program: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount -o loop \"$0\" \"$1\" && shift && exec \"$@\"")
        .args([image, mount])
        .args(program);
    command
}

impl Server {
    fn start(dir: &Path, conf: &[&str]) -> Self {
        let mount = dir.join("mount");
        fs::create_dir(&mount).expect("create a mount point");
        let image = image(dir, "disk", DISK_BYTES);
        let conf_file = dir.join("broker.conf");
        fs::write(&conf_file, conf.join("\n") + "\n").expect("write broker.conf");
        let data = mount.join("data");
        let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
        let (data, conf_file) = (text(&data), text(&conf_file));
        let program =
            [env!("CARGO_BIN_EXE_ringmq"), "standalone", "--namesrv-port", "0", "--listen-port", "0"];
        let options = ["--shards", "1", "--data", &data, "-c", &conf_file];
        let mut command = in_own_namespace(&image, &mount, &[&program[..], &options[..]].concat());
        let mut process = Process::start("ringmq", &mut command, dir);
        let ready = process.line_starting("ready", START);
        let broker =
            ready.split_whitespace().find_map(|word| word.strip_prefix("broker=")).expect("its address");
        let disk = PathBuf::from(format!("/proc/{}/root{}", process.id(), mount.display()));
        Self { broker: broker.to_owned(), disk, _rings: Rings::of(process.id()), process }
    }

    fn filler(&self) -> PathBuf {
        self.disk.join("filler")
    }

    /// Writes a file until no more fits, or up to so many bytes.
    fn fill(&self, most: u64) {
        let path = self.filler();
        let wrote = Command::new("dd")
            .args(["if=/dev/zero", "bs=65536", "conv=fsync", "status=none"])
            .arg(format!("count={}", most / 65536))
            .arg(format!("of={}", path.display()))
            .output()
            .expect("run dd");
        let full = String::from_utf8_lossy(&wrote.stderr).contains("No space left on device");
        assert!(wrote.status.success() || full, "dd: {wrote:?}");
    }

    fn stop(mut self) {
        let status = self.process.terminate(START);
        assert!(status.success(), "{status}; its log:\n{}", self.process.log_tail());
    }
}

/// What was acknowledged: the body of each queue offset.
#[derive(Default)]
struct Books(Vec<(i64, Vec<u8>)>);

impl Books {
    fn send(&mut self, remote: &mut Remote) -> Answer {
        let number = self.0.len() as u64;
        let body: Vec<u8> =
            (0..BODY_BYTES as u64 / 8).flat_map(|i| (i ^ number << 32).to_le_bytes()).collect();
        let answer = remote.send(send_header("full", 0), &body);
        if answer.code == response_code::SUCCESS {
            let offset = answer.field("queueOffset").parse().expect("a number");
            self.0.push((offset, body));
        }
        answer
    }

    /// Sends until one is refused.
    fn send_until_refused(&mut self, remote: &mut Remote) -> Answer {
        let deadline = Instant::now() + NOTICED;
        loop {
            let answer = self.send(remote);
            if answer.code != response_code::SUCCESS {
                return answer;
            }
            assert!(Instant::now() < deadline, "{} messages went on a full disk", self.0.len());
        }
    }

    fn send_until_accepted(&mut self, remote: &mut Remote, server: &Server) {
        let deadline = Instant::now() + NOTICED;
        loop {
            let answer = self.send(remote);
            if answer.code == response_code::SUCCESS {
                return;
            }
            let (remark, log) = (answer.remark, server.process.log_tail());
            assert!(Instant::now() < deadline, "there is room, but sends are refused: {remark}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn are_readable(&self, remote: &mut Remote) {
        let (mut found, mut offset) = (Vec::new(), 0);
        while offset <= self.0.last().expect("something was acknowledged").0 {
            let answer = remote.pull(pull_header("full", 0, offset));
            assert_eq!(answer.code, response_code::SUCCESS, "{}", answer.remark);
            found.extend((offset..).zip(answer.messages()));
            offset = answer.field("nextBeginOffset").parse().expect("a number");
        }
        assert_eq!(found.len() as i64, offset);
        for (offset, body) in &self.0 {
            assert!(found[*offset as usize].1 == *body, "offset {offset} has another body");
        }
    }
}

/// Segments stay, whatever their age: a message that is gone is a lost one.
const KEEP: [&str; 5] = [
    "segmentBytes=8388608",
    "ringBytes=8388608",
    "cleanFileForciblyEnable=false",
    "flushDiskType=SYNC_FLUSH",
    "autoCreateTopicEnable=true",
];

#[test]
fn above_the_warning_level_sends_are_refused_until_there_is_room() {
    let dir = scratch();
    if !may_mount(dir.path()) {
        return;
    }
    let server = Server::start(dir.path(), &KEEP);
    let mut remote = Remote::connect(&server.broker);
    let mut books = Books::default();
    for _ in 0..20 {
        assert_eq!(books.send(&mut remote).code, response_code::SUCCESS);
    }
    server.fill(DISK_BYTES);
    let refused = books.send_until_refused(&mut remote);
    assert_eq!(refused.code, response_code::SERVICE_NOT_AVAILABLE, "{}", refused.remark);
    assert!(refused.remark.contains("disk is full"), "{}", refused.remark);
    books.are_readable(&mut remote);
    fs::remove_file(server.filler()).expect("free the disk");
    books.send_until_accepted(&mut remote, &server);
    for _ in 0..20 {
        assert_eq!(books.send(&mut remote).code, response_code::SUCCESS);
    }
    books.are_readable(&mut remote);
    server.stop();
}

#[test]
fn without_a_free_block_sends_are_refused_until_there_is_room() {
    let dir = scratch();
    if !may_mount(dir.path()) {
        return;
    }
    let conf = [&KEEP[..], &["diskMaxUsedSpaceRatio=100", "diskSpaceCleanForciblyRatio=100"]].concat();
    let server = Server::start(dir.path(), &[&conf[..], &["diskSpaceWarningLevelRatio=100"]].concat());
    let mut remote = Remote::connect(&server.broker);
    let mut books = Books::default();
    assert_eq!(books.send(&mut remote).code, response_code::SUCCESS);
    server.fill(DISK_BYTES);
    // What the segments that are there still hold is accepted.
    let refused = books.send_until_refused(&mut remote);
    assert_eq!(refused.code, response_code::SERVICE_NOT_AVAILABLE, "{}", refused.remark);
    assert!(refused.remark.contains("no room for another segment"), "{}", refused.remark);
    books.are_readable(&mut remote);

    let metadata = fill_metadata(&mut remote);
    assert!(metadata.remark.contains("No space left on device"), "{}", metadata.remark);
    let topic = make_topic(&mut remote, "later");
    assert_eq!(topic.code, response_code::SYSTEM_ERROR);
    assert!(topic.remark.contains("metadata journal has no room"), "{}", topic.remark);

    fs::remove_file(server.filler()).expect("free the disk");
    books.send_until_accepted(&mut remote, &server);
    for _ in 0..20 {
        assert_eq!(books.send(&mut remote).code, response_code::SUCCESS);
    }
    books.are_readable(&mut remote);
    let deadline = Instant::now() + NOTICED;
    while make_topic(&mut remote, "later").code != response_code::SUCCESS {
        assert!(Instant::now() < deadline, "there is room, but topics are refused");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.stop();
}

fn make_topic(remote: &mut Remote, topic: &str) -> Answer {
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "4"),
        ("writeQueueNums", "4"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    remote.ask(request_code::UPDATE_AND_CREATE_TOPIC, &fields, b"")
}

/// Changes a group again and again, with long settings, until one is refused: the journal's files are full then.
fn fill_metadata(remote: &mut Remote) -> Answer {
    for number in 0..1000 {
        let mut group = SubscriptionGroupConfig { group_name: "large".to_owned(), ..Default::default() };
        group.attributes.clear();
        group.subscription_data_set = Some(vec![ringmq_wire::json_dialect::SimpleSubscriptionData {
            topic: "full".to_owned(),
            expression: format!("{number:08}").repeat(12 * 1024),
            ..Default::default()
        }]);
        let code = request_code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
        let answer = remote.ask(code, &[], &to_vec(&group));
        if answer.code != response_code::SUCCESS {
            assert_eq!(answer.code, response_code::SYSTEM_ERROR, "{}", answer.remark);
            return answer;
        }
    }
    panic!("the journal takes no end of changes on a full disk");
}

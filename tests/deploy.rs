//! What `deploy/` has: units that systemd takes, and a seccomp profile that lets RingMQ run and is no administrator.

mod harness;

use std::collections::BTreeSet;
use std::process::Command;

use harness::{repository, scratch};
use serde_json::Value;

const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

fn profile() -> Value {
    let text = std::fs::read(repository().join("deploy/seccomp.json")).expect("read the profile");
    serde_json::from_slice(&text).expect("the profile is JSON")
}

fn names(rule: &Value) -> BTreeSet<&str> {
    let names = rule["names"].as_array().expect("a rule has names");
    names.iter().map(|name| name.as_str().expect("a name")).collect()
}

/// Nothing but the process's architecture is asked for.
fn is_unconditional(rule: &Value) -> bool {
    let asks = |what: &str| rule[what].as_object().is_some_and(|map| !map.is_empty());
    let args = rule["args"].as_array().is_some_and(|args| !args.is_empty());
    !(asks("includes") || asks("excludes") || args)
}

#[test]
fn the_profile_has_io_uring_and_nothing_of_an_administrator() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().expect("rules");
    let ours: Vec<&Value> =
        rules.iter().filter(|rule| names(rule).iter().any(|name| name.starts_with("io_uring"))).collect();
    let [ours] = ours[..] else { panic!("io_uring is in {} rules", ours.len()) };
    assert_eq!(names(ours), BTreeSet::from(IO_URING));
    assert_eq!(ours["action"], "SCMP_ACT_ALLOW");
    assert!(is_unconditional(ours), "{ours}");
    let allowed: BTreeSet<&str> =
        rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW").flat_map(names).collect();
    for never in [
        "acct",
        "add_key",
        "bpf",
        "chroot",
        "clone3",
        "delete_module",
        "finit_module",
        "fsopen",
        "init_module",
        "ioperm",
        "iopl",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pivot_root",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "request_key",
        "setns",
        "swapon",
        "syslog",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(!allowed.contains(never), "{never} is allowed");
    }
    // A thread may be made, a namespace may not: none of the flags CLONE_NEW*.
    let clone = rules.iter().find(|rule| names(rule).contains("clone")).expect("clone");
    assert_eq!(clone["args"][0]["value"], 0x7E02_0000);
    assert_eq!(
        (clone["args"][0]["op"].as_str(), clone["args"][0]["valueTwo"].as_u64()),
        (Some("SCMP_CMP_MASKED_EQ"), Some(0))
    );
}

#[test]
fn the_profile_allows_what_a_server_calls() {
    let profile = profile();
    let rules = profile["syscalls"].as_array().expect("rules");
    let known: BTreeSet<&str> = rules.iter().flat_map(names).collect();
    // Found by `strace -f` on a standalone server that stores, serves, writes log files and stops. clone3 is answered with
    // ENOSYS, upon which clone is called.
    for needed in include_str!("deploy/syscalls.txt").lines() {
        assert!(known.contains(needed), "{needed} is not allowed");
    }
    assert_eq!(rules.iter().find(|rule| names(rule).contains("clone3")).expect("clone3")["errnoRet"], 38);
}

#[test]
fn systemd_takes_the_units() {
    let dir = scratch();
    for unit in ["ringmq-broker.service", "ringmq-namesrv.service"] {
        let text = std::fs::read_to_string(repository().join("deploy").join(unit)).expect("read the unit");
        for needed in [
            "LimitMEMLOCK=",
            "LimitNOFILE=",
            "SystemCallFilter=@system-service io_uring_setup io_uring_enter io_uring_register",
        ] {
            assert!(text.contains(needed), "{unit} has no {needed}");
        }
        // The command line is one that the binary takes, and it is installed elsewhere.
        let command =
            text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/ringmq ")).expect("a command");
        let mut parsed = Command::new(env!("CARGO_BIN_EXE_ringmq"));
        let told = parsed.args(command.split(' ')).arg("--help").output().expect("run ringmq");
        assert!(told.status.success(), "{command}: {}", String::from_utf8_lossy(&told.stderr));
        let text = text.replace("/usr/bin/ringmq", env!("CARGO_BIN_EXE_ringmq"));
        std::fs::write(dir.path().join(unit), text).expect("write the unit");
    }
    let Ok(verified) = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "ringmq-broker.service", "ringmq-namesrv.service"])
        .current_dir(dir.path())
        .output()
    else {
        println!("SKIPPED: systemd-analyze is not installed: the units were not verified");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("ringmq")).collect();
    assert!(about_us.is_empty(), "systemd-analyze verify: {}", about_us.join("\n"));
}

//! Before any executor is built: does this machine have what we need? If not: what is missing, and how
//! it is allowed. (glommio 0.9 ends the process where a needed operation is missing.)

use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::buf_ring::BufRing;
use crate::ring::Ring;

/// glommio's own lower bound.
const MEMLOCK_MIN: u64 = 512 * 1024;

/// Multishot receive came with 6.0.
const KERNEL_MIN: (u32, u32) = (6, 0);

/// Why no core can run here.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("Linux {found} is too old: {}.{} or newer is needed (io_uring multishot receive)", KERNEL_MIN.0, KERNEL_MIN.1)]
    Kernel { found: String },
    #[error("io_uring is switched off: kernel.io_uring_disabled is {value}. Allow it with `sysctl kernel.io_uring_disabled=0`{}", group_hint(.value))]
    Disabled { value: String },
    #[error(
        "io_uring is forbidden for this process by a seccomp filter ({error}). Docker's default profile does that: run \
         the container with `--security-opt seccomp=PROFILE` where PROFILE allows io_uring_setup, io_uring_enter and \
         io_uring_register (or with seccomp=unconfined)"
    )]
    Seccomp { error: io::Error },
    #[error("the kernel was built without io_uring ({error})")]
    Absent { error: io::Error },
    #[error(
        "the memlock limit is {limit} bytes, {MEMLOCK_MIN} are needed. Raise it with `ulimit -l`, LimitMEMLOCK= in the \
         systemd unit, or `--ulimit memlock=-1` for a container"
    )]
    Memlock { limit: u64 },
    #[error("the kernel's io_uring lacks {}: a newer kernel is needed", .operations.join(", "))]
    Operations { operations: Vec<&'static str> },
    #[error("io_uring cannot be set up: {error}")]
    Setup { error: io::Error },
}

fn group_hint(value: &str) -> &'static str {
    if value == "1" { ", or run with CAP_SYS_ADMIN or in the group of kernel.io_uring_group" } else { "" }
}

/// Checks everything; raises the soft limits for locked memory and open files to the hard ones.
pub fn probe() -> Result<(), ProbeError> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_kernel(release.trim())?;
    check_memlock()?;
    raise(Resource::RLIMIT_NOFILE);
    let uring = IoUring::new(8).map_err(why_no_ring)?;
    check_operations(&uring)?;
    drop(uring);
    let ring = Ring::new().map_err(why_no_ring)?;
    match BufRing::register(&ring) {
        Ok(bufs) => {
            drop(ring);
            drop(bufs);
            Ok(())
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(ProbeError::Operations { operations: vec!["provided buffer rings"] })
        }
        Err(error) => Err(ProbeError::Setup { error }),
    }
}

fn check_kernel(release: &str) -> Result<(), ProbeError> {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL_MIN {
        return Err(ProbeError::Kernel { found: release.to_owned() });
    }
    Ok(())
}

/// Raises a soft limit to the hard one, best effort; the limit afterwards.
fn raise(resource: Resource) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else { return 0 };
    if soft < hard && setrlimit(resource, hard, hard).is_ok() { hard } else { soft }
}

fn check_memlock() -> Result<(), ProbeError> {
    let limit = raise(Resource::RLIMIT_MEMLOCK);
    if limit < MEMLOCK_MIN { Err(ProbeError::Memlock { limit }) } else { Ok(()) }
}

fn why_no_ring(error: io::Error) -> ProbeError {
    let sysctl = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    explain(error, sysctl.as_deref().map(str::trim), filtered(&status))
}

fn filtered(status: &str) -> bool {
    status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
}

fn explain(error: io::Error, sysctl: Option<&str>, filtered: bool) -> ProbeError {
    match (error.raw_os_error(), sysctl) {
        (Some(libc::EPERM), Some(value)) if value != "0" => ProbeError::Disabled { value: value.to_owned() },
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) if filtered => ProbeError::Seccomp { error },
        (Some(libc::ENOSYS), _) => ProbeError::Absent { error },
        (Some(libc::ENOMEM), _) => ProbeError::Memlock { limit: raise(Resource::RLIMIT_MEMLOCK) },
        _ => ProbeError::Setup { error },
    }
}

/// What we and glommio submit.
const NEEDED: [(u8, &str); 21] = [
    (opcode::Nop::CODE, "NOP"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::PollRemove::CODE, "POLL_REMOVE"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::RecvMsg::CODE, "RECVMSG"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::TimeoutRemove::CODE, "TIMEOUT_REMOVE"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Send::CODE, "SEND"),
    (opcode::Recv::CODE, "RECV"),
];

fn check_operations(uring: &IoUring) -> Result<(), ProbeError> {
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(|error| ProbeError::Setup { error })?;
    let mut missing: Vec<_> =
        NEEDED.iter().filter(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name).collect();
    if !uring.params().is_feature_nodrop() {
        missing.push("kept completions (IORING_FEAT_NODROP)");
    }
    if missing.is_empty() { Ok(()) } else { Err(ProbeError::Operations { operations: missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn this_machine_passes() {
        probe().unwrap();
    }

    #[test]
    fn an_old_kernel_is_named() {
        assert!(check_kernel("6.0.0-3-amd64").is_ok());
        assert!(check_kernel("6.18.44-fc-v782").is_ok());
        let error = check_kernel("5.15.0-91-generic").unwrap_err().to_string();
        assert!(error.contains("5.15.0-91-generic") && error.contains("6.0"), "{error}");
    }

    #[test]
    fn each_refusal_says_how_it_is_allowed() {
        let off = explain(errno(libc::EPERM), Some("2"), false).to_string();
        assert!(
            off.contains("sysctl kernel.io_uring_disabled=0") && !off.contains("io_uring_group"),
            "{off}"
        );
        let group = explain(errno(libc::EPERM), Some("1"), true).to_string();
        assert!(group.contains("io_uring_group"), "{group}");
        let docker = explain(errno(libc::EPERM), Some("0"), true).to_string();
        assert!(docker.contains("seccomp=PROFILE"), "{docker}");
        let absent = explain(errno(libc::ENOSYS), None, false).to_string();
        assert!(absent.contains("without io_uring"), "{absent}");
        assert!(matches!(explain(errno(libc::ENOMEM), None, false), ProbeError::Memlock { .. }));
        assert!(matches!(explain(errno(libc::EMFILE), None, false), ProbeError::Setup { .. }));
    }

    #[test]
    fn a_seccomp_filter_is_seen_in_the_status() {
        assert!(filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!filtered("Seccomp:\t0\nSeccomp_filters:\t0\n"));
    }
}

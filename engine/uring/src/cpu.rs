//! The CPUs that this process may use.
//!
//! Invariant: a core of ours is pinned to one CPU of the affinity mask that the process was started
//! with, so `taskset` and a container's cpuset hold.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// CPU numbers of this thread's affinity mask, ascending. Never empty.
pub fn usable() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(Pid::from_raw(0)).map_err(io::Error::from)?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| mask.is_set(cpu).unwrap_or(false)).collect();
    if cpus.is_empty() {
        return Err(io::Error::other("the process's CPU affinity mask is empty"));
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_holds_as_many_cpus_as_the_standard_library_counts() {
        let cpus = usable().unwrap();
        let counted = std::thread::available_parallelism().unwrap().get();
        // A cgroup quota may lower the library's count, never raise it.
        assert!(cpus.len() >= counted, "{cpus:?} against {counted}");
        assert!(cpus.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

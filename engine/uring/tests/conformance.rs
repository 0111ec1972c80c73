//! The checks of `ringmq_io::conformance` against the real machine.

use std::future::Future;
use std::path::PathBuf;

use ringmq_io::Env;
use ringmq_io::conformance;
use ringmq_uring::{UringEnv, cpu, run};

/// Runs `check` on one core with an empty directory of `parent`.
fn one_core<F>(parent: PathBuf, check: impl Fn(UringEnv, PathBuf) -> F + Send + Clone + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let dir = tempfile::tempdir_in(parent).unwrap();
    let path = dir.path().to_path_buf();
    run(1, move |env| check(env, path.clone())).unwrap();
}

#[test]
fn tasks() {
    one_core(std::env::temp_dir(), |env, _| async move { conformance::tasks::all(&env).await });
}

#[test]
fn disk() {
    one_core(std::env::temp_dir(), |env, dir| async move { conformance::disk::all(&env, &dir).await });
}

/// A file system in memory: O_DIRECT may be refused there, everything else holds.
#[test]
fn disk_on_tmpfs() {
    one_core("/dev/shm".into(), |env, dir| async move { conformance::disk::all(&env, &dir).await });
}

#[test]
fn region() {
    one_core(std::env::temp_dir(), |env, dir| async move { conformance::region::all(&env, &dir).await });
}

#[test]
fn net() {
    one_core(std::env::temp_dir(), |env, _| async move { conformance::net::all(&env).await });
}

#[test]
fn lanes_on_every_core() {
    let cores = cpu::usable().unwrap().len();
    run(cores, |env| async move { conformance::mesh::all(&env).await }).unwrap();
}

#[test]
fn lanes_on_one_core() {
    let ran = run(1, |env| async move {
        conformance::mesh::all(&env).await;
        (env.core(), env.cores())
    });
    assert_eq!(ran.unwrap(), [(0, 1)]);
}

//! What every `Env` promises, as checks that run against each implementation, so that the simulated
//! one cannot drift from the real one.
//!
//! Each check documents the promise it holds and panics when it is broken. `dir` is an empty
//! directory that the check may fill; each check uses a directory of its own below it.

pub mod disk;
pub mod mesh;
pub mod net;
pub mod region;
pub mod tasks;

use std::path::Path;

use crate::Env;

/// Every check that needs one core.
pub async fn all<E: Env>(env: &E, dir: &Path) {
    tasks::all(env).await;
    disk::all(env, dir).await;
    region::all(env, dir).await;
    net::all(env).await;
}

//! Waits for the lock of a directory whose owner may just have been killed.
//!
//! A killed process keeps its locks until the last write that it had under way is done (see `Disk::DirLock`), and a start
//! right after the kill must not begin before.
//! On failure: a directory that somebody holds for longer than `LOCK_WAIT_MS_MAX` is in use.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ringmq_io::limits::{LOCK_LOOK_MS, LOCK_WAIT_MS_MAX};
use ringmq_io::{Disk, Env, patiently};

use crate::OpenError;

pub async fn lock_patiently<E: Env>(env: &E, dir: &Path) -> Result<<E::Disk as Disk>::DirLock, OpenError> {
    let times = (Duration::from_millis(LOCK_WAIT_MS_MAX), Duration::from_millis(LOCK_LOOK_MS));
    let waiting = |error: &std::io::Error| {
        tracing::info!(dir = %dir.display(), %error, "waiting for the directory's last owner to end");
    };
    let lock = patiently(env, times, ErrorKind::WouldBlock, waiting, async || env.disk().lock_dir(dir).await);
    lock.await.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => OpenError::InUse(dir.into()),
        _ => OpenError::io(dir)(error),
    })
}

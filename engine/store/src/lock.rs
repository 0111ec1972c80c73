//! Waits for the lock of a directory whose owner may just have been killed.
//!
//! A killed process keeps its locks until the last write that it had under way is done (see `Disk::DirLock`), and a start
//! right after the kill must not begin before.
//! On failure: a directory that somebody holds for longer than `LOCK_WAIT_MS_MAX` is in use.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ringmq_io::limits::{LOCK_LOOK_MS, LOCK_WAIT_MS_MAX};
use ringmq_io::{Disk, Env};

use crate::OpenError;

pub async fn lock_patiently<E: Env>(env: &E, dir: &Path) -> Result<<E::Disk as Disk>::DirLock, OpenError> {
    let begun = env.monotonic_ns();
    let mut told = false;
    loop {
        let error = match env.disk().lock_dir(dir).await {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() == ErrorKind::WouldBlock => error,
            Err(error) => return Err(OpenError::io(dir)(error)),
        };
        if env.monotonic_ns() - begun >= LOCK_WAIT_MS_MAX * 1_000_000 {
            return Err(OpenError::InUse(dir.into()));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(dir = %dir.display(), %error, "waiting for the directory's last owner to end");
        }
        env.sleep(Duration::from_millis(LOCK_LOOK_MS)).await;
    }
}

//! The snapshot: the state up to an lsn, in one file that is replaced atomically.
//!
//! On failure: the old snapshot stays, and so does the log, since log files go only after the new
//! snapshot's name is durable. Nothing is latched: no promise was made.

use std::cell::Cell;
use std::io;
use std::path::Path;

use ringmq_io::{AlignedBuf, BLOCK, Disk, Env, File, OpenMode};
use thiserror::Error;

use super::files::{SNAPSHOT, SNAPSHOT_TEMPORARY, log_path};
use super::record::{Header, SNAPSHOT_MAGIC, encode_header, parse_header};
use super::{Latched, OpenError, Shared};

/// Bytes checked or written before the reactor gets its turn.
const PIECE: usize = 256 * 1024;

#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("metadata snapshot: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Latched(#[from] Latched),
    #[error("metadata snapshot up to entry {upto}, but the one that is there goes up to {there}")]
    Older { upto: u64, there: u64 },
    #[error("another metadata snapshot is being written")]
    Busy,
}

struct Busy<'a>(&'a Cell<bool>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

pub async fn take<E: Env>(shared: &Shared<E>, state: Vec<u8>, upto: u64) -> Result<(), SnapshotError> {
    if shared.snapshotting.replace(true) {
        return Err(SnapshotError::Busy);
    }
    let _busy = Busy(&shared.snapshotting);
    let there = shared.snapshot_upto.get();
    if upto < there {
        return Err(SnapshotError::Older { upto, there });
    }
    // A snapshot ahead of the log would leave a gap in the lsns after a crash.
    shared.wait_durable(upto).await?;
    write(&shared.env, &shared.dir, shared.store_id, upto, &state).await?;
    shared.snapshot_upto.set(upto);
    drop_old_logs(shared, upto).await;
    Ok(())
}

async fn write<E: Env>(env: &E, dir: &Path, store_id: u64, upto: u64, state: &[u8]) -> io::Result<()> {
    let disk = env.disk();
    let temporary = dir.join(SNAPSHOT_TEMPORARY);
    match disk.remove(&temporary).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&temporary, OpenMode::CreateNew).await?;
    let mut check = 0;
    for (i, piece) in state.chunks(PIECE).enumerate() {
        check = crc32c::crc32c_append(check, piece);
        file.write_at((BLOCK + i * PIECE) as u64, AlignedBuf::copy_of(piece)).await?;
        env.yield_now().await;
    }
    let header = Header { store_id, lsn: upto, extent: state.len() as u64, check: check.into() };
    file.write_at(0, encode_header(SNAPSHOT_MAGIC, header)).await?;
    file.sync().await?;
    disk.rename(&temporary, &dir.join(SNAPSHOT)).await?;
    disk.sync_dir(dir).await
}

/// Removes the log files whose entries the snapshot all has; never the one being written.
async fn drop_old_logs<E: Env>(shared: &Shared<E>, upto: u64) {
    loop {
        let old = {
            let files = shared.files.borrow();
            let begins_later = files.get(1).is_some_and(|next| next.first_lsn <= upto + 1);
            begins_later.then(|| files[0])
        };
        let Some(old) = old else { return };
        let path = log_path(&shared.dir, old.first_lsn);
        if let Err(error) = shared.env.disk().remove(&path).await {
            // The next open sees that it is superfluous.
            tracing::warn!(%error, path = %path.display(), "old metadata log file stays");
        }
        shared.files.borrow_mut().remove(0);
    }
}

/// The snapshot of `dir` with its store id and lsn; `None` where there is none.
pub async fn read<E: Env>(env: &E, dir: &Path) -> Result<Option<(Header, Vec<u8>)>, OpenError> {
    let path = dir.join(SNAPSHOT);
    let file = match env.disk().open(&path, OpenMode::Read).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(OpenError::io(&path))?,
    };
    let damaged = |offset, what: String| OpenError::Damaged { path: path.clone(), offset, what };
    if file.len() < BLOCK as u64 {
        return Err(damaged(file.len(), format!("it ends after {} bytes", file.len())));
    }
    let head = file.read_at(0, BLOCK).await.map_err(OpenError::io(&path))?;
    let header = parse_header(SNAPSHOT_MAGIC, &path, &head)?;
    let end = (BLOCK as u64).checked_add(header.extent).filter(|end| *end <= file.len());
    let Some(end) = end else {
        let what = format!("its body of {} bytes is cut off at {}", header.extent, file.len());
        return Err(damaged(file.len(), what));
    };
    let mut body = Vec::with_capacity(header.extent as usize);
    let mut check = 0;
    let mut at = BLOCK as u64;
    while at < end {
        let wanted = PIECE.min((end - at) as usize);
        let piece = file.read_at(at, wanted.next_multiple_of(BLOCK)).await.map_err(OpenError::io(&path))?;
        check = crc32c::crc32c_append(check, &piece[..wanted]);
        body.extend_from_slice(&piece[..wanted]);
        at += wanted as u64;
        env.yield_now().await;
    }
    if u64::from(check) != header.check {
        return Err(damaged(BLOCK as u64, "the checksum of its body does not match".to_owned()));
    }
    Ok(Some((header, body)))
}

//! The files of the journal's directory: their names, and how a new log file comes into being.
//!
//! Invariants: a log file appears under its name only when its header, its first records and all its
//! zeros are synced; the directory is synced before anything is written to it.

use std::io;
use std::path::{Path, PathBuf};

use ringmq_io::{AlignedBuf, BLOCK, Blocks, Disk, Env, File, OpenMode};

use super::record::{Header, LOG_MAGIC, encode_header};
use super::writer::{FSYNC, Failed};

pub const SNAPSHOT: &str = "SNAPSHOT";
pub const SNAPSHOT_TEMPORARY: &str = "SNAPSHOT.tmp";
pub const SPARE: &str = "spare";
const LOG_PREFIX: &str = "log-";
/// What there may be no room for while a log file is made.
const NEXT_FILE: &str = "log file";

/// Bytes of one write while a file is made; the reactor gets its turn in between.
const PIECE: usize = 1024 * 1024;

pub fn log_path(dir: &Path, first_lsn: u64) -> PathBuf {
    dir.join(format!("{LOG_PREFIX}{first_lsn:016x}"))
}

/// The first lsn that a log file's name says.
pub fn parse_log_name(name: &str) -> Option<u64> {
    let hex = name.strip_prefix(LOG_PREFIX)?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())?
}

/// Opens the file for writing, creating it where it is missing.
pub async fn open_or_create<D: Disk>(disk: &D, path: &Path) -> io::Result<D::File> {
    match disk.open(path, OpenMode::Write).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.open(path, OpenMode::CreateNew).await,
        other => other,
    }
}

/// Puts a log file with these records in place, taking the spare's blocks where there is one. Every
/// byte of it is written, whatever the spare had: an interrupted attempt leaves records behind.
pub async fn put_log<E: Env>(
    env: &E,
    dir: &Path,
    file_bytes: u64,
    header: Header,
    records: &[u8],
) -> Result<<E::Disk as Disk>::File, Failed> {
    assert!((BLOCK + records.len()) as u64 <= file_bytes, "{} bytes of records", records.len());
    let disk = env.disk();
    let spare = dir.join(SPARE);
    let file = open_or_create(disk, &spare).await.map_err(Failed::of(NEXT_FILE))?;
    // All of it is written right below.
    file.preallocate(file_bytes, Blocks::Reserve).await.map_err(Failed::of(NEXT_FILE))?;
    file.write_at(0, encode_header(LOG_MAGIC, header)).await.map_err(Failed::of(NEXT_FILE))?;
    let mut at = 0;
    while ((BLOCK + at) as u64) < file_bytes {
        let len = PIECE.min(file_bytes as usize - BLOCK - at);
        let mut piece = AlignedBuf::zeroed(len);
        if let Some(rest) = records.get(at..) {
            let taken = rest.len().min(len);
            piece[..taken].copy_from_slice(&rest[..taken]);
        }
        file.write_at((BLOCK + at) as u64, piece).await.map_err(Failed::of(NEXT_FILE))?;
        at += len;
    }
    file.sync().await.map_err(Failed::of(FSYNC))?;
    disk.rename(&spare, &log_path(dir, header.lsn)).await.map_err(Failed::of(NEXT_FILE))?;
    disk.sync_dir(dir).await.map_err(Failed::of(FSYNC))?;
    Ok(file)
}

/// Makes the next spare; without room for it there is none, which only a later rotation notices.
pub async fn prepare_spare<E: Env>(env: &E, dir: &Path, file_bytes: u64) -> io::Result<()> {
    let file = open_or_create(env.disk(), &dir.join(SPARE)).await?;
    file.preallocate(file_bytes, Blocks::Write).await?;
    file.sync().await?;
    env.disk().sync_dir(dir).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_not_ours() {
        for lsn in [1, 77, u64::MAX] {
            let path = log_path(Path::new("/m"), lsn);
            assert_eq!(parse_log_name(path.file_name().unwrap().to_str().unwrap()), Some(lsn));
        }
        for name in ["log-1", "log-", "log-zzzzzzzzzzzzzzzz", "SNAPSHOT", "log-00000000000000001"] {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
    }
}

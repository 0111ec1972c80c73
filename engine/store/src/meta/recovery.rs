//! Opening the journal: what is on disk, what of it counts, and a last file that is sound again.
//!
//! | found | means | so |
//! | --- | --- | --- |
//! | no log, no snapshot | a new journal | make one |
//! | no log, a snapshot | a log is never removed while it is the last | `Missing` |
//! | a log that ends before the next one begins | it was synced before that | `Damaged` or `Missing` |
//! | a bad record at or below the file's safe lsn | it was synced | `Damaged` |
//! | a bad record, an intact one of a later group behind it | it was synced | `Damaged` |
//! | a bad record, nothing of a later group behind it | the last group is torn | the log ends here |
//! | zeros | nothing was written | the log ends here |
//!
//! The last file is then written anew and put in the old one's place: so records that an fsync had
//! failed on, which a read still gave, are durable before anybody acts on them, and nothing of a torn
//! group is left behind the end. That is the only change, it is atomic, and doing it twice is the same
//! as doing it once.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ringmq_io::limits::SCAN_READ_BYTES;
use ringmq_io::{BLOCK, Disk, Env, File, OpenMode};

use super::files::{SNAPSHOT_TEMPORARY, log_path, parse_log_name, put_log};
use super::record::{ALIGN, Header, LOG_MAGIC, parse, parse_header, size};
use super::writer::Tail;
use super::{LogFile, OpenError, snapshot};

/// What the journal has: the user's state is the snapshot with the entries applied to it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    pub snapshot: Option<Vec<u8>>,
    pub entries: Vec<Vec<u8>>,
    /// A group that a crash has cut short; nobody was told that it is durable.
    pub torn_tail: Option<TornTail>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    pub path: PathBuf,
    pub offset: u64,
}

pub struct Recovered<E: Env> {
    pub store_id: u64,
    pub last_lsn: u64,
    pub snapshot_upto: u64,
    pub files: Vec<LogFile>,
    pub tail: Tail<E>,
    pub replay: Replay,
}

pub async fn recover<E: Env>(env: &E, dir: &Path, file_bytes: u64) -> Result<Recovered<E>, OpenError> {
    let disk = env.disk();
    disk.create_dir_all(dir).await.map_err(OpenError::io(dir))?;
    let names = list_logs(env, dir).await?;
    let snapshot = snapshot::read(env, dir).await?;
    let upto = snapshot.as_ref().map_or(0, |(header, _)| header.lsn);
    let Some(first) = names.first().copied() else {
        if snapshot.is_some() {
            return Err(OpenError::Missing { dir: dir.to_owned(), from: upto + 1, to: u64::MAX });
        }
        return create(env, dir, file_bytes).await;
    };
    // Files that the snapshot makes superfluous, left by an interrupted removal, are not looked at.
    let needed = names.iter().rposition(|lsn| *lsn <= upto + 1).unwrap_or(0);
    if names[needed] > upto + 1 {
        return Err(OpenError::Missing { dir: dir.to_owned(), from: upto + 1, to: first - 1 });
    }
    let mut store_id = snapshot.as_ref().map(|(header, _)| header.store_id);
    let mut replay = Replay { snapshot: snapshot.map(|(_, body)| body), ..Replay::default() };
    let mut files = Vec::new();
    let mut last_file = None;
    for (i, lsn) in names.iter().enumerate().skip(needed) {
        let next = names.get(i + 1).copied();
        let log = read_log(env, dir, *lsn, &mut store_id).await?;
        let end = scan(&log, next, upto, &mut replay)?;
        files.push(LogFile { first_lsn: *lsn, used: end.bytes });
        last_file = Some((log, end));
    }
    let (log, end) = last_file.expect("at least the needed one");
    if upto > end.last_lsn {
        // A snapshot waits for its last entry to be durable.
        return Err(OpenError::Missing { dir: dir.to_owned(), from: end.last_lsn + 1, to: upto });
    }
    if let Some(torn) = &replay.torn_tail {
        tracing::warn!(path = %torn.path.display(), offset = torn.offset, "torn end of the metadata journal");
    }
    let records = &log.bytes[BLOCK..end.bytes as usize];
    let header = Header { extent: end.last_lsn, ..log.header };
    let file_bytes = file_bytes.max(log.bytes.len() as u64);
    let file = put_log(env, dir, file_bytes, header, records)
        .await
        .map_err(|failed| OpenError::io(&log.path)(failed.error))?;
    remove_superfluous(env, dir, &names[..needed]).await;
    let partial = records[records.len() - records.len() % BLOCK..].to_vec();
    Ok(Recovered {
        store_id: log.header.store_id,
        last_lsn: end.last_lsn,
        snapshot_upto: upto,
        files,
        tail: Tail { file, end: end.bytes, partial },
        replay,
    })
}

/// The first lsns of the log files, in order.
async fn list_logs<E: Env>(env: &E, dir: &Path) -> Result<Vec<u64>, OpenError> {
    let entries = env.disk().list(dir).await.map_err(OpenError::io(dir))?;
    let mut names: Vec<u64> = entries.iter().filter_map(|entry| parse_log_name(&entry.name)).collect();
    names.sort_unstable();
    Ok(names)
}

async fn create<E: Env>(env: &E, dir: &Path, file_bytes: u64) -> Result<Recovered<E>, OpenError> {
    let store_id = env.random();
    let header = Header { store_id, lsn: 1, extent: 0, check: 0 };
    let path = log_path(dir, 1);
    let file = put_log(env, dir, file_bytes, header, &[])
        .await
        .map_err(|failed| OpenError::io(&path)(failed.error))?;
    let end = BLOCK as u64;
    Ok(Recovered {
        store_id,
        last_lsn: 0,
        snapshot_upto: 0,
        files: vec![LogFile { first_lsn: 1, used: end }],
        tail: Tail { file, end, partial: Vec::new() },
        replay: Replay::default(),
    })
}

struct Log {
    path: PathBuf,
    header: Header,
    bytes: Vec<u8>,
}

async fn read_log<E: Env>(
    env: &E,
    dir: &Path,
    first_lsn: u64,
    store_id: &mut Option<u64>,
) -> Result<Log, OpenError> {
    let path = log_path(dir, first_lsn);
    let file = env.disk().open(&path, OpenMode::Read).await.map_err(OpenError::io(&path))?;
    let len = (file.len() - file.len() % BLOCK as u64) as usize;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = SCAN_READ_BYTES.min(len - bytes.len());
        let read = file.read_at(bytes.len() as u64, piece).await.map_err(OpenError::io(&path))?;
        bytes.extend_from_slice(&read);
        env.yield_now().await;
    }
    let header = parse_header(LOG_MAGIC, &path, &bytes)?;
    if header.lsn != first_lsn {
        let what = format!("its header says that it begins with entry {}", header.lsn);
        return Err(OpenError::Damaged { path, offset: 24, what });
    }
    let expected = *store_id.get_or_insert(header.store_id);
    if header.store_id != expected {
        return Err(OpenError::ForeignStore { path, found: header.store_id, expected });
    }
    Ok(Log { path, header, bytes })
}

struct End {
    last_lsn: u64,
    /// Where the next record goes.
    bytes: u64,
}

/// Takes the entries behind `upto` out of a file. `next` is the first lsn of the file after it.
fn scan(log: &Log, next: Option<u64>, upto: u64, replay: &mut Replay) -> Result<End, OpenError> {
    let mut lsn = log.header.lsn;
    let mut at = BLOCK;
    while next.is_none_or(|next| lsn < next) {
        let record = parse(&log.bytes[at..], log.header.store_id).filter(|record| record.lsn == lsn);
        let Some(record) = record else { break };
        if lsn > upto {
            replay.entries.push(record.entry.to_vec());
        }
        at += size(record.entry.len());
        lsn += 1;
    }
    let end = End { last_lsn: lsn - 1, bytes: at as u64 };
    let damaged = |what| OpenError::Damaged { path: log.path.clone(), offset: at as u64, what };
    if let Some(next) = next {
        if lsn < next {
            return Err(damaged(format!("entry {lsn} is not there, but the log goes on with entry {next}")));
        }
        return Ok(end);
    }
    if lsn <= log.header.extent {
        let safe = log.header.extent;
        return Err(damaged(format!("entry {lsn} is not there, but entries up to {safe} had been synced")));
    }
    let written = written(&log.bytes);
    if let Some(later) = later_group(log, at..written.max(at), lsn) {
        return Err(damaged(format!(
            "entry {lsn} is not there, but entry {later}, written after its sync, is"
        )));
    }
    if written > at {
        replay.torn_tail = Some(TornTail { path: log.path.clone(), offset: at as u64 });
    }
    Ok(end)
}

/// Behind the last byte that is not zero: most of a file is empty for most of its life, and a start is not to look for records
/// there, nor at each byte.
fn written(bytes: &[u8]) -> usize {
    const EMPTY: [u8; BLOCK] = [0; BLOCK];
    let Some(last) = bytes.chunks(BLOCK).rposition(|block| block != &EMPTY[..block.len()]) else { return 0 };
    let block = bytes.chunks(BLOCK).nth(last).expect("it was just found");
    last * BLOCK + block.iter().rposition(|byte| *byte != 0).expect("one is not zero") + 1
}

/// An intact record in `range` whose group began after `missing`.
fn later_group(log: &Log, range: Range<usize>, missing: u64) -> Option<u64> {
    let intact = range.step_by(ALIGN).filter_map(|at| parse(&log.bytes[at..], log.header.store_id));
    intact.filter(|record| record.group > missing).map(|record| record.lsn).next()
}

/// Leftovers: they cost space, nothing else.
async fn remove_superfluous<E: Env>(env: &E, dir: &Path, logs: &[u64]) {
    let paths = logs.iter().map(|lsn| log_path(dir, *lsn)).chain([dir.join(SNAPSHOT_TEMPORARY)]);
    for path in paths {
        match env.disk().remove(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "superfluous metadata file stays");
            }
            _ => {}
        }
    }
}

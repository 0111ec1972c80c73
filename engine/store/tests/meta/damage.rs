//! What a crash cannot do, but a medium or a hand can: found at the next open, named, and left as it is.

use std::path::{Path, PathBuf};

use ringmq_simenv::{CrashKind, Host, World};
use ringmq_store::meta::{MetaLog, OpenError, Replay};

use super::book::{Book, DIR, FILE_BYTES, SharedBook, append, open};

const BLOCK: u64 = 4096;
const RECORD_HEAD: u64 = 32;
const ENTRY: u64 = 1000;
const RECORD: u64 = RECORD_HEAD + ENTRY;

fn log(first_lsn: u64) -> PathBuf {
    Path::new(DIR).join(format!("log-{first_lsn:016x}"))
}

/// A journal of `entries` entries, each a group of its own, and a snapshot up to `upto` if that is not 0.
fn made(seed: u64, entries: u64, upto: u64) -> (World, Host, SharedBook) {
    let world = World::new(seed);
    let host = world.host("broker");
    let book = Book::shared();
    let pages = book.clone();
    world.run(&host, |env| async move {
        let log = open(&env, &pages).await.expect("opens");
        for lsn in 1..=entries {
            append(&env, &log, &pages, ENTRY as usize);
            log.wait_durable(lsn).await.expect("durable");
        }
        if upto > 0 {
            log.snapshot(b"the state".to_vec(), upto).await.expect("no fault");
        }
    });
    host.crash(CrashKind::PowerLoss);
    (world, host, book)
}

fn try_open(world: &World, host: &Host) -> Result<Replay, OpenError> {
    world.run(host, |env| async move {
        MetaLog::open_with(&env, Path::new(DIR), FILE_BYTES).await.map(|(_, replay)| replay)
    })
}

fn disk(host: &Host) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    host.files().into_iter().map(|(path, _)| (path.clone(), host.read_file(&path))).collect()
}

/// The open fails and changes nothing.
fn refuses(world: &World, host: &Host) -> OpenError {
    let before = disk(host);
    let error = try_open(world, host).expect_err("damage was taken for good");
    assert!(disk(host) == before, "a refused open changed the disk: {error}");
    error
}

fn flip(host: &Host, path: &Path, at: u64, bit: u8) {
    let byte = host.read_file(path).expect("there")[at as usize];
    host.damage_file(path, at, &[byte ^ (1 << bit)]);
}

#[test]
fn a_flipped_bit_before_the_last_group_is_reported_with_its_place() {
    let (world, host, _) = made(1, 7, 0);
    for lsn in 1..7 {
        let begin = BLOCK + (lsn - 1) * RECORD;
        for at in [0, 4, 8, 16, 24, 31, RECORD_HEAD, RECORD_HEAD + ENTRY / 2, RECORD - 1] {
            flip(&host, &log(1), begin + at, (at % 8) as u8);
            match refuses(&world, &host) {
                OpenError::Damaged { path, offset, what } => {
                    assert_eq!((path, offset), (log(1), begin));
                    assert!(what.contains(&format!("entry {lsn} is not there")), "{what}");
                }
                other => panic!("{other}"),
            }
            flip(&host, &log(1), begin + at, (at % 8) as u8);
        }
    }
    assert_eq!(try_open(&world, &host).expect("whole again").entries.len(), 7);
}

#[test]
fn the_last_group_is_safe_too_once_it_was_recovered() {
    let (world, host, _) = made(2, 7, 0);
    assert_eq!(try_open(&world, &host).expect("whole").entries.len(), 7);
    flip(&host, &log(1), BLOCK + 6 * RECORD + 40, 3);
    assert!(
        matches!(refuses(&world, &host), OpenError::Damaged { offset, .. } if offset == BLOCK + 6 * RECORD)
    );
}

#[test]
fn a_torn_last_group_ends_the_log_and_is_said() {
    let (world, host, book) = made(3, 7, 0);
    let begin = BLOCK + 6 * RECORD;
    host.damage_file(log(1), begin + 100, &[0; 500]);
    let replay = try_open(&world, &host).expect("a torn end is no damage");
    let torn = replay.torn_tail.as_ref().expect("said");
    assert_eq!((torn.path.clone(), torn.offset), (log(1), begin));
    book.borrow_mut().acknowledged = 6;
    book.borrow_mut().check(&replay);
    let again = try_open(&world, &host).expect("opens again");
    assert_eq!((again.torn_tail, again.entries.len()), (None, 6));
}

#[test]
fn damaged_headers_and_snapshots_are_reported() {
    let (world, host, _) = made(4, 60, 30);
    let snapshot = Path::new(DIR).join("SNAPSHOT");
    let logs: Vec<PathBuf> = host
        .files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.to_string_lossy().contains("log-"))
        .collect();
    assert!(logs.len() > 1 && !logs.contains(&log(1)), "{logs:?}");
    for path in logs.iter().chain([&snapshot]) {
        for at in [0, 7, 12, 16, 24, 32, 40, 47] {
            flip(&host, path, at, 5);
            match refuses(&world, &host) {
                OpenError::Damaged { path: named, .. } => assert_eq!(named, *path),
                other => panic!("{other}"),
            }
            flip(&host, path, at, 5);
        }
        flip(&host, path, 9, 1);
        assert!(
            matches!(refuses(&world, &host), OpenError::FormatVersion { path: named, .. } if named == *path)
        );
        flip(&host, path, 9, 1);
    }
    flip(&host, &snapshot, BLOCK + 3, 0);
    assert!(matches!(refuses(&world, &host), OpenError::Damaged { path, .. } if path == snapshot));
    flip(&host, &snapshot, BLOCK + 3, 0);
    assert_eq!(try_open(&world, &host).expect("whole again").snapshot.as_deref(), Some(&b"the state"[..]));
}

#[test]
fn missing_and_foreign_files_are_reported() {
    let (world, host, _) = made(5, 130, 0);
    let mut logs: Vec<PathBuf> = host
        .files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.to_string_lossy().contains("log-"))
        .collect();
    logs.sort();
    assert!(logs.len() >= 4, "{logs:?}");
    // In the middle: the file before it ends too early.
    host.copy_file(&logs[1], "/kept");
    host.remove_file(&logs[1]);
    let error = refuses(&world, &host);
    assert!(matches!(error, OpenError::Missing { .. } | OpenError::Damaged { .. }), "{error}");
    host.copy_file("/kept", &logs[1]);
    // The first.
    host.copy_file(&logs[0], "/kept");
    host.remove_file(&logs[0]);
    assert!(matches!(refuses(&world, &host), OpenError::Missing { from: 1, .. }));
    host.copy_file("/kept", &logs[0]);
    // One of another store, under the right name.
    let (_, other, _) = made(6, 60, 0);
    let foreign = other.read_file(log(1)).expect("there");
    host.damage_file(&logs[0], 0, &foreign);
    assert!(matches!(refuses(&world, &host), OpenError::ForeignStore { .. }));
}

#[test]
fn a_snapshot_without_any_log_is_reported() {
    let (world, host, _) = made(7, 5, 5);
    assert!(host.remove_file(log(1)));
    assert!(matches!(refuses(&world, &host), OpenError::Missing { from: 6, .. }));
}

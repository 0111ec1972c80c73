//! `MetaLog`: the crash-safe journal of metadata (topics, groups, consumer offsets). What an entry says
//! is its user's; here it is bytes.
//!
//! ```text
//! <dir>/SNAPSHOT                  state up to an lsn, replaced atomically
//! <dir>/log-<first lsn, 16 hex>   entries, one file after the other; all of META_FILE_BYTES
//! <dir>/spare                     the next file's blocks, so that a full disk stops no start
//!
//! log file      0    u64 magic "RINGMLOG"      8 u32 format version   12 u32 crc32c of 16..48
//!               16   u64 store id              24 u64 first lsn
//!               32   u64 safe lsn: entries up to it were synced when the file was made
//!               40   u64 0                     48 zeros
//!               4096 records, then zeros
//! record        0    u32 crc32c of the rest    4  u32 entry bytes
//!               8    u64 lsn                   16 u64 store id
//!               24   u64 first lsn of the group that was written and synced with it
//!               32   entry, zeros up to a multiple of 8
//! snapshot      0    u64 magic "RINGMSNP"      8 u32 format version   12 u32 crc32c of 16..48
//!               16   u64 store id              24 u64 lsn that it goes up to
//!               32   u64 body bytes            40 u32 crc32c of body  44 u32 0     48 zeros
//!               4096 body, zeros up to a block
//! ```
//!
//! Invariants: lsns are dense and begin at 1, also over restarts. A group is written only after the
//! group before it was synced, a file begins only after the file before it was synced; so an intact
//! record of a later group proves that everything before its group had been durable. An acknowledged
//! entry ([`MetaLog::wait_durable`]) is replayed by every later open.
//!
//! On failure: a failed write or sync latches the journal, nothing is acknowledged any more. A write
//! that finds no room on the disk changed nothing that counts: the journal stalls, tells so to
//! everybody who asks or waits, tries again by itself, and goes on when there is room. A torn
//! last group ends the log; damage in what had been durable is an error that names file and offset,
//! and changes nothing on disk. The directory has one user at a time: the lock on the data directory
//! above it sees to that.

mod files;
pub(crate) mod record;
mod recovery;
mod snapshot;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringmq_io::limits::{META_BUFFER_BYTES_MAX, META_ENTRY_BYTES_MAX, META_FILE_BYTES};
use ringmq_io::sync::{Event, Stop, Watermark};
use ringmq_io::{BLOCK, Class, Env};
use thiserror::Error;

pub use recovery::{Replay, TornTail};
pub use snapshot::SnapshotError;

/// The journal cannot be opened. Nothing on disk was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("metadata: {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("metadata: {} is damaged at byte {offset}: {what}", .path.display())]
    Damaged { path: PathBuf, offset: u64, what: String },
    #[error(
        "metadata: entries {from} to {to} are missing in {}: a file log-* was removed or comes from another copy; \
         restore it", .dir.display()
    )]
    Missing { dir: PathBuf, from: u64, to: u64 },
    #[error(
        "metadata: {} belongs to another store ({found:016x} instead of {expected:016x})", .path.display()
    )]
    ForeignStore { path: PathBuf, found: u64, expected: u64 },
    #[error(
        "metadata: {} has format version {found}, this program reads version {expected}: start the version of \
         ringmq that wrote it", .path.display()
    )]
    FormatVersion { path: PathBuf, found: u32, expected: u32 },
}

impl OpenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    }
}

/// Why nothing is acknowledged any more. The first failure stays.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("metadata journal is latched after a failed {operation}: {reason}; restart the broker to recover")]
pub struct Latched {
    pub operation: &'static str,
    pub reason: Rc<str>,
}

/// There is no room on the disk for now. Entries that were appended before stay, and are written when
/// there is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("metadata journal has no room for its next {what}: {reason}; it goes on by itself when there is")]
pub struct Stalled {
    pub what: &'static str,
    pub reason: Rc<str>,
}

/// Why an entry is not durable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotDurable {
    #[error(transparent)]
    Latched(#[from] Latched),
    #[error(transparent)]
    Stalled(#[from] Stalled),
}

/// Why the journal should get no more entries at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unwilling {
    #[error(transparent)]
    Latched(#[from] Latched),
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error("metadata journal: half of {META_BUFFER_BYTES_MAX} bytes wait: the disk is behind")]
    Behind,
}

/// A file of the log, as far as entries are concerned.
#[derive(Clone, Copy, Debug)]
struct LogFile {
    first_lsn: u64,
    /// Header and records.
    used: u64,
}

#[derive(Default)]
struct Pending {
    entries: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Of the last entry appended.
    lsn: u64,
}

struct Shared<E: Env> {
    env: E,
    dir: PathBuf,
    store_id: u64,
    file_bytes: u64,
    pending: RefCell<Pending>,
    appended: Event,
    room: Event,
    durable: Watermark,
    latched: RefCell<Option<Latched>>,
    stalled: RefCell<Option<Stalled>>,
    stop: Stop,
    /// Oldest first; the last one is being written.
    files: RefCell<Vec<LogFile>>,
    snapshot_upto: Cell<u64>,
    snapshotting: Cell<bool>,
}

/// An open journal. Its writer task ends when this is dropped.
pub struct MetaLog<E: Env> {
    shared: Rc<Shared<E>>,
}

impl<E: Env> Drop for MetaLog<E> {
    fn drop(&mut self) {
        self.shared.stop.signal();
    }
}

impl<E: Env> MetaLog<E> {
    /// Opens the journal in `dir`, made where it is missing, and gives what it has.
    pub async fn open(env: &E, dir: &Path) -> Result<(Self, Replay), OpenError> {
        Self::open_with(env, dir, META_FILE_BYTES).await
    }

    /// Like [`MetaLog::open`], with log files of another size: small ones show in a test what large ones
    /// take hours to. No entry may be larger than a file.
    pub async fn open_with(env: &E, dir: &Path, file_bytes: u64) -> Result<(Self, Replay), OpenError> {
        assert!(file_bytes.is_multiple_of(BLOCK as u64) && file_bytes > BLOCK as u64, "{file_bytes}");
        let recovered = recovery::recover(env, dir, file_bytes).await?;
        let last = recovered.last_lsn;
        let shared = Rc::new(Shared {
            env: env.clone(),
            dir: dir.to_owned(),
            store_id: recovered.store_id,
            file_bytes,
            pending: RefCell::new(Pending { lsn: last, ..Pending::default() }),
            appended: Event::new(),
            room: Event::new(),
            durable: Watermark::new(last),
            latched: RefCell::default(),
            stalled: RefCell::default(),
            stop: Stop::new(),
            files: RefCell::new(recovered.files),
            snapshot_upto: Cell::new(recovered.snapshot_upto),
            snapshotting: Cell::new(false),
        });
        env.spawn(Class::Flush, writer::run(shared.clone(), recovered.tail));
        Ok((Self { shared }, recovered.replay))
    }

    /// Buffers an entry and gives its number. It is durable when [`MetaLog::wait_durable`] says so.
    ///
    /// Entries are at most [`META_ENTRY_BYTES_MAX`] long (a larger one is a bug of the caller). Beyond
    /// [`META_BUFFER_BYTES_MAX`] of entries that wait for the disk the journal latches: ask
    /// [`MetaLog::willing`] before, where the work can be refused.
    pub fn append(&self, entry: &[u8]) -> u64 {
        let shared = &self.shared;
        assert!(entry.len() <= META_ENTRY_BYTES_MAX, "a metadata entry of {} bytes", entry.len());
        let size = record::size(entry.len());
        assert!((BLOCK + size) as u64 <= shared.file_bytes, "a metadata entry larger than a file");
        let mut pending = shared.pending.borrow_mut();
        pending.lsn += 1;
        let lsn = pending.lsn;
        if shared.latched.borrow().is_some() {
            return lsn; // kept by nobody, and never acknowledged
        }
        let bytes = pending.bytes + size;
        if bytes > META_BUFFER_BYTES_MAX {
            drop(pending);
            let full = format!("{META_BUFFER_BYTES_MAX} bytes of entries already wait for the disk");
            shared.latch("append", &full);
            return lsn;
        }
        pending.bytes = bytes;
        pending.entries.push_back(entry.into());
        drop(pending);
        shared.appended.notify();
        lsn
    }

    /// Whether a change may be made now: the journal writes, and at least half of its buffer is free, so
    /// much that one more request, whatever its kind, never fills it.
    pub fn willing(&self) -> Result<(), Unwilling> {
        let shared = &self.shared;
        shared.check()?;
        if let Some(stalled) = &*shared.stalled.borrow() {
            return Err(stalled.clone().into());
        }
        if shared.pending.borrow().bytes > META_BUFFER_BYTES_MAX / 2 {
            return Err(Unwilling::Behind);
        }
        Ok(())
    }

    /// Waits for [`MetaLog::willing`], also through a stall.
    pub async fn room(&self) -> Result<(), Latched> {
        loop {
            match self.willing() {
                Ok(()) => return Ok(()),
                Err(Unwilling::Latched(latched)) => return Err(latched),
                Err(Unwilling::Stalled(_) | Unwilling::Behind) => self.shared.room.wait().await,
            }
        }
    }

    /// Of the last entry, durable or not; 0 when there never was one.
    pub fn last_lsn(&self) -> u64 {
        self.shared.pending.borrow().lsn
    }

    /// The last durable entry. Poked when the journal latches or stalls.
    pub fn durable(&self) -> &Watermark {
        &self.shared.durable
    }

    /// Returns when the entry, and with it everything before it, is durable; waits through a stall.
    pub async fn wait_durable(&self, lsn: u64) -> Result<(), Latched> {
        self.shared.wait_durable(lsn).await
    }

    /// The same for somebody who owes an answer: a stall ends the wait, with its reason. The entry is
    /// written when there is room, unless a crash comes first.
    pub async fn durable_or_stalled(&self, lsn: u64) -> Result<(), NotDurable> {
        let shared = &self.shared;
        while shared.durable.get() < lsn {
            shared.check()?;
            if let Some(stalled) = &*shared.stalled.borrow() {
                return Err(stalled.clone().into());
            }
            shared.durable.moved().await;
        }
        Ok(())
    }

    pub fn latched(&self) -> Option<Latched> {
        self.shared.latched.borrow().clone()
    }

    /// Why entries wait at the moment although nothing has failed for good.
    pub fn stalled(&self) -> Option<Stalled> {
        self.shared.stalled.borrow().clone()
    }

    /// Bytes of log that an open would read.
    pub fn log_bytes(&self) -> u64 {
        self.shared.files.borrow().iter().map(|file| file.used).sum()
    }

    /// Replaces the snapshot by `state`, which has everything up to the entry `upto` (and may have more
    /// if replaying more is harmless), and drops the log files that it makes superfluous. A failure
    /// leaves the old snapshot, and the log with it.
    pub async fn snapshot(&self, state: Vec<u8>, upto: u64) -> Result<(), SnapshotError> {
        snapshot::take(&self.shared, state, upto).await
    }
}

impl<E: Env> Shared<E> {
    fn check(&self) -> Result<(), Latched> {
        match &*self.latched.borrow() {
            Some(latched) => Err(latched.clone()),
            None => Ok(()),
        }
    }

    fn latch(&self, operation: &'static str, reason: &str) {
        let mut latched = self.latched.borrow_mut();
        if latched.is_none() {
            tracing::error!(operation, reason, "metadata journal is latched");
            *latched = Some(Latched { operation, reason: reason.into() });
        }
        drop(latched);
        let mut pending = self.pending.borrow_mut();
        pending.entries.clear();
        pending.bytes = 0;
        drop(pending);
        self.durable.poke();
        self.room.notify();
    }

    /// Tells everybody who waits; the first reason of a stall stays until its end.
    fn stall(&self, what: &'static str, reason: &str) {
        let mut stalled = self.stalled.borrow_mut();
        if stalled.is_none() {
            tracing::error!(what, reason, "metadata journal has no room; changes are refused until there is");
            *stalled = Some(Stalled { what, reason: reason.into() });
            drop(stalled);
            self.durable.poke();
        }
    }

    fn end_stall(&self) {
        if self.stalled.take().is_some() {
            tracing::info!("metadata journal has room again");
            self.room.notify();
        }
    }

    async fn wait_durable(&self, lsn: u64) -> Result<(), Latched> {
        while self.durable.get() < lsn {
            self.check()?;
            self.durable.moved().await;
        }
        Ok(())
    }
}

//! The journal's writer: one task that turns gathered entries into groups, one write and one sync each.
//!
//! While a group is under way the next one gathers, and where several make changes at the same time it
//! waits a moment for those who were just answered: see [`Crowd`]. The last block of a group is written
//! again with the next one; the bytes in it that were durable are the same in both writes, so an
//! overwrite that is cut short does not harm them.
//!
//! On failure: a write that finds no room is made again, the same bytes at the same place, until there
//! is; the file below it holds nothing of the group that counts, as it was not synced. Every other
//! failure latches, and so does a sync for want of room: nobody knows then what the disk has.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::META_GROUP_BYTES_MAX;
use ringmq_io::{AlignedBuf, BLOCK, Disk, Env, File};

use super::record::{self, Header};
use super::{LogFile, Shared, files};

/// How often a write is tried again when there is no room for it.
const RETRY_FULL: Duration = Duration::from_millis(500);

/// How long after a group the next one waits for entries: time for eight clients on another core to be
/// answered and to come again. A creation that waits for a disk does not notice it.
const GATHER: Duration = Duration::from_micros(500);

/// The end of the log: where the next group goes.
pub struct Tail<E: Env> {
    pub file: <E::Disk as Disk>::File,
    /// End of the last record in the file.
    pub end: u64,
    /// What the last, partly filled block has: from the block's begin to `end`.
    pub partial: Vec<u8>,
}

/// The operation after whose failure nothing is known about what was written.
pub const FSYNC: &str = "fsync";

/// What could not be done.
pub struct Failed {
    pub operation: &'static str,
    pub error: io::Error,
}

impl Failed {
    pub fn of(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { operation, error }
    }

    /// Whether the same may be tried again.
    fn is_for_want_of_room(&self) -> bool {
        let full = matches!(self.error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        full && self.operation != FSYNC
    }
}

/// How many make changes at the same time, as far as the last group tells: who waits for its entries, and
/// who came meanwhile. Without it they would split for good in those who wait for one group and those who
/// wait for the next, and both would be written at the price of a whole one.
#[derive(Default)]
struct Crowd {
    entries: usize,
    /// When its last group was done.
    since_ns: u64,
}

impl Crowd {
    /// How long those who are not here yet are waited for; somebody who is alone, or a whole group, never waits.
    fn patience<E: Env>(&self, shared: &Shared<E>) -> Option<Duration> {
        let pending = shared.pending.borrow();
        if pending.entries.len() >= self.entries || pending.bytes >= META_GROUP_BYTES_MAX {
            return None;
        }
        let passed = Duration::from_nanos(shared.env.monotonic_ns().saturating_sub(self.since_ns));
        GATHER.checked_sub(passed).filter(|left| !left.is_zero())
    }

    fn of<E: Env>(shared: &Shared<E>, written: usize) -> Self {
        Self { entries: written + shared.pending.borrow().entries.len(), since_ns: shared.env.monotonic_ns() }
    }
}

pub async fn run<E: Env>(shared: Rc<Shared<E>>, mut tail: Tail<E>) {
    prepare_spare(&shared).await;
    let mut crowd = Crowd::default();
    while !shared.stop.is_signalled() && shared.latched.borrow().is_none() {
        if shared.pending.borrow().entries.is_empty() {
            shared.appended.wait().or(shared.stop.wait()).await;
            continue;
        }
        if let Some(left) = crowd.patience(&shared) {
            shared.appended.wait().or(shared.env.sleep(left)).or(shared.stop.wait()).await;
            continue;
        }
        match write_group(&shared, &mut tail).await {
            Ok(written) => {
                shared.end_stall();
                crowd = Crowd::of(&shared, written);
            }
            Err(failed) if failed.is_for_want_of_room() => {
                shared.stall(failed.operation, &failed.error.to_string());
                shared.env.sleep(RETRY_FULL).or(shared.stop.wait()).await;
            }
            Err(Failed { operation, error }) => shared.latch(operation, &error.to_string()),
        }
    }
}

async fn prepare_spare<E: Env>(shared: &Shared<E>) {
    if let Err(error) = files::prepare_spare(&shared.env, &shared.dir, shared.file_bytes).await {
        tracing::warn!(%error, dir = %shared.dir.display(), "no spare file for the metadata journal");
    }
}

/// Gives how many entries it has written.
async fn write_group<E: Env>(shared: &Shared<E>, tail: &mut Tail<E>) -> Result<usize, Failed> {
    let next = shared.pending.borrow().entries.front().map_or(0, |entry| record::size(entry.len()));
    if tail.end + next as u64 > shared.file_bytes {
        rotate(shared, tail).await?;
        prepare_spare(shared).await;
        return Ok(0); // the entries may have gone with a latch meanwhile: look again
    }
    let room = ((shared.file_bytes - tail.end) as usize).min(META_GROUP_BYTES_MAX);
    let (entries, bytes) = take_entries(shared, room);
    let first = shared.durable.get() + 1;
    let last = shared.durable.get() + entries.len() as u64;

    let prefix = tail.partial.len();
    let mut buf = AlignedBuf::zeroed(prefix + bytes);
    buf[..prefix].copy_from_slice(&tail.partial);
    let mut at = prefix;
    for (lsn, entry) in (first..).zip(&entries) {
        at += record::encode(&mut buf[at..], shared.store_id, lsn, first, entry);
    }
    assert_eq!(at, prefix + bytes);
    assert_eq!(tail.end % BLOCK as u64, prefix as u64);
    let count = entries.len();
    let buf = match tail.file.write_at(tail.end - prefix as u64, buf).await {
        Ok(buf) => buf,
        Err(error) => {
            put_back(shared, entries, bytes);
            return Err(Failed { operation: "group of entries", error });
        }
    };
    tail.file.sync().await.map_err(Failed::of(FSYNC))?;

    tail.end += bytes as u64;
    tail.partial = buf[at - at % BLOCK..at].to_vec();
    if let Some(file) = shared.files.borrow_mut().last_mut() {
        file.used = tail.end;
    }
    // A latch by an overfull buffer may have come meanwhile: then nothing is acknowledged any more.
    if shared.latched.borrow().is_none() {
        shared.durable.advance(last);
        shared.room.notify();
    }
    Ok(count)
}

/// The next entries, at least one, that take at most `room` bytes; and how many bytes they take.
fn take_entries<E: Env>(shared: &Shared<E>, room: usize) -> (Vec<Box<[u8]>>, usize) {
    let mut pending = shared.pending.borrow_mut();
    let mut bytes = 0;
    let mut entries = Vec::new();
    while let Some(entry) = pending.entries.front() {
        let size = record::size(entry.len());
        if bytes + size > room {
            break;
        }
        bytes += size;
        entries.extend(pending.entries.pop_front());
    }
    assert!(!entries.is_empty(), "the caller has made room for one");
    pending.bytes -= bytes;
    (entries, bytes)
}

/// Entries that were not written are the next ones again.
fn put_back<E: Env>(shared: &Shared<E>, entries: Vec<Box<[u8]>>, bytes: usize) {
    if shared.latched.borrow().is_some() {
        return; // an overfull buffer came meanwhile: the rest is gone too
    }
    let mut pending = shared.pending.borrow_mut();
    pending.bytes += bytes;
    for entry in entries.into_iter().rev() {
        pending.entries.push_front(entry);
    }
}

/// Begins the next file. Everything in this one is synced.
async fn rotate<E: Env>(shared: &Shared<E>, tail: &mut Tail<E>) -> Result<(), Failed> {
    let durable = shared.durable.get();
    let header = Header { store_id: shared.store_id, lsn: durable + 1, extent: durable, check: 0 };
    let file = files::put_log(&shared.env, &shared.dir, shared.file_bytes, header, &[]).await?;
    shared.files.borrow_mut().push(LogFile { first_lsn: durable + 1, used: BLOCK as u64 });
    *tail = Tail { file, end: BLOCK as u64, partial: Vec::new() };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_without_room_is_tried_again() {
        let failed = |operation, code| Failed { operation, error: io::Error::from_raw_os_error(code) };
        let (enospc, edquot, eio) = (28, 122, 5);
        assert!(failed("group of entries", enospc).is_for_want_of_room());
        assert!(failed("log file", edquot).is_for_want_of_room());
        assert!(!failed("group of entries", eio).is_for_want_of_room());
        assert!(!failed(FSYNC, enospc).is_for_want_of_room());
    }
}

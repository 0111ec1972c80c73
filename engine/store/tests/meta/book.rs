//! What was written into the journal, what of it was acknowledged, and who writes it.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::SimEnv;
use ringmq_store::meta::{MetaLog, OpenError, Replay};

pub const DIR: &str = "/data/meta";
/// A header and seven blocks: a life of some milliseconds fills several.
pub const FILE_BYTES: u64 = 32 * 1024;

#[derive(Default)]
pub struct Book {
    /// Entry `lsn` is at `lsn - 1`. Those behind `acknowledged` may be lost in a crash, from the end.
    pub entries: Vec<Vec<u8>>,
    pub acknowledged: usize,
    pub snapshots: u64,
    /// Opens that went well.
    pub lives: u64,
}

pub type SharedBook = Rc<RefCell<Book>>;
pub type Journal = Rc<MetaLog<SimEnv>>;

impl Book {
    pub fn shared() -> SharedBook {
        Rc::default()
    }

    /// Compares what an open gave; it is durable now.
    pub fn check(&mut self, replay: &Replay) {
        let mut found = replay.snapshot.as_deref().map(entries_of).unwrap_or_default();
        found.extend(replay.entries.iter().cloned());
        assert!(
            (self.acknowledged..=self.entries.len()).contains(&found.len()),
            "{} entries, but {} were acknowledged and {} written",
            found.len(),
            self.acknowledged,
            self.entries.len()
        );
        for (i, entry) in found.iter().enumerate() {
            assert!(*entry == self.entries[i], "entry {} has other bytes than were written", i + 1);
        }
        self.entries.truncate(found.len());
        self.acknowledged = found.len();
        self.lives += 1;
    }

    /// All entries up to `upto`, as a snapshot's state.
    fn state(&self, upto: u64) -> Vec<u8> {
        let mut state = Vec::new();
        for entry in &self.entries[..upto as usize] {
            state.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            state.extend_from_slice(entry);
        }
        state
    }
}

fn entries_of(mut state: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while !state.is_empty() {
        let (len, rest) = state.split_at(4);
        let (entry, rest) = rest.split_at(u32::from_le_bytes(len.try_into().unwrap()) as usize);
        entries.push(entry.to_vec());
        state = rest;
    }
    entries
}

pub async fn open(env: &SimEnv, book: &SharedBook) -> Result<Journal, OpenError> {
    let (log, replay) = MetaLog::open_with(env, Path::new(DIR), FILE_BYTES).await?;
    book.borrow_mut().check(&replay);
    assert_eq!(log.last_lsn(), book.borrow().entries.len() as u64);
    assert_eq!(log.durable().get(), log.last_lsn());
    Ok(Rc::new(log))
}

/// Appends an entry of its own bytes.
pub fn append(env: &SimEnv, log: &Journal, book: &SharedBook, len: usize) -> u64 {
    let seed = env.random();
    let entry: Vec<u8> = (0..len).map(|i| (seed >> (i % 57)) as u8 ^ i as u8).collect();
    let lsn = log.append(&entry);
    let mut book = book.borrow_mut();
    book.entries.push(entry);
    assert_eq!(lsn, book.entries.len() as u64, "numbers are dense");
    lsn
}

/// Appends and waits, as somebody who owes an answer does; takes a snapshot now and then. Ends with a latch.
pub async fn write(env: SimEnv, log: Journal, book: SharedBook) {
    loop {
        if log.room().await.is_err() {
            return;
        }
        let many = 1 + env.random() % 5;
        let mut lsn = 0;
        for _ in 0..many {
            let most = if env.random().is_multiple_of(8) { 9000 } else { 700 };
            let len = (env.random() % most) as usize;
            lsn = append(&env, &log, &book, len);
        }
        if log.wait_durable(lsn).await.is_err() {
            return;
        }
        if env.alive() {
            let acknowledged = book.borrow().acknowledged.max(lsn as usize);
            book.borrow_mut().acknowledged = acknowledged;
        }
        if env.random().is_multiple_of(4) {
            env.sleep(Duration::from_micros(env.random() % 3000)).await;
        }
        if env.random().is_multiple_of(12) {
            // One that is ahead of the disk has to wait for it.
            let upto = log.last_lsn();
            let state = book.borrow().state(upto);
            if log.snapshot(state, upto).await.is_ok() {
                book.borrow_mut().snapshots += 1;
            }
        }
    }
}

/// A life of a process: opens, checks, writes from three tasks until it is killed.
pub async fn live(env: SimEnv, book: SharedBook, opened: Rc<Cell<bool>>) {
    let log = match open(&env, &book).await {
        Ok(log) => log,
        // A disk with faults may refuse; what it gives is never wrong.
        Err(OpenError::Io { .. }) => return,
        Err(error) => panic!("nobody damaged anything: {error}"),
    };
    opened.set(true);
    for _ in 0..3 {
        env.spawn(Class::Foreground, write(env.clone(), log.clone(), book.clone()));
    }
    std::future::pending::<()>().await;
}

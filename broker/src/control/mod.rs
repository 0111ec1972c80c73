//! The control plane, on core 0: topics, groups, consumer offsets, online clients, queue locks, name servers.
//!
//! Owns: everything that is one for the whole broker. What must survive a restart (`journal::State`) is changed in
//! memory, appended to the metadata journal, and published to the other cores when it is durable; who is online and
//! who holds which lock lives in memory only.
//! Invariants: one instance, on core 0, which never leaves its thread; no `RefCell` is borrowed over an await; what
//! clients are promised is durable first. The requests that end here are in `handlers/`, one file each.
//! On failure: a journal that cannot be written latches, one whose disk is full stalls until there is room: changes are
//! refused with its reason before they are made, reads, deliveries and heartbeats of known groups go on. A change that
//! was made when the stall began is answered with the reason as well; it takes effect when there is room.

mod announce;
pub mod attributes;
mod changes;
pub mod clients;
pub mod codec;
mod commits;
mod convert;
pub mod groups;
pub mod journal;
pub mod leaving;
pub mod locks;
pub mod making;
pub mod names;
pub mod offsets;
mod online;
mod plane;
pub mod registration;
mod settings;
pub mod system_topics;
pub mod topics;
pub mod version;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use ringmq_io::sync::Event;
use ringmq_io::{Class, Env};
use ringmq_store::meta::{MetaLog, Unwilling};
use thiserror::Error;

use announce::Announcements;
pub use changes::{CHANGES_PER_TURN, group_refusal, topic_refusal};
use clients::Clients;
use journal::{ReplayError, State};
use leaving::Leaving;
use locks::Locks;
use making::Made;
use registration::Registration;
use system_topics::SystemTopics;

use crate::core::Core;
use crate::history::{self, History};
use crate::rates::{self, Mornings, Rates};
use crate::reply::Refusal;
use crate::resets::Resets;
use crate::tables::TableChange;

#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Log(#[from] ringmq_store::meta::OpenError),
    #[error("metadata in {dir}: {error}")]
    Replay { dir: String, error: ReplayError },
}

/// The metadata as the journal had it, before there is a `Core`.
pub struct Metadata<E: Env> {
    log: MetaLog<E>,
    state: State,
    snapshot_bytes: u64,
}

impl<E: Env> Metadata<E> {
    /// Opens the journal in `dir`, made where it is missing, and replays it.
    pub async fn open(env: &E, dir: &Path) -> Result<Self, OpenError> {
        let (log, replay) = MetaLog::open(env, dir).await?;
        let mut state = State::default();
        let failed = |error| OpenError::Replay { dir: dir.display().to_string(), error };
        if let Some(snapshot) = &replay.snapshot {
            state.replay_snapshot(snapshot).map_err(failed)?;
        }
        for entry in &replay.entries {
            state.replay(entry).map_err(failed)?;
        }
        tracing::info!(
            topics = state.topics.len(),
            groups = state.groups.len(),
            offsets = state.offsets.len(),
            entries = replay.entries.len(),
            "metadata replayed"
        );
        let snapshot_bytes = replay.snapshot.map_or(0, |snapshot| snapshot.len() as u64);
        Ok(Self { log, state, snapshot_bytes })
    }
}

pub struct Control<E: Env> {
    pub core: Rc<Core<E>>,
    pub system: SystemTopics,
    pub state: RefCell<State>,
    pub clients: RefCell<Clients>,
    pub locks: RefCell<Locks>,
    pub resets: Resets,
    pub leaving: Leaving,
    pub registration: Registration<E>,
    pub started_ms: i64,
    /// Of the local time, by which days begin.
    pub utc_offset_secs: i32,
    pub rates: Rates,
    pub mornings: Cell<Mornings>,
    pub history: History,
    pub made: Made,
    log: MetaLog<E>,
    last_entry: Cell<u64>,
    entry_at_start: u64,
    /// How often the configuration was changed since the start.
    settings_changed: Cell<usize>,
    /// Of the last snapshot.
    snapshot_bytes: Cell<u64>,
    announcements: Announcements,
    offsets_dirty: Event,
    /// Flushes that have taken offsets to append and are not through with it.
    offsets_in_hand: Cell<u32>,
    to_notify: RefCell<BTreeSet<Rc<str>>>,
    notify_due: Event,
    next_opaque: Cell<i32>,
}

impl<E: Env> Control<E> {
    /// Makes the control plane of a core: system topics and groups are there, all tables are published, its tasks run.
    /// The caller gives it to `Core::set_control` and, when it listens, calls `register_at`.
    pub fn start(core: &Rc<Core<E>>, metadata: Metadata<E>, utc_offset_secs: i32) -> Rc<Self> {
        let Metadata { log, mut state, snapshot_bytes } = metadata;
        let now = core.env.now_ms();
        settings::restore(core, &state);
        let system = SystemTopics::of(&core.config, core.placement.shards());
        // Not journalled: they follow from the configuration, and are made anew at each start. Putting them moves the
        // table's version, so that name servers that knew us before the restart look at the topics again.
        for topic in system.topics() {
            state.topics.put(Rc::new(topic.clone()), now);
        }
        for name in groups::SYSTEM_GROUPS {
            if !state.groups.contains(name) {
                state.groups.put(Rc::new(groups::named(name)), now);
            }
        }
        for topic in state.topics.iter() {
            core.publish(TableChange::Topic(convert::topic(topic)));
        }
        for group in state.groups.iter() {
            core.publish(TableChange::Group(convert::group(group)));
        }
        let control = Rc::new(Self {
            core: core.clone(),
            system,
            state: RefCell::new(state),
            clients: RefCell::default(),
            locks: RefCell::default(),
            resets: Resets::default(),
            leaving: Leaving::default(),
            registration: Registration::new(),
            started_ms: now,
            utc_offset_secs,
            rates: Rates::default(),
            mornings: Cell::default(),
            history: History::default(),
            made: Made::default(),
            last_entry: Cell::new(log.last_lsn()),
            entry_at_start: log.last_lsn(),
            settings_changed: Cell::new(0),
            snapshot_bytes: Cell::new(snapshot_bytes),
            log,
            announcements: Announcements::default(),
            offsets_dirty: Event::new(),
            offsets_in_hand: Cell::new(0),
            to_notify: RefCell::default(),
            notify_due: Event::new(),
            next_opaque: Cell::new(0),
        });
        let env = &core.env;
        env.spawn(Class::Foreground, control.clone().publish_announcements());
        env.spawn(Class::Foreground, control.clone().notify_changed_groups());
        env.spawn(Class::Flush, control.clone().journal_gathered_commits());
        env.spawn(Class::Background, control.clone().expire_silent_clients());
        env.spawn(Class::Background, control.clone().keep_journal_short());
        env.spawn(Class::Background, rates::sample(control.clone()));
        env.spawn(Class::Background, history::sample(control.clone()));
        control
    }

    /// Appends an entry to the journal, which writes it when it can; `wait_durable` tells when it is safe.
    fn append(&self, entry: &[u8]) -> u64 {
        let number = self.log.append(entry);
        self.last_entry.set(number);
        number
    }

    /// Does the journal take another change? Asked before anything is changed.
    pub fn may_change(&self) -> Result<(), Refusal> {
        self.log.willing().map_err(|unwilling| announce::unwilling(&unwilling))
    }

    /// The same, but a journal that is only behind is waited for.
    pub(crate) async fn room(&self) -> Result<(), Refusal> {
        match self.log.willing() {
            Err(Unwilling::Behind) => {
                self.log.room().await.map_err(|latched| announce::not_durable(&latched.into()))
            }
            other => other.map_err(|unwilling| announce::unwilling(&unwilling)),
        }
    }

    /// Why the journal has failed for good, if it has.
    pub fn journal_latched(&self) -> Option<String> {
        self.log.latched().map(|latched| latched.to_string())
    }

    /// Number of the journal's last entry: tells whether something was changed.
    pub fn last_entry(&self) -> u64 {
        self.last_entry.get()
    }

    /// Ends in good order: the name servers know, and all offsets are durable.
    pub async fn shutdown(self: &Rc<Self>) -> Result<(), Refusal> {
        self.unregister().await;
        self.flush_offsets().await?;
        self.all_announced().await?;
        self.last_snapshot().await;
        Ok(())
    }
}

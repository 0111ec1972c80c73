//! What the metadata journal says: the entries, their bytes, and how they are replayed.
//!
//! ```text
//! entry     = format u8 (1), kind u8, payload
//! 1 topic         = version, name, read queues, write queues, perm, filter type, sys flag, order, n, n x (key, value)
//! 2 topic gone    = version, name                            (and with it the topic's offsets)
//! 3 group         = version, JSON of the group's settings
//! 4 group gone    = version, name, whether its offsets go too (0 or 1)
//! 5 offsets       = group, topic, n, n x (queue, offset)
//! 6 versions      = version of the topics, version of the groups
//! version         = state, timestamp, counter                (zigzag integers)
//! snapshot  = "RMQMETA1", n x (length, entry)
//! ```
//! Numbers are variable-length (`codec`). Invariants: an entry says what is, never by how much something changes, so
//! that replaying entries which a snapshot already contains, in order, ends in the same state; a snapshot may
//! therefore be written piece by piece while the state moves on, as long as every entry since its beginning is
//! replayed after it. On failure: an entry that cannot be read names its kind and byte; the broker does not start on it.

use std::collections::BTreeMap;
use std::rc::Rc;

use thiserror::Error;

use ringmq_wire::json_dialect::{self, BodyError};

use super::codec::{CodecError, Reader, put_bytes, put_i64, put_text, put_u64};
use super::groups::{GroupConfig, Groups};
use super::offsets::{Offsets, QueueOffsets};
use super::topics::{TopicConfig, TopicError, TopicFilterType, Topics};
use super::version::DataVersion;
use crate::config::Setting;

const FORMAT: u8 = 1;
const SNAPSHOT_MAGIC: &[u8; 8] = b"RMQMETA1";

const TOPIC: u8 = 1;
const TOPIC_GONE: u8 = 2;
const GROUP: u8 = 3;
const GROUP_GONE: u8 = 4;
const OFFSETS: u8 = 5;
const VERSIONS: u8 = 6;
const SETTINGS: u8 = 7;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    #[error("metadata entry of format {0}, this program reads {FORMAT}")]
    Format(u8),
    #[error("metadata entry of unknown kind {0}")]
    Kind(u8),
    #[error(transparent)]
    Bytes(#[from] CodecError),
    #[error("metadata entry of a group: {0}")]
    Group(#[from] BodyError),
    #[error("metadata entry of a topic: {0}")]
    Topic(TopicError),
    #[error("metadata snapshot does not begin with its magic")]
    Snapshot,
}

/// Everything that survives a restart.
#[derive(Debug, Default)]
pub struct State {
    pub topics: Topics,
    pub groups: Groups,
    pub offsets: Offsets,
    /// What requests have changed of the configuration.
    settings: BTreeMap<Box<str>, Box<str>>,
}

fn begin(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[FORMAT, kind]);
}

fn put_version(out: &mut Vec<u8>, version: DataVersion) {
    put_i64(out, version.state_version);
    put_i64(out, version.timestamp);
    put_i64(out, version.counter);
}

pub fn topic(out: &mut Vec<u8>, topic: &TopicConfig, version: DataVersion) {
    begin(out, TOPIC);
    put_version(out, version);
    put_text(out, &topic.topic_name);
    put_i64(out, topic.read_queue_nums.into());
    put_i64(out, topic.write_queue_nums.into());
    put_i64(out, topic.perm.into());
    put_text(out, topic.topic_filter_type.name());
    put_i64(out, topic.topic_sys_flag.into());
    put_u64(out, topic.order.into());
    put_u64(out, topic.attributes.len() as u64);
    for (key, value) in &topic.attributes {
        put_text(out, key);
        put_text(out, value);
    }
}

pub fn topic_gone(out: &mut Vec<u8>, name: &str, version: DataVersion) {
    begin(out, TOPIC_GONE);
    put_version(out, version);
    put_text(out, name);
}

pub fn group(out: &mut Vec<u8>, group: &GroupConfig, version: DataVersion) {
    begin(out, GROUP);
    put_version(out, version);
    put_bytes(out, &json_dialect::to_vec(group));
}

pub fn group_gone(out: &mut Vec<u8>, name: &str, with_offsets: bool, version: DataVersion) {
    begin(out, GROUP_GONE);
    put_version(out, version);
    put_text(out, name);
    put_u64(out, with_offsets.into());
}

pub fn offsets<'a>(
    out: &mut Vec<u8>,
    group: &str,
    topic: &str,
    offsets: impl ExactSizeIterator<Item = (&'a u32, &'a i64)>,
) {
    begin(out, OFFSETS);
    put_text(out, group);
    put_text(out, topic);
    put_u64(out, offsets.len() as u64);
    for (queue, offset) in offsets {
        put_u64(out, u64::from(*queue));
        put_i64(out, *offset);
    }
}

pub fn settings<'a>(out: &mut Vec<u8>, settings: impl ExactSizeIterator<Item = &'a Setting>) {
    begin(out, SETTINGS);
    put_u64(out, settings.len() as u64);
    for (key, value) in settings {
        put_text(out, key);
        put_text(out, value);
    }
}

fn versions(out: &mut Vec<u8>, topics: DataVersion, groups: DataVersion) {
    begin(out, VERSIONS);
    put_version(out, topics);
    put_version(out, groups);
}

impl State {
    pub fn settings(&self) -> impl Iterator<Item = (&Box<str>, &Box<str>)> {
        self.settings.iter()
    }

    pub fn put_settings(&mut self, settings: &[Setting]) {
        self.settings.extend(settings.iter().cloned());
    }

    /// Applies one entry.
    pub fn replay(&mut self, entry: &[u8]) -> Result<(), ReplayError> {
        let reader = &mut Reader::new(entry);
        match reader.byte()? {
            FORMAT => {}
            other => return Err(ReplayError::Format(other)),
        }
        match reader.byte()? {
            TOPIC => {
                let version = read_version(reader)?;
                let topic = read_topic(reader)?;
                self.topics.check(&topic).map_err(ReplayError::Topic)?;
                self.topics.restore(topic, version);
            }
            TOPIC_GONE => {
                let version = read_version(reader)?;
                let name = reader.text()?;
                self.topics.restore_removal(name, version);
                self.offsets.remove_topic(name);
            }
            GROUP => {
                let version = read_version(reader)?;
                let config: GroupConfig = json_dialect::read(reader.bytes()?)?;
                self.groups.restore(config, version);
            }
            GROUP_GONE => {
                let version = read_version(reader)?;
                let name = reader.text()?;
                let with_offsets = reader.u64()? != 0;
                self.groups.restore_removal(name, version);
                if with_offsets {
                    self.offsets.remove_group(name);
                }
            }
            OFFSETS => {
                let (group, topic) = (reader.text()?, reader.text()?);
                for _ in 0..reader.u64()? {
                    let (queue, offset) = (reader.u32()?, reader.i64()?);
                    // The bound held when the entry was written; a lower one now must not lose what is stored.
                    let _ = self.offsets.commit(group, topic, queue, offset);
                }
            }
            VERSIONS => {
                self.topics.restore_version(read_version(reader)?);
                self.groups.restore_version(read_version(reader)?);
            }
            SETTINGS => {
                for _ in 0..reader.u64()? {
                    let (key, value) = (reader.text()?, reader.text()?);
                    self.settings.insert(key.into(), value.into());
                }
            }
            other => return Err(ReplayError::Kind(other)),
        }
        if !reader.is_empty() {
            return Err(reader.error("something follows the entry").into());
        }
        Ok(())
    }

    pub fn replay_snapshot(&mut self, bytes: &[u8]) -> Result<(), ReplayError> {
        let entries = bytes.strip_prefix(SNAPSHOT_MAGIC).ok_or(ReplayError::Snapshot)?;
        let reader = &mut Reader::new(entries);
        while !reader.is_empty() {
            self.replay(reader.bytes()?)?;
        }
        Ok(())
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<DataVersion, CodecError> {
    Ok(DataVersion { state_version: reader.i64()?, timestamp: reader.i64()?, counter: reader.i64()? })
}

fn read_topic(reader: &mut Reader<'_>) -> Result<TopicConfig, CodecError> {
    let mut topic = TopicConfig {
        topic_name: reader.text()?.into(),
        read_queue_nums: reader.i32()?,
        write_queue_nums: reader.i32()?,
        perm: reader.i32()?,
        topic_filter_type: TopicFilterType::from_name(reader.text()?),
        topic_sys_flag: reader.i32()?,
        order: reader.u64()? != 0,
        ..TopicConfig::default()
    };
    for _ in 0..reader.u64()? {
        let (key, value) = (reader.text()?, reader.text()?);
        topic.attributes.insert(key.into(), value.into());
    }
    Ok(topic)
}

/// Writes a snapshot in pieces. Between two pieces the state may change: see the invariants above.
#[derive(Debug)]
pub struct SnapshotWriter {
    out: Vec<u8>,
    at: Position,
}

#[derive(Debug)]
enum Position {
    Topics(Option<Rc<TopicConfig>>),
    Groups(Option<Rc<GroupConfig>>),
    Offsets(Option<(Rc<str>, Rc<str>)>),
    Done,
}

impl SnapshotWriter {
    pub fn begin(state: &State) -> Self {
        let mut out = SNAPSHOT_MAGIC.to_vec();
        put_framed(&mut out, |entry| versions(entry, state.topics.version(), state.groups.version()));
        // In one piece: there are at most as many as there are keys.
        let changed: Vec<Setting> =
            state.settings().map(|(key, value)| (key.clone(), value.clone())).collect();
        put_framed(&mut out, |entry| settings(entry, changed.iter()));
        Self { out, at: Position::Topics(None) }
    }

    /// Writes up to `entries` more; `true` when all is written.
    pub fn step(&mut self, state: &State, entries: usize) -> bool {
        for _ in 0..entries {
            let next = match &self.at {
                Position::Topics(last) => {
                    match state.topics.after(last.as_ref().map(|topic| topic.topic_name.as_str())).next() {
                        Some(next) => {
                            let version = state.topics.version();
                            put_framed(&mut self.out, |entry| topic(entry, next, version));
                            Position::Topics(Some(next.clone()))
                        }
                        None => Position::Groups(None),
                    }
                }
                Position::Groups(last) => {
                    match state.groups.after(last.as_ref().map(|group| group.group_name.as_str())).next() {
                        Some(next) => {
                            let version = state.groups.version();
                            put_framed(&mut self.out, |entry| group(entry, next, version));
                            Position::Groups(Some(next.clone()))
                        }
                        None => Position::Offsets(None),
                    }
                }
                Position::Offsets(last) => {
                    match state.offsets.after(last.as_ref().map(|(group, topic)| (&**group, &**topic))) {
                        Some((group, topic, queues)) => {
                            put_framed(&mut self.out, |entry| offsets(entry, group, topic, queues.iter()));
                            Position::Offsets(Some((group.clone(), topic.clone())))
                        }
                        None => Position::Done,
                    }
                }
                Position::Done => return true,
            };
            self.at = next;
        }
        matches!(self.at, Position::Done)
    }

    pub fn finish(self) -> Vec<u8> {
        assert!(matches!(self.at, Position::Done), "a snapshot must be whole");
        self.out
    }
}

fn put_framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut entry = Vec::with_capacity(64);
    write(&mut entry);
    put_u64(out, entry.len() as u64);
    out.extend_from_slice(&entry);
}

/// One entry on its own memory.
pub fn entry(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write(&mut out);
    out
}

/// The entry of one commit.
pub fn commit(group: &str, topic: &str, queue: u32, offset: i64) -> Vec<u8> {
    let one = QueueOffsets::from([(queue, offset)]);
    entry(|out| offsets(out, group, topic, one.iter()))
}

#[cfg(test)]
mod tests;

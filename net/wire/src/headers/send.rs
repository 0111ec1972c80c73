//! The header of everything that stores a message: 10 and 324 (full field names), 310, 320 and 325 (letters).
//!
//! Invariant: one pass over the ext fields; of a repeated field the last counts. The eight fields that the reference
//! marks as not null are required in both forms (RocketMQ 5.5.0 SendMessageRequestHeaderV2#decode).

use super::{Field, FieldError};
use crate::code::request_code;
use crate::command::{Command, ExtFields};
use crate::encode::FrameWriter;

/// The topic whose settings an auto-created topic gets if the producer names no other.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";

/// A message's header as its producer sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendHeader<'a> {
    pub producer_group: &'a str,
    pub topic: &'a str,
    /// The topic whose settings an auto-created topic gets.
    pub default_topic: &'a str,
    pub default_topic_queue_nums: i32,
    /// Negative: the broker chooses.
    pub queue_id: i32,
    pub sys_flag: i32,
    pub born_timestamp: i64,
    /// The user's own number.
    pub flag: i32,
    /// Properties text; empty if absent.
    pub properties: &'a str,
    pub reconsume_times: i32,
    pub unit_mode: bool,
    pub max_reconsume_times: Option<i32>,
    pub batch: bool,
    pub broker_name: Option<&'a str>,
}

impl<'a> SendHeader<'a> {
    /// A message without properties; an auto-created topic gets the queues that RocketMQ's producers ask for.
    pub fn new(producer_group: &'a str, topic: &'a str, queue_id: i32) -> Self {
        Self {
            producer_group,
            topic,
            default_topic: AUTO_CREATE_TOPIC,
            default_topic_queue_nums: 4,
            queue_id,
            sys_flag: 0,
            born_timestamp: 0,
            flag: 0,
            properties: "",
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
        }
    }
}

/// The fields in the order of the letters a to n.
const FULL_NAMES: [&str; 14] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];
const LETTERS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

impl<'a> SendHeader<'a> {
    /// Reads the header of any send request in the form that its code has.
    pub fn decode(command: &'a Command<'_>) -> Result<Self, FieldError> {
        match command.code {
            request_code::SEND_MESSAGE | request_code::SEND_REPLY_MESSAGE => {
                Self::decode_full_names(&command.ext)
            }
            _ => Self::decode_letters(&command.ext),
        }
    }

    pub fn decode_letters(ext: &'a ExtFields<'_>) -> Result<Self, FieldError> {
        let mut found = [None; 14];
        for (letter, value) in ext.letters() {
            if let Some(field) = found.get_mut(usize::from(letter.wrapping_sub(b'a'))) {
                *field = Some(value);
            }
        }
        Self::from_found(&found, &LETTERS)
    }

    pub fn decode_full_names(ext: &'a ExtFields<'_>) -> Result<Self, FieldError> {
        let mut found = [None; 14];
        for (key, value) in ext.iter() {
            if let Some(i) = FULL_NAMES.iter().position(|name| *name == key) {
                found[i] = Some(value);
            }
        }
        Self::from_found(&found, &FULL_NAMES)
    }

    fn from_found(found: &[Option<&'a str>; 14], names: &[&'static str; 14]) -> Result<Self, FieldError> {
        fn read<'a, T: Field<'a>>(
            found: &[Option<&'a str>; 14],
            names: &[&'static str; 14],
            i: usize,
        ) -> Result<T, FieldError> {
            T::read(found[i], names[i])
        }
        Ok(Self {
            producer_group: read(found, names, 0)?,
            topic: read(found, names, 1)?,
            default_topic: read(found, names, 2)?,
            default_topic_queue_nums: read(found, names, 3)?,
            queue_id: read(found, names, 4)?,
            sys_flag: read(found, names, 5)?,
            born_timestamp: read(found, names, 6)?,
            flag: read(found, names, 7)?,
            properties: found[8].unwrap_or_default(),
            reconsume_times: super::read_or(found[9], names[9], 0)?,
            unit_mode: read(found, names, 10)?,
            max_reconsume_times: read(found, names, 11)?,
            batch: read(found, names, 12)?,
            broker_name: read(found, names, 13)?,
        })
    }

    /// Adds the header with letters for names.
    pub fn write_letters(&self, writer: &mut FrameWriter<'_>) {
        self.write_with(writer, &LETTERS);
    }

    /// Adds the header with full names, as code 10 wants it.
    pub fn write_full_names(&self, writer: &mut FrameWriter<'_>) {
        self.write_with(writer, &FULL_NAMES);
    }

    fn write_with(&self, writer: &mut FrameWriter<'_>, names: &[&'static str; 14]) {
        self.producer_group.write(names[0], writer);
        self.topic.write(names[1], writer);
        self.default_topic.write(names[2], writer);
        self.default_topic_queue_nums.write(names[3], writer);
        self.queue_id.write(names[4], writer);
        self.sys_flag.write(names[5], writer);
        self.born_timestamp.write(names[6], writer);
        self.flag.write(names[7], writer);
        if !self.properties.is_empty() {
            self.properties.write(names[8], writer);
        }
        self.reconsume_times.write(names[9], writer);
        self.unit_mode.write(names[10], writer);
        self.max_reconsume_times.write(names[11], writer);
        self.batch.write(names[12], writer);
        self.broker_name.write(names[13], writer);
    }
}

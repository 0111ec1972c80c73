//! The message record: what a commit log holds and what a pull answer carries, byte for byte.
//!
//! Layout (IPv4 hosts): total size i32 @0, magic i32 @4, body CRC i32 @8, queue id i32 @12, flag i32 @16, queue offset
//! i64 @20, physical offset i64 @28, sysFlag i32 @36, born timestamp i64 @40, born host (address, port i32) @48, store
//! timestamp i64 @56, store host @64, reconsume times i32 @72, prepared transaction offset i64 @76, body (i32 length)
//! @84, topic (u8 length in V1, i16 in V2), properties (i16 length). An IPv6 host is 12 bytes longer.
//! Invariants: `encode_into` fills its slice exactly; a `RecordView` has had every length checked and its text is
//! UTF-8. V2 is used only for topics over 127 bytes: old clients read a one-byte length.
//! On failure: a `RecordError` says what does not fit or where the bytes stop making sense.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::properties;

#[cfg(test)]
mod tests;
mod view;

pub use view::{RecordView, Records, records};

/// Record whose topic length is one byte.
pub const MAGIC_V1: i32 = -626_843_481;
/// Record whose topic length is two bytes.
pub const MAGIC_V2: i32 = -626_843_477;
/// Filler at the end of one of the reference's files; never sent.
pub const MAGIC_FILLER: i32 = -875_286_124;

pub const TOTAL_SIZE_AT: usize = 0;
pub const MAGIC_AT: usize = 4;
pub const BODY_CRC_AT: usize = 8;
pub const QUEUE_ID_AT: usize = 12;
pub const FLAG_AT: usize = 16;
pub const QUEUE_OFFSET_AT: usize = 20;
pub const PHYSICAL_OFFSET_AT: usize = 28;
pub const SYS_FLAG_AT: usize = 36;
pub const BORN_TIMESTAMP_AT: usize = 40;
pub const BORN_HOST_AT: usize = 48;
/// With an IPv4 born host; 12 more with IPv6.
pub const STORE_TIMESTAMP_AT: usize = BORN_HOST_AT + HOST_V4;
/// Bytes of a host: address and port.
pub const HOST_V4: usize = 8;
pub const HOST_V6: usize = 20;
/// A record without hosts, body, topic and properties, with the length fields of V1.
const BARE: usize = 48 + 8 + 4 + 8 + 4 + 1 + 2;
/// Smallest record: IPv4 hosts, nothing else.
pub const MIN_SIZE: usize = BARE + 2 * HOST_V4;

const _: () = assert!(MAGIC_V1 as u32 == 0xDAA3_20A7);
const _: () = assert!(MAGIC_V2 as u32 == 0xDAA3_20AB);
const _: () = assert!(MAGIC_FILLER as u32 == 0xCBD4_3194);
const _: () = assert!(PHYSICAL_OFFSET_AT == QUEUE_OFFSET_AT + 8 && SYS_FLAG_AT == PHYSICAL_OFFSET_AT + 8);
const _: () = assert!(BORN_HOST_AT == BORN_TIMESTAMP_AT + 8 && STORE_TIMESTAMP_AT == 56);
const _: () = assert!(MIN_SIZE == 91);

/// Longest topic of a V1 record.
pub const MAX_TOPIC_V1: usize = i8::MAX as usize;
/// Bits of a stored CRC: the sign bit is cleared.
const CRC_MASK: u32 = 0x7FFF_FFFF;

/// Bits of `sys_flag`.
pub mod sys_flag {
    pub const COMPRESSED: i32 = 0x1;
    pub const MULTI_TAGS: i32 = 0x2;
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// The two bits of the transaction type; 0 is none.
    pub const TRANSACTION_MASK: i32 = 0xC;
    pub const BORN_HOST_V6: i32 = 0x10;
    pub const STORE_HOST_V6: i32 = 0x20;
    pub const NEED_UNWRAP: i32 = 0x40;
    pub const INNER_BATCH: i32 = 0x80;
    pub const COMPRESSION_MASK: i32 = 0x700;
}

/// CRC of a body as a record stores it.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & CRC_MASK) as i32
}

/// A record cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("topic of {0} bytes does not fit into a record")]
    TopicTooLong(usize),
    #[error("properties of {0} bytes are over the limit of {max}", max = properties::MAX_LENGTH)]
    PropertiesTooLong(usize),
    #[error("body of {0} bytes does not fit into a record")]
    BodyTooLong(usize),
    #[error("record is cut off: {have} of {need} bytes")]
    Cut { have: usize, need: usize },
    #[error("record has magic {0:#010x}")]
    Magic(i32),
    #[error("record's total size {0} is impossible")]
    TotalSize(i32),
    #[error("record's {field} length reaches past its end")]
    Length { field: &'static str },
    #[error("record's lengths leave {0} bytes over")]
    Surplus(usize),
    #[error("record's {field} is not UTF-8")]
    Text { field: &'static str },
    #[error("record's {field} port {port} is none")]
    Port { field: &'static str, port: i32 },
}

/// Everything that a record is made of. The host bits of `sys_flag` are set by the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordParts<'a> {
    pub queue_id: i32,
    pub flag: i32,
    pub queue_offset: i64,
    pub physical_offset: i64,
    pub sys_flag: i32,
    pub born_timestamp: i64,
    pub born_host: SocketAddr,
    pub store_timestamp: i64,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub body: &'a [u8],
    pub topic: &'a str,
    /// Properties as the producer sent them.
    pub properties: &'a str,
    /// Properties that the broker adds behind them.
    pub added_properties: &'a str,
}

impl<'a> RecordParts<'a> {
    /// A record of which nothing else is known yet: numbers are 0, texts empty, and both hosts are `host`.
    pub fn new(topic: &'a str, body: &'a [u8], born_timestamp: i64, host: SocketAddr) -> Self {
        Self {
            queue_id: 0,
            flag: 0,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: 0,
            born_timestamp,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic,
            properties: "",
            added_properties: "",
        }
    }
}

impl RecordParts<'_> {
    /// The separator that is written if the producer left its last one out.
    fn separator(&self) -> bool {
        !self.added_properties.is_empty()
            && !self.properties.is_empty()
            && !self.properties.ends_with(properties::PROPERTY_SEPARATOR)
    }

    fn properties_len(&self) -> usize {
        self.properties.len() + usize::from(self.separator()) + self.added_properties.len()
    }

    /// Size of the record, or what makes it impossible.
    pub fn encoded_len(&self) -> Result<usize, RecordError> {
        if self.topic.len() > i16::MAX as usize {
            return Err(RecordError::TopicTooLong(self.topic.len()));
        }
        let properties = self.properties_len();
        if properties > properties::MAX_LENGTH {
            return Err(RecordError::PropertiesTooLong(properties));
        }
        let total = BARE
            + usize::from(self.topic.len() > MAX_TOPIC_V1)
            + host_len(self.born_host)
            + host_len(self.store_host)
            + self.body.len()
            + self.topic.len()
            + properties;
        if total > i32::MAX as usize {
            return Err(RecordError::BodyTooLong(self.body.len()));
        }
        Ok(total)
    }

    /// Writes the record into a slice of exactly `encoded_len` bytes; the body is copied once and its CRC computed.
    ///
    /// # Panics
    /// If the slice has another length, or the record is impossible: both are errors of the caller, who has asked
    /// `encoded_len` before.
    pub fn encode_into(&self, out: &mut [u8]) {
        assert_eq!(self.encoded_len(), Ok(out.len()), "slice is not the record's size");
        let v2 = self.topic.len() > MAX_TOPIC_V1;
        let mut sys_flag = self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        if host_len(self.born_host) == HOST_V6 {
            sys_flag |= sys_flag::BORN_HOST_V6;
        }
        if host_len(self.store_host) == HOST_V6 {
            sys_flag |= sys_flag::STORE_HOST_V6;
        }
        let total = out.len();
        let mut writer = Writer { out, at: 0 };
        writer.i32(total as i32);
        writer.i32(if v2 { MAGIC_V2 } else { MAGIC_V1 });
        writer.i32(body_crc(self.body));
        writer.i32(self.queue_id);
        writer.i32(self.flag);
        writer.i64(self.queue_offset);
        writer.i64(self.physical_offset);
        writer.i32(sys_flag);
        writer.i64(self.born_timestamp);
        writer.host(self.born_host);
        writer.i64(self.store_timestamp);
        writer.host(self.store_host);
        writer.i32(self.reconsume_times);
        writer.i64(self.prepared_transaction_offset);
        writer.i32(self.body.len() as i32);
        writer.bytes(self.body);
        if v2 {
            writer.bytes(&(self.topic.len() as i16).to_be_bytes());
        } else {
            writer.bytes(&[self.topic.len() as u8]);
        }
        writer.bytes(self.topic.as_bytes());
        writer.bytes(&(self.properties_len() as i16).to_be_bytes());
        writer.bytes(self.properties.as_bytes());
        if self.separator() {
            writer.bytes(&[2]);
        }
        writer.bytes(self.added_properties.as_bytes());
        assert_eq!(writer.at, total, "record layout and its length disagree");
    }
}

fn host_len(host: SocketAddr) -> usize {
    match host.ip().to_canonical() {
        IpAddr::V4(_) => HOST_V4,
        IpAddr::V6(_) => HOST_V6,
    }
}

struct Writer<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    fn host(&mut self, host: SocketAddr) {
        match host.ip().to_canonical() {
            IpAddr::V4(ip) => self.bytes(&ip.octets()),
            IpAddr::V6(ip) => self.bytes(&ip.octets()),
        }
        self.i32(i32::from(host.port()));
    }
}

/// Sets fields of an encoded record: what is known only when it is appended.
pub mod patch {
    use super::*;

    pub fn queue_offset(record: &mut [u8], offset: i64) {
        put(record, QUEUE_OFFSET_AT, offset);
    }

    pub fn physical_offset(record: &mut [u8], offset: i64) {
        put(record, PHYSICAL_OFFSET_AT, offset);
    }

    pub fn store_timestamp(record: &mut [u8], millis: i64) {
        let at = STORE_TIMESTAMP_AT + if born_host_is_v6(record) { HOST_V6 - HOST_V4 } else { 0 };
        put(record, at, millis);
    }

    fn born_host_is_v6(record: &[u8]) -> bool {
        // The born host bit is in the last byte of the big-endian flag.
        i32::from(record[SYS_FLAG_AT + 3]) & sys_flag::BORN_HOST_V6 != 0
    }

    fn put(record: &mut [u8], at: usize, value: i64) {
        assert!(record.len() >= MIN_SIZE, "not a record");
        record[at..at + 8].copy_from_slice(&value.to_be_bytes());
    }
}

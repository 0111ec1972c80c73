//! Reading records: one in a buffer, or many one behind the other.
//!
//! Invariants: every length is checked before it is used and the lengths must fill the total size exactly; text is UTF-8.
//! On failure: a `RecordError`; nothing of the record is given out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_AT, MAGIC_V1, MAGIC_V2, MIN_SIZE, RecordError, RecordParts, body_crc, sys_flag};
use crate::properties;

/// A record in a buffer, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The whole record.
    pub bytes: &'a [u8],
    pub body_crc: i32,
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
    pub properties: &'a str,
}

impl<'a> RecordView<'a> {
    /// Reads the record that `buffer` begins with; more may follow it.
    pub fn parse(buffer: &'a [u8]) -> Result<RecordView<'a>, RecordError> {
        let bytes = record_bytes(buffer)?;
        let mut reader = Reader { bytes, at: MAGIC_AT };
        let v2 = match reader.i32()? {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            other => return Err(RecordError::Magic(other)),
        };
        let body_crc = reader.i32()?;
        let queue_id = reader.i32()?;
        let flag = reader.i32()?;
        let queue_offset = reader.i64()?;
        let physical_offset = reader.i64()?;
        let sys_flag = reader.i32()?;
        let born_timestamp = reader.i64()?;
        let born_host = reader.host("born host", sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
        let store_timestamp = reader.i64()?;
        let store_host = reader.host("store host", sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
        let reconsume_times = reader.i32()?;
        let prepared_transaction_offset = reader.i64()?;
        let length = reader.i32()?;
        let body = reader.field("body", length)?;
        let length = if v2 { i32::from(reader.i16()?) } else { i32::from(reader.array::<1>()?[0] as i8) };
        let topic = reader.text("topic", length)?;
        let length = i32::from(reader.i16()?);
        let properties = reader.text("properties", length)?;
        if reader.at != bytes.len() {
            return Err(RecordError::Surplus(bytes.len() - reader.at));
        }
        Ok(RecordView {
            bytes,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    /// Whether the body is the one that the CRC was made of.
    pub fn verify_body_crc(&self) -> bool {
        body_crc(self.body) == self.body_crc
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        properties::get(self.properties, name)
    }

    /// The parts that this record was made of, to write it again with changes.
    pub fn parts(&self) -> RecordParts<'a> {
        RecordParts {
            queue_id: self.queue_id,
            flag: self.flag,
            queue_offset: self.queue_offset,
            physical_offset: self.physical_offset,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_timestamp: self.store_timestamp,
            store_host: self.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            topic: self.topic,
            properties: self.properties,
            added_properties: "",
        }
    }
}

/// The bytes of the record that `buffer` begins with, by its total size alone.
fn record_bytes(buffer: &[u8]) -> Result<&[u8], RecordError> {
    let total = buffer.first_chunk::<4>().ok_or(RecordError::Cut { have: buffer.len(), need: MIN_SIZE })?;
    let total = i32::from_be_bytes(*total);
    let need = usize::try_from(total).map_err(|_| RecordError::TotalSize(total))?;
    if need < MIN_SIZE {
        return Err(RecordError::TotalSize(total));
    }
    buffer.get(..need).ok_or(RecordError::Cut { have: buffer.len(), need })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let chunk =
            self.bytes[self.at..].first_chunk::<N>().ok_or(RecordError::Length { field: "fixed part's" })?;
        self.at += N;
        Ok(*chunk)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn host(&mut self, field: &'static str, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))
        };
        let port = self.i32()?;
        let port = u16::try_from(port).map_err(|_| RecordError::Port { field, port })?;
        Ok(SocketAddr::new(ip, port))
    }

    fn field(&mut self, field: &'static str, length: i32) -> Result<&'a [u8], RecordError> {
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes[self.at..].get(..length))
            .ok_or(RecordError::Length { field })?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn text(&mut self, field: &'static str, length: i32) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.field(field, length)?).map_err(|_| RecordError::Text { field })
    }
}

/// Iterates over records that lie one behind the other, as in a pull answer's body; ends at the first error.
pub fn records(buffer: &[u8]) -> Records<'_> {
    Records { rest: buffer }
}

/// See `records`.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let view = RecordView::parse(self.rest);
        self.rest = view.as_ref().map_or(&[], |view| &self.rest[view.bytes.len()..]);
        Some(view)
    }
}

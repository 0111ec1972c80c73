//! Reads the binary ("ROCKETMQ") header.
//!
//! Layout: code i16, language u8, version i16, opaque i32, flag i32, remark (i32 length, bytes), ext block
//! (i32 length, then i16 key length, key, i32 value length, value, repeated).
//! Invariants: every length is checked against what is left; bytes behind the ext block are ignored. Text of length zero counts as absent (RocketMQ 5.5.0
//! RocketMQSerializable#readStr); an entry without a key or a value is skipped. Bad UTF-8 is replaced, as Java does.

use std::borrow::Cow;

use super::{Command, HeaderError};
use crate::version::Language;

/// Smallest header: all fixed fields, no remark, no ext fields.
pub const FIXED: usize = 2 + 1 + 2 + 4 + 4 + 4 + 4;
const _: () = assert!(FIXED == 21);

pub(super) fn read<'a>(header: &'a [u8], command: &mut Command<'a>) -> Result<(), HeaderError> {
    let mut reader = Reader { bytes: header, at: 0 };
    command.code = i32::from(reader.i16()?);
    command.language = Language::from_code(reader.array::<1>()?[0]);
    command.version = i32::from(reader.i16()?);
    command.opaque = reader.i32()?;
    command.flag = reader.i32()?;
    let remark = reader.i32()?;
    command.remark = reader.text(remark)?;
    let ext = reader.i32()?;
    let block = reader.take(ext)?;
    let mut reader = Reader { bytes: &header[..reader.at], at: reader.at - block.len() };
    while reader.at < reader.bytes.len() {
        let key = i32::from(reader.i16()?);
        let key = reader.text(key)?;
        let value = reader.i32()?;
        let value = reader.text(value)?;
        if let (Some(key), Some(value)) = (key, value) {
            command.ext.push(key, value);
        }
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let chunk = self.bytes[self.at..]
            .first_chunk::<N>()
            .ok_or(HeaderError::Binary { at: self.at, what: "ends inside a number" })?;
        self.at += N;
        Ok(*chunk)
    }

    fn i16(&mut self) -> Result<i16, HeaderError> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, HeaderError> {
        self.array().map(i32::from_be_bytes)
    }

    fn take(&mut self, length: i32) -> Result<&'a [u8], HeaderError> {
        let length = usize::try_from(length)
            .map_err(|_| HeaderError::Binary { at: self.at, what: "negative length" })?;
        let bytes = self.bytes[self.at..]
            .get(..length)
            .ok_or(HeaderError::Binary { at: self.at, what: "length reaches past the end" })?;
        self.at += length;
        Ok(bytes)
    }

    fn text(&mut self, length: i32) -> Result<Option<Cow<'a, str>>, HeaderError> {
        let bytes = self.take(length)?;
        Ok((!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes)))
    }
}

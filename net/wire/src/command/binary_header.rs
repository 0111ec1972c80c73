//! Reads the binary ("ROCKETMQ") header.
//!
//! Layout: code i16, language u8, version i16, opaque i32, flag i32, remark (i32 length, bytes), ext block
//! (i32 length, then i16 key length, key, i32 value length, value, repeated).
//! Invariants: every length is checked against what is left; bytes behind the ext block are ignored. Text of length zero
//! counts as absent (RocketMQ 5.5.0 RocketMQSerializable#readStr); an entry without a key or a value is skipped. Bad
//! UTF-8 is replaced, as Java does. The texts of all fields are copied together (they are short) and checked at once.

use std::borrow::Cow;

use super::ext_fields::{Field, Scratch, Span, fits};
use super::{Command, ExtFields, HeaderError};
use crate::version::Language;

/// Smallest header: all fixed fields, no remark, no ext fields.
pub const FIXED: usize = 2 + 1 + 2 + 4 + 4 + 4 + 4;
const _: () = assert!(FIXED == 21);

pub(super) fn read<'a>(
    header: &'a [u8],
    scratch: Option<&'a mut Scratch>,
    command: &mut Command<'a>,
) -> Result<(), HeaderError> {
    let mut reader = Reader { bytes: header, at: 0 };
    command.code = i32::from(reader.i16()?);
    command.language = Language::from_code(reader.array::<1>()?[0]);
    command.version = i32::from(reader.i16()?);
    command.opaque = reader.i32()?;
    command.flag = reader.i32()?;
    let remark = reader.i32()?;
    let remark = reader.take(remark)?;
    command.remark = (!remark.is_empty()).then(|| String::from_utf8_lossy(remark));
    let ext = reader.i32()?;
    let block = reader.take(ext)?;
    let mut reader = Reader { bytes: &header[..reader.at], at: reader.at - block.len() };
    let (texts, fields) = match scratch {
        Some(scratch) => {
            scratch.text.clear();
            scratch.fields.clear();
            read_fields(&mut reader, &mut scratch.text, &mut scratch.fields)?;
            let texts = std::str::from_utf8(&scratch.text).map(Cow::Borrowed).ok();
            (texts, Cow::Borrowed(&scratch.fields[..]))
        }
        None => {
            let (mut texts, mut fields) = (Vec::with_capacity(block.len()), Vec::new());
            read_fields(&mut reader, &mut texts, &mut fields)?;
            (String::from_utf8(texts).map(Cow::Owned).ok(), Cow::Owned(fields))
        }
    };
    command.ext = match texts {
        Some(texts) if fits(&fields, &texts) => ExtFields::of("", texts, fields),
        _ => read_lossy(&mut Reader { bytes: reader.bytes, at: reader.at - block.len() })?,
    };
    Ok(())
}

/// Reads the fields, appending their texts to `texts`, still unchecked.
fn read_fields(
    reader: &mut Reader<'_>,
    texts: &mut Vec<u8>,
    fields: &mut Vec<Field>,
) -> Result<(), HeaderError> {
    while let Some((key, value)) = reader.field()? {
        if !key.is_empty() && !value.is_empty() {
            let start = texts.len();
            texts.extend_from_slice(key);
            let middle = texts.len();
            texts.extend_from_slice(value);
            let (key, value) = (Span::in_copied(start, middle), Span::in_copied(middle, texts.len()));
            fields.push(Field { key, value });
        }
    }
    Ok(())
}

/// Reads fields that are not all UTF-8.
#[cold]
fn read_lossy(reader: &mut Reader<'_>) -> Result<ExtFields<'static>, HeaderError> {
    let mut ext = ExtFields::new();
    while let Some((key, value)) = reader.field()? {
        if !key.is_empty() && !value.is_empty() {
            ext.push(String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        }
    }
    Ok(ext)
}

/// Key and value of an ext field as they lie in the header.
type RawField<'a> = (&'a [u8], &'a [u8]);

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next key and value, or nothing at the end.
    fn field(&mut self) -> Result<Option<RawField<'a>>, HeaderError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let key = i32::from(self.i16()?);
        let key = self.take(key)?;
        let value = self.i32()?;
        let value = self.take(value)?;
        Ok(Some((key, value)))
    }

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
}

//! The bytes of journal entries: variable-length integers and text.
//!
//! Invariants: a number below 128 takes one byte; signed numbers are zigzag-coded; a reader never panics and never
//! allocates more than its input is long. On failure: the byte position and what was expected there.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("metadata entry, byte {at}: {what}")]
pub struct CodecError {
    pub at: usize,
    pub what: &'static str,
}

pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn error(&self, what: &'static str) -> CodecError {
        CodecError { at: self.at, what }
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.error("ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub fn u64(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return Err(self.error("number over 64 bits"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("number over 64 bits"))
    }

    pub fn i64(&mut self) -> Result<i64, CodecError> {
        let value = self.u64()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn u32(&mut self) -> Result<u32, CodecError> {
        u32::try_from(self.u64()?).map_err(|_| self.error("number over 32 bits"))
    }

    pub fn i32(&mut self) -> Result<i32, CodecError> {
        i32::try_from(self.i64()?).map_err(|_| self.error("number over 32 bits"))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = usize::try_from(self.u64()?).map_err(|_| self.error("length over the address space"))?;
        let taken = self.bytes[self.at..].get(..len).ok_or_else(|| self.error("ends inside a field"))?;
        self.at += len;
        Ok(taken)
    }

    pub fn text(&mut self) -> Result<&'a str, CodecError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_numbers_take_one_byte() {
        for value in [0, 1, 127] {
            let mut out = Vec::new();
            put_u64(&mut out, value);
            assert_eq!(out.len(), 1);
        }
        let mut out = Vec::new();
        put_i64(&mut out, -1);
        assert_eq!(out, [1]);
    }

    #[test]
    fn too_long_numbers_are_refused() {
        assert!(Reader::new(&[0xFF; 10]).u64().is_err());
        assert!(Reader::new(&[0xFF; 3]).u64().is_err());
        assert!(Reader::new(&[5, b'a']).text().is_err());
        assert!(Reader::new(&[2, 0xC3, 0x28]).text().is_err());
    }

    proptest! {
        #[test]
        fn round_trips(unsigned: u64, signed: i64, text in ".{0,20}") {
            let mut out = Vec::new();
            put_u64(&mut out, unsigned);
            put_i64(&mut out, signed);
            put_text(&mut out, &text);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u64().unwrap(), unsigned);
            prop_assert_eq!(reader.i64().unwrap(), signed);
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() && reader.u64().is_ok() && reader.text().is_ok() && reader.i32().is_ok() {}
        }
    }
}

//! Reads the JSON header in one pass over the bytes.
//!
//! Owns: the scanner, and what is tolerated: keys in any order, missing or unknown keys (skipped with whatever they
//! nest), whitespace, `null` for anything, numbers as strings, ext values that are numbers, booleans or even nested
//! values (taken as their text). Control characters inside strings are accepted raw.
//! Invariants: UTF-8 is checked once for the whole header; strings without an escape are borrowed. A header that is
//! not UTF-8 is read with replacement characters, as Java does, and then owns its text.
//! On failure: the position of the first byte that is wrong, and why.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Command, HeaderError};
use crate::version::Language;

/// How deep an unknown value may nest before the header is refused.
const MAX_DEPTH: u32 = 64;

pub(super) fn read<'a>(
    header: &'a [u8],
    scratch: Option<&'a mut Vec<u8>>,
    command: &mut Command<'a>,
) -> Result<(), HeaderError> {
    match std::str::from_utf8(header) {
        Ok(text) => Scanner::new(text, scratch).command(command),
        Err(_) => {
            let text = String::from_utf8_lossy(header).into_owned();
            let mut lossy = Command { remark: None, ext: Default::default(), body: &[], ..*command };
            Scanner::new(&text, None).command(&mut lossy)?;
            command.code = lossy.code;
            command.flag = lossy.flag;
            command.opaque = lossy.opaque;
            command.version = lossy.version;
            command.language = lossy.language;
            command.remark = lossy.remark.map(|remark| Cow::Owned(remark.into_owned()));
            for (key, value) in lossy.ext.iter() {
                command.ext.push(key.to_owned(), value.to_owned());
            }
            Ok(())
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// What is left of the caller's buffer for unescaped text; never shorter than the rest of the header, since
    /// unescaping never makes text longer.
    scratch: Option<&'a mut [u8]>,
    buffer: Option<&'a mut Vec<u8>>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, buffer: Option<&'a mut Vec<u8>>) -> Self {
        Scanner { text, bytes: text.as_bytes(), at: 0, scratch: None, buffer }
    }

    fn command(mut self, command: &mut Command<'a>) -> Result<(), HeaderError> {
        self.object(|scanner, key| {
            match &*key {
                "code" => command.code = scanner.int()?,
                "flag" => command.flag = scanner.int()?,
                "opaque" => command.opaque = scanner.int()?,
                "version" => command.version = scanner.int()?,
                "language" => command.language = scanner.language()?,
                "remark" => command.remark = scanner.scalar()?,
                "extFields" => {
                    command.ext.clear();
                    if scanner.peek() == Some(b'n') {
                        return scanner.literal();
                    }
                    scanner.object(|scanner, key| {
                        if let Some(value) = scanner.scalar()? {
                            command.ext.push(key, value);
                        }
                        Ok(())
                    })?;
                }
                _ => scanner.skip_value()?,
            }
            Ok(())
        })?;
        self.space();
        if self.at < self.bytes.len() {
            return Err(self.error("something follows the header"));
        }
        Ok(())
    }

    fn error(&self, what: &'static str) -> HeaderError {
        HeaderError::Json { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), HeaderError> {
        if self.peek() != Some(byte) {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an object; `entry` is called at each value, with no space before it, and must consume it.
    fn object(
        &mut self,
        mut entry: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), HeaderError>,
    ) -> Result<(), HeaderError> {
        self.space();
        self.expect(b'{', "expected an object")?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.expect(b':', "expected a colon")?;
            self.space();
            entry(self, key)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.error("expected a comma or the end of the object")),
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, HeaderError> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        // Most keys and values are short: look at a few bytes before paying for a vector search.
        for i in 0..8 {
            match self.bytes.get(start + i) {
                Some(b'"') => {
                    self.at = start + i + 1;
                    return Ok(Cow::Borrowed(&self.text[start..start + i]));
                }
                Some(b'\\') => return self.escaped(start, start + i),
                Some(_) => {}
                None => return Err(self.unterminated()),
            }
        }
        let found = start + 8;
        match memchr2(b'"', b'\\', &self.bytes[found..]) {
            Some(i) if self.bytes[found + i] == b'"' => {
                self.at = found + i + 1;
                Ok(Cow::Borrowed(&self.text[start..found + i]))
            }
            Some(i) => self.escaped(start, found + i),
            None => Err(self.unterminated()),
        }
    }

    fn unterminated(&mut self) -> HeaderError {
        self.at = self.bytes.len();
        self.error("ends inside a string")
    }

    /// Reads a string from its first escape on; `start` is its first byte, `escape` the first backslash.
    fn escaped(&mut self, start: usize, escape: usize) -> Result<Cow<'a, str>, HeaderError> {
        let rest = self.bytes.len() - start;
        if let Some(buffer) = self.buffer.take() {
            if buffer.len() < rest {
                buffer.resize(rest, 0);
            }
            self.scratch = Some(buffer.as_mut_slice());
        }
        match self.scratch.take() {
            Some(scratch) => {
                let written = self.unescape(start, escape, &mut Slice { bytes: scratch, len: 0 })?;
                let (text, rest) = scratch.split_at_mut(written);
                self.scratch = Some(rest);
                let text = std::str::from_utf8(text).map_err(|_| self.error("escapes do not make text"))?;
                Ok(Cow::Borrowed(text))
            }
            None => {
                let mut text = Vec::with_capacity(64);
                self.unescape(start, escape, &mut text)?;
                String::from_utf8(text).map(Cow::Owned).map_err(|_| self.error("escapes do not make text"))
            }
        }
    }

    /// Appends the unescaped string to `out`, leaves the scanner behind the closing quote, tells how much was written.
    fn unescape(&mut self, start: usize, escape: usize, out: &mut impl Sink) -> Result<usize, HeaderError> {
        out.put(&self.bytes[start..escape]);
        self.at = escape;
        loop {
            // Always at a backslash here.
            let Some(&kind) = self.bytes.get(self.at + 1) else { return Err(self.unterminated()) };
            let simple = match kind {
                b'"' | b'\\' | b'/' | b'\'' => kind,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'u' => 0,
                _ => return Err(self.error("unknown escape")),
            };
            if kind == b'u' {
                let unit = self.unicode()?;
                out.put(unit.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.put(&[simple]);
                self.at += 2;
            }
            let run = &self.bytes[self.at..];
            match run.first() {
                Some(b'\\') => continue,
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.written());
                }
                _ => {}
            }
            let Some(next) = memchr2(b'"', b'\\', run) else { return Err(self.unterminated()) };
            out.put(&run[..next]);
            self.at += next;
            if run[next] == b'"' {
                self.at += 1;
                return Ok(out.written());
            }
        }
    }

    /// Reads `\uXXXX`, joining a surrogate pair. Half a pair becomes U+FFFD.
    fn unicode(&mut self) -> Result<char, HeaderError> {
        let unit = self.hex(self.at + 2)?;
        self.at += 6;
        if !(0xD800..0xE000).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if unit < 0xDC00 && self.bytes[self.at..].starts_with(b"\\u") {
            let low = self.hex(self.at + 2)?;
            if (0xDC00..0xE000).contains(&low) {
                self.at += 6;
                let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&self, at: usize) -> Result<u32, HeaderError> {
        let digits =
            self.bytes.get(at..at + 4).ok_or(HeaderError::Json { at, what: "ends inside an escape" })?;
        let mut unit = 0;
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                b'A'..=b'F' => digit - b'A' + 10,
                _ => return Err(HeaderError::Json { at, what: "expected four hex digits" }),
            };
            unit = unit << 4 | u32::from(value);
        }
        Ok(unit)
    }

    /// A value as text: strings unescaped, `null` as nothing, all else as it is written.
    fn scalar(&mut self) -> Result<Option<Cow<'a, str>>, HeaderError> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            Some(b'n') => self.literal().map(|()| None),
            _ => {
                let start = self.at;
                self.skip_value()?;
                Ok(Some(Cow::Borrowed(&self.text[start..self.at])))
            }
        }
    }

    /// An integer of 32 bits, also in quotes; `null` counts as 0.
    fn int(&mut self) -> Result<i32, HeaderError> {
        let start = self.at;
        let Some(text) = self.scalar()? else { return Ok(0) };
        super::parse_i32(&text).ok_or(HeaderError::Json { at: start, what: "expected an integer of 32 bits" })
    }

    fn language(&mut self) -> Result<Language, HeaderError> {
        Ok(match self.scalar()? {
            None => Language::Java,
            Some(text) => match text.parse::<u8>() {
                Ok(code) => Language::from_code(code),
                Err(_) => Language::from_name(&text),
            },
        })
    }

    fn literal(&mut self) -> Result<(), HeaderError> {
        for literal in [&b"null"[..], b"true", b"false"] {
            if self.bytes[self.at..].starts_with(literal) {
                self.at += literal.len();
                return Ok(());
            }
        }
        Err(self.error("expected a value"))
    }

    fn skip_number(&mut self) -> Result<(), HeaderError> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.error("expected a value")) } else { Ok(()) }
    }

    /// Steps over a string without unescaping it.
    fn skip_string(&mut self) -> Result<(), HeaderError> {
        self.expect(b'"', "expected a string")?;
        loop {
            match memchr2(b'"', b'\\', &self.bytes[self.at..]) {
                Some(i) if self.bytes[self.at + i] == b'"' => {
                    self.at += i + 1;
                    return Ok(());
                }
                Some(i) if self.at + i + 2 <= self.bytes.len() => self.at += i + 2,
                _ => return Err(self.unterminated()),
            }
        }
    }

    /// Steps over any value. Structure is checked no further than needed to find the end.
    fn skip_value(&mut self) -> Result<(), HeaderError> {
        let mut depth = 0u32;
        loop {
            self.space();
            match self.peek() {
                Some(b'{' | b'[') => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(self.error("nested too deep"));
                    }
                    self.at += 1;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => self.at += 1,
                Some(b'"') => self.skip_string()?,
                Some(b'n' | b't' | b'f') => self.literal()?,
                Some(_) => self.skip_number()?,
                None => return Err(self.error("ends inside a value")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Where unescaped bytes go: a heap buffer, or the caller's scratch.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    fn written(&self) -> usize;
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn written(&self) -> usize {
        self.len()
    }
}

struct Slice<'s> {
    bytes: &'s mut [u8],
    len: usize,
}

impl Sink for Slice<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn written(&self) -> usize {
        self.len
    }
}

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

use super::ext_fields::Span;
use super::{Command, HeaderError};
use crate::version::Language;

/// How deep an unknown value may nest before the header is refused.
const MAX_DEPTH: u32 = 64;

pub(super) fn read<'a>(
    header: &'a [u8],
    scratch: Option<&'a mut Vec<u8>>,
    command: &mut Command<'a>,
) -> Result<(), HeaderError> {
    let Ok(text) = std::str::from_utf8(header) else { return read_lossy(header, command) };
    let (copied, remark) = match scratch {
        Some(scratch) => {
            scratch.clear();
            let remark = Scanner { text, bytes: header, at: 0, copied: scratch }.command(command)?;
            (std::str::from_utf8(scratch).map(Cow::Borrowed).ok(), remark)
        }
        None => {
            let mut copied = Vec::new();
            let remark = Scanner { text, bytes: header, at: 0, copied: &mut copied }.command(command)?;
            (String::from_utf8(copied).map(Cow::Owned).ok(), remark)
        }
    };
    // Only whole characters are ever copied.
    let copied = copied.ok_or(HeaderError::Json { at: 0, what: "escapes do not make text" })?;
    command.ext.set_text(text, copied);
    command.remark = remark.map(|span| command.ext.resolve(span));
    Ok(())
}

/// Reads a header that is not UTF-8.
#[cold]
fn read_lossy(header: &[u8], command: &mut Command<'_>) -> Result<(), HeaderError> {
    let text = String::from_utf8_lossy(header).into_owned();
    let mut lossy = Command { remark: None, ext: Default::default(), body: &[], ..*command };
    read(text.as_bytes(), None, &mut lossy)?;
    command.code = lossy.code;
    command.flag = lossy.flag;
    command.opaque = lossy.opaque;
    command.version = lossy.version;
    command.language = lossy.language;
    command.remark = lossy.remark.map(|remark| Cow::Owned(remark.into_owned()));
    for (key, value) in lossy.ext.iter() {
        command.ext.push(key, value);
    }
    Ok(())
}

struct Scanner<'a, 's> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Unescaped text.
    copied: &'s mut Vec<u8>,
}

impl Scanner<'_, '_> {
    /// Reads the header; tells where the remark is.
    fn command(mut self, command: &mut Command<'_>) -> Result<Option<Span>, HeaderError> {
        let mut remark = None;
        self.object(|scanner, key| {
            match scanner.bytes_of(key) {
                b"code" => command.code = scanner.int()?,
                b"flag" => command.flag = scanner.int()?,
                b"opaque" => command.opaque = scanner.int()?,
                b"version" => command.version = scanner.int()?,
                b"language" => command.language = scanner.language()?,
                b"remark" => remark = scanner.scalar()?,
                b"extFields" => {
                    command.ext.clear();
                    if scanner.peek() == Some(b'n') {
                        return scanner.literal();
                    }
                    scanner.object(|scanner, key| {
                        if let Some(value) = scanner.scalar()? {
                            command.ext.push_spans(key, value);
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
        Ok(remark)
    }

    fn bytes_of(&self, span: Span) -> &[u8] {
        span.bytes_of(self.bytes, self.copied)
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
        mut entry: impl FnMut(&mut Self, Span) -> Result<(), HeaderError>,
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

    fn string(&mut self) -> Result<Span, HeaderError> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        // Most keys and values are short: look at some bytes before paying for a vector search.
        let near = &self.bytes[start..self.bytes.len().min(start + 24)];
        let found = match near.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            Some(i) => start + i,
            None => {
                let far = start + near.len();
                far + memchr2(b'"', b'\\', &self.bytes[far..]).ok_or_else(|| self.unterminated())?
            }
        };
        if self.bytes[found] == b'\\' {
            return self.escaped(start, found);
        }
        self.at = found + 1;
        Ok(Span::in_header(start, found))
    }

    fn unterminated(&mut self) -> HeaderError {
        self.at = self.bytes.len();
        self.error("ends inside a string")
    }

    /// Reads a string from its first escape on; `start` is its first byte, `escape` the first backslash.
    fn escaped(&mut self, start: usize, escape: usize) -> Result<Span, HeaderError> {
        let copied_at = self.copied.len();
        self.copied.extend_from_slice(&self.bytes[start..escape]);
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
            if kind != b'u' {
                self.copied.push(simple);
                self.at += 2;
            } else {
                let c = self.unicode()?;
                if c.is_ascii() {
                    self.copied.push(c as u8);
                } else {
                    self.copied.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            let run = &self.bytes[self.at..];
            let Some(next) = run.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                return Err(self.unterminated());
            };
            self.copied.extend_from_slice(&run[..next]);
            self.at += next;
            if run[next] == b'"' {
                self.at += 1;
                return Ok(Span::in_copied(copied_at, self.copied.len()));
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
    fn scalar(&mut self) -> Result<Option<Span>, HeaderError> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            Some(b'n') => self.literal().map(|()| None),
            _ => {
                let start = self.at;
                self.skip_value()?;
                Ok(Some(Span::in_header(start, self.at)))
            }
        }
    }

    /// A value as text, to be looked at now.
    fn text(&mut self) -> Result<Option<&str>, HeaderError> {
        Ok(match self.scalar()? {
            Some(span) if span.is_copied() => std::str::from_utf8(self.bytes_of(span)).ok(),
            Some(span) => Some(span.of(self.text, "")),
            None => None,
        })
    }

    /// An integer of 32 bits, also in quotes; `null` counts as 0.
    fn int(&mut self) -> Result<i32, HeaderError> {
        let at = self.at;
        let Some(text) = self.text()? else { return Ok(0) };
        super::parse_i32(text).ok_or(HeaderError::Json { at, what: "expected an integer of 32 bits" })
    }

    fn language(&mut self) -> Result<Language, HeaderError> {
        Ok(match self.text()? {
            None | Some("JAVA") => Language::Java,
            Some(text) => match text.parse::<u8>() {
                Ok(code) => Language::from_code(code),
                Err(_) => Language::from_name(text),
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

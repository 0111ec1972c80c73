//! Reads the JSON header in one pass over the bytes.
//!
//! Owns: the scanner, and what is tolerated: keys in any order, missing or unknown keys (skipped with whatever they
//! nest), whitespace, `null` for anything, numbers as strings, ext values that are numbers, booleans or even nested
//! values (taken as their text). Control characters inside strings are accepted raw.
//! Invariants: UTF-8 is checked once for the whole header; strings without an escape are borrowed. A header that is
//! not UTF-8 is read with replacement characters, as Java does, and then owns its text.
//! On failure: the position of the first byte that is wrong, and why. It is kept aside in the scanner while `Stopped` goes
//! up the calls, so that on the way of success every result fits into a register.

use std::borrow::Cow;

use super::ext_fields::{Field, Scratch, Span};
use super::{Command, ExtFields, HeaderError};
use crate::marks::Marks;
use crate::version::Language;

/// How deep an unknown value may nest before the header is refused.
const MAX_DEPTH: u32 = 64;

pub(super) fn read<'a>(
    header: &'a [u8],
    scratch: Option<&'a mut Scratch>,
    command: &mut Command<'a>,
) -> Result<(), HeaderError> {
    let Ok(text) = simdutf8::basic::from_utf8(header) else { return read_lossy(header, command) };
    let (copied, fields, remark) = match scratch {
        Some(Scratch { text: copied, fields, shapes }) => {
            copied.clear();
            fields.clear();
            let mut scanner = Scanner::new(text, copied, fields);
            let remark = if shapes.read(&mut scanner, command) {
                None
            } else {
                let remark = scanner.scan(command)?;
                shapes.learn(header);
                remark
            };
            let copied = simdutf8::basic::from_utf8(copied).map(Cow::Borrowed).ok();
            (copied, Cow::Borrowed(&fields[..]), remark)
        }
        None => {
            let (mut copied, mut fields) = (Vec::new(), Vec::new());
            let remark = Scanner::new(text, &mut copied, &mut fields).scan(command)?;
            (String::from_utf8(copied).map(Cow::Owned).ok(), Cow::Owned(fields), remark)
        }
    };
    // Only whole characters are ever copied.
    let copied = copied.ok_or(HeaderError::Json { at: 0, what: "escapes do not make text" })?;
    command.ext = ExtFields::of(text, copied, fields);
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

pub(super) struct Scanner<'a, 's> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The quotes and backslashes from `at` on.
    marks: Marks<'a, b'"', b'\\'>,
    /// Unescaped text.
    copied: &'s mut Vec<u8>,
    fields: &'s mut Vec<Field>,
    /// Why `Stopped` was returned; `at` is where.
    failure: &'static str,
}

struct Stopped;

impl<'a, 's> Scanner<'a, 's> {
    fn new(text: &'a str, copied: &'s mut Vec<u8>, fields: &'s mut Vec<Field>) -> Self {
        let bytes = text.as_bytes();
        Self { text, bytes, at: 0, marks: Marks::new(bytes), copied, fields, failure: "" }
    }

    /// Fills in the command; tells where the remark is.
    fn scan(&mut self, command: &mut Command<'_>) -> Result<Option<Span>, HeaderError> {
        self.header(command).map_err(|Stopped| HeaderError::Json { at: self.at, what: self.failure })
    }
}

/// For reading by a shape, which steps over most of the header without looking for marks.
impl Scanner<'_, '_> {
    pub(super) fn start_over(&mut self) {
        self.at = 0;
        self.marks = Marks::new(self.bytes);
        self.copied.clear();
        self.fields.clear();
    }

    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    #[inline]
    pub(super) fn fields(&mut self) -> &mut Vec<Field> {
        self.fields
    }

    /// Steps over just these bytes, or tells that others stand here.
    #[inline]
    pub(super) fn pass(&mut self, run: &[u8]) -> bool {
        let fits = self.bytes[self.at..].starts_with(run);
        self.at += if fits { run.len() } else { 0 };
        fits
    }

    /// The value of a string that stands here.
    #[inline]
    pub(super) fn value_here(&mut self) -> Option<Span> {
        if self.byte() != b'"' {
            return None;
        }
        self.marks.seek(self.at);
        self.string().ok()
    }

    /// Up to nine digits that stand here; the caller looks at what follows.
    #[inline]
    pub(super) fn plain_int(&mut self) -> Option<i32> {
        let start = self.at;
        let mut int = 0;
        while let digit @ b'0'..=b'9' = self.byte() {
            if self.at - start == 9 {
                return None;
            }
            int = int * 10 + i32::from(digit - b'0');
            self.at += 1;
        }
        (self.at > start).then_some(int)
    }
}

impl Scanner<'_, '_> {
    fn header(&mut self, command: &mut Command<'_>) -> Result<Option<Span>, Stopped> {
        let mut remark = None;
        let mut more = self.open()?;
        while more {
            let key = self.key()?;
            match key.bytes_of(self.bytes, self.copied) {
                b"code" => command.code = self.int()?,
                b"flag" => command.flag = self.int()?,
                b"opaque" => command.opaque = self.int()?,
                b"version" => command.version = self.int()?,
                b"language" => command.language = self.language()?,
                b"remark" => remark = self.scalar()?,
                b"extFields" => self.ext_fields()?,
                _ => self.skip_value()?,
            }
            more = self.more()?;
        }
        if self.token() != 0 || self.at < self.bytes.len() {
            return self.stop("something follows the header");
        }
        Ok(remark)
    }

    fn ext_fields(&mut self) -> Result<(), Stopped> {
        self.fields.clear();
        if self.token() == b'n' {
            return self.literal();
        }
        let mut more = self.open()?;
        while more {
            if let Some((key, value)) = self.plain_pair() {
                self.fields.push(Field { key, value });
            } else {
                let key = self.key()?;
                if let Some(value) = self.scalar()? {
                    self.fields.push(Field { key, value });
                }
            }
            more = self.more()?;
        }
        Ok(())
    }

    /// A key and its value if they are written in the way of nearly all fields: two strings without an escape, and no
    /// space. Else nothing, and then nothing was passed.
    #[inline]
    fn plain_pair(&mut self) -> Option<(Span, Span)> {
        let mut marks = self.marks;
        let [open, key_end, value_open, value_end] = [marks.take(), marks.take(), marks.take(), marks.take()];
        let plain = open == self.at
            && self.bytes.get(open) == Some(&b'"')
            && value_open == key_end + 2
            && self.bytes.get(key_end..key_end + 3) == Some(b"\":\"")
            && self.bytes.get(value_end) == Some(&b'"');
        if !plain {
            return None;
        }
        self.marks = marks;
        self.at = value_end + 1;
        Some((Span::in_header(open + 1, key_end), Span::in_header(value_open + 1, value_end)))
    }

    #[cold]
    fn stop<T>(&mut self, what: &'static str) -> Result<T, Stopped> {
        self.failure = what;
        Err(Stopped)
    }

    #[cold]
    fn stop_at<T>(&mut self, at: usize, what: &'static str) -> Result<T, Stopped> {
        self.at = at;
        self.stop(what)
    }

    /// The byte at the scanner; 0 at the end (no zero byte is ever accepted outside a string).
    #[inline]
    fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// The first byte that is not white space, and steps to it.
    #[inline]
    fn token(&mut self) -> u8 {
        loop {
            let byte = self.byte();
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
    }

    /// Steps into an object; `false` if it is empty, and then steps out of it.
    #[inline]
    fn open(&mut self) -> Result<bool, Stopped> {
        if self.token() != b'{' {
            return self.stop("expected an object");
        }
        self.at += 1;
        let more = self.token() != b'}';
        self.at += usize::from(!more);
        Ok(more)
    }

    /// Steps over what stands behind a value; `false` at the end of the object.
    #[inline]
    fn more(&mut self) -> Result<bool, Stopped> {
        let byte = self.token();
        if byte != b',' && byte != b'}' {
            return self.stop("expected a comma or the end of the object");
        }
        self.at += 1;
        Ok(byte == b',')
    }

    /// A key, its colon, and the space before the value.
    #[inline]
    fn key(&mut self) -> Result<Span, Stopped> {
        if self.token() != b'"' {
            return self.stop("expected a string");
        }
        let key = self.string()?;
        if self.token() != b':' {
            return self.stop("expected a colon");
        }
        self.at += 1;
        self.token();
        Ok(key)
    }

    /// A string, at whose quote the scanner stands.
    #[inline]
    fn string(&mut self) -> Result<Span, Stopped> {
        let start = self.marks.take() + 1;
        debug_assert_eq!(start, self.at + 1);
        let found = self.marks.take();
        match self.bytes.get(found) {
            Some(b'"') => {
                self.at = found + 1;
                Ok(Span::in_header(start, found))
            }
            Some(_) => self.escaped(start, found),
            None => self.unterminated(),
        }
    }

    #[cold]
    fn unterminated<T>(&mut self) -> Result<T, Stopped> {
        self.stop_at(self.bytes.len(), "ends inside a string")
    }

    /// Reads a string from its first escape on; `start` is its first byte, `escape` the first backslash.
    #[inline(never)]
    fn escaped(&mut self, start: usize, escape: usize) -> Result<Span, Stopped> {
        let copied_at = self.copied.len();
        if self.copied.capacity() == 0 {
            // Mostly one field has escapes, the properties: enough for it and the few after it, in one allocation.
            self.copied.reserve(self.bytes.len() - start);
        }
        self.copied.extend_from_slice(&self.bytes[start..escape]);
        self.at = escape;
        loop {
            // Always at a backslash here.
            match self.bytes.get(self.at + 1) {
                Some(b'u') => self.unicode()?,
                Some(kind) => {
                    let plain = match kind {
                        b'"' | b'\\' | b'/' | b'\'' => *kind,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'f' => 12,
                        _ => return self.stop("unknown escape"),
                    };
                    self.copied.push(plain);
                    self.marks.drop_at(self.at + 1);
                    self.at += 2;
                }
                None => return self.unterminated(),
            }
            let next = self.marks.take();
            let Some(mark) = self.bytes.get(next) else { return self.unterminated() };
            self.copied.extend_from_slice(&self.bytes[self.at..next]);
            self.at = next;
            if *mark == b'"' {
                self.at += 1;
                return Ok(Span::in_copied(copied_at, self.copied.len()));
            }
        }
    }

    /// Copies the character of `\uXXXX`, joining a surrogate pair. Half a pair becomes U+FFFD.
    fn unicode(&mut self) -> Result<(), Stopped> {
        // The separators of the properties: nearly all escapes that there are.
        if let Some([b'0', b'0', b'0', digit @ (b'1' | b'2')]) = self.bytes.get(self.at + 2..self.at + 6) {
            self.copied.push(digit - b'0');
            self.at += 6;
            return Ok(());
        }
        let unit = self.hex(self.at + 2)?;
        self.at += 6;
        if unit < 0x80 {
            self.copied.push(unit as u8);
            return Ok(());
        }
        let mut code = unit;
        if (0xD800..0xDC00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
            let low = self.hex(self.at + 2)?;
            if (0xDC00..0xE000).contains(&low) {
                self.marks.drop_at(self.at);
                self.at += 6;
                code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            }
        }
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.copied.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn hex(&mut self, at: usize) -> Result<u32, Stopped> {
        let Some(digits) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            return self.stop_at(at, "ends inside an escape");
        };
        let mut unit = 0;
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                b'A'..=b'F' => digit - b'A' + 10,
                _ => return self.stop_at(at, "expected four hex digits"),
            };
            unit = unit << 4 | u32::from(value);
        }
        Ok(unit)
    }

    /// A value as text: strings unescaped, `null` as nothing, all else as it is written.
    #[inline]
    fn scalar(&mut self) -> Result<Option<Span>, Stopped> {
        match self.byte() {
            b'"' => self.string().map(Some),
            b'n' => self.literal().map(|()| None),
            _ => {
                let start = self.at;
                self.skip_value()?;
                Ok(Some(Span::in_header(start, self.at)))
            }
        }
    }

    /// A value as text, to be looked at now.
    fn text(&mut self) -> Result<Option<&str>, Stopped> {
        Ok(match self.scalar()? {
            Some(span) if span.is_copied() => {
                std::str::from_utf8(span.bytes_of(self.bytes, self.copied)).ok()
            }
            Some(span) => Some(span.of(self.text, "")),
            None => None,
        })
    }

    /// An integer of 32 bits, also in quotes; `null` counts as 0.
    fn int(&mut self) -> Result<i32, Stopped> {
        let start = self.at;
        let mut int = 0i32;
        // Up to nine digits always fit.
        for (i, byte) in self.bytes[start..].iter().take(10).enumerate() {
            match byte {
                b'0'..=b'9' if i < 9 => int = int * 10 + i32::from(byte - b'0'),
                b',' | b'}' if i > 0 => {
                    self.at += i;
                    return Ok(int);
                }
                _ => break,
            }
        }
        let Some(text) = self.text()? else { return Ok(0) };
        match super::parse_i32(text) {
            Some(int) => Ok(int),
            None => self.stop_at(start, "expected an integer of 32 bits"),
        }
    }

    fn language(&mut self) -> Result<Language, Stopped> {
        Ok(match self.text()? {
            None | Some("JAVA") => Language::Java,
            Some(text) => match text.parse::<u8>() {
                Ok(code) => Language::from_code(code),
                Err(_) => Language::from_name(text),
            },
        })
    }

    fn literal(&mut self) -> Result<(), Stopped> {
        for literal in [&b"null"[..], b"true", b"false"] {
            if self.bytes[self.at..].starts_with(literal) {
                self.at += literal.len();
                return Ok(());
            }
        }
        self.stop("expected a value")
    }

    fn skip_number(&mut self) -> Result<(), Stopped> {
        let start = self.at;
        while let b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E' = self.byte() {
            self.at += 1;
        }
        if self.at == start { self.stop("expected a value") } else { Ok(()) }
    }

    /// Steps over a string without unescaping it.
    fn skip_string(&mut self) -> Result<(), Stopped> {
        self.marks.take();
        loop {
            let found = self.marks.take();
            match self.bytes.get(found..) {
                Some([b'"', ..]) => {
                    self.at = found + 1;
                    return Ok(());
                }
                Some([_, _, ..]) => self.marks.drop_at(found + 1),
                _ => return self.unterminated(),
            }
        }
    }

    /// Steps over any value. Structure is checked no further than needed to find the end.
    fn skip_value(&mut self) -> Result<(), Stopped> {
        let mut depth = 0u32;
        loop {
            match self.token() {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return self.stop("nested too deep");
                    }
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b'n' | b't' | b'f' => self.literal()?,
                0 if self.at == self.bytes.len() => return self.stop("ends inside a value"),
                _ => self.skip_number()?,
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

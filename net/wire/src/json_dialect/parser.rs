//! Text to `Value`.
//!
//! Invariants: recursion is bounded by `MAX_DEPTH`, memory by `MAX_VALUES`. Raw control characters inside strings are
//! tolerated, half a surrogate pair becomes U+FFFD. Nothing may follow the value.

use std::borrow::Cow;

use memchr::memchr2;

use super::{BodyError, Key, Value};

/// Deepest nesting. The deepest body of the protocol has seven levels.
pub const MAX_DEPTH: usize = 64;
/// Most values in a body: a register-broker body of 400,000 topics has as many.
pub const MAX_VALUES: usize = 4_000_000;

/// Parses a whole body.
pub fn parse(text: &str) -> Result<Value<'_>, BodyError> {
    let mut parser = Parser::at(text, 0, 0);
    parser.space();
    let value = parser.value(0)?;
    parser.end()?;
    Ok(value)
}

pub(super) struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub at: usize,
    pub values: usize,
}

type Entries<'a> = Vec<(Key<'a>, Value<'a>)>;

impl<'a> Parser<'a> {
    /// Goes on where another one stood.
    pub fn at(text: &'a str, at: usize, values: usize) -> Self {
        Self { text, bytes: text.as_bytes(), at, values }
    }

    /// Nothing follows.
    pub fn end(&mut self) -> Result<(), BodyError> {
        self.space();
        if self.at < self.bytes.len() { Err(self.error("something follows the value")) } else { Ok(()) }
    }

    pub fn error(&self, what: &'static str) -> BodyError {
        BodyError::Syntax { at: self.at, what }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn count(&mut self) -> Result<(), BodyError> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(self.error("too many values")) } else { Ok(()) }
    }

    pub fn value(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.count()?;
        match self.peek() {
            Some(b'{') => self.map(depth + 1).map(Value::Map),
            Some(b'[') => self.list(depth + 1).map(Value::List),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("ends before a value")),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, BodyError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value<'a>, BodyError> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        if let Ok(int) = digits.parse() {
            return Ok(Value::Int(int));
        }
        match digits.parse() {
            Ok(float) => Ok(Value::Float(float)),
            Err(_) => Err(BodyError::Syntax { at: start, what: "expected a number" }),
        }
    }

    pub fn enter(&mut self, depth: usize) -> Result<(), BodyError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deep"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Steps over what stands between two items; `true` if the list or map ended instead.
    pub fn next_or_end(&mut self, end: u8, what: &'static str) -> Result<bool, BodyError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.error(what)),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value<'a>>, BodyError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            if self.next_or_end(b']', "expected a comma or the end of the list")? {
                return Ok(items);
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Entries<'a>, BodyError> {
        self.enter(depth)?;
        let mut entries = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(entries);
        }
        loop {
            let key = self.key_and_colon(depth)?;
            let value = self.value(depth)?;
            entries.push((key, value));
            if self.next_or_end(b'}', "expected a comma or the end of the object")? {
                return Ok(entries);
            }
        }
    }

    pub fn key_and_colon(&mut self, depth: usize) -> Result<Key<'a>, BodyError> {
        let key = self.key(depth)?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    fn key(&mut self, depth: usize) -> Result<Key<'a>, BodyError> {
        match self.peek() {
            Some(b'"') => self.string().map(Key::Text),
            Some(b'{') => {
                self.count()?;
                self.map(depth + 1).map(Key::Map)
            }
            Some(b'-' | b'0'..=b'9') => {
                let at = self.at;
                match self.number()? {
                    Value::Int(int) => Ok(Key::Int(int)),
                    _ => Err(BodyError::Syntax { at, what: "expected an integer key" }),
                }
            }
            _ => Err(self.error("expected a key")),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, BodyError> {
        self.at += 1;
        let start = self.at;
        let mut text = String::new();
        let mut copied = start;
        loop {
            let Some(i) = memchr2(b'"', b'\\', &self.bytes[self.at..]) else {
                return Err(self.error("ends inside a string"));
            };
            self.at += i;
            if self.bytes[self.at] == b'"' {
                let last = &self.text[copied..self.at];
                self.at += 1;
                if text.is_empty() && copied == start {
                    return Ok(Cow::Borrowed(last));
                }
                text.push_str(last);
                return Ok(Cow::Owned(text));
            }
            text.push_str(&self.text[copied..self.at]);
            text.push(self.escape()?);
            copied = self.at;
        }
    }

    fn escape(&mut self) -> Result<char, BodyError> {
        let kind = self.bytes.get(self.at + 1).copied().ok_or(self.error("ends inside an escape"))?;
        let c = match kind {
            b'"' | b'\\' | b'/' | b'\'' => char::from(kind),
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => return self.unicode(),
            _ => return Err(self.error("unknown escape")),
        };
        self.at += 2;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, BodyError> {
        let unit = self.hex()?;
        let low = matches!(unit, 0xD800..0xDC00).then(|| self.low_surrogate()).flatten();
        let code = match low {
            Some(low) => 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00),
            None => unit,
        };
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Takes the second half of a pair, if it follows.
    fn low_surrogate(&mut self) -> Option<u32> {
        let before = self.at;
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return None;
        }
        match self.hex() {
            Ok(low @ 0xDC00..0xE000) => Some(low),
            _ => {
                self.at = before;
                None
            }
        }
    }

    /// Reads `\uXXXX`, at whose backslash the parser stands.
    fn hex(&mut self) -> Result<u32, BodyError> {
        let digits = self.bytes.get(self.at + 2..self.at + 6);
        let unit = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
            .ok_or(self.error("expected four hex digits"))?;
        self.at += 6;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_both_dialects() {
        let value =
            parse(r#" { 0:"a" , "1" : [1,-2.5,true,null,"é\u00e9\ud83d\ude00"], {"q":1}:{} } "#).unwrap();
        let Value::Map(entries) = value else { panic!("no map") };
        assert_eq!(entries[0], (Key::Int(0), Value::Text("a".into())));
        let Value::List(list) = &entries[1].1 else { panic!("no list") };
        assert_eq!(list[1], Value::Float(-2.5));
        assert_eq!(list[4], Value::Text("éé😀".into()));
        assert_eq!(entries[2].0, Key::Map(vec![(Key::Text("q".into()), Value::Int(1))]));
    }

    #[test]
    fn refuses_nonsense_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("[1,", 3),
            ("[1 2]", 3),
            ("{a:1}", 1),
            ("{1.5:1}", 1),
            ("\"\\x\"", 1),
            ("\"\\ud83\"", 1),
            ("nul", 0),
            ("--", 0),
            ("{} x", 3),
            ("\"abc", 1),
        ] {
            match parse(text) {
                Err(BodyError::Syntax { at: found, .. }) => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let text = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&text(MAX_DEPTH)).is_ok());
        assert!(parse(&text(MAX_DEPTH + 1)).is_err());
        assert!(parse(&"{".repeat(100_000)).is_err());
        let half = r#""\ud83d x""#;
        assert_eq!(parse(half).unwrap(), Value::Text("\u{FFFD} x".into()));
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"[\[\]{}:,"\\ue0-9. a-é\u{1}]{0,60}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn agrees_with_serde_json(text in r#"(\[|\{|\]|\}|"a"|:|,|1|2\.5|null|true){0,12}"#) {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert!(parse(&text).is_ok(), "{}", text);
            }
        }
    }
}

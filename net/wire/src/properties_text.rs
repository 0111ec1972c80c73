//! Java's `.properties` text, as `java.util.Properties#load` reads it: configuration files, and the bodies of requests
//! that read or change a configuration.
//!
//! Comments (`#`, `!`), `=`, `:` or blanks between key and value, continued lines, the escapes `\t \n \r \f \uXXXX`. What
//! is no escape stands for itself, except that a malformed `\u` is an error there and here.
//! Invariants: of a repeated key the last entry counts; entries come in the order of the text, each with the line that it
//! began on; what `write` wrote, `parse` and Java read back.
//! On failure: the line and what is wrong with it.

use std::collections::BTreeMap;

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub line: usize,
    pub key: String,
    /// With its trailing blanks, as Java has it.
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: \\u needs four hexadecimal digits")]
pub struct BadEscape {
    pub line: usize,
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

pub fn parse(text: &str) -> Result<Vec<Entry>, BadEscape> {
    let mut entries = BTreeMap::new();
    let mut lines = Lines { rest: Some(text), number: 0 };
    while let Some((line, first)) = lines.next() {
        let first = first.trim_start_matches(BLANK);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = String::from(first);
        while ends_in_odd_backslashes(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANK));
        }
        let (key, value) = split(&logical);
        let bad = |()| BadEscape { line };
        entries.insert(unescape(key).map_err(bad)?, (line, unescape(value).map_err(bad)?));
    }
    let entry = |(key, (line, value))| Entry { line, key, value };
    let mut entries: Vec<Entry> = entries.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

/// Writes one entry.
pub fn write(out: &mut String, key: &str, value: &str) {
    escape(out, key, |c| matches!(c, '=' | ':' | '#' | '!') || BLANK.contains(&c));
    out.push('=');
    let value_start = value.trim_start_matches(BLANK);
    for c in value[..value.len() - value_start.len()].chars() {
        out.push('\\');
        out.push(if c == '\u{c}' { 'f' } else { c });
    }
    escape(out, value_start, |_| false);
    out.push('\n');
}

fn escape(out: &mut String, text: &str, also: impl Fn(char) -> bool) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            c => {
                if c == '\\' || also(c) {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
}

/// Lines that end with `\n`, `\r` or both, with their numbers.
struct Lines<'a> {
    rest: Option<&'a str>,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        self.number += 1;
        let Some(end) = rest.find(['\n', '\r']) else {
            self.rest = None;
            return Some((self.number, rest));
        };
        let (line, behind) = rest.split_at(end);
        self.rest = Some(behind.strip_prefix("\r\n").unwrap_or(&behind[1..]));
        Some((self.number, line))
    }
}

fn ends_in_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The key ends at the first separator that is not escaped; blanks around one `=` or `:` belong to neither side.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let separator = !escaped && (matches!(c, '=' | ':') || BLANK.contains(c));
        escaped = *c == '\\' && !escaped;
        separator
    });
    let (key, rest) = line.split_at(end.map_or(line.len(), |(at, _)| at));
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(BLANK))
}

fn unescape(text: &str) -> Result<String, ()> {
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            flush(&mut units, &mut out);
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                // Four digits: `from_str_radix` alone would take a sign.
                if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(());
                }
                units.push(u16::from_str_radix(&digits, 16).map_err(|_| ())?);
            }
            other => {
                flush(&mut units, &mut out);
                out.extend(other.map(|c| match c {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'f' => '\u{c}',
                    c => c,
                }));
            }
        }
    }
    flush(&mut units, &mut out);
    Ok(out)
}

/// Neighbouring `\u` escapes are UTF-16: two may make one character.
fn flush(units: &mut Vec<u16>, out: &mut String) {
    out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text).unwrap().into_iter().map(|entry| (entry.key, entry.value, entry.line)).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        let text = "# comment\n! another\r\n\n  listenPort = 9876 \nbindAddress:127.0.0.1\rflag\r\nlong=a\\\n   b\\\\\n\
                    k\\=ey=v\\u00e9\\uD83D\\uDE00\nnamesrvAddr a:1;b:2 \npath=C\\:\\\\x\nlistenPort 1";
        let expected = [
            ("bindAddress", "127.0.0.1", 5),
            ("flag", "", 6),
            ("long", "ab\\", 7),
            ("k=ey", "vé😀", 9),
            ("namesrvAddr", "a:1;b:2 ", 10),
            ("path", "C:\\x", 11),
            ("listenPort", "1", 12),
        ];
        let expected: Vec<_> = expected.iter().map(|(k, v, l)| (k.to_string(), v.to_string(), *l)).collect();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_bad_unicode_escape_is_named_by_its_line() {
        assert_eq!(parse("a=1\nb=\\u12"), Err(BadEscape { line: 2 }));
        assert_eq!(parse("a=\\uzzzz"), Err(BadEscape { line: 1 }));
        assert_eq!(parse("a=\\u+123"), Err(BadEscape { line: 1 }));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\\\u=: \r\nab1#\u{c}\u{e9}]{0,64}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_back_what_it_wrote(
            key in "[\\\\=:#! \t\u{c}a-c\u{e9}]{1,12}",
            value in "[\\\\=:#! \t\r\n\u{c}a-c\u{e9}]{0,20}",
        ) {
            let mut text = String::new();
            write(&mut text, &key, &value);
            write(&mut text, "next", "line");
            prop_assert_eq!(pairs(&text), vec![(key, value, 1), ("next".to_string(), "line".to_string(), 2)]);
        }
    }
}

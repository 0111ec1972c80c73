//! Java's `.properties` text, as `java.util.Properties#load` reads it.
//!
//! Comments (`#`, `!`), `=`, `:` or blanks between key and value, continued lines, and the escapes `\t \n \r \f
//! \uXXXX`; of a repeated key the last value counts. Never fails: what is no escape stands for itself, except that a
//! malformed `\u` is an error there and here.

use std::collections::BTreeMap;

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: \\u needs four hexadecimal digits")]
pub struct BadEscape {
    pub line: usize,
}

/// A value and the line on which its key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: String,
    pub line: usize,
}

pub fn parse(text: &str) -> Result<BTreeMap<String, Entry>, BadEscape> {
    let mut entries = BTreeMap::new();
    let mut lines = text.split(['\n', '\r']).enumerate().map(|(i, line)| (line_number(text, i), line));
    while let Some((number, first)) = lines.next() {
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
        let bad = |()| BadEscape { line: number };
        let key = unescape(key).map_err(bad)?;
        entries.insert(key, Entry { value: unescape(value).map_err(bad)?, line: number });
    }
    Ok(entries)
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

/// `split` cuts `\r\n` twice; the number that a person sees counts it once.
fn line_number(text: &str, piece: usize) -> usize {
    let crlf = text
        .match_indices(['\n', '\r'])
        .take(piece)
        .filter(|(at, _)| text[..*at].ends_with('\r') && text[*at..].starts_with('\n'));
    piece + 1 - crlf.count()
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
                if digits.len() != 4 {
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
        parse(text).unwrap().into_iter().map(|(key, entry)| (key, entry.value, entry.line)).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        let text = "# comment\n! another\r\n\n  listenPort = 9876 \nbindAddress:127.0.0.1\nflag\nlong=a\\\n   b\\\\\nk\\=ey=v\\u00e9\\uD83D\\uDE00\nlistenPort 1\n";
        let expected = [
            ("bindAddress", "127.0.0.1", 5),
            ("flag", "", 6),
            ("k=ey", "vé😀", 9),
            ("listenPort", "1", 10),
            ("long", "ab\\", 7),
        ];
        let expected: Vec<_> = expected.iter().map(|(k, v, l)| (k.to_string(), v.to_string(), *l)).collect();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_bad_unicode_escape_is_named_by_its_line() {
        assert_eq!(parse("a=1\nb=\\u12"), Err(BadEscape { line: 2 }));
        assert_eq!(parse("a=\\uzzzz"), Err(BadEscape { line: 1 }));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\\\u=: \r\nab1#\u{c}\u{e9}]{0,64}") {
            let _ = parse(&text);
        }
    }
}

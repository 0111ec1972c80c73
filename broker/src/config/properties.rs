//! Reads and writes the properties text that RocketMQ keeps its configuration in.
//!
//! Owns: the syntax of `java.util.Properties` as far as text files use it: `key=value`, `key: value`, `key value`,
//! comment lines (`#`, `!`), lines continued by a backslash, the escapes `\t \n \r \f \uXXXX`.
//! Invariant: each entry knows the line that it began on. On failure: the line and what is wrong with it.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub line: usize,
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: \\u needs four hex digits")]
pub struct SyntaxError {
    pub line: usize,
}

pub fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_string();
        while ends_in_continuation(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = split(&logical);
        let line = number + 1;
        let key = unescape(key, line)?;
        // Java keeps trailing blanks of a value; every reader of RocketMQ's numbers and enums then trims or fails.
        let value = unescape(value, line)?.trim_end().to_string();
        entries.push(Entry { line, key, value });
    }
    Ok(entries)
}

/// Writes one entry so that `parse` and Java read it back.
pub fn write(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push('=');
    for (i, c) in value.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            ' ' if i == 0 => out.push_str("\\ "),
            c => out.push(c),
        }
    }
    out.push('\n');
}

fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Key and value of a logical line: the key ends at the first unescaped `=`, `:` or blank.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let mut end = line.len();
    for (i, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || c.is_whitespace() {
            end = i;
            break;
        }
    }
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start())
}

fn unescape(text: &str, line: usize) -> Result<String, SyntaxError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    // UTF-16 units of consecutive \u escapes: a character outside the basic plane takes two.
    let mut units = Vec::new();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let unit = (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok()).flatten();
                    units.push(unit.ok_or(SyntaxError { line })?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            c => c,
        };
        flush_units(&mut out, &mut units);
        out.push(c);
    }
    flush_units(&mut out, &mut units);
    Ok(out)
}

fn flush_units(out: &mut String, units: &mut Vec<u16>) {
    if !units.is_empty() {
        out.push_str(&String::from_utf16_lossy(units));
        units.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|e| (e.key, e.value)).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        let text = "# comment\n! too\n\n  brokerName = a b \nlistenPort:10911\r\nnamesrvAddr a:1;b:2\nlonely\n\
                    long = one,\\\n   two\npath=C\\:\\\\x\\u00e9\\ud83d\\ude00\n";
        let expected = [
            ("brokerName", "a b"),
            ("listenPort", "10911"),
            ("namesrvAddr", "a:1;b:2"),
            ("lonely", ""),
            ("long", "one,two"),
            ("path", "C:\\xé😀"),
        ];
        let expected: Vec<_> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn knows_its_lines() {
        let entries = parse("a=1\n\nb=2\\\n3\nc=4").unwrap();
        let lines: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 3), ("c", 5)]);
        assert_eq!(parse("a=1\nb=\\u12").unwrap_err(), SyntaxError { line: 2 });
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_back_what_it_wrote(value in "[ -~é]{0,20}[!-~]") {
            let mut text = String::new();
            write(&mut text, "key", &value);
            prop_assert_eq!(pairs(&text), vec![("key".to_string(), value)]);
        }
    }
}

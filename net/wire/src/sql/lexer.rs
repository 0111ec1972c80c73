//! Cuts an expression into tokens, one at a time.
//!
//! Invariants: the longest token wins, a keyword before a name of the same length; keywords and names are ASCII and
//! keywords have no case; a token is looked at only when the parser asks for it, as in RocketMQ, so what lies behind a
//! complete expression and one more token may be anything.
//! On failure: a [`Failed`] at the character that begins no token.

use super::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    End,
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// A whole number, with an `L` perhaps.
    Whole,
    /// A number with a point or an exponent.
    Double,
    /// In quotes.
    Text,
    Name,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'t> {
    pub kind: Kind,
    pub at: usize,
    pub text: &'t str,
}

/// A problem, and the byte at which it is.
#[derive(Debug)]
pub struct Failed {
    pub at: usize,
    pub problem: Problem,
}

const KEYWORDS: [(&str, Kind); 12] = [
    ("NOT", Kind::Not),
    ("AND", Kind::And),
    ("OR", Kind::Or),
    ("BETWEEN", Kind::Between),
    ("IN", Kind::In),
    ("TRUE", Kind::True),
    ("FALSE", Kind::False),
    ("NULL", Kind::Null),
    ("IS", Kind::Is),
    ("CONTAINS", Kind::Contains),
    ("STARTSWITH", Kind::StartsWith),
    ("ENDSWITH", Kind::EndsWith),
];

pub struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub fn next(&mut self) -> Result<Token<'t>, Failed> {
        self.skip_blanks_and_comments();
        let rest = &self.text[self.at..];
        let (kind, len) = match rest.as_bytes() {
            [] => (Kind::End, 0),
            [b'<', b'>', ..] => (Kind::NotEqual, 2),
            [b'<', b'=', ..] => (Kind::LessEqual, 2),
            [b'>', b'=', ..] => (Kind::GreaterEqual, 2),
            [b'<', ..] => (Kind::Less, 1),
            [b'>', ..] => (Kind::Greater, 1),
            [b'=', ..] => (Kind::Equal, 1),
            [b'(', ..] => (Kind::Open, 1),
            [b')', ..] => (Kind::Close, 1),
            [b',', ..] => (Kind::Comma, 1),
            [b'+', ..] => (Kind::Plus, 1),
            [b'-', ..] => (Kind::Minus, 1),
            [b'\'', ..] => (Kind::Text, self.text_len(rest)?),
            [first, ..] if is_name_start(*first) => {
                let len = span(rest, |byte| is_name_start(byte) || byte.is_ascii_digit());
                let keyword = KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(&rest[..len]));
                (keyword.map_or(Kind::Name, |(_, kind)| *kind), len)
            }
            _ => match number(rest) {
                Some(found) => found,
                None => return Err(self.unknown(rest)),
            },
        };
        let token = Token { kind, at: self.at, text: &rest[..len] };
        self.at += len;
        Ok(token)
    }

    fn unknown(&self, rest: &str) -> Failed {
        let first = rest.chars().next().expect("not at the end");
        let comment = rest.starts_with("/*");
        let problem = if comment { Problem::OpenComment } else { Problem::Character(first) };
        Failed { at: self.at, problem }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let skipped = if rest.starts_with("--") {
                // Without an end of its line it is two signs.
                rest.find(['\n', '\r']).map_or(0, |end| end + 1)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                comment.find("*/").map_or(0, |end| end + 4)
            } else {
                span(rest, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c))
            };
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    /// Bytes of the quoted text that `rest` begins with; a doubled quote does not end it.
    fn text_len(&self, rest: &str) -> Result<usize, Failed> {
        let mut at = 1;
        while let Some(quote) = rest[at..].find('\'') {
            at += quote + 1;
            if !rest[at..].starts_with('\'') {
                return Ok(at);
            }
            at += 1;
        }
        Err(Failed { at: self.at, problem: Problem::OpenText })
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$'
}

/// How many bytes at the beginning are such.
fn span(text: &str, such: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !such(byte)).unwrap_or(text.len())
}

fn digits(text: &str) -> usize {
    span(text, |byte| byte.is_ascii_digit())
}

/// The longest number that `text` begins with.
fn number(text: &str) -> Option<(Kind, usize)> {
    let whole = digits(text);
    let after = &text[whole..];
    if let Some(fraction) = after.strip_prefix('.') {
        let fraction = digits(fraction);
        if whole + fraction == 0 {
            return None;
        }
        let len = whole + 1 + fraction;
        return Some((Kind::Double, len + exponent(&text[len..])));
    }
    let exponent = exponent(after);
    if whole > 0 && exponent > 0 {
        return Some((Kind::Double, whole + exponent));
    }
    match text.as_bytes().first()? {
        // A zero stands alone: what follows is the next token.
        b'0' => Some((Kind::Whole, 1)),
        b'1'..=b'9' => Some((Kind::Whole, whole + usize::from(after.starts_with(['l', 'L'])))),
        _ => None,
    }
}

fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let sign = usize::from(rest.starts_with(['+', '-']));
    match digits(&rest[sign..]) {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

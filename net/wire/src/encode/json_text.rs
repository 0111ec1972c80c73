//! Writes text as a JSON string the way the reference's library does.
//!
//! Invariant: quote, backslash and control characters are escaped (short forms where JSON has them, lower-case
//! `\u00xx` otherwise); all else, also outside ASCII, goes out as it is, unless `put_ascii_string` is asked for.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// For each byte: 0 if it needs no escape, the letter of its short escape, or `u`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = b'u';
        i += 1;
    }
    table[8] = b'b';
    table[9] = b't';
    table[10] = b'n';
    table[12] = b'f';
    table[13] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends `text` in quotes.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    put_escaped(out, text);
    out.push(b'"');
}

/// Appends `text`, of which the caller knows that nothing in it needs an escape, in quotes.
pub(crate) fn put_plain_string(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.bytes().all(|byte| ESCAPES[byte as usize] == 0), "{text:?} needs an escape");
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends `text` without quotes.
pub(crate) fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    // Nearly all text is plain; this pass has no branch, so that it works on many bytes at a time.
    let special = |found, byte: &u8| found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    if !bytes.iter().fold(false, special) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut done = 0;
    for (i, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[*byte as usize];
        if escape != 0 {
            out.extend_from_slice(&bytes[done..i]);
            put_escape(out, *byte, escape);
            done = i + 1;
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends `text` in quotes with everything outside ASCII as `\uXXXX` (upper-case hex, UTF-16 units).
pub(crate) fn put_ascii_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        if c.is_ascii() {
            put_escaped(out, c.encode_utf8(&mut [0; 4]));
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                out.push(HEX[(*unit >> shift & 15) as usize].to_ascii_uppercase());
            }
        }
    }
    out.push(b'"');
}

#[cold]
fn put_escape(out: &mut Vec<u8>, byte: u8, escape: u8) {
    if escape == b'u' {
        out.extend_from_slice(&[
            b'\\',
            b'u',
            b'0',
            b'0',
            HEX[(byte >> 4) as usize],
            HEX[(byte & 15) as usize],
        ]);
    } else {
        out.extend_from_slice(&[b'\\', escape]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_must_be() {
        let mut out = Vec::new();
        put_string(&mut out, "a\"b\\c\n\u{1}\u{1f}é");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"b\\\\c\\n\\u0001\\u001fé\"");
        let mut out = Vec::new();
        put_ascii_string(&mut out, "é😀/");
        assert_eq!(String::from_utf8(out).unwrap(), "\"\\u00E9\\uD83D\\uDE00/\"");
    }
}

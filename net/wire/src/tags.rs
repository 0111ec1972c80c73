//! The hash that tag filtering is built on.
//!
//! Invariant: the code of a tag is Java's string hash (31-polynomial over UTF-16 units, wrapping in 32 bits),
//! sign-extended to 64 bits; no tag has code 0.
//! The Go client hashes UTF-8 bytes instead, so its codes differ for tags outside ASCII: the broker computes codes from
//! the tag text itself and takes a client's `codeSet` only where no text is given.

/// Java's `String.hashCode`.
pub fn java_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return utf8_hash(text);
    }
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// What rocketmq-client-go computes: the same polynomial over UTF-8 bytes.
pub fn utf8_hash(text: &str) -> i32 {
    text.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
}

/// The tag code of a consume queue entry: 0 without a tag.
pub fn tag_code(tag: Option<&str>) -> i64 {
    tag.map_or(0, |tag| i64::from(java_hash(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("TagA"), 2598919);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("中"), 0x4E2D);
        // A surrogate pair is two units: U+1F600 = D83D DE00.
        assert_eq!(java_hash("😀"), 0xD83D * 31 + 0xDE00);
        assert_ne!(java_hash("中"), utf8_hash("中"));
    }

    #[test]
    fn codes_are_sign_extended() {
        assert_eq!(tag_code(Some("polygenelubricants")), -2147483648);
        assert_eq!(tag_code(None), 0);
    }
}

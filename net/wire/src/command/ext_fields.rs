//! The ext fields of a header: a small ordered map of text to text.
//!
//! Invariants: a field is a pair of spans, either into the header's own text or into text that had to be unescaped or
//! copied; so a field costs 16 bytes and nothing to drop. Of a repeated key the last value counts, as in the reference's
//! hash map. Spans are made here and by the header readers only, always on character boundaries.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

use super::shape::Shapes;

/// Ext fields in the order of the wire.
#[derive(Clone)]
pub struct ExtFields<'a> {
    /// The header, if it is text.
    text: &'a str,
    /// What is not in the header as it is meant.
    copied: Cow<'a, str>,
    fields: Cow<'a, [Field]>,
}

#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) key: Span,
    pub(super) value: Span,
}

/// Memory for decoding one header after the other without an allocation, and without moving the fields about. Headers of
/// one connection belong into one scratch: those that are alike are read faster.
#[derive(Default)]
pub struct Scratch {
    /// Text that is not in the header as it is meant.
    pub(super) text: Vec<u8>,
    pub(super) fields: Vec<Field>,
    /// What the headers before had in common; bounded by itself.
    pub(super) shapes: Shapes,
}

impl Scratch {
    /// Gives memory back that only an unusually long header needed.
    pub fn shrink(&mut self, bytes_kept: usize) {
        if self.text.capacity() + self.fields.capacity() * size_of::<Field>() > bytes_kept {
            (self.text, self.fields) = Default::default();
        }
    }
}

/// Some text of a header, packed so that an optional span fits into a register: in the upper half where it starts plus
/// one, with the highest bit saying whether it lies in the copied text, and in the lower half its length. A header has
/// less than 2^24 bytes.
#[derive(Clone, Copy)]
pub(super) struct Span(NonZeroU64);

const COPIED: u64 = 1 << 63;
/// Longest text that spans can point into.
const MAX_TEXT: usize = (1 << 31) - 2;
const _: () = assert!(crate::frame::MAX_HEADER_LENGTH < MAX_TEXT);

impl Span {
    #[inline]
    fn new(start: usize, end: usize, flag: u64) -> Self {
        let packed = flag | (start as u64 + 1) << 32 | (end - start) as u64;
        // The start's one is never lost: starts have 31 bits.
        Self(NonZeroU64::new(packed).unwrap_or(NonZeroU64::MIN))
    }

    #[inline]
    pub(super) fn in_header(start: usize, end: usize) -> Self {
        Self::new(start, end, 0)
    }

    #[inline]
    pub(super) fn in_copied(start: usize, end: usize) -> Self {
        Self::new(start, end, COPIED)
    }

    #[inline]
    pub(super) fn is_copied(self) -> bool {
        self.0.get() & COPIED != 0
    }

    #[inline]
    fn range(self) -> std::ops::Range<usize> {
        let start = ((self.0.get() & !COPIED) >> 32) as usize - 1;
        start..start + self.length()
    }

    pub(super) fn start(self) -> usize {
        self.range().start
    }

    #[inline]
    pub(super) fn moved(self, by: i64) -> Self {
        debug_assert!(!self.is_copied() && self.start() as i64 + by >= 0);
        Self(NonZeroU64::new(self.0.get().wrapping_add((by as u64) << 32)).unwrap_or(NonZeroU64::MIN))
    }

    #[inline]
    fn length(self) -> usize {
        self.0.get() as u32 as usize
    }

    #[inline]
    pub(super) fn bytes_of<'t>(self, text: &'t [u8], copied: &'t [u8]) -> &'t [u8] {
        &(if self.is_copied() { copied } else { text })[self.range()]
    }

    #[inline]
    pub(super) fn of<'t>(self, text: &'t str, copied: &'t str) -> &'t str {
        &(if self.is_copied() { copied } else { text })[self.range()]
    }
}

/// Whether every span begins and ends at a character of this copied text.
pub(super) fn fits(fields: &[Field], copied: &str) -> bool {
    copied.is_ascii()
        || fields.iter().all(|Field { key, value }| {
            [key, value].into_iter().all(|span| {
                let range = span.range();
                copied.is_char_boundary(range.start) && copied.is_char_boundary(range.end)
            })
        })
}

impl Field {
    /// The same field of a header in which everything stands `by` bytes later. Not for copied text.
    #[inline]
    pub(super) fn moved(self, by: i64) -> Self {
        Self { key: self.key.moved(by), value: self.value.moved(by) }
    }
}

impl<'a> ExtFields<'a> {
    pub fn new() -> Self {
        Self { text: "", copied: Cow::Borrowed(""), fields: Cow::Borrowed(&[]) }
    }

    pub fn push(&mut self, key: impl AsRef<str>, value: impl AsRef<str>) {
        let (key, value) = (key.as_ref(), value.as_ref());
        let copied = self.copied.to_mut();
        let start = copied.len();
        copied.push_str(key);
        let middle = copied.len();
        copied.push_str(value);
        assert!(copied.len() <= MAX_TEXT, "ext fields of two gigabytes");
        let (key, value) = (Span::in_copied(start, middle), Span::in_copied(middle, copied.len()));
        self.fields.to_mut().push(Field { key, value });
    }

    /// Fields with the texts that their spans are of.
    pub(super) fn of(text: &'a str, copied: Cow<'a, str>, fields: Cow<'a, [Field]>) -> Self {
        Self { text, copied, fields }
    }

    /// The text of a span of this header; borrowed for as long as it can be.
    pub(super) fn resolve(&self, span: Span) -> Cow<'a, str> {
        match &self.copied {
            Cow::Borrowed(copied) => Cow::Borrowed(span.of(self.text, copied)),
            Cow::Owned(_) if !span.is_copied() => Cow::Borrowed(span.of(self.text, "")),
            Cow::Owned(copied) => Cow::Owned(span.of("", copied).to_owned()),
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let field =
            self.fields.iter().rev().find(|field| {
                field.key.length() == key.len() && field.key.of(self.text, &self.copied) == key
            })?;
        Some(field.value.of(self.text, &self.copied))
    }

    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The field as an integer; `None` if it is absent or is not one. Use a typed header where the difference matters.
    pub fn get_i64(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(parse_i64)
    }

    pub fn get_i32(&self, key: &str) -> Option<i32> {
        self.get(key).and_then(parse_i32)
    }

    /// The field as a boolean: only `true`, in any case, is true, as in Java.
    pub fn get_bool(&self, key: &str) -> Option<bool> {
        self.get(key).map(parse_bool)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        let (text, copied) = (self.text, &*self.copied);
        self.fields.iter().map(move |field| (field.key.of(text, copied), field.value.of(text, copied)))
    }

    /// The fields whose names are one byte, in the order of the wire.
    #[inline]
    pub(crate) fn letters(&self) -> impl Iterator<Item = (u8, &str)> {
        let (text, copied) = (self.text, &*self.copied);
        self.fields.iter().filter(|field| field.key.length() == 1).map(move |field| {
            let letter = field.key.bytes_of(text.as_bytes(), copied.as_bytes())[0];
            (letter, field.value.of(text, copied))
        })
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Default for ExtFields<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq<ExtFields<'_>> for ExtFields<'_> {
    fn eq(&self, other: &ExtFields<'_>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ExtFields<'_> {}

impl fmt::Debug for ExtFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for ExtFields<'_> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut fields = Self::new();
        pairs.into_iter().for_each(|(key, value)| fields.push(key, value));
        fields
    }
}

/// Decimal text to an integer as Java's `Long.parseLong` takes it: an optional sign and digits, nothing else.
pub(crate) fn parse_i64(text: &str) -> Option<i64> {
    text.parse().ok()
}

pub(crate) fn parse_i32(text: &str) -> Option<i32> {
    text.parse().ok()
}

pub(crate) fn parse_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_key_counts() {
        let ext: ExtFields<'_> = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(ext.get("a"), Some("3"));
        assert_eq!(ext.get_i32("b"), Some(2));
        assert_eq!(ext.get("c"), None);
        assert_eq!(ext.len(), 3);
    }

    #[test]
    fn typed_access_follows_java() {
        let ext: ExtFields<'_> =
            [("n", "-9223372036854775808"), ("p", "+5"), ("bad", "5 "), ("t", "True"), ("f", "1")]
                .into_iter()
                .collect();
        assert_eq!(ext.get_i64("n"), Some(i64::MIN));
        assert_eq!(ext.get_i32("n"), None);
        assert_eq!(ext.get_i32("p"), Some(5));
        assert_eq!(ext.get_i32("bad"), None);
        assert_eq!(ext.get_bool("t"), Some(true));
        assert_eq!(ext.get_bool("f"), Some(false));
        assert_eq!(ext.get_bool("none"), None);
    }

    #[test]
    fn equal_fields_are_equal_wherever_their_text_lies() {
        let text = "ab";
        let field = Field { key: Span::in_header(0, 1), value: Span::in_header(1, 2) };
        let spans = ExtFields::of(text, Cow::Borrowed(""), Cow::Owned(vec![field]));
        let copied: ExtFields<'static> = [("a".to_owned(), "b")].into_iter().collect();
        assert_eq!(spans, copied);
        assert_eq!(format!("{spans:?}"), r#"{"a": "b"}"#);
    }

    #[test]
    fn a_push_onto_decoded_fields_keeps_them() {
        let fields = [Field { key: Span::in_header(0, 1), value: Span::in_copied(0, 2) }];
        let mut ext = ExtFields::of("ab", Cow::Borrowed("cd"), Cow::Borrowed(&fields));
        ext.push("e", "f");
        assert_eq!(ext.iter().collect::<Vec<_>>(), [("a", "cd"), ("e", "f")]);
    }
}

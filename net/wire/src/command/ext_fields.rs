//! The ext fields of a header: a small ordered map of text to text.
//!
//! Invariant: keys and values borrow from the header where they can. Of a repeated key the last value counts, as in
//! the reference's hash map.

use std::borrow::Cow;

use smallvec::SmallVec;

/// A Java producer's V2 send header has 14 fields; two more leave room for a namespace without a heap allocation.
const INLINE: usize = 16;

/// Ext fields in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtFields<'a> {
    fields: SmallVec<[(Cow<'a, str>, Cow<'a, str>); INLINE]>,
}

impl<'a> ExtFields<'a> {
    pub fn new() -> Self {
        Self { fields: SmallVec::new() }
    }

    pub fn push(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.fields.push((key.into(), value.into()));
    }

    pub fn clear(&mut self) {
        self.fields.clear();
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
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
        self.fields.iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl<'a, K: Into<Cow<'a, str>>, V: Into<Cow<'a, str>>> FromIterator<(K, V)> for ExtFields<'a> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { fields: pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect() }
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
        let ext: ExtFields = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(ext.get("a"), Some("3"));
        assert_eq!(ext.get_i32("b"), Some(2));
        assert_eq!(ext.get("c"), None);
        assert_eq!(ext.len(), 3);
    }

    #[test]
    fn typed_access_follows_java() {
        let ext: ExtFields =
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
}

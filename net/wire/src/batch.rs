//! The body of a batch send (320): small messages one behind the other.
//!
//! Layout of an item: total size i32, magic i32, CRC i32, flag i32, body length i32, body, properties length i16,
//! properties.
//! Invariants: an item's lengths are checked against what is left. Total size, magic and CRC are not looked at: clients
//! send zeros there and the reference reads over them.
//! On failure: a `BatchError` with the item's number; nothing of the batch may be stored then.

use thiserror::Error;

use crate::properties;

/// Bytes of an item before its body.
pub const ITEM_HEAD: usize = 20;
/// Bytes of an item besides body and properties.
pub const ITEM_OVERHEAD: usize = ITEM_HEAD + 2;

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchItem<'a> {
    pub flag: i32,
    pub body: &'a [u8],
    pub properties: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("batch item {index}: {problem}")]
pub struct BatchError {
    pub index: usize,
    pub problem: BatchProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchProblem {
    #[error("cut off")]
    Cut,
    #[error("negative body length {0}")]
    BodyLength(i32),
    #[error("negative properties length {0}")]
    PropertiesLength(i16),
    #[error("properties are not UTF-8")]
    PropertiesText,
}

/// Iterates over a batch body; ends at the first error.
pub fn items(body: &[u8]) -> Items<'_> {
    Items { rest: body, index: 0 }
}

/// See `items`.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
    index: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<BatchItem<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.rest = &[];
        }
        let index = self.index;
        self.index += 1;
        Some(item.map_err(|problem| BatchError { index, problem }))
    }
}

impl<'a> Items<'a> {
    /// How many there are if all are as long as the first: for whoever makes room for them. At most 4,096, so that no
    /// text of lengths makes a reader take memory that its batch does not need.
    pub fn likely_count(&self) -> usize {
        let first = self
            .clone()
            .item()
            .map_or(usize::MAX, |item| ITEM_OVERHEAD + item.body.len() + item.properties.len());
        self.rest.len().div_ceil(first).min(4_096)
    }

    fn item(&mut self) -> Result<BatchItem<'a>, BatchProblem> {
        let (head, rest) = self.rest.split_first_chunk::<ITEM_HEAD>().ok_or(BatchProblem::Cut)?;
        let flag = i32::from_be_bytes([head[12], head[13], head[14], head[15]]);
        let length = i32::from_be_bytes([head[16], head[17], head[18], head[19]]);
        let length = usize::try_from(length).map_err(|_| BatchProblem::BodyLength(length))?;
        let (body, rest) = rest.split_at_checked(length).ok_or(BatchProblem::Cut)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(BatchProblem::Cut)?;
        let length = i16::from_be_bytes(*length);
        let length = usize::try_from(length).map_err(|_| BatchProblem::PropertiesLength(length))?;
        let (properties, rest) = rest.split_at_checked(length).ok_or(BatchProblem::Cut)?;
        let properties = std::str::from_utf8(properties).map_err(|_| BatchProblem::PropertiesText)?;
        self.rest = rest;
        Ok(BatchItem { flag, body, properties })
    }
}

/// Appends an item as a producer does. Panics if the properties are too long: their maker knows the limit.
pub fn put_item(out: &mut Vec<u8>, item: &BatchItem<'_>) {
    assert!(item.properties.len() <= properties::MAX_LENGTH, "properties over {}", properties::MAX_LENGTH);
    let total = ITEM_OVERHEAD + item.body.len() + item.properties.len();
    out.reserve(total);
    out.extend_from_slice(&(total as i32).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&item.flag.to_be_bytes());
    out.extend_from_slice(&(item.body.len() as i32).to_be_bytes());
    out.extend_from_slice(item.body);
    out.extend_from_slice(&(item.properties.len() as i16).to_be_bytes());
    out.extend_from_slice(item.properties.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_name_the_item() {
        let mut body = Vec::new();
        put_item(&mut body, &BatchItem { flag: 1, body: b"one", properties: "a\u{1}b\u{2}" });
        let first = body.len();
        put_item(&mut body, &BatchItem { flag: 2, body: b"two", properties: "" });
        let whole: Vec<_> = items(&body).collect::<Result<_, _>>().unwrap();
        assert_eq!((whole[0].flag, whole[1].body), (1, &b"two"[..]));
        for cut in first + 1..body.len() {
            let found: Vec<_> = items(&body[..cut]).collect();
            assert_eq!(found.len(), 2);
            assert_eq!(found[1], Err(BatchError { index: 1, problem: BatchProblem::Cut }), "at {cut}");
        }
        body[first + 16..first + 20].copy_from_slice(&(-2i32).to_be_bytes());
        assert_eq!(items(&body).nth(1).unwrap().unwrap_err().problem, BatchProblem::BodyLength(-2));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            items(&bytes).for_each(drop);
        }

        #[test]
        fn round_trips(list in proptest::collection::vec(
            (any::<i32>(), proptest::collection::vec(any::<u8>(), 0..20), "\\PC{0,10}"), 0..5)) {
            let mut body = Vec::new();
            for (flag, bytes, properties) in &list {
                put_item(&mut body, &BatchItem { flag: *flag, body: bytes, properties });
            }
            let read: Vec<_> = items(&body).map(|item| item.unwrap())
                .map(|item| (item.flag, item.body.to_vec(), item.properties.to_owned())).collect();
            prop_assert_eq!(read, list);
        }
    }
}

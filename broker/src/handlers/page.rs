//! Which part of a table a request asks for.

use ringmq_wire::json_dialect::{self, DataVersion};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub from: usize,
    pub count: usize,
    /// The version of the table that the caller has seen with the page before.
    pub seen: Option<DataVersion>,
}

impl Page {
    /// Everything, if the caller names nothing of a page; else at most `most` entries.
    pub fn of(from: Option<i32>, count: Option<i32>, version: Option<&str>, most: usize) -> Self {
        if from.is_none() && count.is_none() && version.is_none() {
            return Self { from: 0, count: usize::MAX, seen: None };
        }
        let not_negative = |number: Option<i32>| number.map(|n| usize::try_from(n).unwrap_or(0));
        Self {
            from: not_negative(from).unwrap_or(0),
            count: not_negative(count).unwrap_or(usize::MAX).min(most),
            seen: version.and_then(|text| json_dialect::read(text.as_bytes()).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_without_a_page_gets_everything() {
        assert_eq!(Page::of(None, None, None, 10), Page { from: 0, count: usize::MAX, seen: None });
        assert_eq!(Page::of(Some(20), None, None, 10), Page { from: 20, count: 10, seen: None });
        assert_eq!(Page::of(Some(-1), Some(-5), Some("{"), 10), Page { from: 0, count: 0, seen: None });
        let version = DataVersion { counter: 3, state_version: 0, timestamp: 7 };
        let page = Page::of(Some(0), Some(4), Some(r#"{"counter":3,"timestamp":7}"#), 10);
        assert_eq!(page, Page { from: 0, count: 4, seen: Some(version) });
    }
}

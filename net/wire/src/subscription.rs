//! Subscriptions: what a consumer wants of a topic.
//!
//! Owns: turning a TAG expression (`*`, `a || b`) into tags and their hash codes, and the JSON form of a subscription.
//! Invariants: as RocketMQ 5.5.0 FilterAPI: empty or `*` is everything; tags are trimmed and empty ones dropped; an
//! expression of separators alone is an error, while one of separators and blanks has no tags and so lets everything
//! pass. Hash codes are Java's.
//! On failure: an `ExpressionError`, which the broker answers with SUBSCRIPTION_PARSE_FAILED.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tags::java_hash;

/// The expression that takes every message.
pub const SUB_ALL: &str = "*";
/// Expression type: tags.
pub const TAG: &str = "TAG";
/// Expression type: SQL-92 over properties.
pub const SQL92: &str = "SQL92";

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    pub class_filter_mode: bool,
    /// Java hash codes of the tags. The Go client sends them as text, and other ones for tags outside ASCII.
    pub code_set: BTreeSet<i32>,
    pub expression_type: String,
    pub sub_string: String,
    /// Java: milliseconds; Go: nanoseconds. Only compared within one client's beats.
    pub sub_version: i64,
    pub tags_set: BTreeSet<String>,
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> Self {
        Self {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: TAG.to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: String::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExpressionError {
    #[error("a tag expression of separators alone selects nothing")]
    OnlySeparators,
    #[error("an expression that is not of tags must not be empty")]
    Empty,
}

impl SubscriptionData {
    /// Parses a tag expression. `sub_version` stays 0.
    pub fn of_tags(topic: &str, expression: &str) -> Result<SubscriptionData, ExpressionError> {
        let mut subscription = SubscriptionData { topic: topic.to_owned(), ..Default::default() };
        if expression.is_empty() || expression == SUB_ALL {
            subscription.sub_string = SUB_ALL.to_owned();
            return Ok(subscription);
        }
        subscription.sub_string = expression.to_owned();
        // Java's split drops empty pieces at the end, so that separators alone leave none at all.
        if expression.split("||").all(str::is_empty) {
            return Err(ExpressionError::OnlySeparators);
        }
        for tag in expression.split("||").map(java_trim).filter(|tag| !tag.is_empty()) {
            subscription.tags_set.insert(tag.to_owned());
            subscription.code_set.insert(java_hash(tag));
        }
        Ok(subscription)
    }

    /// A subscription of either type; no type, or a blank one, means tags.
    pub fn of(
        topic: &str,
        expression: &str,
        kind: Option<&str>,
    ) -> Result<SubscriptionData, ExpressionError> {
        match kind {
            None | Some(TAG | "") => Self::of_tags(topic, expression),
            Some(_) if expression.is_empty() => Err(ExpressionError::Empty),
            Some(kind) => Ok(SubscriptionData {
                expression_type: kind.to_owned(),
                sub_string: expression.to_owned(),
                topic: topic.to_owned(),
                ..Default::default()
            }),
        }
    }

    /// Whether every message is wanted.
    pub fn is_all(&self) -> bool {
        self.sub_string == SUB_ALL || (self.is_tags() && self.code_set.is_empty() && self.tags_set.is_empty())
    }

    pub fn is_tags(&self) -> bool {
        self.expression_type.is_empty() || self.expression_type.eq_ignore_ascii_case(TAG)
    }
}

/// Java's `String.trim`: everything up to and including the space counts as white space.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_as_java_does() {
        let all = SubscriptionData::of_tags("t", "").unwrap();
        assert_eq!((all.sub_string.as_str(), all.is_all()), ("*", true));
        assert!(SubscriptionData::of_tags("t", "*").unwrap().is_all());
        let two = SubscriptionData::of_tags("t", " TagA||\tTagB || || TagA").unwrap();
        assert_eq!(two.tags_set, ["TagA".to_owned(), "TagB".to_owned()].into());
        assert_eq!(two.code_set, [2598919, 2598920].into());
        assert!(!two.is_all());
        assert_eq!(SubscriptionData::of_tags("t", "||"), Err(ExpressionError::OnlySeparators));
        assert!(SubscriptionData::of_tags("t", " || ").unwrap().code_set.is_empty());
        // A single bar is part of a tag.
        assert!(SubscriptionData::of_tags("t", "a|b").unwrap().tags_set.contains("a|b"));
    }

    #[test]
    fn other_types_keep_their_text() {
        let sql = SubscriptionData::of("t", "a > 1", Some(SQL92)).unwrap();
        assert_eq!((sql.sub_string.as_str(), sql.is_tags(), sql.is_all()), ("a > 1", false, false));
        assert_eq!(SubscriptionData::of("t", "", Some(SQL92)), Err(ExpressionError::Empty));
        assert!(SubscriptionData::of("t", "", None).unwrap().is_all());
    }

    #[test]
    fn json_is_javas() {
        let subscription =
            SubscriptionData { sub_version: 5, ..SubscriptionData::of_tags("t", "TagA").unwrap() };
        let text = concat!(
            r#"{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","#,
            r#""subVersion":5,"tagsSet":["TagA"],"topic":"t"}"#
        );
        assert_eq!(String::from_utf8(crate::json_dialect::to_vec(&subscription)).unwrap(), text);
        assert_eq!(crate::json_dialect::read::<SubscriptionData>(text.as_bytes()).unwrap(), subscription);
    }

    proptest! {
        #[test]
        fn never_panics(expression in "[a|* \u{1}é]{0,12}") {
            if let Ok(subscription) = SubscriptionData::of_tags("t", &expression) {
                prop_assert!(subscription.code_set.len() <= subscription.tags_set.len());
            }
        }
    }
}

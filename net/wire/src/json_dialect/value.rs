//! A parsed body: values with the order of their keys kept.

use std::borrow::Cow;

/// Any value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Map(Vec<(Key<'a>, Value<'a>)>),
}

/// The key of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Key<'a> {
    Text(Cow<'a, str>),
    /// `0:` without quotes.
    Int(i64),
    /// A whole object before the colon.
    Map(Vec<(Key<'a>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The last value of this text key.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        match self {
            Value::Map(entries) => entries
                .iter()
                .rev()
                .find(|(key, _)| matches!(key, Key::Text(text) if text == name))
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

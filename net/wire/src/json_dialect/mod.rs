//! Bodies: JSON, and the two departures from it that Java peers write and Go clients parse as text.
//!
//! Owns: reading (`read`), writing (`write`) and the typed bodies.
//! The departures: integer map keys without quotes (`{0:"10.0.0.1:10911"}`) and whole objects as map keys
//! (`{{"brokerName":"b","queueId":0,"topic":"t"}:7}`). Reading takes both and standard JSON alike.
//! Invariants: output is compact, nulls are left out, bean properties are in alphabetical order (by the order of struct
//! fields here), maps are ordered. Input is bounded by depth and number of values, so that 16 MiB of brackets cannot
//! become gigabytes; unknown fields are skipped, `null` counts as absent, of a repeated field the last counts, numbers
//! may be in quotes and quoted values may be numbers.
//! On failure: a `BodyError` with the byte position, or the name of the field's expected type.

mod de;
mod list_reader;
mod parser;
mod ser;
mod value;

mod client;
mod group;
mod inspect;
mod register;
mod route;
mod stats;
mod topic;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

pub use client::*;
pub use group::*;
pub use inspect::*;
pub use list_reader::ListReader;
pub use parser::{MAX_DEPTH, MAX_VALUES, parse};
pub use register::*;
pub use route::*;
pub use stats::*;
pub use topic::*;
pub use value::{Key, Value};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Integer and object keys bare, as the reference's library writes them.
    Legacy,
    /// Standard JSON: all keys in quotes, all text outside ASCII escaped.
    Standard,
}

/// A body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("JSON body, byte {at}: {what}")]
    Syntax { at: usize, what: &'static str },
    #[error("JSON body: {0}")]
    Shape(String),
}

impl serde::de::Error for BodyError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        BodyError::Shape(message.to_string())
    }
}

/// Reads a typed body.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    // Bad UTF-8 is replaced, as Java does.
    let text = String::from_utf8_lossy(body);
    T::deserialize(de::ValueDeserializer(&parse(&text)?))
}

/// Appends a typed body.
pub fn write<T: Serialize>(out: &mut Vec<u8>, body: &T, dialect: Dialect) {
    let result = body.serialize(&mut ser::Writer { out, dialect });
    // The writer itself cannot fail, and the bodies here have no custom serializer that does.
    debug_assert!(result.is_ok(), "{result:?}");
}

/// A typed body as bytes, in the dialect that everything but a new client's route request gets.
pub fn to_vec<T: Serialize>(body: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, body, Dialect::Legacy);
    out
}

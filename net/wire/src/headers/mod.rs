//! Typed, borrowed views of ext fields, one struct per request header.
//!
//! Owns: the field names of each request and which of them must be there.
//! Invariants: a header borrows its text from the command. A field of type `Option`, a boolean, and a field with an
//! `or` default may be absent; of the others absence is an error, where the reference would fail on a null later.
//! Unknown fields are ignored. An empty value is a value; the binary header has none (it reads as absent).
//! On failure: a `FieldError` names the field and what is wrong with it.

mod consume;
mod manage;
mod namesrv;
mod pull;
mod send;
#[cfg(test)]
mod tests;

pub use consume::*;
pub use manage::*;
pub use namesrv::*;
pub use pull::*;
pub use send::{AUTO_CREATE_TOPIC, SendHeader};

use thiserror::Error;

use crate::command::ExtFields;
use crate::encode::FrameWriter;

/// A header field is missing or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("header field {field}: {problem}")]
pub struct FieldError {
    pub field: &'static str,
    pub problem: FieldProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldProblem {
    #[error("missing")]
    Missing,
    #[error("{value:?} is not {expected}")]
    Invalid { value: String, expected: &'static str },
}

impl FieldError {
    pub(crate) fn missing(field: &'static str) -> Self {
        Self { field, problem: FieldProblem::Missing }
    }

    pub(crate) fn invalid(field: &'static str, value: &str, expected: &'static str) -> Self {
        // A remark that quotes a value must not be made long by it.
        let value = value.chars().take(64).collect();
        Self { field, problem: FieldProblem::Invalid { value, expected } }
    }
}

/// A type that a header field can have.
pub(crate) trait Field<'a>: Sized {
    /// `text` is `None` if the field is absent.
    fn read(text: Option<&'a str>, name: &'static str) -> Result<Self, FieldError>;
    fn write(&self, name: &'static str, writer: &mut FrameWriter<'_>);
}

impl<'a> Field<'a> for &'a str {
    fn read(text: Option<&'a str>, name: &'static str) -> Result<Self, FieldError> {
        text.ok_or(FieldError::missing(name))
    }

    fn write(&self, name: &'static str, writer: &mut FrameWriter<'_>) {
        writer.ext(name, self);
    }
}

macro_rules! integer_field {
    ($($type:ty, $parse:path, $expected:literal;)*) => {$(
        impl<'a> Field<'a> for $type {
            fn read(text: Option<&'a str>, name: &'static str) -> Result<Self, FieldError> {
                let text = text.ok_or(FieldError::missing(name))?;
                $parse(text).ok_or_else(|| FieldError::invalid(name, text, $expected))
            }

            fn write(&self, name: &'static str, writer: &mut FrameWriter<'_>) {
                writer.ext_int(name, *self);
            }
        }
    )*};
}

integer_field! {
    i32, crate::command::parse_i32, "an integer of 32 bits";
    i64, crate::command::parse_i64, "an integer of 64 bits";
}

impl<'a> Field<'a> for bool {
    fn read(text: Option<&'a str>, _name: &'static str) -> Result<Self, FieldError> {
        Ok(text.is_some_and(crate::command::parse_bool))
    }

    fn write(&self, name: &'static str, writer: &mut FrameWriter<'_>) {
        writer.ext_bool(name, *self);
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn read(text: Option<&'a str>, name: &'static str) -> Result<Self, FieldError> {
        match text {
            Some(text) => T::read(Some(text), name).map(Some),
            None => Ok(None),
        }
    }

    fn write(&self, name: &'static str, writer: &mut FrameWriter<'_>) {
        if let Some(value) = self {
            value.write(name, writer);
        }
    }
}

/// Reads a field that has a default.
pub(crate) fn read_or<'a, T: Field<'a>>(
    text: Option<&'a str>,
    name: &'static str,
    default: T,
) -> Result<T, FieldError> {
    match text {
        Some(text) => T::read(Some(text), name),
        None => Ok(default),
    }
}

/// Defines a header: `field: type = "name on the wire"`, with `or value` where absence means that value.
macro_rules! header {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $wire:literal $(or $default:expr)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl<'a> $name<'a> {
            /// Reads the header from a command's ext fields.
            pub fn decode(ext: &'a $crate::command::ExtFields<'_>) -> Result<Self, $crate::headers::FieldError> {
                Ok(Self {
                    $($field: header!(@read ext, $wire $(, $default)?),)*
                })
            }

            /// Adds the header to a request or response being written.
            pub fn write(&self, writer: &mut $crate::encode::FrameWriter<'_>) {
                $($crate::headers::Field::write(&self.$field, $wire, writer);)*
            }
        }
    };
    (@read $ext:ident, $wire:literal) => { $crate::headers::Field::read($ext.get($wire), $wire)? };
    (@read $ext:ident, $wire:literal, $default:expr) => {
        $crate::headers::read_or($ext.get($wire), $wire, $default)?
    };
}
pub(crate) use header;

/// Fields that any request may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommonHeader<'a> {
    pub namespace: Option<&'a str>,
    /// The names in this request have the namespace already.
    pub namespaced: bool,
    /// The logical broker of a static topic.
    pub broker_name: Option<&'a str>,
    pub oneway: bool,
    /// Topic requests: answer for this broker only.
    pub local_only: bool,
}

impl<'a> CommonHeader<'a> {
    pub fn decode(ext: &'a ExtFields<'_>) -> Self {
        Self {
            namespace: ext.get("ns"),
            namespaced: ext.get_bool("nsd").unwrap_or(false),
            broker_name: ext.get("bname"),
            oneway: ext.get_bool("oway").unwrap_or(false),
            local_only: ext.get_bool("lo").unwrap_or(false),
        }
    }
}

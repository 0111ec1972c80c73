//! A remoting command: what a frame's header says, and its body.
//!
//! Owns: the decoded header and the flag bits. The two header forms are read by `json_header` and `binary_header`.
//! Invariants: the body is borrowed; of a JSON header text is borrowed too unless an escape or bad UTF-8 forces a copy,
//! of a binary one the ext fields are copied (`decode_in` puts copies into a caller's scratch buffer, so that the hot path
//! does not allocate).
//! On failure: a `HeaderError` means that the peer does not speak the protocol; the connection must be closed.

mod binary_header;
mod ext_fields;
mod json_header;
mod shape;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use thiserror::Error;

pub use ext_fields::{ExtFields, Scratch};
pub(crate) use ext_fields::{parse_bool, parse_i32, parse_i64};

use crate::frame::{FrameParts, Serialization};
use crate::version::Language;

/// Flag bit: this command answers another one.
pub const FLAG_RESPONSE: i32 = 1;
/// Flag bit: the sender wants no answer.
pub const FLAG_ONEWAY: i32 = 2;

/// A decoded request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    pub code: i32,
    pub flag: i32,
    pub opaque: i32,
    pub version: i32,
    pub language: Language,
    pub remark: Option<Cow<'a, str>>,
    pub ext: ExtFields<'a>,
    pub body: &'a [u8],
    /// How this header was written; says nothing about how to answer.
    pub serialization: Serialization,
}

/// The header of a frame cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("JSON header, byte {at}: {what}")]
    Json { at: usize, what: &'static str },
    #[error("binary header, byte {at}: {what}")]
    Binary { at: usize, what: &'static str },
}

impl<'a> Command<'a> {
    /// Decodes a frame's header. Allocates at most once or twice, for text that must be copied.
    pub fn decode(frame: FrameParts<'a>) -> Result<Command<'a>, HeaderError> {
        Self::read(frame, None)
    }

    /// Decodes a frame's header without allocating: fields and copied text replace what `scratch` held. It grows to the
    /// size of the largest header that needed it and may be used again as soon as the command is dropped.
    pub fn decode_in(frame: FrameParts<'a>, scratch: &'a mut Scratch) -> Result<Command<'a>, HeaderError> {
        Self::read(frame, Some(scratch))
    }

    fn read(frame: FrameParts<'a>, scratch: Option<&'a mut Scratch>) -> Result<Command<'a>, HeaderError> {
        let mut command = Command {
            code: 0,
            flag: 0,
            opaque: 0,
            version: 0,
            language: Language::Java,
            remark: None,
            ext: ExtFields::new(),
            body: frame.body,
            serialization: frame.serialization,
        };
        match frame.serialization {
            Serialization::Json => json_header::read(frame.header, scratch, &mut command)?,
            Serialization::Binary => binary_header::read(frame.header, scratch, &mut command)?,
        }
        Ok(command)
    }

    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

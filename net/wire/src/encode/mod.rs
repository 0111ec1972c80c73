//! Writes commands straight into a caller's buffer.
//!
//! Owns: `FrameWriter` (any request or response, field by field) and, in `send` and `pull`, the encoders of the hot
//! path, which write constant text around the values.
//! Invariants: output is only appended; the length fields are patched when the frame is finished; a writer that is
//! dropped unfinished, or fails, takes its bytes back, so that a buffer never holds half a frame. JSON keys are in the
//! reference's order (alphabetical at the top, as given inside extFields).
//! On failure: an `EncodeError` names the limit that the frame would have broken; nothing was written.

pub(crate) mod json_text;
mod pull;
mod send;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use pull::{PullAnswer, PullRequest, pull_request, pull_response};
pub use send::{SendAnswer, SendRequest, send_request, send_response};

use crate::command::{Command, FLAG_RESPONSE};
use crate::frame::{LENGTH_FIELD, MAX_FRAME_LENGTH, MAX_HEADER_LENGTH, PREFIX, Serialization};
use crate::version::{Language, ordinal};
use json_text::put_string;

/// A frame cannot be expressed on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("header of {0} bytes is over the {MAX_HEADER_LENGTH} that its length field can say")]
    HeaderTooLong(usize),
    #[error("frame of {0} bytes is over the limit of {MAX_FRAME_LENGTH}")]
    FrameTooLong(usize),
    #[error("code {0} does not fit into the 16 bits of a binary header")]
    CodeTooLarge(i32),
    #[error("ext field name of {0} bytes is over the 32767 of a binary header")]
    KeyTooLong(usize),
}

/// Writes one frame; made by `begin_response` and `begin_request`.
#[must_use = "a frame that is not finished is taken back"]
#[derive(Debug)]
pub struct FrameWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    serialization: Serialization,
    head: Head<'o>,
    /// Where the ext fields begin, once there is one.
    ext_at: Option<usize>,
    error: Option<EncodeError>,
    finished: bool,
}

/// What a header says besides its code and ext fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'o> {
    pub flag: i32,
    pub language: Language,
    pub opaque: i32,
    pub version: i32,
    pub remark: Option<&'o str>,
}

impl<'o> Head<'o> {
    pub(crate) fn response(opaque: i32, remark: Option<&'o str>) -> Self {
        Self { flag: FLAG_RESPONSE, language: Language::Java, opaque, version: ordinal::CURRENT, remark }
    }

    pub(crate) fn request(opaque: i32, flag: i32) -> Self {
        Self { flag, language: Language::Java, opaque, version: ordinal::CURRENT, remark: None }
    }

    /// Everything of a JSON header behind extFields.
    pub(crate) fn put_json_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"flag\":");
        put_int(out, self.flag);
        out.extend_from_slice(b",\"language\":\"");
        out.extend_from_slice(self.language.name().as_bytes());
        out.extend_from_slice(b"\",\"opaque\":");
        put_int(out, self.opaque);
        if let Some(remark) = self.remark {
            out.extend_from_slice(b",\"remark\":");
            put_string(out, remark);
        }
        out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
        put_int(out, self.version);
        out.push(b'}');
    }
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Starts a response to the request numbered `opaque`. `flag` may add bits; the response bit is always set.
pub fn begin_response<'o>(
    out: &'o mut Vec<u8>,
    serialization: Serialization,
    code: i32,
    opaque: i32,
    flag: i32,
    remark: Option<&'o str>,
) -> FrameWriter<'o> {
    let mut head = Head::response(opaque, remark);
    head.flag |= flag;
    FrameWriter::begin(out, serialization, code, head)
}

/// Starts a request as RingMQ itself makes it: language JAVA, current version.
pub fn begin_request(
    out: &mut Vec<u8>,
    serialization: Serialization,
    code: i32,
    opaque: i32,
    flag: i32,
) -> FrameWriter<'_> {
    FrameWriter::begin(out, serialization, code, Head::request(opaque, flag))
}

/// Writes a decoded command again, say to relay it or in a test.
pub fn encode_command(out: &mut Vec<u8>, command: &Command<'_>) -> Result<usize, EncodeError> {
    let start = out.len();
    let head = Head {
        flag: command.flag,
        language: command.language,
        opaque: command.opaque,
        version: command.version,
        remark: command.remark.as_deref(),
    };
    let mut writer = FrameWriter::begin(out, command.serialization, command.code, head);
    for (key, value) in command.ext.iter() {
        writer.ext(key, value);
    }
    let total = writer.finish(command.body)?;
    debug_assert_eq!(out.len() - start, total);
    Ok(total)
}

impl<'o> FrameWriter<'o> {
    fn begin(out: &'o mut Vec<u8>, serialization: Serialization, code: i32, head: Head<'o>) -> Self {
        let start = out.len();
        let mut error = None;
        out.extend_from_slice(&[0; PREFIX]);
        match serialization {
            Serialization::Json => {
                out.extend_from_slice(b"{\"code\":");
                put_int(out, code);
            }
            Serialization::Binary => {
                // The reference cuts the code to 16 bits; a peer would then see another request.
                let short = i16::try_from(code).unwrap_or_else(|_| {
                    error = Some(EncodeError::CodeTooLarge(code));
                    0
                });
                out.extend_from_slice(&short.to_be_bytes());
                out.push(head.language.code());
                out.extend_from_slice(&(head.version as i16).to_be_bytes());
                out.extend_from_slice(&head.opaque.to_be_bytes());
                out.extend_from_slice(&head.flag.to_be_bytes());
                let remark = head.remark.unwrap_or_default();
                out.extend_from_slice(&(remark.len() as i32).to_be_bytes());
                out.extend_from_slice(remark.as_bytes());
                out.extend_from_slice(&[0; 4]);
            }
        }
        let ext_at = (serialization == Serialization::Binary).then_some(out.len());
        Self { out, start, serialization, head, ext_at, error, finished: false }
    }

    /// Says who sends a request; JAVA and the current version unless told. Only before the first ext field.
    pub fn sender(mut self, language: Language, version: i32) -> Self {
        if self.serialization == Serialization::Binary {
            let at = self.start + PREFIX + 2;
            self.out[at] = language.code();
            self.out[at + 1..at + 3].copy_from_slice(&(version as i16).to_be_bytes());
        }
        self.head.language = language;
        self.head.version = version;
        self
    }

    /// Opens the ext fields even if none follows: some clients do not test for their absence.
    pub fn ensure_ext(&mut self) -> &mut Self {
        if self.ext_at.is_none() {
            self.out.extend_from_slice(b",\"extFields\":{");
            self.ext_at = Some(self.out.len());
        }
        self
    }

    /// Adds an ext field.
    pub fn ext(&mut self, key: &str, value: &str) -> &mut Self {
        match self.serialization {
            Serialization::Json => {
                self.json_key(key);
                put_string(self.out, value);
            }
            Serialization::Binary => self.binary_field(key, value.as_bytes()),
        }
        self
    }

    pub fn ext_opt(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.ext(key, value),
            None => self,
        }
    }

    /// Adds an integer ext field; on the wire it is text.
    pub fn ext_int(&mut self, key: &str, value: impl itoa::Integer) -> &mut Self {
        let mut digits = itoa::Buffer::new();
        self.ext_plain(key, digits.format(value))
    }

    pub fn ext_bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.ext_plain(key, if value { "true" } else { "false" })
    }

    fn ext_plain(&mut self, key: &str, value: &str) -> &mut Self {
        match self.serialization {
            Serialization::Json => {
                self.json_key(key);
                self.out.push(b'"');
                self.out.extend_from_slice(value.as_bytes());
                self.out.push(b'"');
            }
            Serialization::Binary => self.binary_field(key, value.as_bytes()),
        }
        self
    }

    fn json_key(&mut self, key: &str) {
        self.ensure_ext();
        if self.ext_at != Some(self.out.len()) {
            self.out.push(b',');
        }
        put_string(self.out, key);
        self.out.push(b':');
    }

    fn binary_field(&mut self, key: &str, value: &[u8]) {
        let Ok(length) = i16::try_from(key.len()) else {
            self.error = Some(EncodeError::KeyTooLong(key.len()));
            return;
        };
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(&(value.len() as i32).to_be_bytes());
        self.out.extend_from_slice(value);
    }

    /// Ends the frame with this body; tells the frame's whole length.
    pub fn finish(mut self, body: &[u8]) -> Result<usize, EncodeError> {
        self.close(body.len())?;
        self.out.extend_from_slice(body);
        Ok(self.out.len() - self.start)
    }

    /// Ends the frame's part in this buffer; `body` bytes must follow it on the wire from elsewhere.
    /// Tells the length of the part in this buffer.
    pub fn finish_with_external_body(mut self, body: usize) -> Result<usize, EncodeError> {
        self.close(body)?;
        Ok(self.out.len() - self.start)
    }

    fn close(&mut self, body: usize) -> Result<(), EncodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match self.serialization {
            Serialization::Json => {
                if self.ext_at.is_some() {
                    self.out.push(b'}');
                }
                self.head.put_json_tail(self.out);
            }
            Serialization::Binary => {
                let ext_at = self.ext_at.unwrap_or(self.out.len());
                let length = (self.out.len() - ext_at) as u32;
                self.out[ext_at - 4..ext_at].copy_from_slice(&length.to_be_bytes());
            }
        }
        patch_prefix(self.out, self.start, self.serialization, body)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// Fills in the prefix of the frame that begins at `start` and whose header ends the buffer.
pub(crate) fn patch_prefix(
    out: &mut [u8],
    start: usize,
    serialization: Serialization,
    body: usize,
) -> Result<(), EncodeError> {
    let header = out.len() - start - PREFIX;
    if header > MAX_HEADER_LENGTH {
        return Err(EncodeError::HeaderTooLong(header));
    }
    let length = PREFIX - LENGTH_FIELD + header + body;
    if length > MAX_FRAME_LENGTH {
        return Err(EncodeError::FrameTooLong(length));
    }
    let word = (serialization as u32) << 24 | header as u32;
    out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
    out[start + 4..start + PREFIX].copy_from_slice(&word.to_be_bytes());
    Ok(())
}

//! The protocol as bytes: frames, commands, codes, headers, the message layout, bodies.
//!
//! Owns: every byte that RingMQ puts on or takes off a socket, and the layout of a stored message.
//! Invariants: no I/O, no clock, no global state; whatever bytes come in, a decoder answers with a value or a
//! typed error and never panics; integers are big-endian and signed, text is UTF-8.
//! The hot path (frame, command, send and pull headers, record layout) borrows and does not allocate;
//! administration bodies (`json_dialect`) favour clarity.

pub mod batch;
pub mod code;
pub mod command;
pub mod encode;
pub mod frame;
pub mod headers;
pub mod json_dialect;
mod marks;
pub mod message;
pub mod message_id;
pub mod properties;
pub mod properties_text;
pub mod sql;
pub mod subscription;
pub mod tags;
pub mod version;

pub use command::{Command, ExtFields, Scratch};
pub use frame::{Cut, FrameError, FrameParts, Serialization, cut};
pub use version::Language;

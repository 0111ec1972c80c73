//! A received frame: borrowed from a receive buffer, or kept.
//!
//! Invariant: the bytes of both kinds are exactly one frame whose header has been decoded once without an error.

use ringmq_wire::{Command, Cut, cut};

/// A frame inside a receive buffer, for as long as the service looks at it.
pub struct FrameRef<'a> {
    /// The whole frame, its four length bytes included.
    pub raw: &'a [u8],
    pub command: Command<'a>,
}

impl FrameRef<'_> {
    /// A copy that outlives the receive buffer and may go to another core.
    pub fn to_owned_frame(&self) -> OwnedFrame {
        OwnedFrame(self.raw.into())
    }
}

/// A frame on its own memory.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedFrame(Box<[u8]>);

impl OwnedFrame {
    /// `None` if `bytes` is not exactly one frame with a decodable header.
    pub fn parse(bytes: impl Into<Box<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        match cut(&bytes) {
            Ok(Cut::Frame { total, frame }) if total == bytes.len() => Command::decode(frame).ok()?,
            _ => return None,
        };
        Some(Self(bytes))
    }

    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// Decodes the header, again each time.
    pub fn command(&self) -> Command<'_> {
        let Ok(Cut::Frame { frame, .. }) = cut(&self.0) else {
            unreachable!("an owned frame is one whole frame");
        };
        Command::decode(frame).expect("an owned frame's header was decoded before")
    }
}

impl std::fmt::Debug for OwnedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let command = self.command();
        write!(f, "OwnedFrame(code {}, opaque {}, {} bytes)", command.code, command.opaque, self.0.len())
    }
}

//! The frame cutter with a stream in arbitrary pieces: the frames are those of the whole stream, whatever the pieces.
//!
//! The first byte seeds where the stream is cut.

use ringmq_wire::frame::{MAX_FRAME_LENGTH, PREFIX};
use ringmq_wire::{Cut, FrameError, cut};

/// Bytes of each frame, and how the stream ends: an error, or so many bytes that are missing.
type Frames = (Vec<Vec<u8>>, Result<usize, FrameError>);

pub fn check(bytes: &[u8]) {
    let Some((seed, stream)) = bytes.split_first() else { return };
    let whole = at_once(stream);
    assert_eq!(in_pieces(stream, u32::from(*seed) + 1), whole);
    assert_eq!(in_pieces(stream, 0), whole);
    let framed: usize = whole.0.iter().map(Vec::len).sum();
    assert!(framed <= stream.len());
}

/// What `cut` says, checked against the bytes.
fn first(bytes: &[u8]) -> Result<Cut<'_>, FrameError> {
    let found = cut(bytes);
    match &found {
        Ok(Cut::Need(needed)) => {
            assert!(*needed > bytes.len(), "asks for {needed} bytes and has {}", bytes.len());
            assert!(*needed <= MAX_FRAME_LENGTH + 4, "asks for {needed} bytes");
        }
        Ok(Cut::Frame { total, frame }) => {
            assert_eq!(*total, PREFIX + frame.header.len() + frame.body.len());
            assert!(bytes[..*total].ends_with(frame.body));
            assert!(bytes[PREFIX..*total].starts_with(frame.header));
        }
        Err(_) => {}
    }
    found
}

fn at_once(stream: &[u8]) -> Frames {
    let (mut frames, mut rest) = (Vec::new(), stream);
    loop {
        match first(rest) {
            Ok(Cut::Frame { total, .. }) => {
                frames.push(rest[..total].to_vec());
                rest = &rest[total..];
            }
            Ok(Cut::Need(needed)) => return (frames, Ok(needed - rest.len())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

/// As a connection does it: pieces of drawn lengths, single bytes for the seed 0.
fn in_pieces(stream: &[u8], seed: u32) -> Frames {
    let (mut frames, mut inbox, mut state) = (Vec::new(), Vec::new(), seed);
    let mut rest = stream;
    loop {
        match first(&inbox) {
            Ok(Cut::Frame { total, .. }) => frames.push(inbox.drain(..total).collect()),
            Ok(Cut::Need(needed)) if rest.is_empty() => return (frames, Ok(needed - inbox.len())),
            Ok(Cut::Need(_)) => {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let most = if seed == 0 { 1 } else { 1 + (state >> 24) as usize % 23 };
                let (piece, later) = rest.split_at(most.min(rest.len()));
                inbox.extend_from_slice(piece);
                rest = later;
            }
            Err(error) => return (frames, Err(error)),
        }
    }
}

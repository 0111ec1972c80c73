//! Cuts frames out of a byte stream.
//!
//! Owns: the eight bytes before a header: `length` (counts all after itself) and a word of one byte header
//! serialization and three bytes header length.
//! Invariants: a returned frame lies wholly inside the given buffer; `total` is what to consume.
//! On failure: every `FrameError` means that the stream's framing is lost and the connection must be closed.

use thiserror::Error;

/// Largest value of the length field that is accepted, as the reference's `frameMaxLength` default.
pub const MAX_FRAME_LENGTH: usize = 16 * 1024 * 1024;
/// Size of the length field itself, which the length does not count.
pub const LENGTH_FIELD: usize = 4;
/// Length field and header word.
pub const PREFIX: usize = 8;
/// Largest header that the three length bytes can describe.
pub const MAX_HEADER_LENGTH: usize = 0x00FF_FFFF;

const _: () = assert!(PREFIX == LENGTH_FIELD + 4);

/// How a header is written. Decided per frame by its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Serialization {
    #[default]
    Json = 0,
    /// RocketMQ's own binary form ("ROCKETMQ"). Codes over 32767 do not survive it.
    Binary = 1,
}

/// One frame, borrowed from the buffer that it was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameParts<'a> {
    pub serialization: Serialization,
    pub header: &'a [u8],
    pub body: &'a [u8],
}

/// What `cut` found at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut<'a> {
    /// The buffer must hold at least this many bytes before it is worth asking again.
    Need(usize),
    /// A whole frame; `total` bytes belong to it.
    Frame { total: usize, frame: FrameParts<'a> },
}

/// The framing of a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("frame length {0} is over the limit of {MAX_FRAME_LENGTH} bytes")]
    TooLong(u32),
    #[error("frame length {0} is too small for a header word")]
    TooShort(i32),
    #[error("header length {header} is over the {available} bytes that the frame has left")]
    HeaderTooLong { header: usize, available: usize },
    #[error("unknown header serialization {0}")]
    UnknownSerialization(u8),
}

/// Cuts the first frame off `buf`.
pub fn cut(buf: &[u8]) -> Result<Cut<'_>, FrameError> {
    let Some(length) = buf.first_chunk::<4>() else {
        return Ok(Cut::Need(PREFIX));
    };
    let length = i32::from_be_bytes(*length);
    if length < 4 {
        return Err(FrameError::TooShort(length));
    }
    let length = length as usize;
    if length > MAX_FRAME_LENGTH {
        return Err(FrameError::TooLong(length as u32));
    }
    let total = LENGTH_FIELD + length;
    let Some(prefix) = buf.first_chunk::<PREFIX>() else {
        return Ok(Cut::Need(total));
    };
    // Checked before the frame is complete: a bad word must not make a connection wait for 16 MiB.
    let serialization = match prefix[4] {
        0 => Serialization::Json,
        1 => Serialization::Binary,
        other => return Err(FrameError::UnknownSerialization(other)),
    };
    let header = u32::from_be_bytes([0, prefix[5], prefix[6], prefix[7]]) as usize;
    if header > length - 4 {
        return Err(FrameError::HeaderTooLong { header, available: length - 4 });
    }
    if buf.len() < total {
        return Ok(Cut::Need(total));
    }
    let (header, body) = buf[PREFIX..total].split_at(header);
    Ok(Cut::Frame { total, frame: FrameParts { serialization, header, body } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(serialization: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = ((4 + header.len() + body.len()) as i32).to_be_bytes().to_vec();
        out.extend_from_slice(&((serialization as u32) << 24 | header.len() as u32).to_be_bytes());
        out.extend_from_slice(header);
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn asks_for_what_is_missing() {
        let whole = frame(0, b"{}", b"body");
        assert_eq!(cut(&[]), Ok(Cut::Need(PREFIX)));
        assert_eq!(cut(&whole[..3]), Ok(Cut::Need(PREFIX)));
        for n in 4..whole.len() {
            assert_eq!(cut(&whole[..n]), Ok(Cut::Need(whole.len())), "{n} bytes");
        }
    }

    #[test]
    fn cuts_the_first_of_two() {
        let first = frame(1, b"hh", b"bbb");
        let mut two = first.clone();
        two.extend_from_slice(&frame(0, b"", b""));
        let Ok(Cut::Frame { total, frame }) = cut(&two) else { panic!("no frame") };
        assert_eq!(total, first.len());
        assert_eq!(frame, FrameParts { serialization: Serialization::Binary, header: b"hh", body: b"bbb" });
        let Ok(Cut::Frame { total, frame }) = cut(&two[total..]) else { panic!("no frame") };
        assert_eq!((total, frame.header.len(), frame.body.len()), (8, 0, 0));
    }

    #[test]
    fn refuses_lost_framing() {
        assert_eq!(cut(&(-1i32).to_be_bytes()), Err(FrameError::TooShort(-1)));
        assert_eq!(cut(&3i32.to_be_bytes()), Err(FrameError::TooShort(3)));
        let long = (MAX_FRAME_LENGTH as i32 + 1).to_be_bytes();
        assert_eq!(cut(&long), Err(FrameError::TooLong(MAX_FRAME_LENGTH as u32 + 1)));
        assert_eq!(cut(&(MAX_FRAME_LENGTH as i32).to_be_bytes()), Ok(Cut::Need(MAX_FRAME_LENGTH + 4)));
        assert_eq!(cut(&frame(7, b"{}", b"")), Err(FrameError::UnknownSerialization(7)));
        let mut bad = frame(0, b"{}", b"");
        bad[7] = 3;
        assert_eq!(cut(&bad), Err(FrameError::HeaderTooLong { header: 3, available: 2 }));
        assert_eq!(cut(b"GET / HTTP/1.1\r\n"), Err(FrameError::TooLong(0x4745_5420)));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_leaves_the_buffer(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Cut::Frame { total, frame }) = cut(&bytes) {
                prop_assert!(total <= bytes.len());
                prop_assert_eq!(total, PREFIX + frame.header.len() + frame.body.len());
            }
        }

        #[test]
        fn round_trips(header in proptest::collection::vec(any::<u8>(), 0..64),
                       body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = frame(0, &header, &body);
            let cut = cut(&bytes).unwrap();
            let expected = FrameParts { serialization: Serialization::Json, header: &header, body: &body };
            prop_assert_eq!(cut, Cut::Frame { total: bytes.len(), frame: expected });
        }
    }
}

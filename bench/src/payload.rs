//! Message bodies that can be checked: `magic4 | length4 | sequence8 | intended time8 | filler`.
//!
//! The filler is a window into a fixed pseudo-random table, chosen by the sequence number: cheap to
//! write, and a shifted, stale or mixed-up body does not match. Bodies shorter than the head are a
//! prefix of it and carry no time.

/// Bytes in front of the filler.
pub const HEAD: usize = 24;
const MAGIC: [u8; 4] = *b"RQB1";
/// Prime, so that neighbouring sequence numbers begin at unrelated places.
const TABLE: usize = 65_537;

pub struct Payload {
    table: Vec<u8>,
}

/// What a verified body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub sequence: u64,
    /// Intended send time, nanoseconds of the sender's clock.
    pub time: u64,
}

impl Payload {
    /// For bodies up to `size` bytes.
    pub fn new(size: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let table = (0..TABLE + size)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        Self { table }
    }

    /// Appends one body of `size` bytes.
    pub fn write(&self, out: &mut Vec<u8>, size: usize, stamp: Stamp) {
        let mut head = [0u8; HEAD];
        head[..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&(size as u32).to_be_bytes());
        head[8..16].copy_from_slice(&stamp.sequence.to_be_bytes());
        head[16..].copy_from_slice(&stamp.time.to_be_bytes());
        out.extend_from_slice(&head[..size.min(HEAD)]);
        if size > HEAD {
            out.extend_from_slice(self.filler(stamp.sequence, size - HEAD));
        }
    }

    /// `None`: not one of our bodies, or too short to carry a stamp. `Err`: one of ours, damaged.
    pub fn verify(&self, body: &[u8]) -> Result<Option<Stamp>, String> {
        if body.len() < HEAD || body[..4] != MAGIC {
            return Ok(None);
        }
        let word = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let stamp = Stamp { sequence: word(8), time: word(16) };
        let length = (word(0) & 0xFFFF_FFFF) as usize;
        if length != body.len() {
            return Err(format!("body of {} bytes was sent with {length}", body.len()));
        }
        let filler = &body[HEAD..];
        if filler.len() + TABLE > self.table.len() {
            return Ok(Some(stamp));
        }
        if filler != self.filler(stamp.sequence, filler.len()) {
            return Err(format!("body of message {} does not hold what was sent", stamp.sequence));
        }
        Ok(Some(stamp))
    }

    fn filler(&self, sequence: u64, len: usize) -> &[u8] {
        let at = (sequence.wrapping_mul(7_919) % TABLE as u64) as usize;
        &self.table[at..at + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_verifies_and_a_changed_one_does_not() {
        let payload = Payload::new(4096);
        for size in [HEAD, HEAD + 1, 128, 4096] {
            let stamp = Stamp { sequence: 12_345 + size as u64, time: 99 };
            let mut body = Vec::new();
            payload.write(&mut body, size, stamp);
            assert_eq!(body.len(), size);
            assert_eq!(payload.verify(&body), Ok(Some(stamp)));
            if size > HEAD {
                body[size - 1] ^= 1;
                assert!(payload.verify(&body).is_err());
                body[size - 1] ^= 1;
                body.pop();
                assert!(payload.verify(&body).is_err());
            }
        }
        assert_eq!(payload.verify(b"somebody else's message, long enough"), Ok(None));
    }
}

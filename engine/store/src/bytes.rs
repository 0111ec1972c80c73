//! A record's bytes where they were read: in one buffer, or over the border of two.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use ringmq_io::AlignedBuf;

/// Part of a shared buffer.
#[derive(Clone)]
pub struct Part {
    pub buffer: Rc<AlignedBuf>,
    pub range: Range<usize>,
}

impl Part {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

pub struct RecordBytes {
    pub first: Part,
    pub second: Option<Part>,
}

impl RecordBytes {
    pub fn crc32c(&self) -> u32 {
        let crc = crc32c::crc32c(self.first.bytes());
        self.second.as_ref().map_or(crc, |part| crc32c::crc32c_append(crc, part.bytes()))
    }

    /// In one piece.
    pub fn contiguous(&self) -> Cow<'_, [u8]> {
        match &self.second {
            None => Cow::Borrowed(self.first.bytes()),
            Some(part) => Cow::Owned([self.first.bytes(), part.bytes()].concat()),
        }
    }
}

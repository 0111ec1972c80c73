//! Where a text has either of two bytes, found 64 bytes at a time.
//!
//! The strings of a header and the properties of a message are short (a median of ten bytes), too short for a search of
//! their own to pay for its start: all bytes are compared in wide registers, once, and what was found is handed out in
//! order.
//! Invariant: each mark is given out or dropped exactly once; whoever walks the text takes every mark that it passes.

/// Bytes looked at together: one bit of a register each.
const BLOCK: usize = 64;

/// The places of the bytes `A` and `B`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks<'a, const A: u8, const B: u8> {
    bytes: &'a [u8],
    /// Where the block begins that `mask` is of.
    block: usize,
    /// The marks of the block that were not taken yet.
    mask: u64,
}

impl<'a, const A: u8, const B: u8> Marks<'a, A, B> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, block: 0, mask: mask_at::<A, B>(bytes, 0) }
    }

    /// Takes the next mark: its position, or the text's length if there is none.
    #[inline]
    pub fn take(&mut self) -> usize {
        while self.mask == 0 {
            if self.block + BLOCK >= self.bytes.len() {
                return self.bytes.len();
            }
            self.load();
        }
        let at = self.block + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        at
    }

    /// Goes on with the marks from `at` on, wherever it was before.
    #[inline]
    pub fn seek(&mut self, at: usize) {
        self.block = at;
        self.mask = mask_at::<A, B>(self.bytes, at);
    }

    /// Drops the mark at `at`, if there is one; all before it were taken.
    #[inline]
    pub fn drop_at(&mut self, at: usize) {
        while at >= self.block + BLOCK {
            debug_assert_eq!(self.mask, 0, "a mark was passed");
            self.load();
        }
        self.mask &= !(1 << (at - self.block));
    }

    #[inline]
    fn load(&mut self) {
        self.block += BLOCK;
        self.mask = mask_at::<A, B>(self.bytes, self.block);
    }
}

#[inline]
fn mask_at<const A: u8, const B: u8>(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(block) => mask_of::<A, B>(block),
        None => {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            // What was made up to fill the block is no mark.
            mask_of::<A, B>(&block) & !(u64::MAX << rest.len())
        }
    }
}

/// A bit for each byte that is `A` or `B`.
#[cfg(target_arch = "x86_64")]
#[inline]
fn mask_of<const A: u8, const B: u8>(block: &[u8; BLOCK]) -> u64 {
    // SAFETY: every x86-64 processor has SSE2.
    #[allow(unsafe_code)]
    unsafe {
        mask_with_sse2::<A, B>(block)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn mask_with_sse2<const A: u8, const B: u8>(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};
    let (a, b) = (_mm_set1_epi8(A as i8), _mm_set1_epi8(B as i8));
    let mut mask = 0;
    for (i, part) in block.as_chunks::<16>().0.iter().enumerate() {
        let words = part.as_chunks::<8>().0;
        let bytes = _mm_set_epi64x(i64::from_le_bytes(words[1]), i64::from_le_bytes(words[0]));
        let found = _mm_or_si128(_mm_cmpeq_epi8(bytes, a), _mm_cmpeq_epi8(bytes, b));
        mask |= u64::from(_mm_movemask_epi8(found) as u16) << (16 * i);
    }
    mask
}

/// A bit for each byte that is `A` or `B`.
#[cfg(not(target_arch = "x86_64"))]
fn mask_of<const A: u8, const B: u8>(block: &[u8; BLOCK]) -> u64 {
    block.iter().enumerate().fold(0, |mask, (i, byte)| mask | u64::from(*byte == A || *byte == B) << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<const A: u8, const B: u8>(bytes: &[u8], dropped: &[bool]) -> Result<(), TestCaseError> {
        let plain: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == A || bytes[at] == B).collect();
        let mut marks = Marks::<A, B>::new(bytes);
        let mut i = 0;
        while i < plain.len() {
            prop_assert_eq!(marks.take(), plain[i]);
            let next = plain[i] + 1;
            i += 1;
            if dropped[next % dropped.len()] && next < bytes.len() {
                marks.drop_at(next);
                i += usize::from(plain.get(i) == Some(&next));
            }
        }
        prop_assert_eq!(marks.take(), bytes.len());
        prop_assert_eq!(marks.take(), bytes.len());
        for at in (0..bytes.len()).rev() {
            marks.seek(at);
            prop_assert_eq!(
                marks.take(),
                plain.iter().copied().find(|&mark| mark >= at).unwrap_or(bytes.len())
            );
        }
        Ok(())
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![20 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 2 => 0u8..3];
        proptest::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in text(), dropped in proptest::collection::vec(any::<bool>(), 200)) {
            check::<b'"', b'\\'>(&bytes, &dropped)?;
            check::<1, 2>(&bytes, &dropped)?;
            check::<0, 255>(&bytes, &dropped)?;
        }
    }
}

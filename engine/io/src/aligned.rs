//! Buffers whose start and capacity suit O_DIRECT.

use std::ops::{Deref, DerefMut};

/// Granularity of direct I/O: offset, length and memory address are multiples of it.
pub const BLOCK: usize = 4096;

const _: () = assert!(BLOCK.is_power_of_two());

/// Heap memory at a [`BLOCK`] boundary whose length is a multiple of [`BLOCK`]. The address does not
/// change when the value moves.
pub struct AlignedBuf {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// Zeroed; `len` is rounded up to the next multiple of [`BLOCK`].
    pub fn zeroed(len: usize) -> Self {
        let len = len.next_multiple_of(BLOCK);
        let memory = vec![0u8; len + BLOCK - 1];
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start + len <= memory.len());
        Self { memory, start, len }
    }

    /// A copy of `bytes`, padded with zeros to a whole number of blocks.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        buf
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_length_are_aligned() {
        for len in [1, 511, 4096, 4097, 1 << 20] {
            let mut buf = AlignedBuf::zeroed(len);
            assert_eq!(buf.as_ptr() as usize % BLOCK, 0);
            assert_eq!(buf.len(), len.next_multiple_of(BLOCK));
            let end = buf.len() - 1;
            buf[end] = 7;
            let at = buf.as_ptr();
            let moved = buf;
            assert_eq!(moved.as_ptr(), at);
            assert_eq!(moved[end], 7);
        }
    }
}

//! A long body in parts, for answers that are made bit by bit.
//!
//! Invariant: what has been put does not move when more comes, so that no turn copies megabytes to grow a buffer.

use ringmq_io::Chunk;

const PART_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub struct Parts {
    parts: Vec<Vec<u8>>,
    bytes: usize,
}

impl Parts {
    pub fn put(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(part) if part.len() + bytes.len() <= part.capacity() => part.extend_from_slice(bytes),
            _ => {
                let mut part = Vec::with_capacity(PART_BYTES.max(bytes.len()));
                part.extend_from_slice(bytes);
                self.parts.push(part);
            }
        }
        self.bytes += bytes.len();
    }

    /// Of all that was put.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn into_chunks<X>(self) -> Vec<Chunk<X>> {
        self.parts.into_iter().map(Chunk::Owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_put_and_never_move() {
        let (mut parts, mut whole) = (Parts::default(), Vec::new());
        let mut began = Vec::new();
        for i in 0..30_000_usize {
            let some = vec![i as u8; if i == 7 { 3 * PART_BYTES } else { i % 40 }];
            parts.put(&some);
            whole.extend_from_slice(&some);
            began
                .resize(parts.parts.len(), parts.parts.last().map_or(std::ptr::null(), |part| part.as_ptr()));
        }
        assert!(parts.parts.iter().map(|part| part.as_ptr()).eq(began));
        assert_eq!(parts.bytes(), whole.len());
        let chunks: Vec<Chunk<Vec<u8>>> = parts.into_chunks();
        let told: Vec<u8> = chunks
            .into_iter()
            .flat_map(|chunk| match chunk {
                Chunk::Owned(bytes) => bytes,
                _ => panic!("only owned parts are put"),
            })
            .collect();
        assert!(told == whole);
    }
}

//! The body of a long answer, in pieces.
//!
//! Invariant: a piece is at most `PIECE` and what one write adds, so that no write copies megabytes to grow a buffer, and
//! a piece is what one send takes.

use std::fmt;

/// One vectored send takes some of them; small enough to be written and copied in a turn.
const PIECE: usize = 64 * 1024;

#[derive(Default)]
pub struct Pages {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Pages {
    pub fn len(&self) -> usize {
        self.full.iter().map(Vec::len).sum::<usize>() + self.last.len()
    }

    pub fn into_pieces(mut self) -> Vec<Vec<u8>> {
        if !self.last.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }
}

impl fmt::Write for Pages {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.last.len() >= PIECE {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl From<String> for Pages {
    fn from(text: String) -> Self {
        Self { full: Vec::new(), last: text.into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn pieces_are_the_text() {
        let (mut pages, mut text) = (Pages::default(), String::new());
        for i in 0..50_000 {
            writeln!(pages, "line {i}").unwrap();
            writeln!(text, "line {i}").unwrap();
        }
        assert_eq!(pages.len(), text.len());
        let pieces = pages.into_pieces();
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() < PIECE + 100));
        assert_eq!(pieces.concat(), text.as_bytes());
    }
}

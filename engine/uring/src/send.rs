//! Vectored sends.
//!
//! Invariants: the chunks, and with them their leases, are owned by the operation until the kernel has
//! taken all bytes or failed; one send a stream is in flight (two would interleave). A send whose
//! future was dropped leaves the stream broken: nobody knows how much of the frame went out.

use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use ringmq_io::Chunk;
use ringmq_io::limits::SEND_PIECES_MAX;

use crate::region::UringExtent;

/// WAITALL: the kernel itself goes on after a partial send. NOSIGNAL: no SIGPIPE.
const FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

pub(crate) struct SendOp {
    fd: RawFd,
    pub(crate) chunks: Vec<Chunk<UringExtent>>,
    /// First chunk that is not sent completely, and how many of its bytes are.
    chunk: usize,
    offset: usize,
    /// Bytes that the last entry offered.
    offered: usize,
    pieces: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl SendOp {
    pub(crate) fn new() -> Box<Self> {
        // SAFETY: a msghdr of zeros is a valid empty one.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self {
            fd: -1,
            chunks: Vec::new(),
            chunk: 0,
            offset: 0,
            offered: 0,
            pieces: Vec::new(),
            header,
        })
    }

    /// Takes the chunks, leaving an empty vector with capacity. False if they hold no byte.
    pub(crate) fn load(&mut self, fd: RawFd, chunks: &mut Vec<Chunk<UringExtent>>) -> bool {
        assert!(self.chunks.is_empty(), "a send under way on this stream");
        (self.fd, self.chunk, self.offset) = (fd, 0, 0);
        std::mem::swap(&mut self.chunks, chunks);
        self.skip_sent(0);
        self.chunk < self.chunks.len()
    }

    /// Drops chunks and leases; keeps the small vectors for the next send.
    pub(crate) fn unload(&mut self) {
        self.chunks.clear();
        self.pieces.clear();
        if self.pieces.capacity() > 64 {
            self.pieces = Vec::new();
        }
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        self.pieces.clear();
        self.offered = 0;
        let mut offset = self.offset;
        for chunk in self.chunks[self.chunk..].iter() {
            let rest = &chunk.as_ref()[offset..];
            offset = 0;
            if rest.is_empty() {
                continue;
            }
            if self.pieces.len() == SEND_PIECES_MAX {
                break;
            }
            self.pieces.push(libc::iovec { iov_base: rest.as_ptr() as *mut _, iov_len: rest.len() });
            self.offered += rest.len();
        }
        assert!(self.offered > 0, "a send without bytes");
        if let [one] = self.pieces[..]
            && let Ok(len) = u32::try_from(one.iov_len)
        {
            return opcode::Send::new(types::Fd(self.fd), one.iov_base.cast(), len).flags(FLAGS).build();
        }
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = self.pieces.len();
        opcode::SendMsg::new(types::Fd(self.fd), &self.header).flags(FLAGS as u32).build()
    }

    /// Counts what was sent; true if another round must follow.
    pub(crate) fn goes_on(&mut self, result: i32) -> bool {
        match result {
            sent if sent > 0 => {
                self.skip_sent(sent as usize);
                self.chunk < self.chunks.len()
            }
            error => matches!(-error, libc::EINTR | libc::EAGAIN),
        }
    }

    /// The send's result once it does not go on: zero when all is sent.
    pub(crate) fn result(&self, result: i32) -> i32 {
        match result {
            0 => -libc::EPIPE,
            sent if sent > 0 && self.chunk == self.chunks.len() => 0,
            sent if sent > 0 => -libc::ECANCELED,
            error => error,
        }
    }

    fn skip_sent(&mut self, mut sent: usize) {
        while let Some(chunk) = self.chunks.get(self.chunk) {
            let rest = chunk.len() - self.offset;
            if sent < rest {
                self.offset += sent;
                return;
            }
            sent -= rest;
            self.chunk += 1;
            self.offset = 0;
        }
        assert_eq!(sent, 0, "more bytes sent than offered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(lens: &[usize]) -> Vec<Chunk<UringExtent>> {
        lens.iter().map(|&len| Chunk::Owned(vec![1; len])).collect()
    }

    #[test]
    fn a_partial_send_goes_on_inside_the_right_chunk() {
        let mut op = SendOp::new();
        let mut input = chunks(&[0, 10, 0, 20, 5]);
        assert!(op.load(3, &mut input));
        assert!(input.is_empty());
        op.entry();
        assert_eq!((op.offered, op.pieces.len()), (35, 3));
        assert!(op.goes_on(10));
        op.entry();
        assert_eq!((op.offered, op.pieces.len()), (25, 2));
        assert!(op.goes_on(24));
        op.entry();
        assert_eq!((op.offered, op.pieces.len()), (1, 1));
        assert!(!op.goes_on(1));
        assert_eq!(op.result(1), 0);
    }

    #[test]
    fn more_pieces_than_the_kernel_takes_go_in_rounds() {
        let mut op = SendOp::new();
        let mut input = chunks(&vec![3; SEND_PIECES_MAX + 10]);
        assert!(op.load(3, &mut input));
        op.entry();
        assert_eq!(op.pieces.len(), SEND_PIECES_MAX);
        assert!(op.goes_on(op.offered as i32));
        op.entry();
        assert_eq!(op.pieces.len(), 10);
        assert!(!op.goes_on(30));
    }

    #[test]
    fn errors_end_it_and_interruptions_do_not() {
        let mut op = SendOp::new();
        assert!(op.load(3, &mut chunks(&[4])));
        assert!(op.goes_on(-libc::EINTR));
        assert!(!op.goes_on(-libc::EPIPE));
        assert_eq!(op.result(-libc::EPIPE), -libc::EPIPE);
        op.unload();
        assert!(!op.load(3, &mut chunks(&[0, 0])), "no byte to send");
    }
}

//! What is in flight: each operation owns the memory that the kernel uses, until its completion.
//!
//! Invariants: a token is the slot's number and a sequence number, so that a late cancellation never
//! hits an operation that took the slot over; an operation whose future was dropped stays here,
//! detached, until the kernel is done with it.

use std::os::fd::RawFd;
use std::rc::{Rc, Weak};
use std::task::Waker;

use io_uring::{opcode, squeue, types};
use ringmq_io::AlignedBuf;
use slab::Slab;
use socket2::SockAddr;

use crate::accept::ListenerState;
use crate::buf_ring::GROUP;
use crate::fd::RingFd;
use crate::send::SendOp;
use crate::stream::StreamState;

/// Names an operation in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

/// Completions of cancellations and closes: nobody waits for them.
pub(crate) const UNWATCHED: u64 = u64::MAX;

impl Token {
    fn new(slot: usize, sequence: u32) -> Self {
        let slot = u32::try_from(slot).expect("fewer than 2^32 operations in flight");
        Self(u64::from(sequence) << 32 | u64::from(slot))
    }
    pub(crate) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
    pub(crate) fn raw(self) -> u64 {
        self.0
    }
    fn slot(self) -> usize {
        self.0 as u32 as usize
    }
    fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

pub(crate) enum Op {
    /// Multishot: one completion a connection.
    Accept {
        listener: Weak<ListenerState>,
        fd: RawFd,
    },
    /// One completion a filled buffer; multishot unless the pool is low.
    Recv {
        stream: Weak<StreamState>,
        fd: RawFd,
        multishot: bool,
    },
    Send(Box<SendOp>),
    Connect {
        fd: Rc<RingFd>,
        addr: Box<SockAddr>,
    },
    Read {
        fd: Rc<RingFd>,
        pos: u64,
        buf: AlignedBuf,
        done: usize,
    },
    /// `synced`: done when the device has it for good (RWF_DSYNC).
    Write {
        fd: Rc<RingFd>,
        pos: u64,
        buf: AlignedBuf,
        done: usize,
        synced: bool,
    },
    /// From memory that lives as long as the process; `slot` names its registration.
    WriteMapped {
        fd: Rc<RingFd>,
        pos: u64,
        from: *const u8,
        len: u32,
        slot: Option<u16>,
    },
    Fsync {
        fd: Rc<RingFd>,
        data_only: bool,
    },
    Fallocate {
        fd: Rc<RingFd>,
        pos: u64,
        len: u64,
    },
    /// A counter (eventfd): eight bytes.
    ReadCounter {
        fd: RawFd,
        value: Box<u64>,
    },
}

/// One operation moves at most this much; the kernel's own bound is 2 GiB less a page.
pub(crate) const TRANSFER_MAX: usize = 1 << 30;

impl Op {
    /// The submission entry. Everything it points to is owned by `self` on the heap (or outlives the
    /// process), so `self` may move.
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        match self {
            Op::Accept { fd, .. } => {
                opcode::AcceptMulti::new(types::Fd(*fd)).flags(libc::SOCK_CLOEXEC).build()
            }
            Op::Recv { fd, multishot: true, .. } => opcode::RecvMulti::new(types::Fd(*fd), GROUP).build(),
            Op::Recv { fd, multishot: false, .. } => {
                opcode::Recv::new(types::Fd(*fd), std::ptr::null_mut(), 0)
                    .buf_group(GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
            Op::Send(send) => send.entry(),
            Op::Connect { fd, addr } => {
                opcode::Connect::new(types::Fd(fd.raw()), addr.as_ptr().cast(), addr.len()).build()
            }
            Op::Read { fd, pos, buf, done } => {
                let rest = &mut buf[*done..];
                let len = rest.len().min(TRANSFER_MAX) as u32;
                opcode::Read::new(types::Fd(fd.raw()), rest.as_mut_ptr(), len)
                    .offset(*pos + *done as u64)
                    .build()
            }
            Op::Write { fd, pos, buf, done, synced } => {
                let rest = &buf[*done..];
                let len = rest.len().min(TRANSFER_MAX) as u32;
                opcode::Write::new(types::Fd(fd.raw()), rest.as_ptr(), len)
                    .offset(*pos + *done as u64)
                    .rw_flags(if *synced { libc::RWF_DSYNC } else { 0 })
                    .build()
            }
            Op::WriteMapped { fd, pos, from, len, slot: Some(slot) } => {
                opcode::WriteFixed::new(types::Fd(fd.raw()), *from, *len, *slot).offset(*pos).build()
            }
            Op::WriteMapped { fd, pos, from, len, slot: None } => {
                opcode::Write::new(types::Fd(fd.raw()), *from, *len).offset(*pos).build()
            }
            Op::Fsync { fd, data_only } => {
                let flags = if *data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
                opcode::Fsync::new(types::Fd(fd.raw())).flags(flags).build()
            }
            Op::Fallocate { fd, pos, len } => {
                opcode::Fallocate::new(types::Fd(fd.raw()), *len).offset(*pos).build()
            }
            Op::ReadCounter { fd, value } => {
                opcode::Read::new(types::Fd(*fd), std::ptr::from_mut(&mut **value).cast(), 8).build()
            }
        }
    }
}

pub(crate) enum Phase {
    Waiting(Option<Waker>),
    Done(i32),
    /// Nobody waits; freed by its completion.
    Detached,
    /// Accept and receive: completions go to the listener or stream.
    Streaming,
}

pub(crate) struct Flight {
    sequence: u32,
    pub(crate) op: Op,
    pub(crate) phase: Phase,
}

/// All operations in the kernel (or on the way there).
pub(crate) struct Flights {
    slots: Slab<Flight>,
    next_sequence: u32,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::with_capacity(1024), next_sequence: 0 }
    }

    /// The sequence number's top value is left out, so that no token equals [`UNWATCHED`].
    pub(crate) fn add(&mut self, op: Op, phase: Phase) -> Token {
        let sequence = self.next_sequence;
        self.next_sequence = (sequence + 1) % u32::MAX;
        Token::new(self.slots.insert(Flight { sequence, op, phase }), sequence)
    }

    pub(crate) fn get(&mut self, token: Token) -> &mut Flight {
        let flight = self.slots.get_mut(token.slot()).expect("a completion of an operation in flight");
        assert_eq!(flight.sequence, token.sequence(), "a completion of an earlier operation");
        flight
    }

    pub(crate) fn remove(&mut self, token: Token) -> Flight {
        assert_eq!(self.get(token).sequence, token.sequence());
        self.slots.remove(token.slot())
    }

    /// Operations the kernel may still touch memory of.
    pub(crate) fn in_kernel(&self) -> usize {
        self.slots.iter().filter(|(_, flight)| !matches!(flight.phase, Phase::Done(_))).count()
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.slots.iter().map(|(slot, flight)| Token::new(slot, flight.sequence)).collect()
    }
}

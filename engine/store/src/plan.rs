//! A read as owned data: which messages, in which order, under which lease.
//!
//! Owns: the outcome of [`crate::Shard::read`]. Invariants: a plan borrows nothing; while it lives, its ring
//! blocks are not overwritten and its segments are not recycled; pieces are in queue order and cut on record
//! edges.

use std::rc::Rc;

use ringmq_io::{Chunk, Env, Lease};

use crate::ExtentOf;
use crate::segments::Segment;

/// Offsets that a queue has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First offset that can be read.
    pub min: u64,
    /// Offset that the next message gets.
    pub max: u64,
}

/// What one read may take. At least one message is returned where one matches, whatever its size.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    pub max_messages: u32,
    /// Bytes, as long as the next message is in the ring.
    pub max_bytes_hot: usize,
    /// Bytes and messages, if the next message is in a segment.
    pub max_bytes_cold: usize,
    pub max_messages_cold: u32,
    /// Index entries looked at.
    pub scan_entries: u32,
}

/// Result of [`crate::Shard::read`]; the bounds are in [`crate::Shard::bounds`].
pub enum ReadOutcome<E: Env> {
    Found(ReadPlan<E>),
    /// Entries were there and the filter took none (or what was there is lost to damage): go on at `next_offset`.
    NoneMatched {
        next_offset: u64,
    },
    /// The queue has never had a message (max = 0).
    Empty,
    /// Asked for exactly the next offset: wait for an append.
    AtEnd,
    AfterEnd,
    BeforeStart,
    /// The index is not in memory there, or damaged: await [`crate::Shard::make_legible`] and read again.
    Illegible,
}

/// Messages to send, without a borrow of the shard. Dropping it gives everything back.
pub struct ReadPlan<E: Env> {
    /// Where the next read goes on: after the last entry looked at.
    pub next_offset: u64,
    pub messages: u32,
    pub bytes: usize,
    /// `false`: candidates in segments, from which [`crate::Shard::fetch_chosen`] has still to choose.
    pub(crate) is_chosen: bool,
    pub(crate) pieces: Vec<Piece<E>>,
}

/// What was chosen from the candidates of a plan.
pub struct Chosen<X> {
    /// Where the next read goes on.
    pub next_offset: u64,
    /// 0: none was wanted.
    pub messages: u32,
    pub chunks: Vec<Chunk<X>>,
}

pub(crate) enum Piece<E: Env> {
    Ring(ExtentOf<E>, Lease),
    /// Messages of one segment; holding the segment keeps it from being recycled.
    Cold(Rc<Segment<E>>, Vec<Expected>),
}

/// A message on disk and what it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub offset: u64,
    pub position: u64,
    pub size: u32,
    pub crc: u32,
}

impl<E: Env> ReadPlan<E> {
    /// Whether every message is in ring memory: then [`crate::Shard::fetch`] returns without waiting.
    pub fn is_hot(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Ring(..)))
    }

    /// Whether every message of the plan is wanted. If not, [`crate::Shard::fetch_chosen`] finds out which are.
    pub fn is_chosen(&self) -> bool {
        self.is_chosen
    }
}

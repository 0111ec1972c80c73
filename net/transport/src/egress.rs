//! The output of one connection: what is queued, and the task that sends it.
//!
//! Frames are encoded straight into the buffer at the end of the queue; zero-copy chunks follow it in place. The
//! writer task wakes once a turn and hands everything queued so far to one vectored send, at most
//! `SEND_ROUND_BYTES_MAX` at a time, so that a slow peer's progress can be seen and leases come back early.
//! Invariants: bytes leave in the order in which they were queued; `unsent` counts the round under way too.
//! On failure of a send the connection is closed and the queue dropped, with its leases.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{CONN_OUT_BYTES_MAX, CONN_OUT_MEMORY_BYTES_MAX, SEND_ROUND_BYTES_MAX};
use ringmq_io::{Chunk, Env, Stream};
use tracing::debug;

use crate::connection::ExtentOf;
use crate::{Connection, Counters, why};

/// A fresh buffer's size: the last round's, within these bounds. The upper one keeps a single large answer from
/// making every later buffer large.
const TAIL_BYTES_MIN: usize = 256;
const TAIL_BYTES_MAX: usize = 32 * 1024;

/// Between the last byte of a connection that is finished and its close, so that its peer has read the byte before a
/// request that crosses it can cause a reset.
const LINGER: Duration = Duration::from_millis(50);

struct Queue<X> {
    chunks: Vec<Chunk<X>>,
    /// Encoded frames behind the last chunk.
    tail: Vec<u8>,
    tail_hint: usize,
}

pub(crate) struct Output<X> {
    queue: RefCell<Queue<X>>,
    /// Bytes queued or being sent.
    unsent: Cell<usize>,
    /// Of those, the ones on our own memory (not on the ring or a mapped file).
    memory: Cell<usize>,
    /// A send is under way.
    pub(crate) sending: Cell<bool>,
    /// Sends finished; together with `sending` it tells the sweeper whether the peer makes progress.
    pub(crate) rounds: Cell<u64>,
    /// When a write that is timed was queued; 0: none is.
    pub(crate) timed_ns: Cell<u64>,
}

impl<X: AsRef<[u8]>> Output<X> {
    pub(crate) fn new() -> Self {
        Self {
            queue: RefCell::new(Queue { chunks: Vec::new(), tail: Vec::new(), tail_hint: TAIL_BYTES_MIN }),
            unsent: Cell::new(0),
            memory: Cell::new(0),
            sending: Cell::new(false),
            rounds: Cell::new(0),
            timed_ns: Cell::new(0),
        }
    }

    pub(crate) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    /// Above it the reader pauses.
    pub(crate) fn is_congested(&self) -> bool {
        self.unsent.get() > CONN_OUT_BYTES_MAX
    }

    pub(crate) fn is_over_memory(&self) -> bool {
        self.memory.get() > CONN_OUT_MEMORY_BYTES_MAX
    }

    pub(crate) fn push(&self, encode: impl FnOnce(&mut Vec<u8>), body: impl IntoIterator<Item = Chunk<X>>) {
        let queue = &mut *self.queue.borrow_mut();
        if queue.tail.capacity() == 0 {
            queue.tail.reserve(queue.tail_hint);
        }
        let start = queue.tail.len();
        encode(&mut queue.tail);
        assert!(queue.tail.len() >= start, "an encoder took back bytes that were not its own");
        let head = queue.tail.len() - start;
        let (mut bytes, mut memory) = (head, head);
        for chunk in body {
            if chunk.is_empty() {
                continue;
            }
            if !queue.tail.is_empty() {
                queue.chunks.push(Chunk::Owned(std::mem::take(&mut queue.tail)));
            }
            bytes += chunk.len();
            if !matches!(chunk, Chunk::Extent(..)) {
                memory += chunk.len();
            }
            queue.chunks.push(chunk);
        }
        self.unsent.set(self.unsent.get() + bytes);
        self.memory.set(self.memory.get() + memory);
    }

    /// Moves the next round into `round`, which is empty; tells its bytes.
    fn take_round(&self, round: &mut Vec<Chunk<X>>) -> usize {
        debug_assert!(round.is_empty());
        let queue = &mut *self.queue.borrow_mut();
        if !queue.tail.is_empty() {
            queue.tail_hint = queue.tail.len().next_power_of_two().clamp(TAIL_BYTES_MIN, TAIL_BYTES_MAX);
            queue.chunks.push(Chunk::Owned(std::mem::take(&mut queue.tail)));
        }
        if self.unsent.get() <= SEND_ROUND_BYTES_MAX {
            std::mem::swap(&mut queue.chunks, round);
            return round.iter().map(Chunk::len).sum();
        }
        let mut bytes = 0;
        let mut count = 0;
        for chunk in &queue.chunks {
            if count > 0 && bytes + chunk.len() > SEND_ROUND_BYTES_MAX {
                break;
            }
            bytes += chunk.len();
            count += 1;
        }
        round.extend(queue.chunks.drain(..count));
        bytes
    }

    fn sent(&self, bytes: usize, memory: usize) {
        self.unsent.set(self.unsent.get() - bytes);
        self.memory.set(self.memory.get() - memory);
        self.rounds.set(self.rounds.get() + 1);
    }

    /// Drops what is queued, with its leases.
    fn clear(&self) {
        let queue = &mut *self.queue.borrow_mut();
        queue.chunks = Vec::new();
        queue.tail = Vec::new();
        self.unsent.set(0);
        self.memory.set(0);
    }
}

fn memory_of<X: AsRef<[u8]>>(round: &[Chunk<X>]) -> usize {
    round.iter().filter(|chunk| !matches!(chunk, Chunk::Extent(..))).map(Chunk::len).sum()
}

/// The writer task. Ends when the connection is closed, and closes it when it is to be finished.
pub(crate) async fn run<E: Env>(conn: Rc<Connection<E>>) {
    let output = &conn.output;
    let mut round: Vec<Chunk<ExtentOf<E>>> = Vec::new();
    while !conn.is_gone() {
        let bytes = output.take_round(&mut round);
        if bytes == 0 {
            round.clear();
            if conn.is_closed() {
                conn.env().sleep(LINGER).or(conn.until_gone()).await;
                conn.end();
                break;
            }
            conn.output_ready.wait().await;
            continue;
        }
        let memory = memory_of(&round);
        // Of a long queue it may leave a round later than is noted.
        let timed = output.timed_ns.take();
        output.sending.set(true);
        let result = conn.stream.send(&mut round).await;
        output.sending.set(false);
        output.sent(bytes, memory);
        if let Err(error) = result {
            debug!(peer = %conn.peer(), %error, "send failed");
            conn.close(why::CONNECTION_ERROR);
            break;
        }
        if timed != 0 {
            let took = conn.env().monotonic_ns().saturating_sub(timed);
            conn.counters.send_ns.borrow_mut().saturating_record(took);
        }
        conn.moved.set(conn.moved.get() + bytes as u64);
        Counters::add(&conn.counters.bytes_out, bytes as u64);
        Counters::add(&conn.counters.sends, 1);
        if !output.is_congested() {
            conn.output_drained.notify();
        }
        if round.capacity() > 64 {
            round = Vec::new(); // a burst must not stay as memory of an idle connection
        }
    }
    output.clear();
    conn.output_drained.notify();
}

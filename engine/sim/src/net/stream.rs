//! `SimStream`: one end of a connection, as its process uses it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringmq_io::limits::{RECV_BUF_BYTES, RECV_BUFS};
use ringmq_io::{Chunk, RecvBuf, Stream};

use super::conn::{Conn, EndState, Segment, one_way, reset_error};
use crate::disk::SimExtent;
use crate::faults::Cut;
use crate::mesh::Busy;
use crate::process::Process;

/// Bytes of one segment on the way.
const SEGMENT_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub struct SimStream(Rc<Handle>);

/// Shared by the clones; its drop closes the connection.
struct Handle {
    process: Rc<Process>,
    core: usize,
    conn: Rc<Conn>,
    side: usize,
    receiving: Rc<Cell<bool>>,
    sending: Rc<Cell<bool>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process.runs() {
            self.conn.close(&self.process.inner, self.side);
        }
    }
}

/// Received bytes; counts against the core's receive buffers until dropped.
pub struct SimRecv {
    process: Rc<Process>,
    core: usize,
    bytes: Vec<u8>,
}

impl Deref for SimRecv {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl RecvBuf for SimRecv {}

impl Drop for SimRecv {
    fn drop(&mut self) {
        let pool = &self.process.pools[self.core];
        pool.out.set(pool.out.get() - 1);
        pool.returned.notify();
    }
}

impl SimStream {
    pub(crate) fn new(process: Rc<Process>, core: usize, conn: Rc<Conn>, side: usize) -> Self {
        let flags = Rc::default();
        Self(Rc::new(Handle { process, core, conn, side, receiving: flags, sending: Rc::default() }))
    }

    fn take(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let handle = &self.0;
        let end = &handle.conn.ends[handle.side];
        if end.state.get() != EndState::Open || !handle.process.runs() {
            return Poll::Ready(Ok(None));
        }
        if end.reset.get() {
            return Poll::Ready(Err(reset_error()));
        }
        let arrived = end.unread.borrow().len().min(RECV_BUF_BYTES);
        if arrived == 0 {
            if end.eof.get() {
                return Poll::Ready(Ok(None));
            }
            end.reader.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let inner = &handle.process.inner;
        let cut = handle.process.host.faults.borrow().net.cut;
        let n = match cut {
            Cut::Whole => arrived,
            Cut::Random => 1 + inner.net_rng.index(arrived),
            Cut::SingleBytes => 1,
        };
        let bytes = end.unread.borrow_mut().drain(..n).collect();
        if let Some(waker) = end.writer.take() {
            waker.wake();
        }
        Poll::Ready(Ok(Some(bytes)))
    }

    /// Waits until some of `want` bytes fit into the pipe, and says how many.
    async fn room(&self, want: usize) -> io::Result<usize> {
        let handle = &self.0;
        let (end, peer) = (&handle.conn.ends[handle.side], &handle.conn.ends[1 - handle.side]);
        poll_fn(|cx| {
            if end.state.get() != EndState::Open {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "closed by this side")));
            }
            if end.reset.get() {
                return Poll::Ready(Err(reset_error()));
            }
            let room = handle.conn.room_towards(1 - handle.side);
            if room == 0 {
                peer.writer.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(Ok(room.min(want).min(SEGMENT_BYTES)))
        })
        .await
    }

    async fn send_bytes(&self, mut bytes: &[u8]) -> io::Result<()> {
        let handle = &self.0;
        let inner = &handle.process.inner;
        while !bytes.is_empty() {
            let mut n = self.room(bytes.len()).await?;
            let (chance, loses) = handle.process.net_faults(|net| (net.short_send, net.lose_short_send));
            // Nothing is drawn where nothing can happen: other seeds stay as they are.
            let is_short = chance > 0.0 && n > 1 && inner.net_rng.chance(chance);
            if is_short {
                n = 1 + inner.net_rng.index(n - 1);
                handle.process.event("short send", handle.conn.id, n as u64);
            }
            let (now, later) = bytes.split_at(n);
            handle.conn.push(inner, 1 - handle.side, Segment::Data(now.to_vec()));
            bytes = later;
            if is_short {
                if loses {
                    return Ok(());
                }
                let peer = &handle.conn.ends[1 - handle.side];
                handle.process.sleep(one_way(inner, handle.process.host.index, peer.host)).await;
            }
        }
        Ok(())
    }

    /// Sends on the newest other connection of this process, if there is one.
    fn send_elsewhere(&self, bytes: &[u8]) -> bool {
        let handle = &self.0;
        let inner = &handle.process.inner;
        let Some((conn, side)) = inner.net.newest_of(handle.process.id, handle.conn.id) else { return false };
        handle.process.event("stale descriptor", handle.conn.id, conn.id);
        conn.push(inner, 1 - side, Segment::Data(bytes.to_vec()));
        true
    }
}

impl Stream for SimStream {
    type Extent = SimExtent;
    type Recv = SimRecv;

    fn local_addr(&self) -> SocketAddr {
        self.0.conn.ends[self.0.side].addr
    }

    fn peer_addr(&self) -> SocketAddr {
        self.0.conn.ends[1 - self.0.side].addr
    }

    async fn recv(&self) -> io::Result<Option<SimRecv>> {
        let handle = &self.0;
        let _busy = Busy::start(&handle.receiving, "two receives on one stream at a time");
        let pool = &handle.process.pools[handle.core];
        while pool.out.get() >= RECV_BUFS {
            pool.returned.wait().await;
        }
        let bytes = poll_fn(|cx| self.take(cx)).await?;
        Ok(bytes.map(|bytes| {
            pool.out.set(pool.out.get() + 1);
            SimRecv { process: handle.process.clone(), core: handle.core, bytes }
        }))
    }

    /// Nothing to do: bytes are taken off the pipe only by an awaited `recv`.
    fn pause(&self) {}

    async fn send(&self, chunks: &mut Vec<Chunk<SimExtent>>) -> io::Result<()> {
        let handle = &self.0;
        let _busy = Busy::start(&handle.sending, "two sends on one stream at a time");
        let mut sending = std::mem::take(chunks);
        let mut result = Ok(());
        let (reset, is_stale) = handle.process.net_faults(|net| (net.reset, net.stale_descriptor));
        let inner = &handle.process.inner;
        let count = sending.len();
        let breaks_after = inner.net_rng.chance(reset).then(|| inner.net_rng.index(count + 1));
        for (i, chunk) in sending.drain(..).enumerate() {
            if breaks_after == Some(i) {
                handle.conn.break_off(inner);
            }
            let is_broken = breaks_after.is_some_and(|at| at <= i);
            if is_broken && is_stale && self.send_elsewhere(chunk.as_ref()) {
                continue;
            }
            result = self.send_bytes(chunk.as_ref()).await;
            if result.is_err() {
                break;
            }
        }
        if breaks_after == Some(count) {
            handle.conn.break_off(inner);
        }
        *chunks = sending;
        result
    }

    fn close(&self) {
        if self.0.process.runs() {
            self.0.conn.close(&self.0.process.inner, self.0.side);
        }
    }
}

//! The network half of the seam: byte streams whose received and sent buffers are owned.

use std::any::Any;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, Range};
use std::rc::Rc;

use crate::AlignedBuf;

/// Keeps what a chunk points to from being reused; dropped when the chunk has been sent.
pub type Lease = Rc<dyn Any>;

/// One piece of output. Every variant's bytes stay at their address while the value moves.
pub enum Chunk<X> {
    Owned(Vec<u8>),
    /// A cold read's buffer; shared, since neighbours in one read may go to several answers.
    Aligned(Rc<AlignedBuf>, Range<usize>),
    /// Straight from mapped memory.
    Extent(X, Option<Lease>),
}

impl<X: AsRef<[u8]>> Chunk<X> {
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<X: AsRef<[u8]>> AsRef<[u8]> for Chunk<X> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Aligned(buf, range) => &buf[range.clone()],
            Chunk::Extent(extent, _) => extent.as_ref(),
        }
    }
}

/// Who listens on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This listener and no other.
    Alone,
    /// The cores of one process, and this is the first of them: whoever else listens there already makes it fail.
    First,
    /// The cores of one process, behind a first. The kernel spreads connections over them.
    Further,
}

pub trait Net: Clone + 'static {
    type Extent: AsRef<[u8]> + Send + 'static;
    type Listener: Listener<Stream = Self::Stream>;
    type Stream: Stream<Extent = Self::Extent>;

    /// Port 0 picks a free one. An address at which somebody listens is `AddrInUse`, unless both sides share it.
    fn listen(&self, addr: SocketAddr, sharing: Sharing) -> io::Result<Self::Listener>;
    /// The addresses of `host:port` or `ip:port`, best first. It may take as long as the system's resolver likes; dropping
    /// the future gives up on it. Looked up each time: what a name means changes.
    fn resolve(&self, address: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static;
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + 'static;
}

pub trait Listener: 'static {
    type Stream;
    fn local_addr(&self) -> SocketAddr;
    async fn accept(&self) -> io::Result<Self::Stream>;
}

/// Received bytes. Goes back to the receive pool when dropped: hold it as short as possible.
pub trait RecvBuf: Deref<Target = [u8]> + 'static {}

/// A connected byte stream. Clones share the connection. One receive and one send may be under way
/// at a time.
pub trait Stream: Clone + 'static {
    type Extent: AsRef<[u8]> + Send + 'static;
    type Recv: RecvBuf;

    fn local_addr(&self) -> SocketAddr;
    fn peer_addr(&self) -> SocketAddr;
    /// The next bytes; `None` when the peer has closed its side.
    async fn recv(&self) -> io::Result<Option<Self::Recv>>;
    /// Stops taking bytes off the socket (back-pressure) until `recv` is awaited again.
    fn pause(&self);
    /// Sends all chunks in order, completely. Submitted with everything else of this turn. The chunks,
    /// and with them their leases, are dropped when the kernel has taken the bytes, or on error.
    /// `chunks` is empty afterwards (its capacity is kept for reuse).
    async fn send(&self, chunks: &mut Vec<Chunk<Self::Extent>>) -> io::Result<()>;
    /// Ends both directions at once; receive and send under way return.
    fn close(&self);
}

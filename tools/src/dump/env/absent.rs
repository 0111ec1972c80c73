//! What a command that looks at files does not have: a network, other cores.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;

use ringmq_io::{Chunk, Lanes, Listener, Mesh, Net, RecvBuf, Sharing, Stream};

use super::file::Extent;

#[derive(Clone, Copy)]
pub struct NoNet;

fn none<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there is no network here"))
}

impl Net for NoNet {
    type Extent = Extent;
    type Listener = Never;
    type Stream = Never;

    fn listen(&self, _addr: SocketAddr, _sharing: Sharing) -> io::Result<Never> {
        none()
    }

    fn resolve(&self, _address: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        ready(none())
    }

    fn connect(&self, _addr: SocketAddr) -> impl Future<Output = io::Result<Never>> + 'static {
        ready(none())
    }
}

/// What nobody can have.
#[derive(Clone)]
pub struct Never(Infallible);

impl Deref for Never {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self.0 {}
    }
}

impl RecvBuf for Never {}

impl Listener for Never {
    type Stream = Never;

    fn local_addr(&self) -> SocketAddr {
        match self.0 {}
    }

    async fn accept(&self) -> io::Result<Never> {
        match self.0 {}
    }
}

impl Stream for Never {
    type Extent = Extent;
    type Recv = Never;

    fn local_addr(&self) -> SocketAddr {
        match self.0 {}
    }

    fn peer_addr(&self) -> SocketAddr {
        match self.0 {}
    }

    async fn recv(&self) -> io::Result<Option<Never>> {
        match self.0 {}
    }

    fn pause(&self) {
        match self.0 {}
    }

    async fn send(&self, _chunks: &mut Vec<Chunk<Extent>>) -> io::Result<()> {
        match self.0 {}
    }

    fn close(&self) {
        match self.0 {}
    }
}

#[derive(Clone, Copy)]
pub struct NoMesh;

impl Mesh for NoMesh {
    type Lanes<T: Send + 'static> = NoLanes;

    async fn join<T: Send + 'static>(&self, _name: &'static str, _depth: usize) -> NoLanes {
        NoLanes
    }
}

#[derive(Clone, Copy)]
pub struct NoLanes;

impl<T> Lanes<T> for NoLanes {
    fn peers(&self) -> usize {
        1
    }

    fn try_send(&self, _to: usize, message: T) -> Result<(), T> {
        Err(message)
    }

    fn waiting(&self, _to: usize) -> usize {
        0
    }

    async fn recv(&self) -> Option<(usize, T)> {
        None
    }
}

//! `Net` over the ring.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ringmq_io::{Net, Sharing};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::accept::UringListener;
use crate::driver::{Driver, check};
use crate::fd::RingFd;
use crate::op::Op;
use crate::region::UringExtent;
use crate::stream::UringStream;

#[derive(Clone)]
pub struct UringNet {
    pub(crate) driver: Rc<Driver>,
}

impl Net for UringNet {
    type Extent = UringExtent;
    type Listener = UringListener;
    type Stream = UringStream;

    fn listen(&self, addr: SocketAddr, sharing: Sharing) -> io::Result<UringListener> {
        UringListener::bind(&self.driver, addr, sharing)
    }

    fn resolve(&self, address: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        crate::lookup::start(&self.driver, address.to_owned())
    }

    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<UringStream>> + 'static {
        let driver = self.driver.clone();
        async move {
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_tcp_nodelay(true)?;
            let fd = Rc::new(RingFd::new(OwnedFd::from(socket), &driver));
            let op = Op::Connect { fd: fd.clone(), addr: Box::new(addr.into()) };
            let (result, _) = driver.run(op).await;
            check(result)?;
            let local = SockRef::from(&*fd).local_addr()?;
            let local = local.as_socket().ok_or_else(|| io::Error::other("not an internet socket"))?;
            Ok(UringStream::over(&driver, fd, local, addr))
        }
    }
}

//! One non-blocking connection: bytes out, frames in, and the requests that wait for an answer.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use ringmq_wire::command::Command;
use ringmq_wire::frame::{Cut, cut};

/// Input buffer: holds one maximum frame beside what follows it.
const IN_BYTES: usize = 256 * 1024;

pub struct Conn {
    stream: TcpStream,
    token: Token,
    pub out: Vec<u8>,
    out_at: usize,
    input: Vec<u8>,
    /// Bytes of `input` that hold received data.
    from: usize,
    to: usize,
    waits_for_writable: bool,
}

impl Conn {
    pub fn connect(registry: &Registry, addr: SocketAddr, token: usize) -> Result<Self> {
        let stream =
            std::net::TcpStream::connect(addr).with_context(|| format!("connect to broker {addr}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let token = Token(token);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self {
            stream,
            token,
            out: Vec::with_capacity(64 * 1024),
            out_at: 0,
            input: vec![0; IN_BYTES],
            from: 0,
            to: 0,
            waits_for_writable: false,
        })
    }

    /// Writes what is queued as far as the socket takes it.
    pub fn flush(&mut self, registry: &Registry) -> Result<()> {
        while self.out_at < self.out.len() {
            match self.stream.write(&self.out[self.out_at..]) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(n) => self.out_at += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("send"),
            }
        }
        let pending = self.out_at < self.out.len();
        if !pending {
            self.out.clear();
            self.out_at = 0;
        }
        if pending != self.waits_for_writable {
            let interest = if pending { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            registry.reregister(&mut self.stream, self.token, interest)?;
            self.waits_for_writable = pending;
        }
        Ok(())
    }

    /// Reads until the socket is empty; calls `each` for every whole frame. Tells whether any came.
    pub fn receive(&mut self, mut each: impl FnMut(Command<'_>) -> Result<()>) -> Result<bool> {
        let mut any = false;
        loop {
            if self.to == self.input.len() {
                self.make_room();
            }
            let free = self.input.len() - self.to;
            let n = match self.stream.read(&mut self.input[self.to..]) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).context("receive"),
            };
            self.to += n;
            loop {
                match cut(&self.input[self.from..self.to])? {
                    Cut::Need(total) => {
                        if total > self.input.len() {
                            self.make_room();
                            self.input.resize(total.next_power_of_two(), 0);
                        }
                        break;
                    }
                    Cut::Frame { total, frame } => {
                        each(Command::decode(frame)?)?;
                        self.from += total;
                        any = true;
                    }
                }
            }
            if self.from == self.to {
                self.from = 0;
                self.to = 0;
            }
            if n < free {
                // A short read: the socket is empty, or will say so by the next event.
                return Ok(any);
            }
        }
    }

    fn make_room(&mut self) {
        if self.from > 0 {
            self.input.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        } else if self.to == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
    }
}

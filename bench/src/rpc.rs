//! Blocking calls for what happens before a run: routes, topics, offsets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ringmq_wire::command::Command;
use ringmq_wire::encode::{FrameWriter, begin_request};
use ringmq_wire::frame::{Cut, Serialization, cut};

pub struct Rpc {
    stream: TcpStream,
    opaque: i32,
    input: Vec<u8>,
}

impl Rpc {
    pub fn connect(addr: &str) -> Result<Self> {
        let addr = resolve(addr)?;
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))
            .with_context(|| format!("connect to {addr}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        Ok(Self { stream, opaque: 0, input: Vec::new() })
    }

    /// Sends one request without a body and gives its answer to `read`, whatever its code.
    pub fn call<T>(
        &mut self,
        code: i32,
        header: impl FnOnce(&mut FrameWriter<'_>),
        read: impl FnOnce(&Command<'_>) -> Result<T>,
    ) -> Result<T> {
        self.call_with_body(code, header, &[], read)
    }

    pub fn call_with_body<T>(
        &mut self,
        code: i32,
        header: impl FnOnce(&mut FrameWriter<'_>),
        body: &[u8],
        read: impl FnOnce(&Command<'_>) -> Result<T>,
    ) -> Result<T> {
        self.opaque += 1;
        let mut out = Vec::new();
        let mut writer = begin_request(&mut out, Serialization::Json, code, self.opaque, 0);
        header(&mut writer);
        writer.finish(body)?;
        self.stream.write_all(&out)?;
        // One request at a time: what else arrives (a notification) is passed over.
        self.input.clear();
        let mut at = 0;
        loop {
            if let Cut::Frame { total, frame } = cut(&self.input[at..])? {
                let command = Command::decode(frame)?;
                if command.is_response() && command.opaque == self.opaque {
                    return read(&command);
                }
                at += total;
                continue;
            }
            let mut chunk = [0; 64 * 1024];
            let n = self.stream.read(&mut chunk).context("wait for an answer")?;
            if n == 0 {
                return Err(anyhow!("the peer closed the connection"));
            }
            self.input.extend_from_slice(&chunk[..n]);
        }
    }
}

/// An answer's code and remark as an error.
pub fn refused(what: &str, command: &Command<'_>) -> anyhow::Error {
    anyhow!("{what}: code {} ({})", command.code, command.remark.as_deref().unwrap_or("no remark"))
}

pub fn resolve(addr: &str) -> Result<SocketAddr> {
    addr.to_socket_addrs()
        .with_context(|| format!("address {addr:?}"))?
        .next()
        .ok_or_else(|| anyhow!("{addr:?} has no address"))
}

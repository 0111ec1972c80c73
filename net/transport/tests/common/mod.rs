//! A service with a behaviour for each request code, and a peer that speaks raw bytes.
#![allow(dead_code)] // each test binary uses its part

pub mod cases;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::sync::Stop;
use ringmq_io::{Chunk, Env, Net, Sharing, Stream, deadline};
use ringmq_transport::{
    CallError, Connection, Flow, FrameRef, OwnedFrame, Server, ServerConfig, Service, StreamOf, serve,
};
use ringmq_wire::encode::{begin_request, begin_response};
use ringmq_wire::{Cut, Serialization, cut};

/// Answered with its own body.
pub const ECHO: i32 = 1;
/// Answered after 100 ms; later requests of the connection wait.
pub const SLOW: i32 = 2;
/// Never answered.
pub const HOLD: i32 = 3;
/// Answered, then the connection closes.
pub const LAST: i32 = 4;
/// Answered with so many bytes as the ext field `bytes` says, in zero-copy chunks.
pub const LARGE: i32 = 5;
/// The server asks this client back, twice at a time, and answers with what it heard.
pub const ASK_BACK: i32 = 6;
/// Waits for ever.
pub const STUCK: i32 = 7;

pub const CHUNK: usize = 64 * 1024;

pub struct Behaviour<E: Env> {
    pub env: E,
    /// Opaques in the order in which they were seen.
    pub seen: RefCell<Vec<i32>>,
    pub open: Cell<usize>,
    pub opened: Cell<usize>,
}

impl<E: Env> Behaviour<E> {
    pub fn new(env: &E) -> Rc<Self> {
        Rc::new(Self { env: env.clone(), seen: RefCell::default(), open: Cell::new(0), opened: Cell::new(0) })
    }
}

pub fn answer(out: &mut Vec<u8>, opaque: i32, body: &[u8]) {
    begin_response(out, Serialization::Json, 0, opaque, 0, None).finish(body).unwrap();
}

pub fn request(opaque: i32, code: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    begin_request(&mut out, Serialization::Json, code, opaque, 0).finish(body).unwrap();
    out
}

pub fn large_request(opaque: i32, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = begin_request(&mut out, Serialization::Binary, LARGE, opaque, 0);
    writer.ext_int("bytes", bytes);
    writer.finish(&[]).unwrap();
    out
}

impl<E: Env> Service<E> for Behaviour<E> {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        let command = &frame.command;
        let opaque = command.opaque;
        self.seen.borrow_mut().push(opaque);
        match command.code {
            ECHO => conn.write(|out| answer(out, opaque, command.body)),
            SLOW => {
                let (env, conn, body) = (self.env.clone(), conn.clone(), command.body.to_vec());
                return Flow::Wait(Box::pin(async move {
                    env.sleep(Duration::from_millis(100)).await;
                    conn.write(|out| answer(out, opaque, &body));
                }));
            }
            LAST => {
                conn.write(|out| answer(out, opaque, command.body));
                return Flow::Close;
            }
            LARGE => {
                let bytes = command.ext.get_i64("bytes").unwrap() as usize;
                let chunks = (0..bytes).step_by(CHUNK).map(|at| {
                    let chunk = (at..bytes.min(at + CHUNK)).map(|i| i as u8).collect();
                    Chunk::Owned(chunk)
                });
                let head = |out: &mut Vec<u8>| {
                    let writer = begin_response(out, Serialization::Json, 0, opaque, 0, None);
                    writer.finish_with_external_body(bytes).unwrap();
                };
                conn.write_with_body(head, chunks);
            }
            ASK_BACK => {
                let conn = conn.clone();
                self.env.clone().spawn(ringmq_io::Class::Foreground, async move {
                    let ask = |body: &'static [u8]| {
                        let encode =
                            move |out: &mut Vec<u8>, opaque: i32| out.extend(request(opaque, ECHO, body));
                        conn.request(encode, Duration::from_secs(1))
                    };
                    let (first, second) = (ask(b"one "), ask(b"two"));
                    let heard = |outcome: Result<OwnedFrame, CallError>| match outcome {
                        Ok(frame) if frame.command().code == 0 => frame.command().body.to_vec(),
                        Ok(frame) => frame.command().code.to_string().into_bytes(),
                        Err(error) => format!("{error:?}").into_bytes(),
                    };
                    // Awaited in the other order than asked.
                    let second = heard(second.await);
                    let heard = [heard(first.await), second].concat();
                    conn.write(|out| answer(out, opaque, &heard));
                });
            }
            STUCK => return Flow::Wait(Box::pin(std::future::pending())),
            HOLD => {}
            other => panic!("no behaviour for {other}"),
        }
        Flow::Continue
    }

    fn on_open(&self, _conn: &Rc<Connection<E>>) {
        self.open.set(self.open.get() + 1);
        self.opened.set(self.opened.get() + 1);
    }

    fn on_close(&self, _conn: &Rc<Connection<E>>) {
        self.open.set(self.open.get() - 1);
    }
}

pub struct Running<E: Env> {
    pub addr: SocketAddr,
    pub server: Rc<Server<E>>,
    pub behaviour: Rc<Behaviour<E>>,
    pub stop: Stop,
}

pub fn serve_on<E: Env>(env: &E, addr: &str, config: ServerConfig) -> Running<E> {
    let listener = env.net().listen(addr.parse().unwrap(), Sharing::Alone).unwrap();
    let behaviour = Behaviour::new(env);
    let stop = Stop::new();
    let server = serve(env, listener, behaviour.clone(), stop.clone(), config);
    Running { addr: server.addr(), server, behaviour, stop }
}

pub fn local<E: Env>(env: &E) -> Running<E> {
    serve_on(env, "127.0.0.1:0", ServerConfig::default())
}

/// A client that writes and reads bytes itself.
pub struct Raw<E: Env> {
    pub stream: StreamOf<E>,
    received: Vec<u8>,
    env: E,
}

impl<E: Env> Raw<E> {
    pub async fn connect(env: &E, addr: SocketAddr) -> Self {
        Self { stream: env.net().connect(addr).await.unwrap(), received: Vec::new(), env: env.clone() }
    }

    pub async fn send(&self, bytes: Vec<u8>) {
        self.stream.send(&mut vec![Chunk::Owned(bytes)]).await.unwrap();
    }

    /// The next frame; `None` when the server has closed.
    pub async fn frame(&mut self) -> Option<OwnedFrame> {
        loop {
            if let Ok(Cut::Frame { total, .. }) = cut(&self.received) {
                let frame: Vec<u8> = self.received.drain(..total).collect();
                return Some(OwnedFrame::parse(frame).expect("a whole frame"));
            }
            let received = deadline(&self.env, Duration::from_secs(300), self.stream.recv());
            match received.await.expect("a frame or an end in time") {
                Ok(Some(bytes)) => self.received.extend_from_slice(&bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    pub async fn closed(&mut self) -> bool {
        self.frame().await.is_none()
    }
}

/// Waits for a condition that other tasks bring about.
pub async fn until<E: Env>(env: &E, what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        env.sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

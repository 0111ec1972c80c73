//! The reader task: cuts the byte stream into frames and hands them over.
//!
//! A frame that lies wholly in one receive buffer is decoded in place. One that is cut over buffers is put
//! together in the inbox, whose memory is sized from the frame's length (so bounded by the frame limit) and given
//! back when the frame is done. A receive buffer belongs to the core's pool: it is never held across a wait.
//! On failure: lost framing or a bad header closes the connection; there is no way to find the next frame.

use std::rc::Rc;

use futures_lite::FutureExt;
use futures_lite::future::poll_once;
use ringmq_io::limits::{FRAME_BYTES_MAX, FRAMES_PER_TURN};
use ringmq_io::{Env, Stream};
use ringmq_wire::{Command, Cut, Scratch, cut};
use tracing::{debug, warn};

use crate::counters::is_sampled;
use crate::{Connection, Counters, Flow, FrameRef, Service, why};

const _: () = assert!(FRAME_BYTES_MAX == ringmq_wire::frame::MAX_FRAME_LENGTH);

/// First byte of a TLS handshake record; as a frame's first length byte it would mean over 350 MiB.
const TLS_HANDSHAKE: u8 = 0x16;

/// Memory for decoding a header that is kept for the next one; more is given back.
const SCRATCH_BYTES_KEPT: usize = 4096;

/// Bytes that were received but not handed over yet.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// Consumed bytes at the start.
    at: usize,
}

impl Inbox {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes from `more` until `needed` bytes are there; tells how many were taken.
    fn fill(&mut self, needed: usize, more: &[u8]) -> usize {
        self.compact();
        assert!(needed > self.bytes.len(), "a frame that is whole needs no more bytes");
        let taken = more.len().min(needed - self.bytes.len());
        self.bytes.reserve_exact(needed - self.bytes.len());
        self.bytes.extend_from_slice(&more[..taken]);
        taken
    }

    fn push(&mut self, more: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(more);
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
    }
}

enum Step {
    /// The first frame is not whole; it would be with that many bytes.
    Need(usize),
    Done {
        total: usize,
        flow: Flow,
    },
}

/// Runs a connection's input until it ends, then tells the service and calls `on_end`.
pub(crate) async fn run<E: Env, S: Service<E>>(
    conn: Rc<Connection<E>>,
    service: Rc<S>,
    on_end: impl FnOnce(),
) {
    service.on_open(&conn);
    let why = read(&conn, &service).or(async {
        conn.until_gone().await;
        why::SERVICE
    });
    // A service that closes leaves the writer its queued output; all else leaves nothing to send to.
    match why.await {
        why @ (why::SERVICE | why::BAD_FRAME | why::BAD_HEADER) => conn.finish(why),
        why => conn.close(why),
    }
    discard(&conn).or(conn.until_gone()).await;
    service.on_close(&conn);
    on_end();
}

/// Takes what a peer still sends while queued output leaves: a socket that is closed with unread bytes resets the
/// connection, and a reset makes the peer's kernel drop answers that it has not read yet.
async fn discard<E: Env>(conn: &Connection<E>) {
    while !conn.is_gone() {
        if !matches!(conn.stream.recv().await, Ok(Some(_))) {
            conn.close(why::PEER_CLOSED);
        }
    }
}

async fn read<E: Env, S: Service<E>>(conn: &Rc<Connection<E>>, service: &Rc<S>) -> &'static str {
    let mut inbox = Inbox::default();
    let mut scratch = Scratch::default();
    let mut frames = 0;
    loop {
        let received = match conn.stream.recv().await {
            Ok(Some(received)) => received,
            Ok(None) => return why::PEER_CLOSED,
            Err(error) => {
                debug!(peer = %conn.peer(), %error, "receive failed");
                return why::CONNECTION_ERROR;
            }
        };
        conn.moved.set(conn.moved.get() + received.len() as u64);
        Counters::add(&conn.counters.bytes_in, received.len() as u64);
        if !conn.heard.replace(true) && received.first() == Some(&TLS_HANDSHAKE) {
            warn!(peer = %conn.peer(), "refused a TLS connection: TLS is not supported yet, set tls.enable=false");
            return why::TLS;
        }
        if conn.is_closed() {
            return why::SERVICE; // finishing: its reason is set already
        }
        let mut received = Some(received);
        let mut at = 0;
        loop {
            let fresh = received.as_ref().map_or(&[][..], |buf| &buf[at..]);
            let direct = inbox.is_empty();
            let bytes = if direct { fresh } else { inbox.rest() };
            if bytes.is_empty() {
                break;
            }
            let flow = match step(conn, service, bytes, &mut scratch) {
                Err(why) => return why,
                Ok(Step::Need(needed)) => {
                    if fresh.is_empty() {
                        break;
                    }
                    at += inbox.fill(needed, fresh);
                    continue;
                }
                Ok(Step::Done { total, flow }) => {
                    match direct {
                        true => at += total,
                        false => inbox.consume(total),
                    }
                    flow
                }
            };
            let wait = match flow {
                Flow::Continue => None,
                Flow::Close => return why::SERVICE,
                Flow::Wait(mut wait) => poll_once(&mut wait).await.is_none().then_some(wait),
            };
            let congested = conn.output.is_congested();
            if wait.is_some() || congested {
                if let Some(buf) = received.take() {
                    inbox.push(&buf[at..]);
                    at = 0;
                }
                conn.stream.pause();
                if let Some(wait) = wait {
                    wait.await;
                }
                if congested {
                    Counters::add(&conn.counters.reader_pauses, 1);
                    conn.drained().await;
                }
            }
            if conn.is_closed() {
                return why::SERVICE;
            }
            frames += 1;
            if frames % FRAMES_PER_TURN == 0 {
                conn.env().yield_now().await;
            }
        }
    }
}

/// Hands over the first frame of `bytes` if it is whole.
fn step<E: Env, S: Service<E>>(
    conn: &Rc<Connection<E>>,
    service: &Rc<S>,
    bytes: &[u8],
    scratch: &mut Scratch,
) -> Result<Step, &'static str> {
    let began = is_sampled(conn.counters.frames_in.get()).then(|| conn.env().monotonic_ns());
    let (total, frame) = match cut(bytes) {
        Ok(Cut::Need(needed)) => return Ok(Step::Need(needed)),
        Ok(Cut::Frame { total, frame }) => (total, frame),
        Err(error) => {
            debug!(peer = %conn.peer(), %error, "not a frame");
            return Err(why::BAD_FRAME);
        }
    };
    let flow = match Command::decode_in(frame, scratch) {
        Ok(command) => {
            Counters::add(&conn.counters.frames_in, 1);
            if let Some(began) = began {
                let took = conn.env().monotonic_ns().saturating_sub(began);
                conn.counters.decode_ns.borrow_mut().saturating_record(took);
            }
            let frame = FrameRef { raw: &bytes[..total], command };
            if frame.command.is_response() {
                conn.answer(frame.command.opaque, || frame.to_owned_frame());
                Flow::Continue
            } else {
                service.on_request(conn, frame)
            }
        }
        Err(error) => {
            debug!(peer = %conn.peer(), %error, "undecodable header");
            return Err(why::BAD_HEADER);
        }
    };
    scratch.shrink(SCRATCH_BYTES_KEPT);
    Ok(Step::Done { total, flow })
}

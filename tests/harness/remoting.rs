//! A blocking client that speaks the protocol over one socket, and any other bytes that a test wants to send.
//!
//! Every read has a limit; what is waited for and does not come fails the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ringmq_wire::code::request_code;
use ringmq_wire::encode::{PullRequest, SendRequest, begin_request, pull_request, send_request};
use ringmq_wire::headers::{PullHeader, SendHeader};
use ringmq_wire::{Command, Cut, Serialization, cut, message};

/// Generous: an answer takes a millisecond, and this only has to tell it from none on a loaded machine.
pub const ANSWER: Duration = Duration::from_secs(20);

pub struct Remote {
    stream: TcpStream,
    received: Vec<u8>,
    opaque: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub opaque: i32,
    pub code: i32,
    pub remark: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(key, _)| key == name);
        field.map_or_else(|| panic!("no field {name} in {self:?}"), |(_, value)| value)
    }

    /// The bodies of the messages of a pull.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        message::records(&self.body).map(|record| record.expect("a whole record").body.to_vec()).collect()
    }
}

/// How a connection went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Answer(Answer),
    /// The server has closed or reset it.
    Closed,
    /// Nothing came within the limit.
    Silence,
}

impl Remote {
    pub fn connect(address: &str) -> Self {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream.set_write_timeout(Some(ANSWER)).expect("set a time-out");
        Self { stream, received: Vec::new(), opaque: 0 }
    }

    /// Of the last request.
    pub fn opaque(&self) -> i32 {
        self.opaque
    }

    /// Any bytes.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Our side is done; the server sees the end of the stream.
    pub fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// A request's frame.
    pub fn request(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        self.opaque += 1;
        let mut frame = Vec::new();
        let mut writer = begin_request(&mut frame, Serialization::Json, code, self.opaque, 0);
        for (name, value) in fields {
            writer.ext(name, value);
        }
        writer.finish(body).expect("a request fits a frame");
        frame
    }

    pub fn ask(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let frame = self.request(code, fields, body);
        self.exchange(&frame)
    }

    pub fn send_frame(&mut self, header: SendHeader<'_>, body: &[u8]) -> Vec<u8> {
        self.opaque += 1;
        let code = request_code::SEND_MESSAGE_V2;
        let request = SendRequest { code, opaque: self.opaque, flag: 0, header, body };
        let mut frame = Vec::new();
        send_request(&mut frame, Serialization::Json, &request).expect("a send fits a frame");
        frame
    }

    pub fn send(&mut self, header: SendHeader<'_>, body: &[u8]) -> Answer {
        let frame = self.send_frame(header, body);
        self.exchange(&frame)
    }

    pub fn pull_frame(&mut self, header: PullHeader<'_>) -> Vec<u8> {
        self.opaque += 1;
        let request = PullRequest { code: request_code::PULL_MESSAGE, opaque: self.opaque, header };
        let mut frame = Vec::new();
        pull_request(&mut frame, Serialization::Json, &request).expect("a pull fits a frame");
        frame
    }

    pub fn pull(&mut self, header: PullHeader<'_>) -> Answer {
        let frame = self.pull_frame(header);
        self.exchange(&frame)
    }

    fn exchange(&mut self, frame: &[u8]) -> Answer {
        self.write(frame).expect("send a request");
        match self.hear(ANSWER) {
            Heard::Answer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    /// The next answer, or what came instead of it.
    pub fn hear(&mut self, limit: Duration) -> Heard {
        let deadline = Instant::now() + limit;
        let mut piece = [0; 64 * 1024];
        loop {
            if let Some(answer) = self.take_answer() {
                return Heard::Answer(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Silence;
            }
            self.stream.set_read_timeout(Some(left)).expect("set a time-out");
            match self.stream.read(&mut piece) {
                Ok(0) => return Heard::Closed,
                Ok(bytes) => self.received.extend_from_slice(&piece[..bytes]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Heard::Closed;
                }
                Err(error) => panic!("receive: {error}"),
            }
        }
    }

    /// The server closes within the limit; answers before that are passed over.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now())) {
                Heard::Closed => return true,
                Heard::Answer(_) => {}
                Heard::Silence => return false,
            }
        }
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let Ok(Cut::Frame { total, frame }) = cut(&self.received) else { return None };
        let command = Command::decode(frame).expect("the server's header can be read");
        let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let answer = Answer {
            opaque: command.opaque,
            code: command.code,
            remark: command.remark.as_deref().unwrap_or_default().to_owned(),
            fields: command.ext.iter().map(text).collect(),
            body: command.body.to_vec(),
        };
        self.received.drain(..total);
        Some(answer)
    }
}

pub fn send_header<'a>(topic: &'a str, queue_id: i32) -> SendHeader<'a> {
    SendHeader { born_timestamp: 1_700_000_000_000, ..SendHeader::new("producers", topic, queue_id) }
}

/// Carries its own subscription: everything. Not held if there is nothing.
pub fn pull_header<'a>(topic: &'a str, queue_id: i32, offset: i64) -> PullHeader<'a> {
    PullHeader::new("consumers", topic, queue_id, offset)
}

//! `bench send`: closed loop (in flight on each connection) or open loop (`--rate`).

use anyhow::Result;
use ringmq_wire::Serialization;
use ringmq_wire::command::Command;

use crate::args::{Header, Load, SendArgs};
use crate::conn::Conn;
use crate::driver::{Driver, Workload};
use crate::pacing::Pacing;
use crate::producer::Producer;
use crate::report::Meter;
use crate::target::Target;

pub fn run(args: &SendArgs) -> Result<()> {
    let common = &args.common;
    let target = Target::prepare(common)?;
    let connections = common.connections as usize;
    let mut driver = Driver::connect(&target.addrs, connections, common.spin)?;
    let now = driver.now();
    let mut work = Send {
        producer: Producer::new(&target, &args.load, connections, common.header.into())?,
        meter: Meter::new("send", common.pid, common.json, now, common.warmup)?,
        pace: Pace::new(&args.load, now),
        stop_at: match args.load.count {
            Some(_) => u64::MAX,
            None => now + (common.warmup + common.duration).as_nanos() as u64,
        },
        count: args.load.count.unwrap_or(u64::MAX),
        sent: 0,
        stopping: false,
        last_answer: now,
    };
    driver.run(&mut work)?;
    work.meter.finish(work.last_answer)
}

impl From<Header> for Serialization {
    fn from(header: Header) -> Self {
        match header {
            Header::Json => Serialization::Json,
            Header::Binary => Serialization::Binary,
        }
    }
}

/// When the next request may leave.
pub enum Pace {
    Closed,
    /// The schedule, and the connection that is next.
    Open(Pacing, usize),
}

impl Pace {
    pub fn new(load: &Load, now: u64) -> Self {
        match load.rate {
            Some(rate) => Pace::Open(Pacing::new(now, rate as f64 / load.batch as f64), 0),
            None => Pace::Closed,
        }
    }

    /// Queues every request that is due and has room; tells how many, at most `limit`.
    pub fn pump(&mut self, producer: &mut Producer, conns: &mut [Conn], now: u64, limit: u64) -> Result<u64> {
        let mut sent = 0;
        match self {
            Pace::Closed => {
                for (i, conn) in conns.iter_mut().enumerate().take(producer.connections()) {
                    while sent < limit && producer.has_room(i) {
                        producer.send(i, conn, now)?;
                        sent += 1;
                    }
                }
            }
            Pace::Open(pacing, next) => {
                // A request whose time has come but that finds no room leaves later; its latency still
                // counts from its time.
                while sent < limit {
                    let n = producer.connections();
                    let Some(i) = (0..n).map(|k| (*next + k) % n).find(|i| producer.has_room(*i)) else {
                        break;
                    };
                    let Some(intended) = pacing.take(now) else { break };
                    producer.send(i, &mut conns[i], intended)?;
                    *next = i + 1;
                    sent += 1;
                }
            }
        }
        Ok(sent)
    }

    pub fn next_due(&self) -> Option<u64> {
        match self {
            Pace::Closed => None,
            Pace::Open(pacing, _) => Some(pacing.next_at()),
        }
    }
}

struct Send {
    producer: Producer,
    meter: Meter,
    pace: Pace,
    stop_at: u64,
    count: u64,
    sent: u64,
    stopping: bool,
    last_answer: u64,
}

impl Workload for Send {
    fn pump(&mut self, conns: &mut [Conn], now: u64) -> Result<()> {
        self.stopping |= now >= self.stop_at || self.sent >= self.count;
        if !self.stopping {
            let per_request = self.producer.messages_per_request();
            let limit = (self.count - self.sent).div_ceil(per_request);
            self.sent += self.pace.pump(&mut self.producer, conns, now, limit)? * per_request;
        }
        Ok(())
    }

    fn on_frame(&mut self, conn: usize, command: Command<'_>, now: u64) -> Result<()> {
        if let Some(intended) = self.producer.answered(conn, &command, &mut self.meter)? {
            let (messages, bytes) = (self.producer.messages_per_request(), self.producer.bytes_per_request());
            self.meter.done(now, messages, bytes, now.saturating_sub(intended))?;
        }
        self.last_answer = now;
        Ok(())
    }

    fn next_due(&self) -> Option<u64> {
        if self.stopping { None } else { self.pace.next_due().map(|due| due.min(self.stop_at)) }
    }

    fn tick(&mut self, now: u64) -> Result<()> {
        self.meter.progress(now);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stopping && self.producer.outstanding == 0
    }

    fn waits_for_answer(&self) -> bool {
        self.producer.outstanding > 0
    }
}

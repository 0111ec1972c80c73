//! The loop: let the workload queue requests, write, wait, read, again until it is done.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::{Events, Poll};
use ringmq_wire::command::Command;

use crate::ANSWER_SECS_MAX;
use crate::conn::Conn;

/// What is driven. Times are nanoseconds since the run began.
pub trait Workload {
    /// Queues what is due on connections.
    fn pump(&mut self, conns: &mut [Conn], now: u64) -> Result<()>;
    /// A frame arrived on a connection.
    fn on_frame(&mut self, conn: usize, command: Command<'_>, now: u64) -> Result<()>;
    /// When `pump` has something to do although nothing arrives.
    fn next_due(&self) -> Option<u64>;
    /// Called about ten times a second.
    fn tick(&mut self, now: u64) -> Result<()>;
    fn is_done(&self) -> bool;
    /// Is an answer due? If so and nothing arrives for [`ANSWER_SECS_MAX`], the run has failed.
    fn waits_for_answer(&self) -> bool;
}

pub struct Driver {
    poll: Poll,
    pub conns: Vec<Conn>,
    spin: bool,
    started: Instant,
}

impl Driver {
    /// Connection i goes to `addrs[i % addrs.len()]`.
    pub fn connect(addrs: &[SocketAddr], connections: usize, spin: bool) -> Result<Self> {
        let poll = Poll::new()?;
        let conns = (0..connections)
            .map(|i| Conn::connect(poll.registry(), addrs[i % addrs.len()], i))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { poll, conns, spin, started: Instant::now() })
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    pub fn run(&mut self, work: &mut impl Workload) -> Result<()> {
        const TICK: u64 = 100_000_000;
        let mut events = Events::with_capacity(1024);
        let mut next_tick = self.now() + TICK;
        let mut last_frame = self.now();
        while !work.is_done() {
            let mut now = self.now();
            work.pump(&mut self.conns, now)?;
            for conn in &mut self.conns {
                conn.flush(self.poll.registry())?;
            }
            let due = work.next_due().unwrap_or(u64::MAX).min(next_tick);
            self.wait(&mut events, due)?;
            for event in events.iter() {
                let i = event.token().0;
                if event.is_readable() || event.is_read_closed() {
                    let started = self.started;
                    let came = self.conns[i]
                        .receive(|command| work.on_frame(i, command, started.elapsed().as_nanos() as u64))?;
                    if came {
                        last_frame = self.now();
                    }
                }
            }
            now = self.now();
            if now >= next_tick {
                next_tick = now + TICK;
                work.tick(now)?;
                if work.waits_for_answer() && now - last_frame > ANSWER_SECS_MAX * 1_000_000_000 {
                    bail!("the broker has answered nothing for {ANSWER_SECS_MAX} s");
                }
            }
        }
        Ok(())
    }

    /// Waits for events until `due`. epoll counts in milliseconds: the last one before a due time is
    /// spun, so that an open loop's requests leave in time.
    fn wait(&mut self, events: &mut Events, due: u64) -> Result<()> {
        loop {
            let left = due.saturating_sub(self.now());
            let timeout = if self.spin || left < 1_000_000 {
                Duration::ZERO
            } else {
                Duration::from_nanos(left - 500_000)
            };
            match self.poll.poll(events, Some(timeout)) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            }
            if !events.is_empty() || self.now() >= due {
                return Ok(());
            }
        }
    }
}

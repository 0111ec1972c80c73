//! `bench e2e`: a producer and a long-polling consumer; latency from intended send time to arrival.

use anyhow::{Result, bail};
use ringmq_wire::command::Command;

use crate::args::{E2eArgs, From};
use crate::conn::Conn;
use crate::consume::Puller;
use crate::driver::{Driver, Workload};
use crate::producer::Producer;
use crate::report::Meter;
use crate::send::Pace;
use crate::target::Target;

pub fn run(args: &E2eArgs) -> Result<()> {
    let common = &args.common;
    let target = Target::prepare(common)?;
    // Half of the connections send, half consume, as producers and consumers do in production.
    let brokers = target.addrs.len();
    let senders = (common.connections as usize).div_ceil(2).next_multiple_of(brokers);
    let pullers = senders.min(target.queues.len().next_multiple_of(brokers));
    let puller = Puller::new(&target, pullers, From::Last, false, 32, "*", common.header.into())?;
    let mut driver = Driver::connect(&target.addrs, senders + pullers, common.spin)?;
    let now = driver.now();
    let mut work = EndToEnd {
        producer: Producer::new(&target, &args.load, senders, common.header.into())?,
        puller,
        senders,
        meter: Meter::new("e2e", common.pid, common.json, now, common.warmup)?,
        pace: Pace::new(&args.load, now),
        stop_at: now + (common.warmup + common.duration).as_nanos() as u64,
        count: args.load.count.unwrap_or(u64::MAX),
        began: now,
        sent: 0,
        accepted: 0,
        arrived: 0,
        stopping: false,
        last: now,
        now,
    };
    driver.run(&mut work)?;
    work.meter.finish(work.last)
}

struct EndToEnd {
    producer: Producer,
    puller: Puller,
    senders: usize,
    meter: Meter,
    pace: Pace,
    stop_at: u64,
    count: u64,
    began: u64,
    sent: u64,
    accepted: u64,
    arrived: u64,
    stopping: bool,
    last: u64,
    now: u64,
}

impl Workload for EndToEnd {
    fn pump(&mut self, conns: &mut [Conn], now: u64) -> Result<()> {
        self.now = now;
        self.stopping |= now >= self.stop_at || self.sent >= self.count;
        let (sending, pulling) = conns.split_at_mut(self.senders);
        self.puller.pump(pulling, now)?;
        if !self.stopping {
            let per_request = self.producer.messages_per_request();
            let limit = (self.count - self.sent).div_ceil(per_request);
            self.sent += self.pace.pump(&mut self.producer, sending, now, limit)? * per_request;
        }
        Ok(())
    }

    fn on_frame(&mut self, conn: usize, command: Command<'_>, now: u64) -> Result<()> {
        self.now = now;
        if conn < self.senders {
            if self.producer.answered(conn, &command, &mut self.meter)?.is_some() {
                self.accepted += self.producer.messages_per_request();
            }
            return Ok(());
        }
        let mut latencies = [0u64; 64];
        let mut n = 0;
        let mut late = Vec::new();
        let began = self.began;
        let pulled = self.puller.answered(&command, &mut self.meter, |stamp| {
            if stamp.time >= began && n < latencies.len() {
                latencies[n] = now.saturating_sub(stamp.time);
                n += 1;
            } else if stamp.time >= began {
                late.push(now.saturating_sub(stamp.time));
            }
        })?;
        if pulled.messages > 0 {
            self.arrived += pulled.messages;
            self.meter.count(now, pulled.messages, pulled.bytes)?;
            latencies[..n].iter().chain(&late).for_each(|l| self.meter.latency(*l));
            self.last = now;
        }
        Ok(())
    }

    fn next_due(&self) -> Option<u64> {
        if self.stopping {
            None
        } else {
            self.pace.next_due().map_or(Some(self.stop_at), |d| Some(d.min(self.stop_at)))
        }
    }

    fn tick(&mut self, now: u64) -> Result<()> {
        self.now = now;
        self.meter.progress(now);
        if self.stopping
            && self.producer.outstanding == 0
            && now > self.last + 10_000_000_000
            && !self.is_done()
        {
            bail!("{} messages were accepted but only {} arrived", self.accepted, self.arrived);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stopping && self.producer.outstanding == 0 && self.arrived >= self.accepted
    }

    fn waits_for_answer(&self) -> bool {
        self.producer.outstanding > 0
    }
}

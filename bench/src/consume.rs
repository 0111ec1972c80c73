//! `bench consume`: one pull in flight for each queue; every body's CRC and content are verified.

use anyhow::{Result, bail};
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::command::Command;
use ringmq_wire::encode::{PullRequest, pull_request};
use ringmq_wire::headers::{PullHeader, SYS_FLAG_SUBSCRIPTION, SYS_FLAG_SUSPEND};
use ringmq_wire::message::records;

use crate::args::{ConsumeArgs, From};
use crate::conn::Conn;
use crate::driver::{Driver, Workload};
use crate::payload::{Payload, Stamp};
use crate::report::Meter;
use crate::rpc::{Rpc, refused};
use crate::target::Target;

/// How long the broker may hold a pull, milliseconds.
const SUSPEND_MS: i64 = 15_000;
/// Largest body whose content is checked.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

pub fn run(args: &ConsumeArgs) -> Result<()> {
    let common = &args.common;
    let target = Target::prepare(common)?;
    let connections = (common.connections as usize).min(target.queues.len()).max(1);
    let puller = Puller::new(
        &target,
        connections,
        args.from,
        args.repeat,
        args.max,
        &args.tags,
        common.header.into(),
    )?;
    let mut driver = Driver::connect(&target.addrs, connections, common.spin)?;
    let now = driver.now();
    let mut work = Consume {
        puller,
        meter: Meter::new("consume", common.pid, common.json, now, common.warmup)?,
        stop_at: now + (common.warmup + common.duration).as_nanos() as u64,
        count: args.count.unwrap_or(u64::MAX),
        now,
        last: now,
    };
    driver.run(&mut work)?;
    work.meter.finish(work.last)
}

struct PullQueue {
    topic: String,
    id: i32,
    conn: usize,
    offset: i64,
    sent_at: u64,
    due: bool,
}

/// The pulls of all queues.
pub struct Puller {
    queues: Vec<PullQueue>,
    payload: Payload,
    repeat: bool,
    max: u32,
    tags: String,
    serialization: Serialization,
}

/// What one pull's answer brought.
#[derive(Default)]
pub struct Pulled {
    pub messages: u64,
    pub bytes: u64,
    /// When the pull was sent.
    pub sent_at: u64,
}

impl Puller {
    pub fn new(
        target: &Target,
        connections: usize,
        from: From,
        repeat: bool,
        max: u32,
        tags: &str,
        serialization: Serialization,
    ) -> Result<Self> {
        let brokers = target.addrs.len();
        let per_broker = (connections / brokers).max(1);
        let mut rpcs =
            target.addrs.iter().map(|a| Rpc::connect(&a.to_string())).collect::<Result<Vec<_>>>()?;
        let mut queues = Vec::new();
        for (i, queue) in target.queues.iter().filter(|q| q.readable).enumerate() {
            let code = match from {
                From::First => request_code::GET_MIN_OFFSET,
                From::Last => request_code::GET_MAX_OFFSET,
            };
            let topic = &target.topics[queue.topic];
            let offset = rpcs[queue.broker].call(
                code,
                |w| {
                    w.ext("topic", topic).ext_int("queueId", queue.id);
                },
                |answer| match (answer.code, answer.ext.get_i64("offset")) {
                    (response_code::SUCCESS, Some(offset)) => Ok(offset),
                    _ => Err(refused("offset", answer)),
                },
            )?;
            queues.push(PullQueue {
                topic: topic.clone(),
                id: queue.id,
                // Connection c goes to broker c % brokers.
                conn: queue.broker + (i % per_broker) * brokers,
                offset,
                sent_at: 0,
                due: true,
            });
        }
        if connections < brokers {
            bail!("{connections} connections cannot reach {brokers} brokers");
        }
        Ok(Self {
            queues,
            payload: Payload::new(BODY_BYTES_MAX),
            repeat,
            max,
            tags: tags.to_owned(),
            serialization,
        })
    }

    pub fn pump(&mut self, conns: &mut [Conn], now: u64) -> Result<()> {
        for (i, queue) in self.queues.iter_mut().enumerate().filter(|(_, q)| q.due) {
            let suspend = if self.repeat { 0 } else { SYS_FLAG_SUSPEND };
            let request = PullRequest {
                code: request_code::PULL_MESSAGE,
                opaque: i as i32,
                header: PullHeader {
                    max_msg_nums: self.max as i32,
                    sys_flag: SYS_FLAG_SUBSCRIPTION | suspend,
                    suspend_timeout_millis: SUSPEND_MS,
                    subscription: Some(&self.tags),
                    expression_type: Some("TAG"),
                    ..PullHeader::new("ringmq-bench-consumer", &queue.topic, queue.id, queue.offset)
                },
            };
            pull_request(&mut conns[queue.conn].out, self.serialization, &request)?;
            queue.sent_at = now;
            queue.due = false;
        }
        Ok(())
    }

    /// Takes an answer and verifies its messages; calls `each` with every stamp.
    pub fn answered(
        &mut self,
        command: &Command<'_>,
        meter: &mut Meter,
        mut each: impl FnMut(Stamp),
    ) -> Result<Pulled> {
        let Some(queue) = self.queues.get_mut(command.opaque as usize) else {
            bail!("answer {} to no pull", command.opaque);
        };
        queue.due = true;
        let mut pulled = Pulled { sent_at: queue.sent_at, ..Pulled::default() };
        match command.code {
            response_code::SUCCESS => {
                for record in records(command.body) {
                    let record = record?;
                    if !record.verify_body_crc() {
                        bail!("queue {} offset {}: the body's CRC is wrong", queue.id, record.queue_offset);
                    }
                    match self.payload.verify(record.body) {
                        Ok(stamp) => stamp.map_or((), &mut each),
                        Err(what) => bail!("queue {} offset {}: {what}", queue.id, record.queue_offset),
                    }
                    pulled.messages += 1;
                    pulled.bytes += record.body.len() as u64;
                }
                if pulled.messages == 0 {
                    bail!("a pull was answered FOUND without a message");
                }
            }
            response_code::PULL_NOT_FOUND
            | response_code::PULL_RETRY_IMMEDIATELY
            | response_code::PULL_OFFSET_MOVED => {
                if self.repeat {
                    let min = command.ext.get_i64("minOffset").unwrap_or(0);
                    if command.ext.get_i64("maxOffset") == Some(min) {
                        bail!("--repeat on an empty queue ({} {})", queue.topic, queue.id);
                    }
                    queue.offset = min;
                    return Ok(pulled);
                }
            }
            _ => {
                meter.refuse(command.code, command.remark.as_deref());
                return Ok(pulled);
            }
        }
        match command.ext.get_i64("nextBeginOffset") {
            Some(next) => queue.offset = next,
            None => bail!("a pull's answer has no nextBeginOffset"),
        }
        Ok(pulled)
    }
}

struct Consume {
    puller: Puller,
    meter: Meter,
    stop_at: u64,
    count: u64,
    now: u64,
    last: u64,
}

impl Workload for Consume {
    fn pump(&mut self, conns: &mut [Conn], now: u64) -> Result<()> {
        self.now = now;
        self.puller.pump(conns, now)
    }

    fn on_frame(&mut self, _conn: usize, command: Command<'_>, now: u64) -> Result<()> {
        let pulled = self.puller.answered(&command, &mut self.meter, |_| {})?;
        if pulled.messages > 0 {
            self.meter.done(now, pulled.messages, pulled.bytes, now - pulled.sent_at)?;
            self.last = now;
        }
        self.now = now;
        Ok(())
    }

    fn next_due(&self) -> Option<u64> {
        Some(self.stop_at)
    }

    fn tick(&mut self, now: u64) -> Result<()> {
        self.now = now;
        self.meter.progress(now);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.now >= self.stop_at || self.meter.total() >= self.count
    }

    fn waits_for_answer(&self) -> bool {
        true
    }
}

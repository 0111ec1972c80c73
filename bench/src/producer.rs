//! Builds send requests and keeps what is in flight on each connection.

use anyhow::{Result, bail};
use ringmq_wire::Serialization;
use ringmq_wire::batch::{BatchItem, put_item};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::command::Command;
use ringmq_wire::encode::{SendRequest, send_request};
use ringmq_wire::headers::SendHeader;

use crate::args::Load;
use crate::conn::Conn;
use crate::payload::{Payload, Stamp};
use crate::report::Meter;
use crate::target::Target;

/// First opaque of send requests; other requests of the tool number below it.
pub const OPAQUE_BASE: i32 = 1 << 20;
/// A slot without a request.
const FREE: u64 = u64::MAX;
/// 32 hexadecimal digits, as the Java client makes them; the last 16 count.
const UNIQUE_PREFIX: &str = "7F00000100001B2A";

pub struct Producer {
    payload: Payload,
    size: usize,
    batch: usize,
    serialization: Serialization,
    /// Per connection: intended time of each request in flight by slot, and the free slots.
    slots: Vec<(Vec<u64>, Vec<u32>)>,
    /// Per connection: the writable queues of its broker and the next one's index.
    queues: Vec<(Vec<(usize, i32)>, usize)>,
    topics: Vec<String>,
    sequence: u64,
    properties: String,
    body: Vec<u8>,
    item: Vec<u8>,
    pub outstanding: u64,
}

impl Producer {
    pub fn new(
        target: &Target,
        load: &Load,
        connections: usize,
        serialization: Serialization,
    ) -> Result<Self> {
        let brokers = target.addrs.len();
        let mut queues = Vec::with_capacity(connections);
        for conn in 0..connections {
            let mine: Vec<_> = target
                .queues
                .iter()
                .filter(|q| q.writable && q.broker == conn % brokers)
                .map(|q| (q.topic, q.id))
                .collect();
            if mine.is_empty() {
                bail!("broker {} has no writable queue", target.broker_names[conn % brokers]);
            }
            // Connections begin at different queues, so that they do not all write the same one.
            let first = conn / brokers * mine.len() / connections.div_ceil(brokers).max(1);
            queues.push((mine, first));
        }
        let in_flight = load.in_flight as usize;
        Ok(Self {
            payload: Payload::new(load.size as usize),
            size: load.size as usize,
            batch: load.batch as usize,
            serialization,
            slots: (0..connections)
                .map(|_| (vec![FREE; in_flight], (0..in_flight as u32).rev().collect()))
                .collect(),
            queues,
            topics: target.topics.clone(),
            sequence: 0,
            properties: String::new(),
            body: Vec::new(),
            item: Vec::new(),
            outstanding: 0,
        })
    }

    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    pub fn has_room(&self, conn: usize) -> bool {
        !self.slots[conn].1.is_empty()
    }

    pub fn messages_per_request(&self) -> u64 {
        self.batch as u64
    }

    /// Queues one request. `intended`: when it ought to leave, from which its latency counts.
    pub fn send(&mut self, conn: usize, out: &mut Conn, intended: u64) -> Result<()> {
        let slot = self.slots[conn].1.pop().expect("has_room was asked");
        self.slots[conn].0[slot as usize] = intended;
        let (queues, next) = &mut self.queues[conn];
        let (topic, queue_id) = queues[*next % queues.len()];
        *next += 1;
        self.body.clear();
        let born = millis();
        let (code, properties) = if self.batch == 1 {
            let stamp = Stamp { sequence: self.sequence, time: intended };
            self.payload.write(&mut self.body, self.size, stamp);
            unique_properties(&mut self.properties, self.sequence);
            self.sequence += 1;
            (request_code::SEND_MESSAGE_V2, self.properties.as_str())
        } else {
            for _ in 0..self.batch {
                unique_properties(&mut self.properties, self.sequence);
                let stamp = Stamp { sequence: self.sequence, time: intended };
                self.item.clear();
                self.payload.write(&mut self.item, self.size, stamp);
                put_item(
                    &mut self.body,
                    &BatchItem { flag: 0, body: &self.item, properties: &self.properties },
                );
                self.sequence += 1;
            }
            (request_code::SEND_BATCH_MESSAGE, "")
        };
        let request = SendRequest {
            code,
            opaque: OPAQUE_BASE + slot as i32,
            flag: 0,
            header: SendHeader {
                born_timestamp: born,
                properties,
                batch: self.batch > 1,
                ..SendHeader::new("ringmq-bench-producer", &self.topics[topic], queue_id)
            },
            body: &self.body,
        };
        send_request(&mut out.out, self.serialization, &request)?;
        self.outstanding += 1;
        Ok(())
    }

    /// Takes an answer; tells the intended time of its request. Refusals are counted, not fatal.
    pub fn answered(&mut self, conn: usize, command: &Command<'_>, meter: &mut Meter) -> Result<Option<u64>> {
        let slot = command.opaque - OPAQUE_BASE;
        let times = &mut self.slots[conn].0;
        let intended = match usize::try_from(slot).ok().and_then(|slot| times.get_mut(slot)) {
            Some(time) if *time != FREE => std::mem::replace(time, FREE),
            _ => bail!("answer {} to a request that is not in flight", command.opaque),
        };
        self.slots[conn].1.push(slot as u32);
        self.outstanding -= 1;
        if command.code != response_code::SUCCESS {
            meter.refuse(command.code, command.remark.as_deref());
            return Ok(None);
        }
        Ok(Some(intended))
    }

    pub fn bytes_per_request(&self) -> u64 {
        (self.size * self.batch) as u64
    }
}

/// The properties that a Java producer sends with every message.
fn unique_properties(out: &mut String, sequence: u64) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.clear();
    out.push_str("UNIQ_KEY\u{1}");
    out.push_str(UNIQUE_PREFIX);
    for shift in (0..16).rev() {
        out.push(DIGITS[(sequence >> (shift * 4)) as usize & 15] as char);
    }
    out.push_str("\u{2}WAIT\u{1}true\u{2}");
}

pub fn millis() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_keys_differ_and_have_the_clients_length() {
        let (mut a, mut b) = (String::new(), String::new());
        unique_properties(&mut a, 1);
        unique_properties(&mut b, u64::MAX);
        assert_ne!(a, b);
        for text in [a, b] {
            let key = text.strip_prefix("UNIQ_KEY\u{1}").unwrap().split('\u{2}').next().unwrap();
            assert_eq!(key.len(), 32);
        }
    }
}

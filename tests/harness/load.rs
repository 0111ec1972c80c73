//! Load that keeps books: many sends in flight on many connections, and which of them were acknowledged where and when.
//!
//! No message is sent twice: what was not acknowledged before the connection broke may be stored or not.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringmq_wire::message;

use super::remoting::{Heard, Remote, pull_header, send_header};
use super::server::Server;

pub const TOPIC: &str = "survive";
pub const QUEUES: i32 = 4;
const CONNECTIONS: u64 = 8;
const IN_FLIGHT: usize = 64;
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(20);

/// A message that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    pub queue: i32,
    pub offset: i64,
    pub number: u64,
    pub at: Instant,
}

/// What all connections know together.
#[derive(Default)]
struct Common {
    stop: AtomicBool,
    acked: AtomicU64,
    latched: AtomicU64,
    /// Of the first refusal for a latched shard.
    reason: Mutex<Option<String>>,
}

/// Eight connections with 64 sends in flight each. Once a queue's shard has said that it is latched, it must accept nothing more.
pub struct Load {
    common: Arc<Common>,
    threads: Vec<JoinHandle<Vec<Acked>>>,
}

impl Load {
    /// Numbers from `first` on; each load of a test begins where none was before.
    pub fn start(server: &Server, first: u64) -> Self {
        let common = Arc::new(Common::default());
        let threads = (0..CONNECTIONS)
            .map(|connection| {
                let client = Remote::connect(server.broker());
                let common = common.clone();
                std::thread::spawn(move || send(client, first + connection, &common))
            })
            .collect();
        Self { common, threads }
    }

    pub fn acked(&self) -> u64 {
        self.common.acked.load(Ordering::Relaxed)
    }

    /// Refusals by latched shards so far.
    pub fn latched(&self) -> u64 {
        self.common.latched.load(Ordering::Relaxed)
    }

    /// What the first of them said.
    pub fn reason(&self) -> Option<String> {
        self.common.reason.lock().expect("no thread panics with it").clone()
    }

    /// Waits for so many acknowledgements since the begin.
    pub fn reaches(&self, goal: u64, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.acked() < goal {
            assert!(
                Instant::now() < deadline,
                "{} of {goal} acknowledgements within {limit:?}",
                self.acked()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends no more, hears what is still to come, and gives the books.
    pub fn end(self) -> Vec<Acked> {
        self.common.stop.store(true, Ordering::Relaxed);
        let books = self.threads.into_iter().flat_map(|thread| thread.join().expect("a load thread"));
        books.collect()
    }
}

fn send(mut client: Remote, first: u64, common: &Common) -> Vec<Acked> {
    let (mut books, mut under_way) = (Vec::new(), HashMap::new());
    let mut latched = HashSet::new();
    let mut number = first;
    loop {
        while under_way.len() < IN_FLIGHT && !common.stop.load(Ordering::Relaxed) {
            let queue = (number % QUEUES as u64) as i32;
            let body = number.to_be_bytes().repeat(1 + (number % 50) as usize);
            let frame = client.send_frame(send_header(TOPIC, queue), &body);
            under_way.insert(client.opaque(), number);
            number += CONNECTIONS;
            if client.write(&frame).is_err() {
                return books;
            }
        }
        if under_way.is_empty() {
            return books;
        }
        match client.hear(LOOK) {
            Heard::Answer(answer) => {
                let number = under_way.remove(&answer.opaque).expect("an answer to what was sent");
                if answer.code == 0 {
                    let field = |name| answer.field(name).parse::<i64>().expect("a number");
                    let (queue, offset) = (field("queueId") as i32, field("queueOffset"));
                    assert!(!latched.contains(&queue), "queue {queue}: SEND_OK of a shard that was latched");
                    books.push(Acked { queue, offset, number, at: Instant::now() });
                    common.acked.fetch_add(1, Ordering::Relaxed);
                } else if answer.remark.contains("is latched") {
                    latched.insert((number % QUEUES as u64) as i32);
                    common.latched.fetch_add(1, Ordering::Relaxed);
                    common.reason.lock().expect("no thread panics with it").get_or_insert(answer.remark);
                }
            }
            Heard::Silence => {}
            Heard::Closed => return books,
        }
    }
}

/// The numbers of all messages by queue and offset. Offsets are dense, bodies whole, and no message is there twice.
pub fn stored(server: &Server) -> HashMap<(i32, i64), u64> {
    let mut client = Remote::connect(server.broker());
    let (mut found, mut numbers) = (HashMap::new(), HashSet::new());
    for queue in 0..QUEUES {
        let mut at = 0;
        loop {
            let answer = client.pull(pull_header(TOPIC, queue, at));
            for record in message::records(&answer.body) {
                let record = record.expect("a whole record");
                assert_eq!(record.queue_offset, at, "queue {queue}: a gap");
                let (number, _) = record.body.split_first_chunk().expect("a number");
                let number = u64::from_be_bytes(*number);
                assert_eq!(record.body, number.to_be_bytes().repeat(1 + (number % 50) as usize));
                assert!(numbers.insert(number), "message {number} is there twice");
                found.insert((queue, at), number);
                at += 1;
            }
            let max: i64 = answer.field("maxOffset").parse().expect("an offset");
            if at >= max {
                break;
            }
        }
    }
    found
}

/// The acknowledged messages that are not where they were acknowledged.
pub fn missing<'a>(acked: &'a [Acked], stored: &HashMap<(i32, i64), u64>) -> Vec<&'a Acked> {
    let is_there = |acked: &Acked| stored.get(&(acked.queue, acked.offset)) == Some(&acked.number);
    acked.iter().filter(|acked| !is_there(acked)).collect()
}

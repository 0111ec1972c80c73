//! The clients of a run: producers that send again as RocketMQ's do, consumers that pull and commit, and an auditor who reads
//! everything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::{EPOCH_MS, SimEnv};
use ringmq_transport::{Client, ClientConfig, Counters, NoRequests};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::message_id::decode_offset_id;

use super::books::{Books, Found, body};
use super::places::Place;
use super::plan::{QUEUES, TOPIC};
use super::settings::{self, SharedSettings};
use super::waiters::{self, SharedWaits};
use super::waits::Kind;
use super::wire::{self, Message, Pull};

pub type SharedBooks = Rc<RefCell<Books>>;

/// All that clients know.
#[derive(Clone)]
pub struct Known {
    pub books: SharedBooks,
    pub waits: SharedWaits,
    pub settings: SharedSettings,
}

pub const GROUPS: [&str; 2] = ["billing", "shipping"];
/// Producers share connections, so that each has several requests under way.
const CONNECTIONS: usize = 3;
const PRODUCERS: usize = 6;
/// sendMsgTimeout and retryTimesWhenSendFailed of RocketMQ's client.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(3);
const SEND_TRIES: usize = 3;
pub const PATIENCE: Duration = Duration::from_secs(60);

/// After these codes RocketMQ's producer tries again (`DefaultMQProducer#retryResponseCodes`).
fn is_worth_a_retry(code: i32) -> bool {
    let codes = [
        response_code::TOPIC_NOT_EXIST,
        response_code::SERVICE_NOT_AVAILABLE,
        response_code::SYSTEM_ERROR,
        response_code::SYSTEM_BUSY,
        response_code::NO_PERMISSION,
    ];
    codes.contains(&code)
}

pub fn connect(env: &SimEnv, addr: SocketAddr, counters: &Rc<Counters>) -> Rc<Client<SimEnv>> {
    let config = ClientConfig {
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(300),
        ..ClientConfig::new(counters.clone())
    };
    Rc::new(Client::new(env, addr, Rc::new(NoRequests), config))
}

/// Of the world, not of this process; it counts milliseconds that are over.
pub fn now(env: &SimEnv) -> Duration {
    Duration::from_millis((env.now_ms() - EPOCH_MS) as u64 + 1)
}

/// Sends and pulls for as long as the process lives.
pub async fn run(env: SimEnv, addr: SocketAddr, known: Known) {
    let Known { books, waits, settings } = known;
    let counters = Rc::default();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(&env, addr, &counters)).collect();
    for number in 0..PRODUCERS {
        let client = connections[number % CONNECTIONS].clone();
        env.spawn(Class::Foreground, produce(env.clone(), client, books.clone()));
    }
    for (number, group) in GROUPS.into_iter().enumerate() {
        let client = connections[number % CONNECTIONS].clone();
        env.spawn(Class::Foreground, consume(env.clone(), client, books.clone(), group));
    }
    waiters::run(&env, addr, &waits);
    settings::run(&env, addr, &settings);
    std::future::pending::<()>().await;
}

async fn produce(env: SimEnv, client: Rc<Client<SimEnv>>, books: SharedBooks) {
    loop {
        send(&env, &client, &books, SEND_TRIES).await;
        env.sleep(Duration::from_micros(env.random() % 40_000)).await;
    }
}

/// Sends a message until it is acknowledged, or refused for good, or the time is over (`DefaultMQProducerImpl#sendDefaultImpl`;
/// with one broker the next try goes to the next queue). Whether it was acknowledged.
pub async fn send(env: &SimEnv, client: &Client<SimEnv>, books: &SharedBooks, tries: usize) -> bool {
    let number = books.borrow_mut().new_message();
    let bytes = body(number);
    let begun = env.monotonic_ns();
    let first = env.random() as usize % QUEUES;
    for queue in (first..first + tries).map(|queue| queue % QUEUES) {
        let spent = Duration::from_nanos(env.monotonic_ns() - begun);
        let Some(left) = SEND_TIMEOUT.checked_sub(spent) else { return false };
        let since = books.borrow_mut().sending(number, queue);
        let message = Message { topic: TOPIC, queue, properties: "", sys_flag: 0, body: &bytes };
        let Ok(answer) = wire::send(client, &message, left).await else { continue };
        let command = answer.command();
        if command.code == response_code::SUCCESS {
            let field = |name| command.ext.get_i64(name).expect("a number in the answer");
            assert_eq!(field("queueId"), queue as i64, "the answer to another request");
            let now = now(env);
            let offset = field("queueOffset") as u64;
            let place = command.ext.get("msgId").expect("an id in the answer");
            let (_, physical) = decode_offset_id(place).expect("the id of a place");
            let place = Place::new(physical as u64, wire::record_bytes(&bytes));
            books.borrow_mut().acknowledged(number, queue, offset, place, since, now);
            return true;
        }
        if !is_worth_a_retry(command.code) {
            return false;
        }
    }
    false
}

/// Pulls from anywhere, sometimes waiting at the end, and commits now and then.
async fn consume(env: SimEnv, client: Rc<Client<SimEnv>>, books: SharedBooks, group: &'static str) {
    let mut ends = [0; QUEUES];
    let mut commits = [0; QUEUES];
    loop {
        env.sleep(Duration::from_micros(env.random() % 20_000)).await;
        let queue = env.random() as usize % QUEUES;
        let waits = env.random().is_multiple_of(4);
        let offset = if waits { ends[queue] } else { env.random() % (ends[queue] + 1) };
        let since = books.borrow().now();
        let suspend = waits.then_some(Duration::from_millis(500));
        let pull = Pull { group, topic: TOPIC, queue, offset, suspend };
        let Ok(answer) = wire::pull(&client, &pull, SEND_TIMEOUT).await else { continue };
        let command = answer.command();
        if let Some(max) = command.ext.get_i64("maxOffset").filter(|max| *max >= 0) {
            ends[queue] = max as u64;
        }
        if command.code == response_code::SUCCESS {
            for (_, given) in wire::messages(TOPIC, queue, command.body) {
                books.borrow_mut().pulled(queue, &given, since);
            }
        }
        if env.random().is_multiple_of(3) {
            commits[queue] += 1 + (env.random() % 10) as i64;
            commit(&client, &books, group, queue, commits[queue]).await;
        }
    }
}

async fn commit(
    client: &Client<SimEnv>,
    books: &SharedBooks,
    group: &'static str,
    queue: usize,
    offset: i64,
) {
    books.borrow_mut().committing(group, queue, offset);
    let (id, text) = (queue.to_string(), offset.to_string());
    let fields = [("consumerGroup", group), ("topic", TOPIC), ("queueId", &id), ("commitOffset", &text)];
    let answer = wire::ask(client, request_code::UPDATE_CONSUMER_OFFSET, &fields, &[], SEND_TIMEOUT).await;
    if answer.is_ok_and(|answer| answer.command().code == response_code::SUCCESS) {
        books.borrow_mut().commit_acknowledged(group, queue, offset);
    }
}

/// Seconds that a broker has to find that its disk has room again.
const STALL_TRIES: u32 = 10;

/// What a broker does while its disk may have failed: an answer that says so is none.
struct Patience<'e> {
    env: &'e SimEnv,
    /// Its disk failed while it started, so that it may refuse even what a new reader's group needs.
    may_be_latched: bool,
}

impl Patience<'_> {
    /// What `ask` gives, or `None` of a broker that is latched.
    async fn answer<T>(&self, ask: impl AsyncFn() -> Result<T, String>) -> Option<T> {
        for _ in 0..STALL_TRIES {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(latched) if self.may_be_latched && latched.contains("latched") => return None,
                // Its disk was full when it started and has room now, which it has to find by itself.
                Err(stalled) if self.may_be_latched && stalled.contains("goes on by itself") => {
                    self.env.sleep(Duration::from_secs(1)).await;
                }
                Err(refused) => panic!("{refused}"),
            }
        }
        panic!("the disk has room again, and the broker does not find it");
    }
}

/// Reads everything that a broker has, over a network without faults, and compares. `may_be_latched`: its disk failed while it
/// started.
pub async fn audit(env: SimEnv, addr: SocketAddr, known: Known, may_be_latched: bool) {
    let client = connect(&env, addr, &Rc::default());
    let Known { books, waits, settings } = known;
    let patience = Patience { env: &env, may_be_latched };
    for queue in 0..QUEUES {
        let promised = books.borrow().promised(queue);
        let read = patience.answer(async || read_all(&client, TOPIC, queue, wire::messages).await);
        let Some(found) = read.await else { return };
        books.borrow_mut().audit(queue, &promised, &found);
        for group in GROUPS {
            let before = books.borrow().committed(group, queue);
            let offset = offset(&client, group, queue).await;
            books.borrow_mut().commit_found(group, queue, &before, offset);
        }
    }
    let was_hit = books.borrow().journal_was_hit();
    settings::audit(&client, &settings, was_hit).await;
    for kind in Kind::ALL {
        if patience.answer(async || waiters::look(&client, &waits, kind).await).await.is_none() {
            return;
        }
    }
}

async fn offset(client: &Client<SimEnv>, group: &str, queue: usize) -> Option<i64> {
    let id = queue.to_string();
    let fields =
        [("consumerGroup", group), ("topic", TOPIC), ("queueId", &id), ("setZeroIfNotFound", "false")];
    let code = request_code::QUERY_CONSUMER_OFFSET;
    let answer = wire::ask(client, code, &fields, &[], PATIENCE).await.expect("nothing is in its way");
    let command = answer.command();
    let offset = (command.code == response_code::SUCCESS).then(|| command.ext.get_i64("offset"));
    offset.map(|offset| offset.expect("a number in the answer"))
}

/// All that a broker says it has: of each queue where it begins and ends and what is in it, and of each group where it stands.
pub type Whole = Vec<(u64, u64, BTreeMap<u64, Vec<u8>>, Vec<Option<i64>>)>;

pub async fn whole(env: SimEnv, addr: SocketAddr) -> Whole {
    let client = connect(&env, addr, &Rc::default());
    let mut all = Whole::new();
    for queue in 0..QUEUES {
        let found = read_all(&client, TOPIC, queue, wire::messages).await;
        let Found { min, end, messages, .. } = found.unwrap_or_else(|refused| panic!("{refused}"));
        let messages = messages.into_iter().map(|(offset, given)| (offset, given.bytes)).collect();
        let mut offsets = Vec::new();
        for group in GROUPS {
            offsets.push(offset(&client, group, queue).await);
        }
        all.push((min, end, messages, offsets));
    }
    all
}

/// A queue from its first message to its last, and where it ends. `read`: what is in an answer, by offset.
pub async fn read_all<T>(
    client: &Client<SimEnv>,
    topic: &str,
    queue: usize,
    read: impl Fn(&str, usize, &[u8]) -> Vec<(u64, T)>,
) -> Result<Found<T>, String> {
    let mut found = Found { min: 0, end: 0, messages: BTreeMap::new(), has_topic: true };
    loop {
        let at = found.end;
        let pull = Pull { group: "auditors", topic, queue, offset: at, suspend: None };
        let answer = wire::pull(client, &pull, PATIENCE).await.expect("nothing is in its way");
        let command = answer.command();
        let next = || command.ext.get_i64("nextBeginOffset").expect("a number in the answer") as u64;
        match command.code {
            response_code::SUCCESS => {
                for (offset, message) in read(topic, queue, command.body) {
                    assert!((at..next()).contains(&offset), "queue {queue}: {offset} is out of order");
                    found.messages.insert(offset, message);
                }
                assert!(next() > at, "queue {queue}: no way past {at}");
                found.end = next();
            }
            response_code::PULL_RETRY_IMMEDIATELY => {
                assert!(next() > at, "queue {queue}: no way past {at}");
                found.end = next();
            }
            // Retention has taken what was to come, and all before it.
            response_code::PULL_OFFSET_MOVED if next() > at => {
                found = Found { min: next(), end: next(), messages: BTreeMap::new(), has_topic: true };
            }
            response_code::PULL_NOT_FOUND => return Ok(found),
            response_code::TOPIC_NOT_EXIST => return Ok(Found { has_topic: false, ..found }),
            code => {
                let remark = command.remark.as_deref().unwrap_or_default();
                return Err(format!("{topic} queue {queue}: a pull at {at} is answered {code}: {remark}"));
            }
        }
    }
}

/// A broker that was refusing sends for want of room finds that there is some, by itself.
pub async fn comes_back(env: SimEnv, addr: SocketAddr, books: SharedBooks) {
    let client = connect(&env, addr, &Rc::default());
    for _ in 0..STALL_TRIES {
        if send(&env, &client, &books, SEND_TRIES).await {
            return;
        }
        env.sleep(Duration::from_secs(1)).await;
    }
    panic!("the disk has room again, and the broker takes no message");
}

/// A broker without faults takes messages.
pub async fn are_served(env: SimEnv, addr: SocketAddr, books: SharedBooks) {
    let client = connect(&env, addr, &Rc::default());
    for _ in 0..QUEUES {
        assert!(send(&env, &client, &books, SEND_TRIES).await, "a recovered broker takes no message");
    }
}

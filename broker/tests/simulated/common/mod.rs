//! A broker in a simulated world, and a client that speaks the protocol to it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_broker::config::{BrokerConfig, FlushMode, HostFacts};
use ringmq_broker::control::registration::NameServer;
use ringmq_broker::start::{BrokerPlan, StartError, run_core};
use ringmq_io::Env;
use ringmq_io::sync::Stop;
use ringmq_simenv::{CrashKind, Host, Rng, SimEnv, World};
use ringmq_transport::{CallError, Client, ClientConfig, Connection, Flow, FrameRef, OwnedFrame, Service};
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::{PullRequest, SendRequest, begin_request, pull_request, send_request};
use ringmq_wire::headers::{PullHeader, SendHeader};
use ringmq_wire::message::{self, RecordView};
use ringmq_wire::properties;

pub const PORT: u16 = 10911;
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A world with a machine for the broker and one for clients.
pub struct Scene {
    pub world: World,
    pub machine: Host,
    pub clients: Host,
    pub addr: SocketAddr,
    /// Where the broker registers; none unless a test says so.
    pub name_servers: RefCell<Vec<NameServer>>,
    stops: Rc<RefCell<Vec<Stop>>>,
    pub ended: Rc<RefCell<Vec<Result<(), StartError>>>>,
}

impl Scene {
    pub fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let machine = world.host("broker");
        let clients = world.host("clients");
        let addr = SocketAddr::new(machine.ip(), PORT);
        Self {
            world,
            machine,
            clients,
            addr,
            name_servers: RefCell::default(),
            stops: Rc::default(),
            ended: Rc::default(),
        }
    }

    pub fn config(&self) -> BrokerConfig {
        let facts =
            HostFacts { host_name: "broker-a".into(), address: self.machine.ip(), data: "/data".into() };
        let mut config = BrokerConfig::defaults(&facts);
        config.listen_port = PORT;
        config.ring_bytes = 32 << 20;
        config.segment_bytes = 32 << 20;
        config
    }

    /// Starts the broker and waits until it serves.
    pub fn start(&self, cores: usize, change: impl Fn(&mut BrokerConfig)) {
        let mut config = self.config();
        change(&mut config);
        let plan =
            BrokerPlan { config, name_servers: self.name_servers.borrow().clone(), utc_offset_secs: 0 };
        let ready = Rc::new(Cell::new(false));
        self.stops.borrow_mut().clear();
        self.ended.borrow_mut().clear();
        let (stops, ended, is_ready) = (self.stops.clone(), self.ended.clone(), ready.clone());
        self.machine.start(cores, move |env| {
            let stop = Stop::new();
            stops.borrow_mut().push(stop.clone());
            let (plan, ended, is_ready) = (plan.clone(), ended.clone(), is_ready.clone());
            async move {
                let outcome = run_core(env, plan, stop, move |_| is_ready.set(true)).await;
                ended.borrow_mut().push(outcome);
            }
        });
        let up =
            self.world.run_until(|| ready.get() || !self.ended.borrow().is_empty(), Duration::from_secs(60));
        assert!(up && ready.get(), "the broker did not start: {:?}", self.ended.borrow());
    }

    /// Ends the broker in good order.
    pub fn stop(&self) {
        self.stops.borrow()[0].signal();
        // A signal from outside the world: something has to happen for the task to run.
        let down = self.world.run_until(|| !self.machine.is_up(), Duration::from_secs(120));
        assert!(down, "the broker did not end");
        for outcome in self.ended.borrow().iter() {
            assert!(outcome.is_ok(), "{outcome:?}");
        }
    }

    /// For lives that end by crashes: a broker of one to three cores and its flush mode, as the seed draws them.
    pub fn drawn(seed: u64) -> (Self, Rng, usize, FlushMode) {
        let scene = Self::new(seed);
        let rng = scene.world.rng("test");
        let cores = rng.within(1..=3) as usize;
        let flush = if rng.coin() { FlushMode::Sync } else { FlushMode::Async };
        (scene, rng, cores, flush)
    }

    /// Starts the broker and a client process, and lets something kill both at any moment: the client's process, and the broker's
    /// or, if `flush` promises that nothing is lost with it, its whole machine.
    pub fn live_and_crash<F: Future<Output = ()> + 'static>(
        &self,
        rng: &Rng,
        cores: usize,
        change: impl Fn(&mut BrokerConfig),
        flush: FlushMode,
        client: impl Fn(Rig) -> F + Clone + 'static,
    ) {
        self.start(cores, change);
        let addr = self.addr;
        self.clients.start(1, move |env| client(Rig { env, addr }));
        if rng.coin() {
            self.machine.kill_in_region_write(rng.within(500..=5000));
        }
        self.world.run_for(Duration::from_millis(rng.within(100..=2500)));
        self.clients.crash(CrashKind::Process);
        if self.machine.is_up() {
            let power = flush == FlushMode::Sync && rng.coin();
            self.machine.crash(if power { CrashKind::PowerLoss } else { CrashKind::Process });
        }
        self.machine.cancel_kill();
    }

    /// Runs a client program.
    pub fn client<F: Future<Output = T> + 'static, T: 'static>(&self, main: impl FnOnce(Rig) -> F) -> T {
        let addr = self.addr;
        self.world.run(&self.clients, |env| main(Rig { env, addr }))
    }
}

/// The case against a broker of one core for even seeds, of two for odd ones.
pub fn each_seed<F: Future<Output = ()> + 'static>(seeds: u64, case: impl Fn(Rig) -> F) {
    each_seed_with(seeds, |_| (), case);
}

/// The same with another configuration.
pub fn each_seed_with<F: Future<Output = ()> + 'static>(
    seeds: u64,
    change: impl Fn(&mut BrokerConfig),
    case: impl Fn(Rig) -> F,
) {
    for seed in 0..seeds {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 2) as usize, &change);
        scene.client(&case);
        scene.stop();
    }
}

/// A client process: makes connections to the broker.
#[derive(Clone)]
pub struct Rig {
    pub env: SimEnv,
    pub addr: SocketAddr,
}

/// Notes what the broker asks its client.
#[derive(Default)]
pub struct Asked(pub RefCell<Vec<OwnedFrame>>);

impl<E: Env> Service<E> for Asked {
    fn on_request(self: &Rc<Self>, _conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        self.0.borrow_mut().push(frame.to_owned_frame());
        Flow::Continue
    }
}

/// One connection.
pub struct Peer {
    pub client: Client<SimEnv>,
    pub asked: Rc<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub code: i32,
    pub remark: String,
    pub msg_id: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub transaction_id: String,
    pub recall_handle: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    pub code: i32,
    pub remark: String,
    pub next: i64,
    pub min: i64,
    pub max: i64,
    /// Queue offset, body and properties of each message.
    pub messages: Vec<(i64, Vec<u8>, String)>,
}

impl Pulled {
    pub fn bodies(&self) -> Vec<&str> {
        self.messages.iter().map(|(_, body, _)| std::str::from_utf8(body).unwrap()).collect()
    }
}

/// Of a request to make a topic.
pub fn topic_fields<'a>(topic: &'a str, queues: &'a str) -> [(&'static str, &'a str); 8] {
    [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ]
}

pub fn send_header<'a>(topic: &'a str, queue_id: i32, properties: &'a str) -> SendHeader<'a> {
    let header = SendHeader::new("producers", topic, queue_id);
    SendHeader { properties, born_timestamp: 1_700_000_000_000, ..header }
}

pub fn pull_header<'a>(topic: &'a str, queue_id: i32, offset: i64) -> PullHeader<'a> {
    PullHeader::new("consumers", topic, queue_id, offset)
}

pub fn property(name: &str, value: &str) -> String {
    format!("{name}\u{1}{value}\u{2}")
}

/// Sends messages with less and less padding until one is taken; gives the length of its padding.
pub async fn longest_taken(send: impl AsyncFn(&str) -> i32) -> usize {
    let padding = "p".repeat(properties::MAX_LENGTH);
    for length in (1..=padding.len()).rev() {
        match send(&padding[..length]).await {
            0 => return length,
            code => assert_eq!(code, 13),
        }
    }
    panic!("no padding is short enough");
}

impl Rig {
    pub fn connect(&self) -> Peer {
        let asked = Rc::new(Asked::default());
        Peer { client: Client::new(&self.env, self.addr, asked.clone(), ClientConfig::default()), asked }
    }
}

impl Peer {
    pub async fn call(&self, encode: impl FnOnce(&mut Vec<u8>, i32)) -> OwnedFrame {
        self.try_call(encode).await.unwrap()
    }

    pub async fn try_call(&self, encode: impl FnOnce(&mut Vec<u8>, i32)) -> Result<OwnedFrame, CallError> {
        self.client.call(encode, CALL_TIMEOUT).await
    }

    pub async fn ask(&self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> OwnedFrame {
        self.call(|out, opaque| {
            let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
            for (name, value) in fields {
                writer.ext(name, value);
            }
            writer.finish(body).unwrap();
        })
        .await
    }

    pub async fn number(&self, code: i32, fields: &[(&str, &str)], field: &str) -> i64 {
        let answer = self.ask(code, fields, b"").await;
        let command = answer.command();
        assert_eq!(command.code, 0, "{:?}", command.remark);
        command.ext.get_i64(field).unwrap()
    }

    pub async fn send(&self, header: SendHeader<'_>, body: &[u8]) -> Sent {
        let code = if header.batch { code::SEND_BATCH_MESSAGE } else { code::SEND_MESSAGE_V2 };
        self.send_as(code, header, body).await
    }

    pub async fn send_as(&self, code: i32, header: SendHeader<'_>, body: &[u8]) -> Sent {
        let answer = self
            .call(|out, opaque| {
                if code == code::SEND_MESSAGE {
                    let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
                    header.write_full_names(&mut writer);
                    writer.finish(body).unwrap();
                } else {
                    let request = SendRequest { code, opaque, flag: 0, header, body };
                    send_request(out, Serialization::Json, &request).unwrap();
                }
            })
            .await;
        sent(&answer)
    }

    pub async fn send_oneway(&self, header: SendHeader<'_>, body: &[u8]) {
        let encode = |out: &mut Vec<u8>, opaque| {
            let request = SendRequest { code: code::SEND_MESSAGE_V2, opaque, flag: 2, header, body };
            send_request(out, Serialization::Json, &request).unwrap();
        };
        self.client.send(encode, CALL_TIMEOUT).await.unwrap();
    }

    pub async fn pull(&self, header: PullHeader<'_>) -> Pulled {
        let answer = self
            .call(|out, opaque| {
                let request = PullRequest { code: code::PULL_MESSAGE, opaque, header };
                pull_request(out, Serialization::Json, &request).unwrap();
            })
            .await;
        pulled(&answer)
    }

    /// Pulls until the queue's end; every record is checked.
    pub async fn pull_all(&self, topic: &str, queue_id: i32) -> Vec<(i64, Vec<u8>, String)> {
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let pulled = self.pull(pull_header(topic, queue_id, offset)).await;
            match pulled.code {
                0 | 20 | 21 => offset = pulled.next,
                19 => return all,
                other => panic!("pull answered {other}: {}", pulled.remark),
            }
            all.extend(pulled.messages);
        }
    }
}

pub fn sent(answer: &OwnedFrame) -> Sent {
    let command = answer.command();
    let text = |field| command.ext.get(field).unwrap_or_default().to_owned();
    Sent {
        code: command.code,
        remark: command.remark.as_deref().unwrap_or_default().to_owned(),
        msg_id: text("msgId"),
        queue_id: command.ext.get_i32("queueId").unwrap_or(-1),
        queue_offset: command.ext.get_i64("queueOffset").unwrap_or(-1),
        transaction_id: text("transactionId"),
        recall_handle: text("recallHandle"),
    }
}

pub fn pulled(answer: &OwnedFrame) -> Pulled {
    let command = answer.command();
    let number = |field| command.ext.get_i64(field).unwrap_or(-1);
    let messages = message::records(command.body)
        .map(|record| record.unwrap())
        .map(|record: RecordView<'_>| {
            assert!(record.verify_body_crc());
            (record.queue_offset, record.body.to_vec(), record.properties.to_owned())
        })
        .collect();
    Pulled {
        code: command.code,
        remark: command.remark.as_deref().unwrap_or_default().to_owned(),
        next: number("nextBeginOffset"),
        min: number("minOffset"),
        max: number("maxOffset"),
        messages,
    }
}

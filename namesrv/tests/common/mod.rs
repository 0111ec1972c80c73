//! A name server, and a client that asks it.
#![allow(dead_code)] // each test binary uses its part

pub mod cases;

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_io::sync::Stop;
use ringmq_namesrv::{NamesrvConfig, NamesrvHandle, start};
use ringmq_transport::{Client, ClientConfig, NoRequests, OwnedFrame};
use ringmq_wire::encode::begin_request;
use ringmq_wire::json_dialect::{DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigTable};
use ringmq_wire::version::{Language, ordinal};
use ringmq_wire::{Serialization, message};

pub struct Running<E: Env> {
    pub handle: NamesrvHandle<E>,
    pub stop: Stop,
    env: E,
}

impl<E: Env> Running<E> {
    pub async fn start(env: &E, data: &Path, settings: &str) -> Self {
        let mut config = NamesrvConfig::new(data);
        config.apply(settings).unwrap();
        let stop = Stop::new();
        let listen = "127.0.0.1:0".parse().unwrap();
        let handle = start(env, config, listen, stop.clone()).await.unwrap();
        Self { handle, stop, env: env.clone() }
    }

    pub fn client(&self) -> Asker<E> {
        Asker::new(&self.env, self.handle.addr)
    }

    pub async fn stop(self) {
        self.stop.signal();
        self.handle.stopped().await;
    }
}

/// One connection to a name server.
pub struct Asker<E: Env>(pub Client<E>);

pub struct Answer(OwnedFrame);

impl Answer {
    pub fn code(&self) -> i32 {
        self.0.command().code
    }

    pub fn remark(&self) -> String {
        self.0.command().remark.unwrap_or_default().into_owned()
    }

    pub fn ext(&self, key: &str) -> Option<String> {
        self.0.command().ext.get(key).map(str::to_owned)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.command().body.to_vec()).unwrap()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code(), 0, "{}", self.remark());
        self
    }
}

pub type Ext<'a> = &'a [(&'a str, &'a str)];

const PATIENCE: Duration = Duration::from_secs(10);

impl<E: Env> Asker<E> {
    pub fn new(env: &E, addr: SocketAddr) -> Self {
        Self(Client::new(env, addr, Rc::new(NoRequests), ClientConfig::default()))
    }

    pub async fn ask(&self, code: i32, ext: Ext<'_>, body: &[u8]) -> Answer {
        self.ask_as(ordinal::CURRENT, code, ext, body).await
    }

    pub async fn ask_as(&self, version: i32, code: i32, ext: Ext<'_>, body: &[u8]) -> Answer {
        let encode = |out: &mut Vec<u8>, opaque| {
            let writer = begin_request(out, Serialization::Json, code, opaque, 0);
            let mut writer = writer.sender(Language::Java, version);
            for (key, value) in ext {
                writer.ext(key, value);
            }
            writer.finish(body).unwrap();
        };
        Answer(self.0.call(encode, PATIENCE).await.unwrap())
    }

    /// Sends a captured request, but for its opaque.
    pub async fn replay(&self, frame: &[u8]) -> OwnedFrame {
        let frame = OwnedFrame::parse(frame).unwrap();
        let mut command = frame.command();
        let encode = |out: &mut Vec<u8>, opaque| {
            command.opaque = opaque;
            ringmq_wire::encode::encode_command(out, &command).unwrap();
        };
        self.0.call(encode, PATIENCE).await.unwrap()
    }

    pub async fn route(&self, topic: &str) -> Answer {
        self.ask(105, &[("topic", topic)], &[]).await
    }

    pub async fn register(&self, broker: &Broker<'_>, topics: &[&str]) -> Answer {
        let body = broker.body(topics).encode();
        self.register_body(broker, &body, false).await
    }

    pub async fn register_body(&self, broker: &Broker<'_>, body: &[u8], compressed: bool) -> Answer {
        let crc = message::body_crc(body).to_string();
        let (id, compressed) = (broker.id.to_string(), compressed.to_string());
        let patience = broker.patience_ms.to_string();
        let ext = [
            ("brokerName", broker.name),
            ("brokerAddr", broker.addr),
            ("clusterName", "c"),
            ("haServerAddr", "ha:1"),
            ("brokerId", &id),
            ("heartbeatTimeoutMillis", &patience),
            ("compressed", &compressed),
            ("bodyCrc32", &crc),
            ("__ZONE_NAME", broker.zone),
        ];
        self.ask(103, &ext, body).await
    }
}

#[derive(Clone, Copy)]
pub struct Broker<'a> {
    pub name: &'a str,
    pub addr: &'a str,
    pub id: i64,
    pub version: i64,
    pub patience_ms: u64,
    pub zone: &'a str,
}

impl Default for Broker<'_> {
    fn default() -> Self {
        Self { name: "b", addr: "10.0.0.1:10911", id: 0, version: 1, patience_ms: 120_000, zone: "z" }
    }
}

impl Broker<'_> {
    pub fn body(&self, topics: &[&str]) -> RegisterBrokerBody {
        let config = |name: &&str| {
            (name.to_string(), TopicConfig { topic_name: name.to_string(), ..TopicConfig::default() })
        };
        RegisterBrokerBody {
            topic_config_serialize_wrapper: TopicConfigTable {
                data_version: DataVersion { counter: self.version, state_version: 0, timestamp: 5 },
                topic_config_table: topics.iter().map(config).collect(),
                ..TopicConfigTable::default()
            },
            ..RegisterBrokerBody::default()
        }
    }
}

/// A JSON frame's header and body as text, but for its opaque.
pub fn shown(frame: &[u8]) -> String {
    let text = String::from_utf8_lossy(&frame[8..]);
    let (before, rest) = text.split_once(r#""opaque":"#).unwrap();
    format!(r#"{before}"opaque":_{}"#, rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Waits for a condition that other tasks bring about.
pub async fn until<E: Env>(env: &E, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        env.sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

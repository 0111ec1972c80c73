//! Telling the name servers which topics this broker has.
//!
//! Owns: one task and one connection for each name server, so that one that is down delays nobody. Each server gets all
//! topics at first, after its connection was lost and each `registerNameServerPeriod`; in between, the topics that
//! changed, at once, gathered while a call is under way. Tables of any size go in pieces of `TOPICS_PER_CALL`, which a
//! name server adds up, since a frame holds no more than some hundred thousand topics.
//! Invariants: a change is offered again until a server has it; a topic's permission is told ANDed with the broker's.
//! A name server passes over topics that it knows when a registration comes with the version that it knows
//! (RocketMQ 5.5.0 RouteInfoManager#registerBroker). So each call that may tell something new has a version of its own,
//! whatever the table's is; only the periodic beat repeats the last one.
//! On failure: a warning when a server is lost and a line when it is back; the attempt is repeated each second.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::sync::{Event, Stop, Watermark};
use ringmq_io::{Class, Env};
use ringmq_transport::{Client, ClientConfig, Destination, NoRequests};
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::encode::begin_request;
use ringmq_wire::headers::{BrokerIdentityHeader, RegisterBrokerHeader};
use ringmq_wire::json_dialect::{self, KvTable, RegisterBrokerBody, TopicConfigTable};

use super::Control;
use super::topics::{TopicConfig, perm};
use super::version::DataVersion;
use crate::config::BrokerConfig;

/// Topics told in one call: what a name server takes in one go, in under a millisecond.
const TOPICS_PER_CALL: usize = 100;
/// Pause after a failed attempt, and how often a lost connection is looked for.
const RETRY: Duration = Duration::from_secs(1);
const NAME_SERVER_PORT: u16 = 9876;
/// How long the end of the broker waits for its name servers. One that does not answer in this time finds the connection
/// closed, which tells it the same.
const UNREGISTER_TIMEOUT: Duration = Duration::from_millis(300);

/// A name server as configured: `host`, `host:port` or `ip:port`. Its address is looked up for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    name: String,
    /// What it tells clients, where that is not what others tell.
    advertised: Option<String>,
}

impl NameServer {
    /// Without a port it is a name server's usual one.
    pub fn new(address: &str) -> Self {
        let has_port = || address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let name = match address.parse() {
            Ok(ip) => SocketAddr::new(ip, NAME_SERVER_PORT).to_string(),
            Err(_) if has_port() => address.to_owned(),
            Err(_) => format!("{address}:{NAME_SERVER_PORT}"),
        };
        Self { name, advertised: None }
    }

    /// All of a configuration. `advertisedAddresses` has to be about name servers that are there.
    pub fn configured(config: &BrokerConfig) -> Result<Vec<Self>, String> {
        let mut servers: Vec<Self> = config.name_servers().iter().map(|name| Self::new(name)).collect();
        for (name, address) in &config.advertised_addresses.0 {
            let meant = Self::new(name).name;
            match servers.iter_mut().find(|server| server.name == meant) {
                Some(server) => server.advertised = Some(address.clone()),
                None => {
                    return Err(format!(
                        "advertisedAddresses: {name} is no name server of this broker (namesrvAddr, -n)"
                    ));
                }
            }
        }
        Ok(servers)
    }

    fn destination(&self) -> Destination {
        self.name.parse().map_or_else(|_| Destination::Name(self.name.clone()), Destination::Addr)
    }
}

#[derive(Debug, Default)]
struct Pending {
    all: bool,
    topics: BTreeSet<Rc<str>>,
}

struct Server<E: Env> {
    name: String,
    /// The broker's address for the clients of this server.
    broker_addr: String,
    client: Client<E>,
    pending: RefCell<Pending>,
    changed: Event,
    /// Changes, by their count, that this server has been told or failed to be told.
    told: Watermark,
    /// The last attempt succeeded.
    up: Cell<bool>,
    ever: Cell<bool>,
    /// Of the last call that it accepted.
    version: Cell<DataVersion>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        !self.all && self.topics.is_empty()
    }
}

pub struct Registration<E: Env> {
    servers: RefCell<Vec<Rc<Server<E>>>>,
    changes: Cell<u64>,
    first: Event,
    versions: Cell<i64>,
    /// The broker has unregistered: nothing may register it again.
    ended: Stop,
}

impl<E: Env> Registration<E> {
    pub(super) fn new() -> Self {
        Self {
            servers: RefCell::default(),
            changes: Cell::new(0),
            first: Event::new(),
            versions: Cell::new(0),
            ended: Stop::new(),
        }
    }

    pub(super) fn topic_changed(&self, topic: &str) {
        let servers = self.servers.borrow();
        if servers.is_empty() {
            return;
        }
        self.changes.set(self.changes.get() + 1);
        let topic: Rc<str> = Rc::from(topic);
        for server in servers.iter() {
            server.pending.borrow_mut().topics.insert(topic.clone());
            server.changed.notify();
        }
    }

    /// What is told of every topic has changed.
    pub(super) fn all_changed(&self) {
        self.changes.set(self.changes.get() + 1);
        for server in self.servers.borrow().iter() {
            server.pending.borrow_mut().all = true;
            server.changed.notify();
        }
    }

    /// Every name server that is up has been told of all changes so far, or could not be.
    pub(super) async fn all_registered(&self) {
        let wanted = self.changes.get();
        let servers = self.servers.borrow().clone();
        for server in servers {
            while server.up.get() && server.told.get() < wanted {
                server.told.moved().await;
            }
        }
    }

    /// At least one name server has accepted this broker, or there is none to register at.
    pub async fn first_registration(&self) {
        loop {
            {
                let servers = self.servers.borrow();
                if servers.is_empty() || servers.iter().any(|server| server.ever.get()) {
                    return;
                }
            }
            self.first.wait().await;
        }
    }
}

impl<E: Env> Control<E> {
    /// Starts registering; once, when clients can be served.
    pub fn register_at(self: &Rc<Self>, name_servers: &[NameServer]) {
        let env = &self.core.env;
        let config = ClientConfig::new(self.core.transport.clone());
        let servers: Vec<Rc<Server<E>>> = name_servers
            .iter()
            .map(|name_server| {
                Rc::new(Server {
                    name: name_server.name.clone(),
                    broker_addr: (name_server.advertised.clone())
                        .unwrap_or_else(|| self.core.identity.store_host.to_string()),
                    client: Client::new(env, name_server.destination(), Rc::new(NoRequests), config.clone()),
                    pending: RefCell::new(Pending { all: true, topics: BTreeSet::new() }),
                    changed: Event::new(),
                    told: Watermark::new(0),
                    up: Cell::new(false),
                    ever: Cell::new(false),
                    version: Cell::default(),
                })
            })
            .collect();
        assert!(self.registration.servers.borrow().is_empty(), "registration was started twice");
        self.registration.servers.borrow_mut().clone_from(&servers);
        for server in servers {
            env.spawn(Class::Background, self.clone().keep_registered(server));
        }
    }

    /// At least one name server has accepted this broker, or there is none to register at.
    pub async fn first_registration(&self) {
        self.registration.first_registration().await;
    }

    async fn keep_registered(self: Rc<Self>, server: Rc<Server<E>>) {
        let stop = &self.registration.ended;
        while self.wait_for_work(&server).await {
            let told = self.registration.changes.get();
            let pending = server.pending.take();
            let beat = pending.is_empty();
            let Pending { all, topics } = pending;
            let outcome = match all || beat {
                true => self.register_all(&server, beat).await,
                false => self.register_some(&server, &topics).await,
            };
            let was_up = server.up.replace(outcome.is_ok());
            match outcome {
                Ok(()) if !was_up => {
                    server.ever.set(true);
                    tracing::info!(name_server = server.name, "registered");
                }
                Ok(()) => {
                    tracing::debug!(name_server = server.name, all, topics = topics.len(), "registered")
                }
                Err(error) => {
                    server.pending.borrow_mut().all = true;
                    if was_up || !server.ever.get() {
                        tracing::warn!(name_server = server.name, error, "cannot register; trying again");
                    } else {
                        tracing::debug!(name_server = server.name, error, "cannot register; trying again");
                    }
                }
            }
            self.registration.first.notify();
            // Also after a failure: nobody waits for a server that is down.
            server.told.advance(told);
            server.told.poke();
            if !server.up.get() {
                self.core.env.sleep(RETRY).or(stop.wait()).await;
            }
        }
    }

    /// `false` when the broker ends.
    async fn wait_for_work(&self, server: &Server<E>) -> bool {
        let env = &self.core.env;
        let stop = &self.registration.ended;
        let start = env.monotonic_ns();
        let period = Duration::from_millis(self.core.config.register_name_server_period_ms);
        loop {
            if stop.is_signalled() {
                return false;
            }
            let lost = server.up.get() && !server.client.is_connected();
            let passed = Duration::from_nanos(env.monotonic_ns() - start);
            if lost {
                server.pending.borrow_mut().all = true;
            }
            if !server.pending.borrow().is_empty() || passed >= period {
                // What else changes in this turn goes along.
                env.yield_now().await;
                return !stop.is_signalled();
            }
            let pause = RETRY.min(period - passed);
            server.changed.wait().or(env.sleep(pause)).or(stop.wait()).await;
        }
    }

    /// `beat`: nothing has changed since the last call.
    async fn register_all(&self, server: &Server<E>, beat: bool) -> Result<(), String> {
        let mut last: Option<String> = None;
        loop {
            let piece: BTreeMap<String, TopicConfig> = {
                let state = self.state.borrow();
                let behind = state.topics.after(last.as_deref());
                behind.take(TOPICS_PER_CALL).map(|topic| self.as_registered(topic)).collect()
            };
            let Some((name, _)) = piece.last_key_value() else { return Ok(()) };
            let whole = piece.len() < TOPICS_PER_CALL;
            last = Some(name.clone());
            let version = if beat { server.version.get() } else { self.new_version() };
            self.register(server, piece, version).await?;
            if whole {
                return Ok(());
            }
        }
    }

    async fn register_some(&self, server: &Server<E>, topics: &BTreeSet<Rc<str>>) -> Result<(), String> {
        let mut names = topics.iter();
        loop {
            let piece: BTreeMap<String, TopicConfig> = {
                let state = self.state.borrow();
                let known = names.by_ref().filter_map(|name| state.topics.get(name));
                known.take(TOPICS_PER_CALL).map(|topic| self.as_registered(topic)).collect()
            };
            if piece.is_empty() {
                return Ok(());
            }
            self.register(server, piece, self.new_version()).await?;
        }
    }

    /// One that no name server has seen, from this broker now or before it was restarted.
    fn new_version(&self) -> DataVersion {
        let counter = self.registration.versions.get() + 1;
        self.registration.versions.set(counter);
        DataVersion { counter, state_version: 0, timestamp: self.core.env.now_ms() }
    }

    fn as_registered(&self, topic: &TopicConfig) -> (String, TopicConfig) {
        let mut topic = topic.clone();
        let broker = self.core.config.broker_permission as i32;
        if broker & (perm::READ | perm::WRITE) != perm::READ | perm::WRITE {
            topic.perm &= broker;
        }
        (topic.topic_name.clone(), topic)
    }

    async fn register(
        &self,
        server: &Server<E>,
        topics: BTreeMap<String, TopicConfig>,
        version: DataVersion,
    ) -> Result<(), String> {
        let config = &self.core.config;
        let body = RegisterBrokerBody {
            topic_config_serialize_wrapper: TopicConfigTable {
                data_version: version,
                topic_config_table: topics,
                ..TopicConfigTable::default()
            },
            ..RegisterBrokerBody::default()
        }
        .encode();
        let ha_addr = SocketAddr::new(config.broker_ip2, config.ha_listen_port).to_string();
        let header = RegisterBrokerHeader {
            broker_name: &config.broker_name,
            broker_addr: &server.broker_addr,
            cluster_name: &config.broker_cluster_name,
            ha_server_addr: &ha_addr,
            broker_id: config.broker_id as i64,
            heartbeat_timeout_millis: None,
            enable_acting_master: Some(false),
            compressed: false,
            body_crc32: (crc32fast::hash(&body) & 0x7FFF_FFFF) as i32,
            zone_name: None,
        };
        let timeout = Duration::from_millis(config.register_broker_timeout_ms);
        let encode = |out: &mut Vec<u8>, opaque| {
            let code = request_code::REGISTER_BROKER;
            let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
            header.write(&mut writer);
            writer.finish(&body).expect("a piece of the topics fits a frame");
        };
        let answer = server.client.call(encode, timeout).await.map_err(|error| error.to_string())?;
        let answer = answer.command();
        if answer.code != response_code::SUCCESS {
            return Err(format!("code {}: {}", answer.code, answer.remark.as_deref().unwrap_or_default()));
        }
        server.version.set(version);
        if !answer.body.is_empty() {
            match json_dialect::read::<KvTable>(answer.body) {
                Ok(order_topics) => self.mark_order_topics(&order_topics).await,
                Err(error) => {
                    tracing::warn!(name_server = server.name, %error, "order topics not understood")
                }
            }
        }
        Ok(())
    }

    /// Topics that the name server's ORDER_TOPIC_CONFIG names are order topics
    /// (RocketMQ 5.5.0 TopicConfigManager#updateOrderTopicConfig).
    async fn mark_order_topics(&self, order_topics: &KvTable) {
        for name in order_topics.table.keys() {
            if self.room().await.is_err() {
                return;
            }
            let topic = self.state.borrow().topics.get(name).filter(|topic| !topic.order).cloned();
            if let Some(topic) = topic
                && let Err(error) = self.put_topic(TopicConfig { order: true, ..(*topic).clone() })
            {
                tracing::warn!(topic = name, %error, "not made an order topic");
            }
        }
    }

    /// Tells the name servers that are connected that this broker ends, all at the same time.
    pub async fn unregister(self: &Rc<Self>) {
        self.registration.ended.signal();
        let servers = self.registration.servers.take();
        let told = Rc::new(Watermark::new(0));
        let mut asked = 0;
        for server in servers.into_iter().filter(|server| server.client.is_connected()) {
            asked += 1;
            let (control, told) = (self.clone(), told.clone());
            self.core.env.spawn(Class::Foreground, async move {
                control.unregister_at(&server).await;
                told.advance(told.get() + 1);
            });
        }
        while told.get() < asked {
            told.moved().await;
        }
    }

    async fn unregister_at(&self, server: &Server<E>) {
        let header = BrokerIdentityHeader {
            broker_name: &self.core.config.broker_name,
            broker_addr: &server.broker_addr,
            cluster_name: &self.core.config.broker_cluster_name,
            broker_id: self.core.config.broker_id as i64,
        };
        let encode = |out: &mut Vec<u8>, opaque| {
            let code = request_code::UNREGISTER_BROKER;
            let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
            header.write(&mut writer);
            writer.finish(&[]).expect("a broker's identity fits a frame");
        };
        match server.client.call(encode, UNREGISTER_TIMEOUT).await {
            Ok(_) => tracing::info!(name_server = server.name, "unregistered"),
            Err(error) => tracing::warn!(name_server = server.name, %error, "not unregistered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, HostFacts};

    fn servers(text: &str) -> Result<Vec<NameServer>, String> {
        let host = HostFacts { host_name: "h".into(), address: [10, 0, 0, 1].into(), data: "data".into() };
        let (config, warnings) = BrokerConfig::parse(text, &host).expect("a configuration");
        assert_eq!(warnings, []);
        NameServer::configured(&config)
    }

    #[test]
    fn each_name_server_may_tell_another_address() {
        let found = servers(
            "namesrvAddr=in;out:9877;10.0.0.9\n\
             advertisedAddresses=out:9877=mq.example.org:20911 ; 10.0.0.9:9876=[2001:db8::1]:10911\n",
        );
        let with = |name: &str, advertised: Option<&str>| NameServer {
            name: name.into(),
            advertised: advertised.map(Into::into),
        };
        let expected = vec![
            with("in:9876", None),
            with("out:9877", Some("mq.example.org:20911")),
            with("10.0.0.9:9876", Some("[2001:db8::1]:10911")),
        ];
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn an_address_for_a_name_server_that_is_not_there_is_an_error() {
        let error =
            servers("namesrvAddr=in\nadvertisedAddresses=out:9877=mq.example.org:20911\n").unwrap_err();
        assert!(error.contains("out:9877 is no name server of this broker"), "{error}");
    }
}

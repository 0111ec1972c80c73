//! The name server: which brokers are there, and which topics are on them.
//!
//! Owns: the route table, the liveness of brokers, the KV configuration, and the handlers of all requests that RocketMQ's
//! name server knows. Several name servers know nothing of each other: every broker tells every one of them.
//! Invariants: all state belongs to the one core that `start` was called on; routes live in memory only and are
//! complete again after one round of registrations (30 s at most); the KV configuration and changed settings are on disk
//! before they are acknowledged.
//! On failure: a broker that is lost or silent is forgotten with its topics; a request that cannot be understood costs
//! its sender an error, garbage costs its connection.

mod config;
mod durable_text;
mod handlers;
mod kv;
mod saver;
mod settings;
mod table;
mod turns;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::sync::Stop;
use ringmq_io::{Class, Env, Sharing};
use ringmq_transport::{Counters, Server, ServerConfig, listen_patiently, serve};
use thiserror::Error;
use tracing::info;

pub use config::{Applied, ConfigError, NamesrvConfig};
use kv::KvStore;
use settings::Settings;
use table::RouteTable;
use turns::Turns;

const SILENT_BROKER: &str = "silent broker";

#[derive(Debug, Error)]
pub enum StartError {
    #[error("name server cannot listen on {addr}: {error}")]
    Listen { addr: SocketAddr, error: io::Error },
    #[error("name server cannot read its files: {0}")]
    Files(io::Error),
}

/// One name server; the service behind its listener.
pub struct NameServer<E: Env> {
    env: E,
    started_ns: u64,
    config: RefCell<NamesrvConfig>,
    settings: Settings<E>,
    table: RefCell<RouteTable>,
    kv: KvStore<E>,
    lists: Turns,
    /// Requests with a code that a name server does not know.
    not_supported: Cell<u64>,
}

/// A running name server.
pub struct NamesrvHandle<E: Env> {
    pub addr: SocketAddr,
    server: Rc<Server<E>>,
    state: Rc<NameServer<E>>,
}

impl<E: Env> NamesrvHandle<E> {
    /// Waits until a stop is complete: connections closed, changes written.
    pub async fn stopped(&self) {
        self.server.stopped().await;
        self.state.kv.idle().await;
        self.state.settings.idle().await;
    }

    pub fn counters(&self) -> &Rc<Counters> {
        self.server.counters()
    }

    pub fn unsupported_requests(&self) -> u64 {
        self.state.not_supported.get()
    }
}

/// Starts a name server on this core. `listen` is usually `config.listen_addr()`; port 0 picks a free one.
pub async fn start<E: Env>(
    env: &E,
    mut config: NamesrvConfig,
    listen: SocketAddr,
    stop: Stop,
) -> Result<NamesrvHandle<E>, StartError> {
    let settings = Settings::open(env, &mut config).await.map_err(StartError::Files)?;
    let kv = KvStore::open(env, &config.kv_config_path).await.map_err(StartError::Files)?;
    let listener = listen_patiently(env, listen, Sharing::Alone)
        .await
        .map_err(|error| StartError::Listen { addr: listen, error })?;
    let serving = ServerConfig { idle: config.channel_max_idle, ..ServerConfig::default() };
    let state = Rc::new(NameServer {
        env: env.clone(),
        started_ns: env.monotonic_ns(),
        config: RefCell::new(config),
        settings,
        table: RefCell::default(),
        kv,
        lists: Turns::default(),
        not_supported: Cell::new(0),
    });
    let server = serve(env, listener, state.clone(), stop.clone(), serving);
    env.spawn(Class::Background, state.clone().expire_brokers(server.clone(), stop));
    info!(addr = %server.addr(), "name server listens");
    Ok(NamesrvHandle { addr: server.addr(), server, state })
}

impl<E: Env> NameServer<E> {
    fn uptime(&self) -> Duration {
        Duration::from_nanos(self.env.monotonic_ns() - self.started_ns)
    }

    async fn expire_brokers(self: Rc<Self>, server: Rc<Server<E>>, stop: Stop) {
        while !stop.is_signalled() {
            let pause = self.config.borrow().scan_not_active_broker_interval;
            self.env.sleep(pause).or(stop.wait()).await;
            let silent = self.table.borrow_mut().expire(self.env.monotonic_ns());
            for conn in silent.into_iter().filter_map(|id| server.connection(id)) {
                conn.close(SILENT_BROKER);
            }
        }
    }
}

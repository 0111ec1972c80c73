//! Starting and ending a broker.
//!
//! Owns: the order of things. Every core runs [`run_core`]. Core 0 opens the store and picks the port; all cores open
//! their shards (recovery); core 0 replays the metadata, publishes the tables and says "serve"; all cores listen; core 0
//! registers and reports that the broker is ready. At the end core 0 unregisters and says "stop"; each core closes its
//! connections and syncs its shards; core 0 returns when all have.
//! Invariants: no client is served before every shard is open and every table is everywhere; a message that was
//! acknowledged is on the device when `run_core` returns `Ok`.
//! On failure: each core returns a `StartError` that says what to do about it; if one core cannot start, none serves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::LANE_MESSAGES_MAX;
use ringmq_io::sync::Stop;
use ringmq_io::{Blocks, Class, Env, Lanes, Listener, Mesh, Net, Sharing, deadline};
use ringmq_store::{OpenError, RetentionConfig, Shard, StoreConfig, StoreHandle, StoreLayout, open_store};
use ringmq_transport::{ServerConfig, listen_patiently, serve};
use thiserror::Error;

use crate::admin::{self, Taken};
use crate::config::{BrokerConfig, FlushMode};
use crate::control::registration::NameServer;
use crate::control::{Control, Metadata};
use crate::core::{CONTROL_CORE, Core, Identity, OpenShard};
use crate::hop::{CoreMessage, Hop};
use crate::pending::Books;
use crate::placement::Placement;
use crate::vip;

/// How long core 0 waits at the end for the other cores to sync their shards.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What every core is started with.
#[derive(Clone, Debug)]
pub struct BrokerPlan {
    pub config: BrokerConfig,
    /// The configured name servers.
    pub name_servers: Vec<NameServer>,
    /// Local time minus UTC, for `deleteWhen`.
    pub utc_offset_secs: i32,
}

/// The broker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What name servers tell clients.
    pub advertised: SocketAddr,
    /// Where `/metrics` and `/healthz` are, unless that is switched off.
    pub admin: Option<SocketAddr>,
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("{0}")]
    Metadata(#[from] crate::control::OpenError),
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: std::io::Error },
    #[error("the waiting messages of shard {shard} cannot be read: {source}")]
    Waiting { shard: u16, source: std::io::Error },
    #[error("cannot listen on {addr} for metrics (metricsPromExporterPort): {source}")]
    Admin { addr: SocketAddr, source: std::io::Error },
    #[error("another core could not start: {0}")]
    Peer(String),
    #[error("the broker ended before it was started")]
    Stopped,
    #[error("the store could not be synced at the end: {0}")]
    Sync(String),
}

/// Runs a broker on this core until `stop` is signalled (on core 0; the others follow). `ready` is called once, on core 0,
/// after the first registration at a name server, or at once if there is none configured.
pub async fn run_core<E: Env>(
    env: E,
    plan: BrokerPlan,
    stop: Stop,
    ready: impl FnOnce(Ready),
) -> Result<(), StartError> {
    let lanes = env.mesh().join("broker", LANE_MESSAGES_MAX).await;
    let hop = Hop::new(&env, lanes);
    if env.core() == CONTROL_CORE {
        run_first(&env, plan, hop, stop, ready).await
    } else {
        run_other(&env, plan, hop).await
    }
}

type ListenerOf<E> = <<E as Env>::Net as Net>::Listener;

async fn run_first<E: Env>(
    env: &E,
    plan: BrokerPlan,
    hop: Rc<Hop<E>>,
    stop: Stop,
    ready: impl FnOnce(Ready),
) -> Result<(), StartError> {
    let peers = env.cores() - 1;
    let prepared = prepare(env, &plan).await;
    let Prepared { store, metadata, listener, vip, admin } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            hop.broadcast(|| CoreMessage::Stop);
            return Err(error);
        }
    };
    let listen = listener.local_addr();
    let vip_addr = vip.as_ref().map(Listener::local_addr);
    hop.broadcast(|| CoreMessage::Open { layout: Box::new(store.layout.clone()), listen, vip: vip_addr });
    let core = match open_core(env, &plan, hop.clone(), &store.layout, listen).await {
        Ok(core) => core,
        Err(error) => {
            hop.broadcast(|| CoreMessage::Stop);
            return Err(error);
        }
    };
    core.start();
    if let Err(error) = core.lifecycle.all_opened(peers).await {
        hop.broadcast(|| CoreMessage::Stop);
        return Err(StartError::Peer(error));
    }
    let control = Control::start(&core, metadata, plan.utc_offset_secs);
    core.set_control(control.clone());
    hop.broadcast(|| CoreMessage::Serve);
    core.lifecycle.serve.signal();
    listen_on(&core, listener, vip);
    if vip_addr.is_none() {
        env.spawn(Class::Background, vip::take_later(core.clone()));
    }
    let admin_addr = admin.as_ref().map(Taken::addr);
    if let Some(taken) = admin {
        admin::serve(&control, taken);
    }
    control.register_at(&plan.name_servers);
    let registered = async {
        control.first_registration().await;
        true
    };
    let stopped_first = async {
        stop.wait().await;
        false
    };
    if registered.or(stopped_first).await {
        ready(Ready { listen, advertised: core.identity.store_host, admin: admin_addr });
        stop.wait().await;
    }
    tracing::info!("the broker stops");
    let metadata = control.shutdown().await.map_err(|refusal| refusal.remark);
    hop.broadcast(|| CoreMessage::Stop);
    core.lifecycle.stop.signal();
    let synced = close(&core).await;
    let others = deadline(env, STOP_PATIENCE, core.lifecycle.all_stopped(peers)).await;
    hop.stop();
    store.close(env).await;
    let others = others.map_err(|error| error.to_string()).and_then(|outcome| outcome);
    metadata.and(synced).and(others).map_err(StartError::Sync)
}

async fn run_other<E: Env>(env: &E, plan: BrokerPlan, hop: Rc<Hop<E>>) -> Result<(), StartError> {
    let (layout, listen, vip) = match hop.lanes().recv().await {
        Some((CONTROL_CORE, CoreMessage::Open { layout, listen, vip })) => (layout, listen, vip),
        _ => return Err(StartError::Peer(format!("core {CONTROL_CORE} gave up"))),
    };
    let opened = open_other(env, &plan, &hop, &layout, listen, vip).await;
    let (core, listener, vip) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            hop.send(CONTROL_CORE, CoreMessage::Opened(Err(error.to_string())));
            return Err(error);
        }
    };
    core.start();
    hop.send(CONTROL_CORE, CoreMessage::Opened(Ok(())));
    let (serving, stopping) = (core.lifecycle.serve.wait(), core.lifecycle.stop.wait());
    serving.or(stopping).await;
    if !core.lifecycle.stop.is_signalled() {
        listen_on(&core, listener, vip);
        core.lifecycle.stop.wait().await;
    }
    let synced = close(&core).await;
    hop.send(CONTROL_CORE, CoreMessage::Stopped(synced.clone()));
    synced.map_err(StartError::Sync)
}

/// What only core 0 opens: the data directory, the metadata, the ports.
struct Prepared<E: Env> {
    store: StoreHandle<E>,
    metadata: Metadata<E>,
    listener: ListenerOf<E>,
    vip: Option<ListenerOf<E>>,
    admin: Option<Taken<E>>,
}

async fn prepare<E: Env>(env: &E, plan: &BrokerPlan) -> Result<Prepared<E>, StartError> {
    let store = open_or_adopt(env, plan).await?;
    let metadata = Metadata::open(env, &metadata_dir(&plan.config)).await?;
    let addr = SocketAddr::new(plan.config.bind_address, plan.config.listen_port);
    let listener = listen_patiently(env, addr, vip::sharing(env)).await;
    let listener = listener.map_err(|source| StartError::Listen { addr, source })?;
    let vip = vip::take(env, &plan.config);
    let admin = admin::listen(env, &plan.config)
        .await
        .map_err(|(addr, source)| StartError::Admin { addr, source })?;
    Ok(Prepared { store, metadata, listener, vip, admin })
}

/// Without a shard count in the configuration, a store keeps the one it was made with.
async fn open_or_adopt<E: Env>(env: &E, plan: &BrokerPlan) -> Result<StoreHandle<E>, OpenError> {
    let wanted = match plan.config.shards {
        0 => u16::try_from(env.cores()).unwrap_or(u16::MAX),
        shards => shards,
    };
    match open_store(env, &store_config(plan, wanted)).await {
        Err(OpenError::ShardCount { found, .. }) if plan.config.shards == 0 => {
            open_store(env, &store_config(plan, found)).await
        }
        outcome => outcome,
    }
}

fn metadata_dir(config: &BrokerConfig) -> PathBuf {
    config.store_path_root_dir.join("metadata")
}

fn store_config(plan: &BrokerPlan, shards: u16) -> StoreConfig {
    let config = &plan.config;
    let percent = |value: u32| f64::from(value) / 100.0;
    let mut store = StoreConfig::new(&config.store_path_root_dir, shards);
    // The rings of all shards together stay within `ringBytes`; a ring is a power of two.
    let share = config.ring_bytes / u64::from(shards.max(1));
    store.ring_bytes = share.checked_ilog2().map_or(0, |bits| 1usize << bits);
    store.ring_dir = (!config.ring_dir.as_os_str().is_empty()).then(|| config.ring_dir.clone());
    store.segment_bytes = config.segment_bytes;
    store.flush_interval = Duration::from_millis(config.flush_interval_ms);
    store.blocks = match config.flush_disk_type {
        FlushMode::Sync => Blocks::Write,
        FlushMode::Async => Blocks::Reserve,
    };
    store.retention = RetentionConfig {
        reserved: Duration::from_secs(u64::from(config.file_reserved_time) * 3600),
        delete_hours: config.delete_when.0.clone(),
        utc_offset_secs: plan.utc_offset_secs,
        clean_ratio: percent(config.disk_max_used_space_ratio),
        forcible_ratio: percent(config.disk_space_clean_forcibly_ratio),
        refuse_ratio: percent(config.disk_space_warning_level_ratio),
        clean_forcibly: config.clean_file_forcibly_enable,
        ..RetentionConfig::default()
    };
    store
}

async fn open_other<E: Env>(
    env: &E,
    plan: &BrokerPlan,
    hop: &Rc<Hop<E>>,
    layout: &StoreLayout,
    listen: SocketAddr,
    vip: Option<SocketAddr>,
) -> Result<(Rc<Core<E>>, ListenerOf<E>, Option<ListenerOf<E>>), StartError> {
    let share = async |addr| {
        let listener = listen_patiently(env, addr, Sharing::Further).await;
        listener.map_err(|source| StartError::Listen { addr, source })
    };
    let listener = share(listen).await?;
    let vip = match vip {
        Some(addr) => Some(share(addr).await?),
        None => None,
    };
    Ok((open_core(env, plan, hop.clone(), layout, listen).await?, listener, vip))
}

async fn open_core<E: Env>(
    env: &E,
    plan: &BrokerPlan,
    hop: Rc<Hop<E>>,
    layout: &StoreLayout,
    listen: SocketAddr,
) -> Result<Rc<Core<E>>, StartError> {
    let placement = Placement::new(layout.config.shards, env.cores());
    let identity = Identity::new(&plan.config, listen.port());
    let mut shards = Vec::new();
    for id in placement.shards_of(env.core()) {
        let (shard, report) = Shard::open(env, layout, id).await?;
        tracing::info!(core = env.core(), shard = id, ?report, "shard open");
        let books = Books::open(env, &shard, placement, identity.store_host)
            .await
            .map_err(|source| StartError::Waiting { shard: id, source })?;
        shards.push(OpenShard { shard, books });
    }
    Ok(Core::new(env, plan.config.clone(), identity, placement, hop, shards))
}

fn listen_on<E: Env>(core: &Rc<Core<E>>, listener: ListenerOf<E>, vip: Option<ListenerOf<E>>) {
    let idle = Duration::from_secs(u64::from(core.config.server_channel_max_idle_secs));
    let config = ServerConfig { idle, ..ServerConfig::new(core.transport.clone()) };
    let server = serve(&core.env, listener, core.clone(), core.lifecycle.stop.clone(), config);
    if let Some(vip) = vip {
        server.also_accept(vip, core.clone(), core.lifecycle.stop.clone());
    }
    core.set_server(server);
}

/// Ends this core: held pulls are dropped, connections get their queued answers and are closed, shards are synced.
async fn close<E: Env>(core: &Rc<Core<E>>) -> Result<(), String> {
    core.holds.abandon_all();
    if let Some(server) = core.server() {
        server.stopped().await;
    }
    let mut outcome = Ok(());
    for local in core.local_shards() {
        if let Err(error) = local.shard.shutdown().await {
            outcome = Err(format!("shard {}: {error}", local.shard.id()));
        }
    }
    outcome
}

//! `ringmq broker`, and what `standalone` shares with it: configuration, cores, the broker's life.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use ringmq_broker::config::{BrokerConfig, HostFacts};
use ringmq_broker::control::registration::NameServer;
use ringmq_broker::start::{BrokerPlan, Ready, run_core};
use ringmq_io::Env;
use ringmq_io::sync::Stop;
use ringmq_uring::{UringEnv, cpu, signals};

use crate::cli::Broker;
use crate::ready;

pub fn run(args: &Broker) -> Result<()> {
    let host = HostFacts { host_name: host_name(), address: outside_address(), data: "data".into() };
    let mut config = read_config(Some(&args.config), &host)?;
    if let Some(namesrv) = &args.namesrv {
        config.namesrv_addr = namesrv.clone();
    }
    if let Some(shards) = args.shards {
        config.shards = shards;
    }
    let name_servers = NameServer::configured(&config).map_err(|error| anyhow!(error))?;
    if name_servers.is_empty() {
        tracing::warn!("no name server is configured (namesrvAddr, -n): clients cannot find this broker");
    }
    signals::install().context("install signal handlers")?;
    let cores = cores_for(&config)?;
    let plan = BrokerPlan { config, name_servers, utc_offset_secs: utc_offset_secs() };
    let results = ringmq_uring::run(cores, move |env| on_core(env, plan.clone()))?;
    first_error(results)
}

async fn on_core(env: UringEnv, plan: BrokerPlan) -> Result<()> {
    let stop = Stop::new();
    if env.core() == 0 {
        stop_on_signal(&env, &stop);
    }
    run_core(env, plan, stop, |ready: Ready| {
        print_ready(&[("broker", Some(ready.advertised)), ("admin", ready.admin)])
    })
    .await?;
    Ok(())
}

/// What has no address is not named.
pub fn print_ready(addresses: &[(&str, Option<SocketAddr>)]) {
    let known: Vec<_> = addresses.iter().filter_map(|(name, addr)| Some((*name, (*addr)?))).collect();
    if let Err(error) = ready::print(&known) {
        tracing::warn!("nobody reads the ready line: {error}");
    }
}

/// Signals `stop` at the first SIGTERM or SIGINT.
pub fn stop_on_signal(env: &UringEnv, stop: &Stop) {
    let (signals_env, stop) = (env.clone(), stop.clone());
    env.spawn(ringmq_io::Class::Foreground, async move {
        match signals::stop_requested(&signals_env).await {
            Ok(signal) => tracing::info!("{signal}: stopping"),
            Err(error) => tracing::error!("signals cannot be read, stopping: {error}"),
        }
        stop.signal();
    });
}

/// Defaults, then the file's keys. Keys without effect are named in the log.
pub fn read_config(file: Option<&Path>, host: &HostFacts) -> Result<BrokerConfig> {
    let Some(file) = file else { return Ok(BrokerConfig::defaults(host)) };
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let (config, warnings) =
        BrokerConfig::parse(&text, host).map_err(|e| anyhow!("{}: {e}", file.display()))?;
    for warning in warnings {
        tracing::warn!("{}: {warning}", file.display());
    }
    Ok(config)
}

/// Cores to run on: all that this process may use, but no more than there are shards.
pub fn cores_for(config: &BrokerConfig) -> Result<usize> {
    let usable = cpu::usable().context("CPU affinity")?.len();
    Ok(match config.shards {
        0 => usable,
        shards => usable.min(usize::from(shards)),
    })
}

/// What the cores returned: the error that says why, if there is one. When one core cannot start, the
/// others report only that; its own error is the one to show.
pub fn first_error(results: Vec<Result<()>>) -> Result<()> {
    use ringmq_broker::start::StartError;
    let mut errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(|e| matches!(e.downcast_ref(), Some(StartError::Peer(_) | StartError::Stopped)));
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Seconds that local time is ahead of UTC, for `deleteWhen`.
pub fn utc_offset_secs() -> i32 {
    chrono::Local::now().offset().local_minus_utc()
}

pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

/// The address of the interface that traffic to the outside leaves by, else loopback. Nothing is sent.
pub fn outside_address() -> IpAddr {
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // A documentation address (RFC 5737): connecting a UDP socket only asks the routing table.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    probe().ok().filter(|ip| !ip.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

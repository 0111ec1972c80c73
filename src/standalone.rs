//! `ringmq standalone` (and `ringmq` alone): name server and broker in one process.
//!
//! The name server runs on core 0 beside the broker's first core; the broker registers with it over a
//! socket as with any other. At the end the broker goes first, so that it can unregister.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use ringmq_broker::config::HostFacts;
use ringmq_broker::control::registration::NameServer;
use ringmq_broker::start::{BrokerPlan, Ready, run_core};
use ringmq_io::Env;
use ringmq_io::sync::Stop;
use ringmq_namesrv::NamesrvConfig;
use ringmq_uring::{UringEnv, signals};

use crate::broker::{
    cores_for, first_error, host_name, outside_address, print_ready, read_config, stop_on_signal,
    utc_offset_secs,
};
use crate::cli::Standalone;

pub fn run(args: &Standalone) -> Result<()> {
    let address = if args.bind.is_unspecified() { outside_address() } else { args.bind };
    let host = HostFacts { host_name: host_name(), address, data: args.data.clone() };
    let mut config = read_config(args.config.as_deref(), &host)?;
    if config.bind_address.is_unspecified() {
        config.bind_address = args.bind;
    }
    if let Some(port) = args.listen_port {
        config.listen_port = port;
    }
    if let Some(shards) = args.shards {
        config.shards = shards;
    }
    if !config.namesrv_addr.is_empty() {
        tracing::warn!(
            "namesrvAddr has no effect in standalone: the broker registers with the name server beside it"
        );
    }
    if !config.advertised_addresses.0.is_empty() {
        tracing::warn!(
            "advertisedAddresses has no effect in standalone, which has one name server: brokerIP1 and advertisedPort count"
        );
    }
    let mut names = NamesrvConfig::new(&args.data);
    names.bind_address = args.bind;
    names.listen_port = args.namesrv_port;
    signals::install().context("install signal handlers")?;
    let cores = cores_for(&config)?;
    let plan = BrokerPlan { config, name_servers: Vec::new(), utc_offset_secs: utc_offset_secs() };
    let results = ringmq_uring::run(cores, move |env| on_core(env, plan.clone(), names.clone()))?;
    first_error(results)
}

async fn on_core(env: UringEnv, mut plan: BrokerPlan, names: NamesrvConfig) -> Result<()> {
    let stop = Stop::new();
    if env.core() != 0 {
        return Ok(run_core(env, plan, stop, |_| ()).await?);
    }
    stop_on_signal(&env, &stop);
    let names_stop = Stop::new();
    let listen = names.listen_addr();
    let server = match ringmq_namesrv::start(&env, names, listen, names_stop.clone()).await {
        Ok(server) => server,
        Err(error) => {
            // The other cores wait for the broker of this one: let it start and end at once.
            stop.signal();
            let _ = run_core(env, plan, stop, |_| ()).await;
            return Err(error.into());
        }
    };
    let addr = server.addr;
    plan.name_servers = vec![NameServer::new(&reachable(addr).to_string())];
    let print = move |ready: Ready| {
        print_ready(&[("namesrv", Some(addr)), ("broker", Some(ready.advertised)), ("admin", ready.admin)]);
    };
    let ended = run_core(env, plan, stop, print).await;
    names_stop.signal();
    server.stopped().await;
    Ok(ended?)
}

/// Where the broker reaches a name server that listens on `addr` in this process.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = if addr.ip().is_unspecified() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { addr.ip() };
    SocketAddr::new(ip, addr.port())
}

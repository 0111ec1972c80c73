//! The port of the "VIP channel", two below `listenPort`.
//!
//! RocketMQ's brokers listen there as well, and clients that were told to use it (the dashboard, and old clients, unless they are told
//! not to) compute it and know no other (RocketMQ 5.5.0 MixAll#brokerVIPChannel). Everything is served on it.
//! Owns: taking that port, on all cores. Invariants: a start does not wait for it; a port that the system picked has none, since no client
//! could know its neighbours.
//! On failure: a port that is in use is asked for again while the broker serves, for as long as a process that was killed may keep it. Then a
//! line in the log says who will not find the broker.

use std::net::SocketAddr;
use std::rc::Rc;

use futures_lite::FutureExt;
use ringmq_io::{Class, Env, Listener, Net, Sharing};
use ringmq_transport::listen_patiently;

use crate::config::BrokerConfig;
use crate::core::Core;
use crate::hop::CoreMessage;

const DISTANCE: u16 = 2;

type ListenerOf<E> = <<E as Env>::Net as Net>::Listener;

fn addr(config: &BrokerConfig) -> Option<SocketAddr> {
    let port = config.listen_port.checked_sub(DISTANCE).filter(|port| *port > 0)?;
    Some(SocketAddr::new(config.bind_address, port))
}

pub fn sharing<E: Env>(env: &E) -> Sharing {
    if env.cores() > 1 { Sharing::First } else { Sharing::Alone }
}

/// The port, if it can be had at once.
pub fn take<E: Env>(env: &E, config: &BrokerConfig) -> Option<ListenerOf<E>> {
    // Why not is told by `take_later`.
    env.net().listen(addr(config)?, sharing(env)).ok()
}

/// The task of core 0, which serves already, where the port could not be had at once.
pub async fn take_later<E: Env>(core: Rc<Core<E>>) {
    let Some(addr) = addr(&core.config) else { return };
    let listening = async { Some(listen_patiently(&core.env, addr, sharing(&core.env)).await) };
    let stopped = async {
        core.lifecycle.stop.wait().await;
        None
    };
    match listening.or(stopped).await {
        Some(Ok(listener)) => {
            let addr = listener.local_addr();
            core.hop.broadcast(|| CoreMessage::ListenToo { addr });
            accept(&core, listener);
            tracing::info!(%addr, "clients with vipChannelEnabled find this broker now");
        }
        Some(Err(error)) => {
            tracing::warn!(%addr, %error, "clients with vipChannelEnabled will not find this broker");
        }
        None => {}
    }
}

/// Another core: the first one has the port.
pub fn share<E: Env>(core: &Rc<Core<E>>, addr: SocketAddr) {
    let core = core.clone();
    core.env.clone().spawn(Class::Foreground, async move {
        while core.server().is_none() && !core.lifecycle.stop.is_signalled() {
            core.env.yield_now().await;
        }
        match core.env.net().listen(addr, Sharing::Further) {
            Ok(listener) => accept(&core, listener),
            // The other cores serve it.
            Err(error) => tracing::warn!(core = core.env.core(), %addr, %error, "cannot listen"),
        }
    });
}

fn accept<E: Env>(core: &Rc<Core<E>>, listener: ListenerOf<E>) {
    if let Some(server) = core.server() {
        server.also_accept(listener, core.clone(), core.lifecycle.stop.clone());
    }
}

//! The admin port, on the control core: `/metrics`, `/healthz`, `/stats` over HTTP.
//!
//! Owns: its listener and connections. They live on the `Env`'s network beside the clients' and in the background class, so
//! that a scrape waits for messages and not the other way round.
//! Invariants: connections, request heads and answers under way are bounded (`ADMIN_*` in `limits`); all waits have a limit.
//! On failure: a bad request costs its connection; a core that does not answer is an answer that says so (503). A port
//! that is taken is an error only if somebody has asked for it.

mod connection;
pub mod document;
mod engine;
pub(crate) mod gather;
mod health;
mod http;
mod lag;
mod metrics;
mod pages;
mod people;
mod stats;
mod stored;
mod text;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_GATHERS_MAX};
use ringmq_io::sync::Event;
use ringmq_io::{Class, Env, Listener, Net, Sharing, patiently};
use ringmq_transport::listen_patiently;

use crate::config::{BrokerConfig, ExporterPort};
use crate::control::Control;
use http::Status;
use pages::Pages;

/// How long the default port is waited for. A crashed broker's is free at about the time at which its other port is, which was
/// waited for before: a restart must not move the port that scrapers know.
const LEFT_BEHIND: Duration = Duration::from_millis(300);

/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

type ListenerOf<E> = <<E as Env>::Net as Net>::Listener;

/// The admin port's listener, taken early in a start so that a bad port is an early error.
pub struct Taken<E: Env>(ListenerOf<E>);

impl<E: Env> Taken<E> {
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

/// Takes the port of the configuration. `None`: the exporter is off. `addr` of the error: what could not be had.
pub async fn listen<E: Env>(
    env: &E,
    config: &BrokerConfig,
) -> Result<Option<Taken<E>>, (SocketAddr, io::Error)> {
    let Some((addr, chosen)) = address(config) else { return Ok(None) };
    if chosen {
        let listener = listen_patiently(env, addr, Sharing::Alone).await.map_err(|error| (addr, error))?;
        return Ok(Some(Taken(listener)));
    }
    let listen = async || env.net().listen(addr, Sharing::Alone);
    let wait = (LEFT_BEHIND, LEFT_BEHIND / 10);
    match patiently(env, wait, io::ErrorKind::AddrInUse, |_| (), listen).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let free = SocketAddr::new(addr.ip(), 0);
            let listener = env.net().listen(free, Sharing::Alone).map_err(|error| (free, error))?;
            tracing::warn!(
                taken = %addr, instead = %listener.local_addr(),
                "the default admin port is in use; metricsPromExporterPort sets another"
            );
            Ok(Some(Taken(listener)))
        }
        outcome => outcome.map(|listener| Some(Taken(listener))).map_err(|error| (addr, error)),
    }
}

/// Where to listen, and whether somebody has asked for that port.
fn address(config: &BrokerConfig) -> Option<(SocketAddr, bool)> {
    if !config.metrics_exporter_type.is_on() {
        return None;
    }
    let ip: IpAddr = config.metrics_prom_exporter_host.0.unwrap_or(config.bind_address);
    Some(match config.metrics_prom_exporter_port {
        ExporterPort::Chosen(port) => (SocketAddr::new(ip, port), true),
        // A broker on any free port is one of several on this machine.
        ExporterPort::Default if config.listen_port == 0 => (SocketAddr::new(ip, 0), false),
        ExporterPort::Default => (SocketAddr::new(ip, ExporterPort::DEFAULT), false),
    })
}

/// What the connections share.
pub(crate) struct Admin<E: Env> {
    control: Rc<Control<E>>,
    connections: Cell<usize>,
    gathers: Cell<usize>,
    gathered: Event,
    last_look: stats::LastLook,
}

/// Starts to answer.
pub fn serve<E: Env>(control: &Rc<Control<E>>, taken: Taken<E>) {
    let admin = Rc::new(Admin {
        control: control.clone(),
        connections: Cell::new(0),
        gathers: Cell::new(0),
        gathered: Event::new(),
        last_look: stats::LastLook::default(),
    });
    control.core.env.spawn(Class::Background, admin.accept(taken.0));
}

/// An answer.
pub(crate) struct Page {
    pub status: Status,
    pub content_type: &'static str,
    pub body: Pages,
}

impl Page {
    pub fn plain(status: Status, text: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: Pages::from(text.into()) }
    }

    fn unavailable(reason: String) -> Self {
        Self::plain(Status::Unavailable, reason + "\n")
    }
}

impl<E: Env> Admin<E> {
    async fn accept(self: Rc<Self>, listener: ListenerOf<E>) {
        let env = &self.control.core.env;
        let stop = &self.control.core.lifecycle.stop;
        while !stop.is_signalled() {
            let accepted = async { Some(listener.accept().await) }.or(async {
                stop.wait().await;
                None
            });
            match accepted.await {
                Some(Ok(stream)) if self.connections.get() < ADMIN_CONNECTIONS_MAX => {
                    self.connections.set(self.connections.get() + 1);
                    let admin = self.clone();
                    env.spawn(Class::Background, async move {
                        connection::run(&admin, stream).await;
                        admin.connections.set(admin.connections.get() - 1);
                    });
                }
                Some(Ok(stream)) => {
                    tracing::warn!(max = ADMIN_CONNECTIONS_MAX, "too many connections on the admin port");
                    ringmq_io::Stream::close(&stream);
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "accept failed on the admin port");
                    env.sleep(PAUSE).or(stop.wait()).await;
                }
                None => {}
            }
        }
    }

    pub(crate) async fn page(&self, path: &str) -> Page {
        match path {
            "/healthz" => health::page(&self.control).await,
            "/metrics" | "/metrics/queues" => {
                let _turn = self.take_turn().await;
                match metrics::write(&self.control, path == "/metrics/queues").await {
                    Ok(body) => Page { status: Status::Ok, content_type: text::CONTENT_TYPE, body },
                    Err(reason) => Page::unavailable(reason),
                }
            }
            "/stats" => {
                let _turn = self.take_turn().await;
                match stats::document(&self.control, &self.last_look).await {
                    Ok(document) => Page {
                        status: Status::Ok,
                        content_type: "application/json",
                        body: Pages::from(serde_json::to_string(&document).expect("numbers and texts")),
                    },
                    Err(reason) => Page::unavailable(reason),
                }
            }
            "/" => Page::plain(Status::Ok, "/metrics\n/metrics/queues\n/healthz\n/stats\n"),
            _ => Page::plain(Status::NotFound, "there are /metrics, /metrics/queues, /healthz and /stats\n"),
        }
    }

    async fn take_turn(&self) -> Turn<'_, E> {
        while self.gathers.get() >= ADMIN_GATHERS_MAX {
            self.gathered.wait().await;
        }
        self.gathers.set(self.gathers.get() + 1);
        Turn(self)
    }
}

/// One of the answers that may be prepared at a time.
struct Turn<'a, E: Env>(&'a Admin<E>);

impl<E: Env> Drop for Turn<'_, E> {
    fn drop(&mut self) {
        self.0.gathers.set(self.0.gathers.get() - 1);
        self.0.gathered.notify();
    }
}

//! Taking a port at the start.
//!
//! A process that was killed with its listeners in an io_uring is gone before they are: the kernel takes the ring apart
//! in the background. So a port in use is asked for again for a while, and a restart right after a crash succeeds.
//! On failure: a port that somebody really holds is an error that names it, after `LISTEN_WAIT_MS_MAX`; all other errors
//! come at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringmq_io::limits::LISTEN_WAIT_MS_MAX;
use ringmq_io::{Env, Net, Sharing, patiently};
use tracing::warn;

const PAUSE: Duration = Duration::from_millis(20);

pub async fn listen_patiently<E: Env>(
    env: &E,
    addr: SocketAddr,
    sharing: Sharing,
) -> io::Result<<E::Net as Net>::Listener> {
    let wait = Duration::from_millis(LISTEN_WAIT_MS_MAX);
    let listen = async || env.net().listen(addr, sharing);
    if addr.port() == 0 {
        // A port that the system picks is never one that will be free in a moment.
        return listen().await;
    }
    let waiting = |_: &io::Error| warn!(%addr, ?wait, "the port is in use; waiting for it");
    let listener = patiently(env, (wait, PAUSE), io::ErrorKind::AddrInUse, waiting, listen);
    listener.await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let message = format!("port {} is in use by another process, also after {wait:?}", addr.port());
            io::Error::new(error.kind(), message)
        }
        _ => error,
    })
}

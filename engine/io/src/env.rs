//! `Env`: one core's view of the machine, and the deadline helper built on it.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_lite::FutureExt;

use crate::{Disk, Mesh, Net, VitalSigns};

/// What a task is for; maps to a task queue with its own CPU shares, so that background work cannot
/// hurt the latency of foreground work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Connections, appends, acknowledgements, long-poll wake-ups.
    Foreground,
    /// Drain of the ring to segments and group commit: late work here delays acknowledgements.
    Flush,
    /// Cold reads for consumers that are behind.
    ColdRead,
    /// Index sealing, retention, scans, snapshots.
    Background,
}

/// One core: its disk, network, clock, tasks, and lanes to the other cores. Cheap to clone.
pub trait Env: Clone + 'static {
    type Disk: Disk;
    type Net: Net<Extent = <Self::Disk as Disk>::Extent>;
    type Mesh: Mesh;

    fn disk(&self) -> &Self::Disk;
    fn net(&self) -> &Self::Net;
    fn mesh(&self) -> &Self::Mesh;

    /// Index of this core, `0..cores()`.
    fn core(&self) -> usize;
    /// How many cores run together.
    fn cores(&self) -> usize;

    /// Wall clock, milliseconds since the Unix epoch. May jump in both directions.
    fn now_ms(&self) -> i64;
    /// Monotonic clock, nanoseconds from an arbitrary start.
    fn monotonic_ns(&self) -> u64;
    /// A random number: from the system in production, from the seed under simulation.
    fn random(&self) -> u64;

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static;
    /// Lets every other ready task of this core run once, and due I/O be submitted and reaped.
    fn yield_now(&self) -> impl Future<Output = ()> + 'static;
    /// Starts a task on this core. It runs until it returns or the core ends; to stop it early, give
    /// it a [`crate::sync::Stop`]. Where it was spawned is its name when it holds the core up.
    #[track_caller]
    fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static);
    /// What this core's runtime has counted about itself. Copies a histogram: not for every message.
    fn vital_signs(&self) -> VitalSigns;
}

/// Tries again after each `pause`, for at most `wait`, while the outcome is an error of `kind`: for what a process that was
/// just killed holds until the kernel has taken it apart. `waiting` is told of the first such error, if there will be
/// another attempt; the last one is the outcome.
pub async fn patiently<E: Env, T>(
    env: &E,
    (wait, pause): (Duration, Duration),
    kind: io::ErrorKind,
    waiting: impl FnOnce(&io::Error),
    mut attempt: impl AsyncFnMut() -> io::Result<T>,
) -> io::Result<T> {
    let deadline = env.monotonic_ns() + wait.as_nanos() as u64;
    let mut waiting = Some(waiting);
    loop {
        match attempt().await {
            Err(error) if error.kind() == kind && env.monotonic_ns() < deadline => {
                if let Some(waiting) = waiting.take() {
                    waiting(&error);
                }
                env.sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

/// Runs `work` for at most `time`; `TimedOut` afterwards. The work is dropped then.
pub async fn deadline<E: Env, T>(env: &E, time: Duration, work: impl Future<Output = T>) -> io::Result<T> {
    let timer = env.sleep(time);
    async { Ok(work.await) }
        .or(async {
            timer.await;
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no result within {time:?}")))
        })
        .await
}

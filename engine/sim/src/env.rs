//! `SimEnv`: one core of a simulated process.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmq_io::{Class, Env, VitalSigns};

use crate::disk::SimDisk;
use crate::mesh::SimMesh;
use crate::net::SimNet;
use crate::process::Process;
use crate::sched::CoreKey;

#[derive(Clone)]
pub struct SimEnv {
    process: Rc<Process>,
    core: usize,
    disk: SimDisk,
    net: SimNet,
    mesh: SimMesh,
}

impl SimEnv {
    pub(crate) fn new(process: Rc<Process>, core: usize) -> Self {
        Self {
            disk: SimDisk::new(process.clone()),
            net: SimNet::new(process.clone(), core),
            mesh: SimMesh::new(process.clone(), core),
            process,
            core,
        }
    }

    /// False once the process is killed. A test that notes an acknowledgement checks this: a process
    /// killed within a region write runs on until its next await, and nobody sees what it does there.
    pub fn alive(&self) -> bool {
        self.process.runs()
    }

    fn key(&self) -> CoreKey {
        CoreKey { process: self.process.id, core: self.core }
    }
}

impl Env for SimEnv {
    type Disk = SimDisk;
    type Net = SimNet;
    type Mesh = SimMesh;

    fn disk(&self) -> &SimDisk {
        &self.disk
    }
    fn net(&self) -> &SimNet {
        &self.net
    }
    fn mesh(&self) -> &SimMesh {
        &self.mesh
    }
    fn core(&self) -> usize {
        self.core
    }
    fn cores(&self) -> usize {
        self.process.cores
    }

    fn now_ms(&self) -> i64 {
        self.process.host.clock_ms.get() + (self.process.inner.sched.now() / 1_000_000) as i64
    }

    fn monotonic_ns(&self) -> u64 {
        self.process.inner.sched.now() - self.process.started_ns
    }

    fn random(&self) -> u64 {
        self.process.inner.values.next()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        self.process.sleep(time)
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        YieldNow { process: self.process.clone(), key: self.key(), since: None }
    }

    fn spawn(&self, _class: Class, task: impl Future<Output = ()> + 'static) {
        // The classes are a matter of shares; here every order is possible, so all are alike.
        if self.process.runs() {
            self.process.inner.sched.spawn(self.key(), Box::pin(task));
        }
    }

    /// Rounds only: nothing takes any time here.
    fn vital_signs(&self) -> VitalSigns {
        VitalSigns { turns: self.process.inner.sched.round(self.key()), ..VitalSigns::default() }
    }
}

/// Ends after a whole round: a task made ready before the yield is in this round or the next one, and
/// both have run when the round after that begins.
pub(crate) struct YieldNow {
    process: Rc<Process>,
    key: CoreKey,
    since: Option<u64>,
}

impl Future for YieldNow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let round = self.process.inner.sched.round(self.key);
        let since = *self.since.get_or_insert(round);
        if round >= since.saturating_add(2) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

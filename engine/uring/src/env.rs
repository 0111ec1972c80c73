//! `UringEnv`: one core.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use ringmq_io::{Class, Env, VitalSigns};

use crate::disk::UringDisk;
use crate::mesh::UringMesh;
use crate::net::UringNet;
use crate::tasks::Tasks;

pub(crate) struct Core {
    pub(crate) disk: UringDisk,
    pub(crate) net: UringNet,
    pub(crate) mesh: UringMesh,
    pub(crate) tasks: Tasks,
    pub(crate) core: usize,
    pub(crate) cores: usize,
    /// The same instant on every core of one `run`.
    pub(crate) started: Instant,
    pub(crate) random: RefCell<SmallRng>,
}

#[derive(Clone)]
pub struct UringEnv(pub(crate) Rc<Core>);

pub(crate) fn seeded() -> RefCell<SmallRng> {
    RefCell::new(SmallRng::from_os_rng())
}

impl Env for UringEnv {
    type Disk = UringDisk;
    type Net = UringNet;
    type Mesh = UringMesh;

    fn disk(&self) -> &UringDisk {
        &self.0.disk
    }

    fn net(&self) -> &UringNet {
        &self.0.net
    }

    fn mesh(&self) -> &UringMesh {
        &self.0.mesh
    }

    fn core(&self) -> usize {
        self.0.core
    }

    fn cores(&self) -> usize {
        self.0.cores
    }

    fn now_ms(&self) -> i64 {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.started.elapsed().as_nanos() as u64
    }

    fn random(&self) -> u64 {
        self.0.random.borrow_mut().next_u64()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        let timer = glommio::timer::Timer::new(time);
        async move {
            timer.await;
        }
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        let driver = self.0.net.driver.clone();
        async move { driver.make_way().await }
    }

    #[track_caller]
    fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        self.0.tasks.spawn(class, task);
    }

    fn vital_signs(&self) -> VitalSigns {
        self.0.net.driver.vital_signs()
    }
}

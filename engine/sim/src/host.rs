//! `Host`: a machine. Its disk outlives its processes; its tmpfs outlives them too, but not a power
//! loss.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::sync::Event;

use crate::disk::fs::Fs;
use crate::env::SimEnv;
use crate::faults::Faults;
use crate::net::NetState;
use crate::process::{Life, Process};
use crate::sched::CoreKey;
use crate::world::{Inner, World};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// kill -9: tasks are gone at their awaits; what was written stays, synced or not, and so does
    /// mapped memory. Writes under way may be done in part.
    Process,
    /// The machine is off at once: tmpfs is gone, of unsynced sectors and directory changes any part.
    PowerLoss,
}

/// Silent damage done to a host's disk, which only checksums can find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub offset: u64,
    pub len: u64,
}

/// The disk of a host that no process runs on, as it was; it can be put into hosts of other worlds.
pub struct DiskImage(Fs);

pub(crate) struct HostState {
    pub index: usize,
    pub name: String,
    pub fs: Fs,
    pub faults: RefCell<Faults>,
    /// Wall clock at the world's begin, moved by jumps.
    pub clock_ms: Cell<i64>,
    pub process: RefCell<Option<Rc<Process>>>,
    /// Off: nothing answers, not even with a reset.
    pub powered: Cell<bool>,
    pub damage: RefCell<Vec<Damage>>,
    /// What the disk is asked before this time is done after it.
    pub disk_stalls_until_ns: Cell<u64>,
    /// Region writes until the process is killed within one.
    pub kill_in_region_write: Cell<Option<u64>>,
}

impl HostState {
    pub fn new(index: usize, name: &str, clock_ms: i64) -> Self {
        Self {
            index,
            name: name.to_owned(),
            fs: Fs::new(),
            faults: RefCell::new(Faults::none()),
            clock_ms: Cell::new(clock_ms),
            process: RefCell::new(None),
            powered: Cell::new(true),
            damage: RefCell::default(),
            disk_stalls_until_ns: Cell::new(0),
            kill_in_region_write: Cell::new(None),
        }
    }

    /// The host's address in the simulated network.
    pub fn ip(&self) -> IpAddr {
        let n = u16::try_from(self.index + 1).expect("fewer hosts than addresses");
        let [high, low] = n.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
    }
}

/// A machine of a [`World`]. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    inner: Rc<Inner>,
    state: Rc<HostState>,
}

impl Host {
    pub(crate) fn new(inner: Rc<Inner>, state: Rc<HostState>) -> Self {
        Self { inner, state }
    }

    pub fn name(&self) -> &str {
        &self.state.name
    }

    pub(crate) fn index(&self) -> usize {
        self.state.index
    }

    pub fn ip(&self) -> IpAddr {
        self.state.ip()
    }

    /// Starts a process with one main task for each core. It ends when all have returned, or by
    /// [`Host::crash`]. Turns the machine on if it was off.
    pub fn start<F>(&self, cores: usize, main: impl Fn(SimEnv) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        assert!(cores > 0, "a process has at least one core");
        assert!(!self.is_up(), "host {} already runs a process", self.name());
        if !self.state.powered.replace(true) {
            NetState::power_on(&self.inner, self.state.index);
        }
        let id = self.inner.sched.serial();
        let process = Rc::new(Process {
            id,
            inner: self.inner.clone(),
            host: self.state.clone(),
            cores,
            started_ns: self.inner.sched.now(),
            life: Cell::new(Life::Running),
            mains_left: Cell::new(cores),
            meshes: RefCell::default(),
            mesh_joined: Event::new(),
            pools: (0..cores).map(|_| Default::default()).collect(),
        });
        *self.state.process.borrow_mut() = Some(process.clone());
        process.event("start", id, cores as u64);
        for core in 0..cores {
            let key = CoreKey { process: id, core };
            self.inner.sched.add_core(key);
            let task = main(SimEnv::new(process.clone(), core));
            let process = process.clone();
            self.inner.sched.spawn(
                key,
                Box::pin(async move {
                    task.await;
                    process.mains_left.set(process.mains_left.get() - 1);
                    if process.mains_left.get() == 0 && process.runs() {
                        process.event("exit", process.id, 0);
                        let ending = (process.host.clone(), CrashKind::Process);
                        process.inner.ending.borrow_mut().push(ending);
                    }
                }),
            );
        }
        self.plan_clock_jump(id);
    }

    fn plan_clock_jump(&self, process: u64) {
        if self.state.faults.borrow().clock.jump == 0.0 {
            return;
        }
        let host = self.clone();
        let action = Box::new(move |inner: &Rc<Inner>| {
            let clock = host.state.faults.borrow().clock.clone();
            if inner.values.chance(clock.jump) {
                let most = clock.jump_max.as_millis() as u64;
                host.jump_clock(inner.values.within(0..=2 * most) as i64 - most as i64);
            }
            host.plan_clock_jump(process);
        });
        self.inner.after(Duration::from_secs(1), Some(process), action);
    }

    /// Whether a process runs here.
    pub fn is_up(&self) -> bool {
        self.state.process.borrow().is_some()
    }

    /// Ends the process, if one runs, and turns the machine off if it is a power loss.
    pub fn crash(&self, kind: CrashKind) {
        self.inner.event(Some(self.state.index), "crash", kind as u64, 0);
        let process = self.state.process.borrow_mut().take();
        if let Some(process) = &process {
            process.life.set(Life::Ended);
            NetState::process_ended(&self.inner, process, kind);
        }
        // The disk first: destructors of the process's tasks find it as it stays.
        self.state.fs.end_writes(&self.inner.disk);
        self.state.fs.process_ended(&self.inner.disk);
        if kind == CrashKind::PowerLoss {
            self.state.powered.set(false);
            self.state.fs.power_loss(&self.inner.disk);
        }
        if let Some(process) = process {
            self.inner.sched.end(Some(process.id));
            process.meshes.take();
        }
        let rot = self.state.faults.borrow().disk.rot_at_crash;
        if self.inner.disk.chance(rot)
            && let Some(damage) = self.state.fs.rot_somewhere(&self.inner.disk)
        {
            self.inner.note(Some(self.state.index), "bit rot", format!("{damage:?}"));
            self.state.damage.borrow_mut().push(damage);
        }
    }

    /// Kills the process within its `nth` (from 1) write to mapped memory from now on: a part of that
    /// write has happened, and nothing that the code does after it.
    pub fn kill_in_region_write(&self, nth: u64) {
        assert!(nth > 0, "counted from 1");
        self.state.kill_in_region_write.set(Some(nth));
    }

    /// Takes a planned [`Host::kill_in_region_write`] back.
    pub fn cancel_kill(&self) {
        self.state.kill_in_region_write.set(None);
    }

    /// From now on; see [`Faults::none`] and [`Faults::drawn`].
    pub fn set_faults(&self, faults: Faults) {
        let had_jumps = self.state.faults.borrow().clock.jump > 0.0;
        *self.state.faults.borrow_mut() = faults;
        let process = self.state.process.borrow().as_ref().map(|process| process.id);
        if let Some(process) = process
            && !had_jumps
        {
            self.plan_clock_jump(process);
        }
    }

    pub fn faults(&self) -> Faults {
        self.state.faults.borrow().clone()
    }

    pub fn jump_clock(&self, by_ms: i64) {
        self.inner.note(Some(self.state.index), "clock jump", format!("{by_ms} ms"));
        self.state.clock_ms.set(self.state.clock_ms.get() + by_ms);
    }

    /// The disk does nothing that it is asked from now on until so much time has passed. What it does already is done in time.
    pub fn stall_disk(&self, time: Duration) {
        let until = self.inner.sched.now() + time.as_nanos() as u64;
        self.inner.note(Some(self.state.index), "disk stall", format!("{time:?}"));
        self.state.disk_stalls_until_ns.set(until);
    }

    /// A disk of so many bytes more than its files have.
    pub fn leave_room(&self, bytes: u64) {
        let used: u64 = self.files().iter().map(|(_, len)| len).sum();
        self.set_capacity(used + bytes);
    }

    /// Bytes of the disk, beyond which writes get ENOSPC.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.fs.capacity.set(bytes);
    }

    /// The disk as it is, with what is not synced, and the tmpfs.
    pub fn disk_image(&self) -> DiskImage {
        assert!(!self.is_up(), "host {} runs a process", self.name());
        DiskImage(self.state.fs.copied())
    }

    /// Puts a disk in, in place of the host's own.
    pub fn put_disk(&self, image: &DiskImage) {
        assert!(!self.is_up(), "host {} runs a process", self.name());
        self.state.fs.turn_into(image.0.copied());
    }

    /// Whether there is a tmpfs for the hot ring (there is, by default).
    pub fn set_tmpfs(&self, present: bool) {
        self.state.fs.tmpfs.set(present);
    }

    /// All files with their lengths, sorted by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state.fs.files()
    }

    /// What a read would give.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.state.fs.read_file(path.as_ref())
    }

    /// Overwrites stored bytes, as damage: known to nobody, durable at once.
    pub fn damage_file(&self, path: impl AsRef<Path>, offset: u64, bytes: &[u8]) {
        let path = path.as_ref();
        self.inner.note(Some(self.state.index), "damage", format!("{} at {offset}", path.display()));
        assert!(self.state.fs.damage(path, offset, bytes), "{} has no byte {offset}", path.display());
        let damage = Damage { path: path.to_owned(), offset, len: bytes.len() as u64 };
        self.state.damage.borrow_mut().push(damage);
    }

    /// Removes a file behind the process's back (a lost ring, a deleted manifest).
    pub fn remove_file(&self, path: impl AsRef<Path>) -> bool {
        self.state.fs.remove_durably(path.as_ref())
    }

    /// Copies a file, durably (a stale ring, a ring of another store).
    pub fn copy_file(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> bool {
        self.state.fs.copy_durably(from.as_ref(), to.as_ref())
    }

    /// The silent damage so far, by the names that the files had then.
    pub fn damages(&self) -> Vec<Damage> {
        self.state.damage.borrow().clone()
    }

    /// What is not what it was meant to be right now, by the names that the files have now: damage that was written over, or that a
    /// power loss has undone, is not in it.
    pub fn damaged_now(&self) -> Vec<Damage> {
        self.state.fs.damaged()
    }

    /// What a read would give if nothing had been damaged.
    pub fn meant_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.state.fs.read_meant(path.as_ref())
    }
}

impl World {
    /// Runs `main` on a machine of its own until it returns: the shortest way into a simulation.
    pub fn simulate<F, T>(seed: u64, main: impl FnOnce(SimEnv) -> F) -> T
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let world = World::new(seed);
        let host = world.host("machine");
        world.run(&host, main)
    }
}

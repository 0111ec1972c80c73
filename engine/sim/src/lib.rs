//! The seeded simulation of the seam: `SimEnv` implements `ringmq_io::Env` in a world with virtual
//! time and faults, on one thread.
//!
//! ```text
//! World ── Host "a" ── process: cores ── tasks          one seed decides: which task runs, how long
//!   │        │           └ SimEnv: disk, net, mesh      everything takes, what fails, and what is
//!   │        └ disk, tmpfs: outlive the process         left after a crash
//!   └ network between the hosts
//! ```
//!
//! ```
//! use ringmq_io::{Blocks, Disk, Env, OpenMode, File};
//! use ringmq_simenv::{CrashKind, World};
//!
//! let world = World::new(42);
//! let host = world.host("broker");
//! host.start(1, |env| async move {
//!     env.disk().create_dir_all("/data".as_ref()).await.unwrap();
//!     let file = env.disk().open("/data/log".as_ref(), OpenMode::CreateNew).await.unwrap();
//!     file.preallocate(4096, Blocks::Write).await.unwrap();
//! });
//! world.run_steps(3); // somewhere in the middle
//! host.crash(CrashKind::PowerLoss);
//! ```
//!
//! Invariants: the same seed gives the same trace (`World::trace_hash`); nothing here depends on
//! wall-clock time, addresses or hash order. A contract of the seam that the code above breaks
//! (unaligned positions, two receives at a time, a leased ring range overwritten) is a panic with the
//! reason. A panic in a task passes to whoever runs the world, and the seed is printed.

mod disk;
mod env;
mod faults;
mod host;
mod mesh;
mod net;
mod process;
mod rng;
mod sched;
mod trace;
mod world;

pub use disk::{SimDirLock, SimDisk, SimExtent, SimFile, SimMapped, SimRegion};
pub use env::SimEnv;
pub use faults::{ClockFaults, Cut, DiskFaults, Faults, NetFaults};
pub use host::{CrashKind, Damage, DiskImage, Host};
pub use mesh::{SimLanes, SimMesh};
pub use net::{SimListener, SimNet, SimRecv, SimStream};
pub use rng::Rng;
pub use trace::TraceEvent;
pub use world::{EPOCH_MS, World};

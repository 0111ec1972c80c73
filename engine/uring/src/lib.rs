//! `UringEnv`: glommio tasks and timers, an io-uring ring for sockets and log I/O, one thread a core.
//!
//! The only crate that names glommio, io-uring, nix and memmap2, and the only home of `unsafe`.
//! [`run`] starts the cores; everything else is reached through [`ringmq_io::Env`]. Invariants and
//! failures are in each module's header; two hold throughout: the kernel never writes to freed memory
//! (operations own their buffers until their completion), and a panic on a core ends the process.

mod accept;
mod blocking;
mod buf_ring;
pub mod cpu;
mod disk;
mod doorbell;
mod driver;
mod env;
mod fd;
mod file_ops;
mod launch;
mod lookup;
mod mesh;
mod net;
mod op;
mod probe;
mod region;
mod ring;
mod send;
pub mod signals;
mod stats;
mod stream;
mod tasks;
mod watch;

pub use accept::UringListener;
pub use disk::{DirLock, UringDisk, UringMapped};
pub use env::UringEnv;
pub use file_ops::UringFile;
pub use launch::{LaunchError, run};
pub use mesh::{UringLanes, UringMesh};
pub use net::UringNet;
pub use probe::{ProbeError, probe};
pub use region::{UringExtent, UringRegion};
pub use stream::{RecvBytes, UringStream};

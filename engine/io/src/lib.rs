//! The seam between RingMQ and the machine.
//!
//! Everything above this crate is generic over one parameter, [`Env`]: the disk, the network, the
//! clock, the lanes to other cores and the tasks of **one core**. `ringmq-uring` implements it for
//! Linux (glommio and io_uring), `ringmq-simenv` as a seeded world with virtual time and faults.
//!
//! Invariants: an `Env` never leaves its thread; nothing here blocks; a future that is dropped
//! leaves no operation writing to freed memory (implementations own the buffers of what is in
//! flight). Failures are `std::io::Error`; what an error means is decided above.
#![allow(async_fn_in_trait)] // single-threaded on purpose: no future here is Send

mod aligned;
#[cfg(feature = "conformance")]
pub mod conformance;
mod disk;
mod env;
pub mod limits;
mod mesh;
mod net;
pub mod sync;
pub mod vitals;

pub use aligned::{AlignedBuf, BLOCK};
pub use disk::{Blocks, DirEntry, Disk, File, Mapped, OpenMode, Region, Space};
pub use env::{Class, Env, deadline, patiently};
pub use mesh::{Lanes, Mesh};
pub use net::{Chunk, Lease, Listener, Net, RecvBuf, Sharing, Stream};
pub use vitals::VitalSigns;

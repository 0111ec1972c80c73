//! `ringmq bench`: load for any broker that speaks the protocol, Apache's included.
//!
//! One thread with its own sockets drives everything, so the tool's cost stays on the core it is
//! pinned to. Closed loop: each connection keeps a number of requests in flight. Open loop (`--rate`):
//! requests have a time at which they ought to leave, and latency counts from that time, so that a
//! stalled broker cannot hide its stall by slowing the load down (coordinated omission).
//!
//! Any protocol error, or a broker that answers nothing for [`ANSWER_SECS_MAX`] s, ends the run with an
//! error: a figure is printed only for a run that worked.

mod args;
mod compare;
mod conn;
mod consume;
mod driver;
mod e2e;
mod pacing;
mod payload;
mod process;
mod producer;
mod report;
pub mod rpc;
mod send;
mod target;

pub use args::BenchArgs;

/// A broker that answers nothing for so long has failed the run.
pub const ANSWER_SECS_MAX: u64 = 30;

/// Runs one benchmark and prints its figures; blocks until it is done.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    match &args.workload {
        args::Workload::Send(send) => send::run(send),
        args::Workload::Consume(consume) => consume::run(consume),
        args::Workload::E2e(e2e) => e2e::run(e2e),
        args::Workload::Compare(compare) => compare::run(compare),
    }
}

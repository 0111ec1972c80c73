//! Connections of the remoting protocol, in both directions, on one core.
//!
//! Owns: listeners and the accept loop (`serve`), connections with their reader and writer tasks, the cutting
//! of the byte stream into frames, the output buffer and its one vectored send a turn, calls to the peer and the
//! matching of their answers, outgoing connections (`Client`), idle and stalled peers, and the counters of all
//! this. It knows no request code: a [`Service`] decides what a request means.
//! Invariants: nothing here leaves its core; memory of a connection is bounded in both directions
//! (`ringmq_io::limits`); frames of a connection reach the service in the order of their arrival.
//! On failure: what one peer does costs at most its own connection.

mod calls;
mod client;
mod connection;
mod counters;
mod egress;
mod frame;
mod ingress;
mod listen;
mod parts;
mod server;
mod service;
mod signal;
mod sweep;
pub mod why;

pub use calls::CallError;
pub use client::{Client, ClientConfig, Destination};
pub use connection::{ConnId, Connection, ExtentOf, StreamOf};
pub use counters::Counters;
pub use frame::{FrameRef, OwnedFrame};
pub use listen::listen_patiently;
pub use parts::Parts;
pub use server::{Server, ServerConfig, serve};
pub use service::{Flow, NoRequests, Service};

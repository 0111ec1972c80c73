//! Message semantics: what each request means, on which core it is answered, and what an answer promises.
//!
//! One [`Core`](core::Core) per CPU core has its shards, its connections and its replica of the tables. Core 0 is also
//! the control core ([`control_plane::ControlPlane`]): it owns topics, groups, offsets and online clients, journals
//! them, and publishes changes to all cores.
//!
//! A message's way through this crate: `dispatch` finds the handler; `handlers/send_message` checks, finds the queue's
//! shard (`tables`, `placement`) and hops to its core if it is another one (`hop`); the shard takes the record; `ack`
//! answers when the flush mode's watermark has passed it. A pull becomes a read plan (`handlers/pull_message`) or waits
//! for a message (`hold`). A message that waits for its time is kept in a book (`pending`, `timers`). Every answer goes through a `reply::Responder`, which knows the way back.
//!
//! A handler is a function `handle(core, request) -> Handled`. It never blocks; what has to wait is an owned copy of the
//! request in a task or in `Handled::Wait`.
#![allow(async_fn_in_trait)] // single-threaded on purpose: no future here is Send

pub mod ack;
pub mod admin;
pub mod ask;
pub mod buckets;
pub mod carried;
pub mod client_call;
pub mod config;
pub mod control;
pub mod control_plane;
pub mod core;
pub mod dispatch;
pub mod filter;
pub mod group_queue;
pub mod handlers;
pub mod history;
pub mod hold;
pub mod hop;
pub mod lag_look;
pub mod lifecycle;
mod name_map;
pub mod once;
pub mod own_message;
pub mod parked;
pub mod pending;
pub mod placement;
pub mod queue_look;
pub mod rates;
pub mod recall_handle;
pub mod reply;
pub mod request;
pub mod resets;
pub mod snapshot;
pub mod stages;
pub mod start;
pub mod stats;
pub mod tables;
pub mod timers;
pub mod traffic;
pub mod transactions;
pub mod under_way;
mod vip;
pub mod with_room;

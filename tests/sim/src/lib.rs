//! The deterministic simulator: a node's storage, and each fourth seed a whole broker with its network, under crashes and
//! faults, checked against what clients were promised. Everything in a run follows from its seed.
//!
//! A run ([`run_seed`]) is a [`Plan`] drawn from the seed: several lives of a node on one machine, each
//! with its own faults and its own end. In a life, producers append in both flush modes, readers
//! compare what they pull with what was stored, and a committer writes consumer offsets to the
//! metadata journal. Between lives the [`Model`] checks that
//!
//! - what was acknowledged, under its flush mode and the kind of crash, is there at the same queue
//!   offset with the same bytes, and nothing is there that nobody stored;
//! - queue offsets are dense, and every index entry hits a valid record of its queue;
//! - nothing is acknowledged after an I/O error;
//! - consumer offsets never go back past an acknowledged commit;
//! - a recovered node accepts new messages, and recovering twice gives the same as once.
//!
//! A whole broker ([`broker`]) is checked through the protocol and its log alone, by clients that send again when they hear nothing.
//!
//! A broken promise is a panic that names the seed. [`Bug`]s are planted to show that they are caught.

mod broker;
mod clients;
mod damage;
mod dump;
mod model;
mod offsets;
mod plan;
mod run;
mod shrink;

pub use broker::BrokerPlan;
pub use model::Model;
pub use plan::{Bug, Plan};
pub use run::{Outcome, run_seed, run_seed_without};
pub use shrink::{Fault, superfluous};

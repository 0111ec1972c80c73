//! The metadata journal in a simulated world: what it acknowledged is there after every crash, a full disk passes, a
//! broken one latches, damage is reported.
//!
//! `SEEDS=N` and `FIRST_SEED=S` run other seeds; a failure prints its seed.

mod book;
mod crash;
mod damage;
mod full;
mod together;

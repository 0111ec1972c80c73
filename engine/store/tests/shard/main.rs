//! Shards of a store in the simulated world: what they keep over crashes, damage and full disks.

mod crash;
mod damage;
mod files;
mod flushed;
mod image;
mod mended;
mod mutated;
mod read_ahead;
mod recent;
mod room;
mod rows;
mod support;
mod taken_over;
mod together;

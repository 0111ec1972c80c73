//! Whole brokers and their parts in the simulated world. One program, because the linking of one for each file took longer
//! than the tests themselves.

mod common;
mod name_server;

mod admin;
mod administration;
mod ask_consumer;
mod control_plane;
mod data_plane;
mod delayed;
mod forbidden;
mod group_settings;
mod hop;
mod journal;
mod metadata_crashes;
mod metrics;
mod once;
mod pending;
mod pressure;
mod registration;
mod request_reply;
mod reset_offset;
mod retention;
mod send_back;
mod settings;
mod sql_filter;
mod transactions;

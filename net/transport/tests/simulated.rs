//! The cases over the simulated world: many seeds, cut streams, long waits in no time.

mod common;

use std::time::Duration;

use common::cases;
use ringmq_simenv::{Cut, SimEnv, World};

const SEEDS: u64 = 12;

macro_rules! cases {
    ($($name:ident $(($($arg:expr),*))?;)*) => {$(
        #[test]
        fn $name() {
            for seed in 0..SEEDS {
                let world = World::new(seed);
                let host = world.host("one");
                let mut faults = host.faults();
                faults.net.cut = if seed % 2 == 0 { Cut::Whole } else { Cut::Random };
                host.set_faults(faults);
                world.run(&host, |env| cases::$name(env $(, $($arg),*)?));
            }
        }
    )*};
}

cases! {
    pipelined_requests_keep_their_order;
    a_frame_may_come_in_any_pieces;
    bad_input_costs_its_connection_only;
    a_service_can_close_after_its_answer;
    a_stop_ends_a_wait;
    the_server_asks_its_client;
    a_client_that_does_not_answer_costs_a_time_out;
    calls_end_with_their_connection;
    a_client_reconnects_with_growing_pauses;
    a_call_to_nowhere_ends_in_time;
    idle_connections_end_and_busy_ones_stay(Duration::from_secs(120));
    connections_over_the_bound_are_refused;
    a_stop_lets_queued_answers_leave;
    leases_come_back_when_bytes_are_gone;
    a_port_that_comes_free_is_taken;
    a_port_that_stays_in_use_is_named;
}

fn once<F: Future<Output = ()> + 'static>(seed: u64, case: impl FnOnce(SimEnv) -> F) {
    let world = World::new(seed);
    let host = world.host("one");
    world.run(&host, case);
}

// These move megabytes: one seed each.

#[test]
fn the_largest_frame_passes_and_a_larger_one_closes() {
    once(1, cases::the_largest_frame_passes_and_a_larger_one_closes);
}

#[test]
fn large_answers_leave_whole_and_in_order() {
    once(2, cases::large_answers_leave_whole_and_in_order);
}

#[test]
fn a_slow_reader_is_bounded() {
    once(3, cases::a_slow_reader_is_bounded);
}

#[test]
fn a_peer_that_takes_nothing_is_cut() {
    once(4, |env| cases::a_peer_that_takes_nothing_is_cut(env, Duration::from_secs(5)));
}

#[test]
fn many_idle_connections_are_served() {
    once(5, |env| cases::many_idle_connections_are_served(env, 1200));
}

/// One byte a receive, from both sides.
#[test]
fn single_bytes() {
    let world = World::new(6);
    let host = world.host("one");
    let mut faults = host.faults();
    faults.net.cut = Cut::SingleBytes;
    host.set_faults(faults);
    world.run(&host, cases::a_client_that_does_not_answer_costs_a_time_out);
}

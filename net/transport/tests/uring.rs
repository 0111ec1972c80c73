//! The same cases over real sockets, and what only those can show.

mod common;

use std::time::Duration;

use common::cases;

macro_rules! cases {
    ($($name:ident $(($($arg:expr),*))?;)*) => {$(
        #[test]
        fn $name() {
            ringmq_uring::run(1, |env| cases::$name(env $(, $($arg),*)?)).unwrap();
        }
    )*};
}

cases! {
    pipelined_requests_keep_their_order;
    a_frame_may_come_in_any_pieces;
    the_largest_frame_passes_and_a_larger_one_closes;
    bad_input_costs_its_connection_only;
    a_service_can_close_after_its_answer;
    a_stop_ends_a_wait;
    large_answers_leave_whole_and_in_order;
    a_slow_reader_is_bounded;
    a_peer_that_takes_nothing_is_cut(Duration::from_millis(600));
    the_server_asks_its_client;
    a_client_that_does_not_answer_costs_a_time_out;
    calls_end_with_their_connection;
    a_client_reconnects_with_growing_pauses;
    a_call_to_nowhere_ends_in_time;
    idle_connections_end_and_busy_ones_stay(Duration::from_millis(800));
    many_idle_connections_are_served(1000);
    connections_over_the_bound_are_refused;
    a_stop_lets_queued_answers_leave;
    leases_come_back_when_bytes_are_gone;
    a_port_that_comes_free_is_taken;
    a_port_that_stays_in_use_is_named;
}

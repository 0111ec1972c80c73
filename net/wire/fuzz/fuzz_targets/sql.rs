#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmq_wire_fuzz::sql::check(bytes));

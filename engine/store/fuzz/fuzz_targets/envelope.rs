#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmq_store::fuzz_checks::envelope(bytes));

//! Recovery on tampered images: the check of the shard's tests (engine/store/tests/shard/image.rs).
#![no_main]

#[path = "../../tests/shard/image.rs"]
mod image;
#[allow(dead_code)]
#[path = "../../tests/shard/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::check(bytes));

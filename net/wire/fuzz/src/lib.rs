//! One function for each decoder: takes any bytes, and panics where the decoder breaks what it promises.
//!
//! The fuzz targets run them on bytes that a fuzzer makes up; `net/wire/tests/fuzz_seeds.rs` runs them on the seeds
//! beside this file, with every `cargo test`.

pub mod batch;
pub mod binary_header;
pub mod body;
pub mod command;
pub mod cut;
pub mod properties;
pub mod record;
pub mod register_body;
pub mod sql;

/// Takes any bytes; panics where a promise is broken.
pub type Check = fn(&[u8]);

/// Names as of `fuzz_targets` and of the directories in `seeds`.
pub const TARGETS: [(&str, Check); 9] = [
    ("batch", batch::check),
    ("binary_header", binary_header::check),
    ("body", body::check),
    ("command", command::check),
    ("cut", cut::check),
    ("properties", properties::check),
    ("record", record::check),
    ("register_body", register_body::check),
    ("sql", sql::check),
];

/// The first bytes of the input, zeros where it has fewer.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, more) = rest.split_at(N.min(rest.len()));
    *rest = more;
    let mut out = [0; N];
    out[..taken.len()].copy_from_slice(taken);
    out
}

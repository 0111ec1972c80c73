//! Recovery on images that were tampered with at random, and on those that once were a problem.
//!
//! `SEEDS=N` and `FIRST_SEED=S` run others; a failure prints its seed. `engine/store/fuzz` runs the same check on bytes that
//! a fuzzer makes up.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use crate::crash::seeds;
use crate::damage::segment;
use crate::image::{End, check, check_after};
use ringmq_simenv::{Host, World};

#[test]
fn any_image_opens_to_what_was_stored_or_is_refused_by_name() {
    for seed in seeds(120) {
        let rng = World::new(seed).rng("bytes");
        let bytes: Vec<u8> = (0..128).map(|_| rng.below(256) as u8).collect();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&bytes))) {
            eprintln!(
                "replay it: FIRST_SEED={seed} SEEDS=1 cargo test -p ringmq-store --test shard mutated::"
            );
            resume_unwind(panic);
        }
    }
}

#[test]
fn images_of_the_seeds_of_the_fuzzer() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/recovery");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("seeds") {
        check(&std::fs::read(entry.expect("a seed").path()).expect("a seed"));
        count += 1;
    }
    assert!(count > 0);
}

/// What the check says of a store that a broker with a defect would have made.
fn caught(defect: fn(&Host) -> BTreeSet<PathBuf>) -> String {
    let checked = catch_unwind(AssertUnwindSafe(|| check_after(1, End::Stop, defect)));
    let panic = checked.expect_err("the defect is not noticed");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn zero(host: &Host, path: &PathBuf, from: u64) {
    let len = host.read_file(path).expect("a segment").len() as u64;
    host.damage_file(path, from, &vec![0; (len - from) as usize]);
}

/// A bad batch in the first segment, and everything behind it gone, good as it was.
#[test]
fn a_recovery_that_cuts_at_the_first_bad_batch_is_caught() {
    let text = caught(|host| {
        zero(host, &segment(0, "seg"), 100 * 4096);
        for number in 1..3 {
            zero(host, &segment(number, "seg"), 0);
        }
        for number in 0..4 {
            host.remove_file(segment(number, "idx"));
        }
        BTreeSet::from([segment(0, "seg")])
    });
    assert!(text.contains("is lost"), "{text}");
}

/// A sealed index that was synced before what it speaks of.
#[test]
fn an_index_ahead_of_the_log_is_caught() {
    let text = caught(|host| {
        zero(host, &segment(1, "seg"), 64 * 4096);
        BTreeSet::new()
    });
    assert!(text.contains("is lost"), "{text}");
}

/// A misdirected write within an index: what it brings checks where it comes from, and must not where it is now.
#[test]
fn a_block_of_entries_in_the_place_of_keys_is_damage() {
    check_after(1, End::Stop, |host| {
        let index = segment(0, "idx");
        let bytes = host.read_file(&index).expect("an index");
        let entries = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes"));
        let first_keys = (1 + entries.div_ceil(127)) * 4096;
        host.damage_file(&index, first_keys, &bytes[4096..8192]);
        // A reader of those entries has all of the index mended, with these keys.
        for damaged in [4096 + 100, first_keys + 4096 + 100] {
            host.damage_file(&index, damaged, &[bytes[damaged as usize] ^ 1]);
        }
        BTreeSet::from([index])
    });
}

//! The simulator catches planted defects, and passes without them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::{Bug, run_seed};

/// The first seed of a handful that catches the defect, with what it says. The same seed passes without the defect: what
/// it says is about the defect, then.
fn caught(bug: Bug, seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let panic = catch_unwind(AssertUnwindSafe(|| run_seed(seed, Some(bug), false))).err()?;
        run_seed(seed, None, false);
        let text = panic.downcast_ref::<String>().cloned();
        Some((
            seed,
            text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default(),
        ))
    })
}

#[test]
fn seeds_pass_without_a_defect() {
    let acknowledged: u64 = (1..=60).map(|seed| run_seed(seed, None, false).acknowledged).sum();
    assert!(acknowledged > 20_000, "only {acknowledged} records were acknowledged");
}

#[test]
fn acknowledging_before_the_flush_is_caught() {
    let (_, text) = caught(Bug::AckBeforeFlush, 1..40).expect("a lost message");
    assert!(text.contains("acknowledged offset"), "{text}");
}

#[test]
fn ignoring_an_fsync_error_is_caught() {
    // What a lying disk has lost is a message, a commit, or a file that the node cannot start without.
    let (_, text) = caught(Bug::IgnoreSyncError, 1..200).expect("something lost");
    let promises =
        ["acknowledged offset", "nothing at offset", "consumer offset", "nobody damaged what it names"];
    assert!(promises.iter().any(|promise| text.contains(promise)), "{text}");
}

#[test]
fn acknowledging_after_a_latch_is_caught() {
    let (_, text) = caught(Bug::IgnoreLatch, 1..80).expect("a lost message");
    assert!(text.contains("acknowledged offset"), "{text}");
}

#[test]
fn acknowledging_a_commit_before_it_is_durable_is_caught() {
    let (_, text) = caught(Bug::AckBeforeJournal, 1..40).expect("an offset that went back");
    assert!(text.contains("consumer offset"), "{text}");
}

#[test]
fn a_seed_runs_in_one_way() {
    for seed in [3, 77, 1234] {
        assert_eq!(run_seed(seed, None, false), run_seed(seed, None, false));
    }
}

//! The simulator catches planted defects, and passes without them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::{Bug, Fault, run_seed, run_seed_without};

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
    let outcomes: Vec<_> = (1..=60).map(|seed| run_seed(seed, None, false)).collect();
    let acknowledged: u64 = outcomes.iter().map(|outcome| outcome.acknowledged).sum();
    assert!(acknowledged > 20_000, "only {acknowledged} records were acknowledged");
    let came: u64 = outcomes.iter().map(|outcome| outcome.came).sum();
    assert!(came > 1_500, "only {came} delayed and transactional messages came");
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
fn a_recovery_that_cuts_at_the_first_bad_batch_is_caught() {
    let (_, text) = caught(Bug::CutAtDamage, 1..400).expect("lost messages");
    assert!(text.contains("acknowledged offset"), "{text}");
}

#[test]
fn an_index_ahead_of_the_log_is_caught() {
    let (_, text) = caught(Bug::IndexBeforeSync, 1..200).expect("an index of what is not there");
    let promises = ["nothing at offset", "nothing says so", "acknowledged offset"];
    assert!(promises.iter().any(|promise| text.contains(promise)), "{text}");
}

#[test]
fn acknowledging_a_commit_before_it_is_durable_is_caught() {
    let (_, text) = caught(Bug::AckBeforeJournal, 1..40).expect("an offset that went back");
    assert!(text.contains("consumer offset"), "{text}");
}

/// Whole brokers: a defect that shows only where the network does `fault` is caught, and without the fault it is not.
fn caught_by(bug: Bug, fault: Fault, promises: &[&str]) {
    let brokers = || (4..=160).step_by(4);
    let (seed, text) = brokers().find_map(|seed| caught(bug, seed..seed + 1)).expect("something wrong");
    assert!(promises.iter().any(|promise| text.contains(promise)), "seed {seed}: {text}");
    brokers().take(10).chain([seed]).for_each(|seed| {
        run_seed_without(&[fault], seed, Some(bug), false);
    });
}

#[test]
fn an_answer_on_another_connection_is_caught() {
    // It may also stand in the middle of the other connection's answer.
    let promises = [
        "the answer to another request",
        "a number in the answer",
        "acknowledged offset",
        "acknowledged twice",
        "was message",
        "whole records",
        "wrong body",
    ];
    caught_by(Bug::StaleDescriptor, Fault::Resets, &promises);
}

#[test]
fn a_short_send_taken_for_a_whole_one_is_caught() {
    let promises = ["whole records", "wrong body", "other bytes", "nobody sent"];
    caught_by(Bug::ShortSendIsWhole, Fault::ShortSends, &promises);
}

#[test]
fn a_seed_runs_in_one_way() {
    for seed in [3, 8, 77, 1234] {
        assert_eq!(run_seed(seed, None, false), run_seed(seed, None, false));
    }
}

/// A start whose write of the log's last block went elsewhere served what the block had before, from the ring, unchecked; and a
/// message that no broker had found in the ring yet was taken for flushed by the check itself.
#[test]
fn seeds_that_once_failed_pass() {
    for seed in [400_232, 600_251] {
        run_seed(seed, None, false);
    }
}

//! Sorting large lists in the background without stalling the core.
//!
//! Invariants: no step between two yields handles more than a bounded number of items; the result is what
//! `sort_unstable_by` would give for a total order.

use std::cmp::Ordering;

use ringmq_io::Env;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;

/// Sorted runs of [`STORE_ITEMS_PER_TURN`], then merges of twice the length, yielding all along.
pub async fn sort_in_turns<E: Env, T: Copy>(
    env: &E,
    mut items: Vec<T>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    for run in items.chunks_mut(STORE_ITEMS_PER_TURN) {
        run.sort_unstable_by(&order);
        env.yield_now().await;
    }
    let mut width = STORE_ITEMS_PER_TURN;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for pair in items.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while !left.is_empty() || !right.is_empty() {
                for _ in 0..STORE_ITEMS_PER_TURN {
                    let from = match (left.first(), right.first()) {
                        (Some(l), Some(r)) if order(l, r) == Ordering::Greater => &mut right,
                        (Some(_), _) => &mut left,
                        (None, Some(_)) => &mut right,
                        (None, None) => break,
                    };
                    merged.push(from[0]);
                    *from = &from[1..];
                }
                env.yield_now().await;
            }
        }
        items = merged;
        width *= 2;
    }
    items
}

//! Puts the keys of a segment in the order of its sealed index.
//!
//! Hashes are spread evenly, so that their highest bits say where in the order a key comes, up to its few dozen
//! neighbours: the keys are dealt into that many buckets, and each bucket, which fits into the cache, is sorted.
//! Invariants: the result is sorted by hash, then position; no step between two yields handles more than a chunk, whatever
//! the hashes are.

use ringmq_io::Env;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;

use crate::inner::Inner;
use crate::keys::KeyEntry;
use crate::sorting::sort_in_turns;

/// Keys of a bucket on average.
const BUCKET: usize = 32;
const BUCKETS_MAX: usize = 1 << 16;

/// The open keys of records below `end`, sorted. Only the task that lets go of them may call it.
pub async fn sorted_keys_below<E: Env>(inner: &Inner<E>, end: u64) -> Vec<KeyEntry> {
    let total = inner.keys.borrow().count_below(end);
    let buckets = (total / BUCKET).next_power_of_two().min(BUCKETS_MAX);
    let bucket_of = |key: &KeyEntry| ((u128::from(key.hash) * buckets as u128) >> 64) as usize;
    // Where the next key of each bucket goes; first their sizes.
    let mut next = vec![0usize; buckets];
    each_below(inner, end, |key| next[bucket_of(key)] += 1).await;
    let mut start = 0;
    for slot in &mut next {
        start += std::mem::replace(slot, start);
    }
    assert_eq!(start, total, "keys come and go only behind those of a segment that is being sealed");
    let mut sorted = vec![KeyEntry { hash: 0, position: 0 }; total];
    each_below(inner, end, |key| {
        let slot = &mut next[bucket_of(key)];
        sorted[*slot] = *key;
        *slot += 1;
    })
    .await;
    let mut start = 0;
    let mut since_yield = 0;
    for bucket_end in next {
        let bucket = &mut sorted[start..bucket_end];
        start = bucket_end;
        since_yield += bucket.len();
        if bucket.len() > STORE_ITEMS_PER_TURN {
            // Many messages with one key.
            let keys = sort_in_turns(&inner.env, bucket.to_vec(), Ord::cmp).await;
            bucket.copy_from_slice(&keys);
        } else {
            bucket.sort_unstable();
        }
        if since_yield > STORE_ITEMS_PER_TURN {
            since_yield = 0;
            inner.env.yield_now().await;
        }
    }
    sorted
}

/// Shows the open keys of records below `end`, a chunk a turn.
async fn each_below<E: Env>(inner: &Inner<E>, end: u64, mut each: impl FnMut(&KeyEntry)) {
    let first = inner.keys.borrow().first_chunk();
    for number in first.. {
        {
            let open = inner.keys.borrow();
            let Some(chunk) = open.chunk(number) else {
                return;
            };
            let below = chunk.partition_point(|key| key.position < end);
            chunk[..below].iter().for_each(&mut each);
            if below < chunk.len() {
                return;
            }
        }
        inner.env.yield_now().await;
    }
}

//! Collects the keys of appended records behind the acknowledgements' back.
//!
//! Owns: `indexed`. Follows `closed` at background priority, so that a send pays nothing for the key index; when
//! it lags behind the ring, it reads segments.
//! Invariants: keys are in log order; everything below `indexed` is in the open keys or sealed.
//! On failure: a damaged batch has no keys (it is reported); an I/O error latches the shard.

use std::io::ErrorKind;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::message::RecordView;

use crate::inner::{Inner, add};
use crate::keys::{self, KeyEntry};
use crate::log_reader::{Batch, LogReader};

/// Log bytes worked through before yielding: a batch of that size takes about 100 us.
const BYTES_PER_TURN: u64 = 128 * 1024;

pub async fn run<E: Env>(inner: Rc<Inner<E>>) {
    let mut reader = LogReader::new(Rc::clone(&inner), inner.indexed.get());
    let mut since_yield = reader.position;
    loop {
        if inner.is_ending() {
            return;
        }
        if reader.position == inner.closed.get() {
            inner.closed.moved().await;
            continue;
        }
        match reader.next().await {
            Ok(batch) => collect(&inner, &batch),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                // Where the next batch begins is unknown: keys of the rest of this segment are not searchable.
                let number = inner.segments.number_of(reader.position);
                let next = inner.segments.base(number + 1).min(inner.closed.get());
                tracing::error!(shard = inner.id.shard, "key index: {error}; keys up to {next} are left out");
                add(&inner.counters.damaged, 1);
                reader.position = next;
            }
            Err(error) => {
                inner.latch("read for the key index", &error.to_string());
                return;
            }
        }
        inner.indexed.advance(reader.position);
        if reader.position - since_yield >= BYTES_PER_TURN {
            since_yield = reader.position;
            inner.env.yield_now().await;
        }
    }
}

fn collect<E: Env>(inner: &Inner<E>, batch: &Batch<'_>) {
    let mut open = inner.keys.borrow_mut();
    for (position, bytes) in batch.records() {
        let record = RecordView::parse(bytes).expect("a record that was appended, in a batch that checks");
        for key in keys::of(&record) {
            open.push(KeyEntry { hash: keys::hash(record.topic, key), position });
        }
    }
}

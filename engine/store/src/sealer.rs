//! Seals full segments: writes their index file and lets go of their entries in memory.
//!
//! Owns: the move of a segment's index from memory to disk, in segment order: at background priority, and at a higher one when it
//! falls behind, since all that waits for it is memory.
//! Invariants: a segment is sealed once all of it is synced; the file is durable before an entry leaves memory; the file has what the
//! log had at the segment's end, whatever was dropped behind it, and a queue that was dropped is not resurrected; one task seals.
//! On failure: without room on the disk the segment stays unsealed, its entries stay in memory, and the whole file is
//! written anew until it fits; any other I/O error latches the shard (the file cannot be trusted to be written later either).

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;
use ringmq_io::{Class, Disk, Env};

use crate::entry::Entry;
use crate::envelope::temporary_name;
use crate::inner::Inner;
use crate::key_sort::sorted_keys_below;
use crate::open;
use crate::queues::Run;
use crate::sealed::SealedIndex;
use crate::sealed::format::{Drop, Page, Row};
use crate::sealed::write::IndexWriter;
use crate::shard::QueueRef;
use crate::sorting::sort_in_turns;

/// Between attempts while the disk is full.
const RETRY: Duration = Duration::from_secs(1);

/// A queue's part of the segment.
#[derive(Clone, Copy)]
struct Part {
    queue: QueueRef,
    first: u64,
    count: u64,
    start: u64,
    drops: u32,
}

/// In the background a saturated core leaves a fiftieth of its time; sealing what it takes in, in small messages, needs a sixth.
fn class_for(segments_behind: u32) -> Class {
    match segments_behind {
        0..=1 => Class::Background,
        2 => Class::ColdRead,
        _ => Class::Flush,
    }
}

/// The task that seals from now on.
pub fn start<E: Env>(inner: &Rc<Inner<E>>) {
    go_on(inner, first_unsealed(inner), Class::Background);
}

/// Seals from segment `number` on, as a task of that class.
fn go_on<E: Env>(inner: &Rc<Inner<E>>, number: u32, class: Class) {
    let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(run(Rc::clone(inner), number, class));
    open::start(inner, class, task);
}

async fn run<E: Env>(inner: Rc<Inner<E>>, mut number: u32, class: Class) {
    let mut is_full = false;
    loop {
        let end = inner.segments.base(number + 1);
        let safe = if inner.config.defects.seals_before_sync() { &inner.closed } else { &inner.synced };
        while safe.get() < end && !inner.is_ending() {
            safe.moved().await;
        }
        if inner.is_ending() {
            return;
        }
        let wanted = class_for(inner.segments.number_of(safe.get()) - number);
        if wanted != class {
            go_on(&inner, number, wanted);
            return;
        }
        match seal(&inner, number).await {
            Ok(()) => {
                if std::mem::take(&mut is_full) {
                    tracing::info!(shard = inner.id.shard, "disk has room for an index again");
                }
                number += 1;
            }
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                // What was written of it is given back: somebody may need the blocks.
                let temporary = temporary_name(&inner.segments.path(number, "idx"));
                let _ = inner.env.disk().remove(&temporary).await;
                if !std::mem::replace(&mut is_full, true) {
                    tracing::error!(shard = inner.id.shard, "no room for a segment's index: {error}");
                }
                inner.env.sleep(RETRY).or(inner.stop.wait()).await;
            }
            Err(error) => {
                inner.latch("write of a sealed index", &error.to_string());
                return;
            }
        }
    }
}

fn first_unsealed<E: Env>(inner: &Inner<E>) -> u32 {
    let first = inner.segments.first().map_or(inner.segments.number_of(inner.synced.get()), |s| s.number);
    (first..)
        .find(|number| inner.segments.get(*number).is_none_or(|segment| segment.index().is_none()))
        .expect("numbers go on")
}

async fn seal<E: Env>(inner: &Inner<E>, number: u32) -> io::Result<()> {
    let segments = &inner.segments;
    let (base, end) = (segments.base(number), segments.base(number + 1));
    let segment = segments.get(number).expect("an unsealed segment is not recycled");
    let path = segments.path(number, "idx");
    let mut writer = IndexWriter::create(&inner.env, &path, inner.id, base, segments.bytes).await?;
    let mut parts = parts_below(inner, end).await;
    for part in &mut parts {
        part.start = writer.next_entry();
        let mut offset = part.first;
        while offset < part.first + part.count {
            let piece = copy_entries(inner, part, offset);
            assert!(!piece.is_empty(), "a part's entries are dense");
            offset += piece.len() as u64;
            writer.entries(&piece).await?;
        }
    }
    let keys = sorted_keys_below(inner, end).await;
    writer.keys(&keys).await?;
    drop(keys);
    write_catalog(inner, &mut writer, &parts, end).await?;
    writer.finish().await?;
    let index = SealedIndex::open(&inner.env, &path, inner.id, base, segments.bytes).await?;
    segment
        .set_index(index.ok_or_else(|| io::Error::other("an index reads back other than it was written"))?);
    publish(inner, &parts, number, end).await;
    segments.close_file(&segment);
    tracing::debug!(shard = inner.id.shard, base, queues = parts.len(), "segment sealed");
    Ok(())
}

/// The queues that have entries below `end`, sorted by name.
async fn parts_below<E: Env>(inner: &Inner<E>, end: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        {
            let queues = inner.queues.borrow();
            let last = queues.len().min(at + STORE_ITEMS_PER_TURN);
            for number in at..last {
                let queue = QueueRef(number as u32);
                let state = queues.get(queue);
                let count = state.open.count_below(end);
                if count > 0 {
                    let (first, drops) = (state.open.first(), state.drops);
                    parts.push(Part { queue, first, count, start: 0, drops });
                }
            }
            at = last;
            if at == queues.len() {
                break;
            }
        }
        inner.env.yield_now().await;
    }
    // After the others: a queue that was dropped since it was looked at is here too, once too often.
    for (queue, drops, entries) in inner.queues.borrow().graves_from(end) {
        let count = entries.count_below(end);
        if count > 0 {
            parts.push(Part { queue, first: entries.first(), count, start: 0, drops });
        }
    }
    let by_name = |a: &Part, b: &Part| {
        let queues = inner.queues.borrow();
        let (a, b) = (queues.get(a.queue), queues.get(b.queue));
        a.topic.cmp(&b.topic).then(a.id.cmp(&b.id))
    };
    let mut parts = sort_in_turns(&inner.env, parts, by_name).await;
    parts.dedup_by_key(|part| (part.queue, part.drops));
    parts
}

/// Some entries of a part.
fn copy_entries<E: Env>(inner: &Inner<E>, part: &Part, offset: u64) -> Vec<Entry> {
    let queues = inner.queues.borrow();
    let entries = queues.unsealed(part.queue, part.drops).expect("kept until this segment is sealed");
    let left = (part.first + part.count - offset) as usize;
    let run = entries.run_from(offset);
    run[..run.len().min(left)].to_vec()
}

async fn write_catalog<E: Env>(
    inner: &Inner<E>,
    writer: &mut IndexWriter<E>,
    parts: &[Part],
    end: u64,
) -> io::Result<()> {
    // Drops come first: a row holds what came after the last drop of its topic in this segment.
    let drops: Vec<Drop> = inner
        .drops
        .borrow()
        .iter()
        .filter(|drop| drop.position < end)
        .map(|drop| Drop { position: drop.position, topic: drop.topic.to_string() })
        .collect();
    writer.drops(&drops).await?;
    for chunk in parts.chunks(STORE_ITEMS_PER_TURN) {
        let page = {
            let queues = inner.queues.borrow();
            Page::of_rows(chunk.iter().map(|part| {
                let queue = queues.get(part.queue);
                let start = u32::try_from(part.start).expect("a segment has fewer than 2^32 messages");
                let (first_offset, count) = (part.first, part.count as u32);
                (&*queue.topic, Row { topic: 0, queue_id: queue.id, first_offset, start, count })
            }))
        };
        writer.page(&page).await?;
    }
    Ok(())
}

/// Reads go to the file from now on.
async fn publish<E: Env>(inner: &Inner<E>, parts: &[Part], number: u32, end: u64) {
    for chunk in parts.chunks(STORE_ITEMS_PER_TURN) {
        {
            let mut queues = inner.queues.borrow_mut();
            for part in chunk {
                let queue = queues.get_mut(part.queue);
                if queue.drops == part.drops {
                    queue.runs.push_back(Run {
                        first: part.first,
                        start: part.start as u32,
                        count: part.count as u32,
                        segment: number,
                    });
                    queue.open.forget_before(part.first + part.count);
                }
            }
        }
        inner.env.yield_now().await;
    }
    inner.queues.borrow_mut().forget_graves_below(end);
    inner.keys.borrow_mut().forget_below(end);
    inner.drops.borrow_mut().retain(|drop| drop.position >= end);
}

//! Opens a shard: recovery, a new epoch, the ring, the tasks.
//!
//! Invariants: the order makes a crash at any point harmless: what only the old ring has is synced into
//! segments, then the new epoch is durable, then the ring's header carries it, then the first append may come. A ring that is
//! taken over as it is gets the new header beside the old one first: without it, it would count for no epoch.
//! On failure: [`OpenError`], with nothing running.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use ringmq_io::sync::{Event, Stop, Watermark};
use ringmq_io::{BLOCK, Class, Disk, Env, Region};

use crate::batch::LogId;
use crate::fetch::read_exact;
use crate::inner::{Counters, DiskRoom, Inner};
use crate::lock::lock_patiently;
use crate::manifest::StoreLayout;
use crate::mend::Turn;
use crate::read_ahead::ReadAhead;
use crate::recovery::{self, Inventory, Recovered, RecoveryReport, RingSource};
use crate::ring::{self, HEADER_BLOCK, Ring, RingId};
use crate::segments::Segments;
use crate::state::State;
use crate::tail::Tail;
use crate::{OpenError, closer, end, flusher, provision, retention, sealer};

type RegionOf<E> = <<E as Env>::Disk as Disk>::Region;

pub async fn open<E: Env>(
    env: &E,
    layout: &StoreLayout,
    shard: u16,
) -> Result<(Rc<Inner<E>>, RecoveryReport), OpenError> {
    let begun = env.monotonic_ns();
    let config = &layout.config;
    let id = LogId { store_id: layout.store_id, shard };
    let dir = layout.shard_dir(shard);
    let disk = env.disk();
    disk.create_dir_all(&dir).await.map_err(OpenError::io(&dir))?;
    disk.sync_dir(&config.data).await.map_err(OpenError::io(&config.data))?;
    // The store's lock is core 0's; writes of this core to this shard are what matters here.
    let lock = lock_patiently(env, &dir).await?;
    let inventory = Inventory::take(env, &dir, config.segment_bytes).await?;
    let state = State::read(disk, id, &dir).await?;
    if state.is_none() && !inventory.segments.is_empty() {
        let what = "it is missing, but there are segments beside it; restore it from a copy".to_owned();
        return Err(OpenError::Damaged { path: dir.join(crate::state::NAME), what });
    }
    let origin = match &state {
        Some(state) => Origin::of(env, state, &config.data).await,
        None => Origin::Here,
    };
    let old_ring = match &state {
        Some(state) if origin != Origin::CopyOfLive => map_old_ring(env, state).await?,
        _ => None,
    };
    let segments = Segments::new(config.segment_bytes, &dir, config.blocks);
    let synced = end::read(disk, id, &dir).await?;
    let begin = (env.monotonic_ns() - begun) / 1_000_000;
    let new = State {
        epoch: state.as_ref().map_or(1, |state| state.epoch + 1),
        ring_path: layout.ring_path(shard),
        ring_bytes: config.ring_bytes as u64,
        data: config.data.clone(),
    };
    let is_same_ring =
        state.as_ref().is_some_and(|old| old.ring_path == new.ring_path && old.ring_bytes == new.ring_bytes);
    let may_be_kept = is_same_ring && origin == Origin::Here && layout.ring_is_memory;
    let source = old_ring
        .as_ref()
        .zip(state.as_ref())
        .and_then(|(region, state)| ring_source(region, layout, id, state, may_be_kept));
    let mut recovered =
        recovery::recover(env, id, &segments, &inventory, source, synced, config.defects).await?;
    let logged = env.monotonic_ns();

    let own = RingId { log: id, epoch: new.epoch, bytes: new.ring_bytes, oldest: new.epoch };
    let ring = if let (Some(kept), Some(region)) = (recovered.in_ring, &old_ring) {
        ring::take_over(region, RingId { oldest: kept.oldest_epoch, ..own });
        new.write(disk, id, &dir).await?;
        Ring::new(region.clone(), new.ring_bytes, kept.floor, recovered.end, recovered.end)
    } else {
        new.write(disk, id, &dir).await?;
        let region = match old_ring.filter(|_| is_same_ring) {
            Some(region) => region,
            None => map_new_ring(env, &new).await?,
        };
        load_last_block(env, &segments, &region, new.ring_bytes, recovered.end).await?;
        if let Some(old) = state.filter(|old| old.ring_path != new.ring_path && origin == Origin::Here) {
            remove_if_there(env, &old.ring_path).await?;
        }
        ring::write_header(&region, own);
        // What is before the end is read from segments, where it is checked: a write that went elsewhere may have taken it.
        Ring::new(region, new.ring_bytes, recovered.end, recovered.end, 0)
    };
    recovered.report.epoch = new.epoch;
    recovered.report.phases.begin = begin;
    recovered.report.phases.end = (env.monotonic_ns() - logged) / 1_000_000;
    recovered.report.took_ms = (env.monotonic_ns() - begun) / 1_000_000;
    let report = recovered.report.clone();
    let inner = Rc::new(assemble(env, layout, id, new.epoch, ring, segments, recovered));
    *inner.lock.borrow_mut() = Some(lock);
    start_tasks(&inner);
    Ok((inner, report))
}

/// The ring of the last epoch, wherever it was; `None` if there is no such file.
async fn map_old_ring<E: Env>(env: &E, state: &State) -> Result<Option<RegionOf<E>>, OpenError> {
    let len = HEADER_BLOCK + usize::try_from(state.ring_bytes).expect("a ring fits into memory");
    if !exists(env, &state.ring_path).await? {
        return Ok(None);
    }
    match env.disk().map_region(&state.ring_path, len).await {
        Ok((region, _)) => Ok(Some(region)),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            tracing::error!(path = %state.ring_path.display(), "ring has another size than recorded: {error}");
            Ok(None)
        }
        Err(error) => Err(OpenError::io(&state.ring_path)(error)),
    }
}

async fn exists<E: Env>(env: &E, path: &Path) -> Result<bool, OpenError> {
    let (dir, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
    let (Some(dir), Some(name)) = (dir, name) else {
        return Ok(false);
    };
    match env.disk().list(dir).await {
        Ok(entries) => Ok(entries.iter().any(|entry| entry.name == name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(OpenError::io(dir)(error)),
    }
}

fn ring_source<R: Region>(
    region: &R,
    layout: &StoreLayout,
    id: LogId,
    state: &State,
    may_be_kept: bool,
) -> Option<RingSource<R>> {
    let found = ring::read_header(region);
    let is_own = |ring: &RingId| {
        // Taken over by an epoch that a crash kept from beginning: no batch is of that epoch.
        let is_next = ring.epoch == state.epoch + 1 && ring.oldest <= state.epoch;
        ring.log == id && ring.bytes == state.ring_bytes && (ring.epoch == state.epoch || is_next)
    };
    let Some(own) = found.filter(is_own) else {
        // The epoch was begun, but a crash came before its ring; or the machine was restarted.
        tracing::info!(shard = id.shard, ?found, "ring holds nothing of epoch {}", state.epoch);
        return None;
    };
    // Memory that nothing but the process wrote to, and the header says that it is the same boot.
    let is_complete = layout.ring_is_memory && state.ring_path == layout.ring_path(id.shard);
    Some(RingSource::new(region.clone(), own, is_complete, may_be_kept))
}

/// Where a store's STATE was written, seen from where it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// In the same directory: the recorded ring is ours.
    Here,
    /// Elsewhere: this is the store moved, or a copy. The ring's batches belong to the log, the file may not.
    Elsewhere,
    /// Elsewhere, and the original is in use: its ring has gone on without us.
    CopyOfLive,
}

impl Origin {
    async fn of<E: Env>(env: &E, state: &State, data: &Path) -> Self {
        if state.data == data {
            return Self::Here;
        }
        match env.disk().lock_dir(&state.data).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Self::CopyOfLive,
            _ => Self::Elsewhere,
        }
    }
}

/// A ring where the configuration wants it. What the old one held is in segments by now.
async fn map_new_ring<E: Env>(env: &E, new: &State) -> Result<RegionOf<E>, OpenError> {
    remove_if_there(env, &new.ring_path).await?;
    let len = HEADER_BLOCK + usize::try_from(new.ring_bytes).expect("a ring fits into memory");
    let mapped = env.disk().map_region(&new.ring_path, len).await.map_err(OpenError::io(&new.ring_path))?;
    Ok(mapped.0)
}

async fn remove_if_there<E: Env>(env: &E, path: &Path) -> Result<(), OpenError> {
    match env.disk().remove(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(OpenError::io(path)(error)),
        _ => Ok(()),
    }
}

/// The block that the next segment write begins with must be in the ring.
async fn load_last_block<E: Env>(
    env: &E,
    segments: &Segments<E>,
    region: &RegionOf<E>,
    ring_bytes: u64,
    end: u64,
) -> Result<(), OpenError> {
    let start = end - end % BLOCK as u64;
    if start < end {
        let number = segments.number_of(start);
        let segment = segments.get(number).expect("the log's last batch is in a segment");
        let file = segments.file(env, &segment).await.map_err(OpenError::io(&segment.path))?;
        let bytes = read_exact::<E>(&file, segments.base(number), start, (end - start) as usize)
            .await
            .map_err(OpenError::io(&segment.path))?;
        let at = HEADER_BLOCK + (start % ring_bytes) as usize;
        region.with_mut(at..at + bytes.len(), |out| out.copy_from_slice(&bytes));
    }
    Ok(())
}

fn assemble<E: Env>(
    env: &E,
    layout: &StoreLayout,
    id: LogId,
    epoch: u32,
    ring: Ring<E>,
    segments: Segments<E>,
    recovered: Recovered,
) -> Inner<E> {
    let end = recovered.end;
    let synced = recovered.in_ring.map_or(end, |kept| kept.synced);
    Inner {
        env: env.clone(),
        id,
        epoch,
        config: layout.config.clone(),
        lock: RefCell::new(None),
        ring_is_memory: layout.ring_is_memory,
        ring,
        ring_path: layout.ring_path(id.shard),
        queues: RefCell::new(recovered.queues),
        tail: RefCell::new(Tail::new(end)),
        read_ahead: Rc::new(ReadAhead::new(segments.bytes)),
        segments,
        keys: RefCell::new(recovered.keys),
        drops: RefCell::new(recovered.drops),
        mending: Turn::default(),
        closed: Watermark::new(end),
        written: Watermark::new(synced),
        synced: Watermark::new(synced),
        sync_wanted: Cell::new(0),
        latched: RefCell::new(None),
        disk_room: Cell::new(DiskRoom::Enough),
        expire_asked: Cell::new(false),
        no_segment: Cell::new(false),
        shutting_down: Cell::new(false),
        stop: Stop::new(),
        opened: Event::new(),
        flush: Event::new(),
        provision: Event::new(),
        listener: RefCell::new(None),
        keepers: RefCell::default(),
        wanted: Watermark::new(0),
        counters: Counters::default(),
        quarantined: recovered.report.quarantined.len() as u64,
        lost: recovered.report.lost.iter().map(|lost| lost.count).sum(),
        running: Cell::new(0),
        ended: Event::new(),
    }
}

fn start_tasks<E: Env>(inner: &Rc<Inner<E>>) {
    start(inner, Class::Foreground, closer::run(Rc::clone(inner)));
    start(inner, Class::Flush, flusher::run(Rc::clone(inner)));
    // A missing segment holds up the flusher, so its allocation is no background work.
    start(inner, Class::Flush, provision::run(Rc::clone(inner)));
    sealer::start(inner);
    start(inner, Class::Background, retention::run(Rc::clone(inner)));
}

/// A task of the shard, whose end its end waits for.
#[track_caller]
pub fn start<E: Env>(inner: &Rc<Inner<E>>, class: Class, task: impl Future<Output = ()> + 'static) {
    inner.running.set(inner.running.get() + 1);
    let own = Rc::clone(inner);
    inner.env.spawn(class, async move {
        task.await;
        own.running.set(own.running.get() - 1);
        own.ended.notify();
    });
}

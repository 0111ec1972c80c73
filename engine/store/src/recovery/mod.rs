//! Recovery: from files and ring to an open shard.
//!
//! Owns: the walk over the log, taking the decisions of [`table`], and making the result durable before the ring
//! is used again, unless the new epoch can take the ring over as it is. Invariants: what is neither durable nor in a ring
//! that is taken over is in a segment and synced before the new epoch begins; recovering twice gives the same log as once;
//! no byte is dropped without a row of the table.
//! On failure: [`OpenError`]; nothing on disk was made worse (what is written is what was already acknowledged,
//! or a hole over a range that was copied aside first).

mod files;
mod index;
mod quarantine;
mod rebuild;
mod report;
pub mod source;
pub mod table;
mod traces;

use std::future::Future;
use std::io::ErrorKind;
use std::ops::Range;
use std::rc::Rc;

use ringmq_io::limits::{REWRITE_BYTES, REWRITES_UNDER_WAY_MAX};
use ringmq_io::{AlignedBuf, BLOCK, Disk, Env, File, OpenMode, Region};

pub use files::Inventory;
use index::{IndexBuilder, Loaded};
pub use report::{LostRange, Phases, Quarantined, RecoveryReport};
pub use source::RingSource;
use source::{Checked, SegmentSource};
use table::{At, Decision, Facts, Later, decide};

use crate::OpenError;
use crate::batch::{Kind, LogId};
use crate::defects::Defects;
use crate::inner::TopicDrop;
use crate::join::join_all;
use crate::keys::OpenKeys;
use crate::provision::add_segment;
use crate::queues::Queues;
use crate::sealed::SealedIndex;
use crate::segments::{Segment, Segments};

type RegionOf<E> = <<E as Env>::Disk as Disk>::Region;

/// The log as it was found.
pub struct Recovered {
    pub queues: Queues,
    pub drops: Vec<TopicDrop>,
    /// Where the log goes on.
    pub end: u64,
    /// Of what is in no sealed index.
    pub keys: OpenKeys,
    /// The new epoch goes on with the ring as it is. `None`: all of the log is durable in segments.
    pub in_ring: Option<InRing>,
    pub report: RecoveryReport,
}

/// A ring that has all of the log's end.
#[derive(Clone, Copy, Debug)]
pub struct InRing {
    /// Where the first batch begins that is in it.
    pub floor: u64,
    /// Segments durably have what is below; the beginning of a block, not below `floor`.
    pub synced: u64,
    pub oldest_epoch: u32,
}

/// Walks the log of a shard. `segments` is filled with what exists. `synced`: what was synced at the last clean stop.
pub async fn recover<E: Env>(
    env: &E,
    id: LogId,
    segments: &Segments<E>,
    inventory: &Inventory,
    ring: Option<RingSource<RegionOf<E>>>,
    synced: u64,
    defects: Defects,
) -> Result<Recovered, OpenError> {
    let index = IndexBuilder::new(&segments.dir, &inventory.floor);
    let mut walk = Walk {
        env,
        id,
        segments,
        ring,
        index,
        epoch: 0,
        durable: synced,
        position: inventory.floor.log_start,
        batches: Vec::new(),
        replayed: Vec::new(),
        ring_ends_log: false,
        defects,
        clock: PhaseClock::new(env),
        report: RecoveryReport {
            shard: id.shard,
            log_start: inventory.floor.log_start,
            ..Default::default()
        },
    };
    for number in &inventory.segments {
        segments.push(Segment::new(*number, segments.path(*number, "seg"), None));
    }
    let unsealed = walk.load_sealed(inventory).await?;
    walk.open_unsealed(inventory).await?;
    walk.report.phases.load += walk.clock.lap();
    walk.log().await?;
    walk.index.keep_traces();
    let in_ring = walk.in_ring(unsealed).await;
    walk.report.phases.replay += walk.clock.lap();
    if let Some(InRing { synced, .. }) = in_ring {
        walk.report.kept_in_ring = walk.position - synced;
    } else {
        let needs_rewrite = walk.ring.as_ref().is_none_or(|ring| ring.has_doubt || !ring.is_complete);
        if let Some(ring) = &walk.ring {
            ring.raise_doubt();
        }
        let drained = walk.drain().await?;
        walk.report.phases.drain += walk.clock.lap();
        walk.settle(unsealed, drained, needs_rewrite).await?;
        walk.report.phases.settle += walk.clock.lap();
    }
    walk.report.end = walk.position;
    walk.report.records = walk.index.records;
    walk.report.lost = walk.index.lost;
    for lost in &walk.report.lost {
        tracing::error!(shard = id.shard, "lost to damage: {lost}");
    }
    Ok(Recovered {
        queues: walk.index.queues,
        drops: walk.index.drops,
        end: walk.position,
        keys: walk.index.keys,
        in_ring,
        report: walk.report,
    })
}

struct Walk<'w, E: Env> {
    env: &'w E,
    id: LogId,
    segments: &'w Segments<E>,
    ring: Option<RingSource<RegionOf<E>>>,
    index: IndexBuilder,
    /// Of the last batch seen.
    epoch: u32,
    /// What the batches seen, and the last clean stop, say was synced.
    durable: u64,
    position: u64,
    /// Where the batches begin that were seen outside sealed segments.
    batches: Vec<u64>,
    /// Ranges of the log that were only in the ring.
    replayed: Vec<Range<u64>>,
    /// The newest batch of a complete ring is the log's last.
    ring_ends_log: bool,
    defects: Defects,
    clock: PhaseClock<'w, E>,
    report: RecoveryReport,
}

impl<E: Env> Walk<'_, E> {
    /// Files of segments that have no sound sealed index: recovery and appends may write to them.
    async fn open_unsealed(&self, inventory: &Inventory) -> Result<(), OpenError> {
        for number in &inventory.segments {
            if self.segments.base(*number) >= self.position {
                let segment = self.segments.get(*number).expect("pushed");
                let file = self.env.disk().open(&segment.path, OpenMode::Write).await;
                segment.set_file(file.map_err(OpenError::io(&segment.path))?);
            }
        }
        Ok(())
    }

    /// Trusts sealed indexes from the start of the log on, up to the first segment without a sound one.
    async fn load_sealed(&mut self, inventory: &Inventory) -> Result<u64, OpenError> {
        for number in &inventory.segments {
            let base = self.segments.base(*number);
            let has_index = inventory.indexes.contains(number);
            let has_next = inventory.indexes.contains(&(number + 1));
            if base != self.position || !(has_index || has_next) {
                break;
            }
            let mut loaded = if has_index { self.load_index(*number).await? } else { None };
            if loaded.is_none() {
                let path = self.segments.path(*number, "idx");
                tracing::error!(path = %path.display(), "sealed index is damaged or missing: it is made anew from its segment");
                self.report.rebuilt_indexes += 1;
                if has_next && self.rebuild_index(*number).await? {
                    loaded = self.load_index(*number).await?;
                }
            }
            let Some(sealed) = loaded else { break };
            self.segments.get(*number).expect("pushed").set_index(sealed);
            self.report.sealed_segments += 1;
            self.position = base + self.segments.bytes;
        }
        self.forget_indexes_from(self.position, inventory).await?;
        Ok(self.position)
    }

    /// The index of a segment, taken over; `None` if it is damaged.
    async fn load_index(&mut self, number: u32) -> Result<Option<SealedIndex<E>>, OpenError> {
        let path = self.segments.path(number, "idx");
        let base = self.segments.base(number);
        let opened = SealedIndex::open(self.env, &path, self.id, base, self.segments.bytes);
        let Some(sealed) = opened.await.map_err(OpenError::io(&path))? else { return Ok(None) };
        let loaded = self.index.load(self.env, &sealed, number).await?;
        Ok(matches!(loaded, Loaded::Whole).then_some(sealed))
    }

    /// Whether the index of a segment could be made anew from it alone.
    async fn rebuild_index(&mut self, number: u32) -> Result<bool, OpenError> {
        let segment = self.segments.get(number).expect("pushed");
        let mut source = self.source(&segment).await?;
        let base = self.segments.base(number);
        let contents = rebuild::contents(self.env, &mut source, base).await;
        self.segments.close_file(&segment);
        let contents = contents.map_err(OpenError::io(&segment.path))?;
        let Some(contents) =
            contents.filter(|contents| contents.follow(|topic, id| self.index.next(topic, id)))
        else {
            return Ok(false);
        };
        let path = self.segments.path(number, "idx");
        match contents.write(self.env, &path, self.id, base, self.segments.bytes).await {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(false),
            written => written.map(|()| true).map_err(OpenError::io(&path)),
        }
    }

    /// Indexes behind a segment that has to be scanned are made anew too: a queue's runs must be in order.
    async fn forget_indexes_from(&self, position: u64, inventory: &Inventory) -> Result<(), OpenError> {
        for number in &inventory.indexes {
            if self.segments.base(*number) >= position {
                let path = self.segments.path(*number, "idx");
                self.env.disk().remove(&path).await.map_err(OpenError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Follows the batches to the log's end.
    async fn log(&mut self) -> Result<(), OpenError> {
        loop {
            let at = self.scan().await?;
            self.report.phases.scan += self.clock.lap();
            let replayed = self.replay().await?;
            self.report.phases.replay += self.clock.lap();
            let later = if replayed { Later::None } else { self.later().await? };
            self.report.phases.later += self.clock.lap();
            let decision = match decide(Facts { at, ring_has_batch: replayed, later }) {
                Decision::Quarantine if self.defects.cuts_at_damage() => Decision::EndTorn,
                decision => decision,
            };
            self.report.decisions.push(decision);
            match decision {
                Decision::Replay => {}
                Decision::EndClean | Decision::EndTorn | Decision::EndUnsynced => return Ok(()),
                Decision::Quarantine => self.quarantine().await?,
            }
        }
    }

    fn io(&self) -> impl FnOnce(std::io::Error) -> OpenError + use<E> {
        OpenError::io(self.segments.dir.clone())
    }

    async fn source(
        &self,
        segment: &Rc<Segment<E>>,
    ) -> Result<SegmentSource<<E::Disk as Disk>::File>, OpenError> {
        let file = self.segments.file(self.env, segment).await.map_err(OpenError::io(&segment.path))?;
        Ok(SegmentSource::new(file, self.id, self.segments.base(segment.number), self.segments.bytes))
    }

    /// Takes batches from segments until one does not hold the next.
    async fn scan(&mut self) -> Result<At, OpenError> {
        let mut checked = Checked::default();
        while let Some(segment) = self.segments.get(self.segments.number_of(self.position)) {
            let mut source = self.source(&segment).await?;
            if self.position == self.segments.base(segment.number) {
                self.report.scanned_segments += 1;
            }
            let mut since_yield = self.position;
            while self.position < source.end() {
                match source.batch(self.position, self.epoch, &mut checked).await.map_err(self.io())? {
                    Err(at) => return Ok(at),
                    Ok(header) => {
                        self.index.batch(&header, checked.bytes(), &checked.slots)?;
                        if header.kind == Kind::Hole {
                            self.traces(&mut source, header.base, header.end()).await?;
                        }
                        self.report.scanned_batches += 1;
                        self.epoch = header.epoch;
                        self.durable = self.durable.max(header.durable);
                        self.batches.push(header.base);
                        self.position = header.end();
                    }
                }
                if self.position - since_yield >= 256 * 1024 {
                    since_yield = self.position;
                    self.env.yield_now().await;
                }
            }
        }
        Ok(At::Absent)
    }

    async fn traces(
        &mut self,
        source: &mut SegmentSource<<E::Disk as Disk>::File>,
        start: u64,
        end: u64,
    ) -> Result<(), OpenError> {
        let io = self.io();
        self.index.traces.look_into(source, self.id.shard, start, end).await.map_err(io)
    }

    /// Takes batches from the ring from here on. Whether there was one.
    async fn replay(&mut self) -> Result<bool, OpenError> {
        let Some(ring) = &self.ring else {
            return Ok(false);
        };
        let mut checked = Checked::default();
        let begun = self.position;
        let mut since_yield = begun;
        while let Some(header) = ring.batch(self.position, &mut checked) {
            self.index.batch(&header, checked.bytes(), &checked.slots)?;
            self.epoch = header.epoch;
            self.durable = self.durable.max(header.durable);
            self.batches.push(header.base);
            self.position = header.end();
            if self.position - since_yield >= 256 * 1024 {
                since_yield = self.position;
                self.env.yield_now().await;
            }
        }
        if self.position > begun {
            self.replayed.push(begun..self.position);
        }
        self.report.replayed_bytes += self.position - begun;
        Ok(self.position > begun)
    }

    /// What lies behind the position where the log seems to end.
    async fn later(&mut self) -> Result<Later, OpenError> {
        let mut later = if self.durable > self.position { Later::Durable } else { Later::None };
        let mut note = |durable: u64| {
            later = match (later, durable > self.position) {
                (_, true) | (Later::Durable, _) => Later::Durable,
                _ => Later::Unsynced,
            };
        };
        if let Some(ring) = &self.ring {
            let behind = ring.behind(self.env, self.position).await;
            // Segments are written from the ring: behind its newest batch they have nothing.
            let ends_here = || {
                let last = ring.batch(*self.batches.last()?, &mut Checked::default())?;
                (last.end() == self.position).then_some(())
            };
            if ring.is_complete && behind.is_empty() && ends_here().is_some() {
                self.ring_ends_log = true;
                return Ok(later);
            }
            behind.iter().for_each(|(_, durable)| note(*durable));
        }
        let mut checked = Checked::default();
        let mut from = self.position;
        while let Some(segment) = self.segments.get(self.segments.number_of(from)) {
            let mut source = self.source(&segment).await?;
            while let Some(position) = source.next_candidate(from).await.map_err(self.io())? {
                from = position + crate::batch::ALIGN;
                if let Ok(header) =
                    source.batch(position, self.epoch, &mut checked).await.map_err(self.io())?
                {
                    // A segment is synced before a byte of the next one is written.
                    let is_further_on = segment.number > self.segments.number_of(self.position);
                    note(if is_further_on { u64::MAX } else { header.durable });
                    from = header.end();
                }
                self.env.yield_now().await;
            }
            from = source.end();
            self.env.yield_now().await;
        }
        Ok(later)
    }

    /// The first intact batch behind the position in the same segment, else how far the segment was synced.
    async fn damage_end(&self) -> Result<u64, OpenError> {
        let number = self.segments.number_of(self.position);
        let segment = self.segments.get(number).ok_or_else(|| {
            let what = "it is missing, but what it had was synced; restore it from a copy".to_owned();
            OpenError::Damaged { path: self.segments.path(number, "seg"), what }
        })?;
        let mut source = self.source(&segment).await?;
        let mut end = source.end();
        if self.durable > self.position {
            end = end.min(self.durable);
        }
        if let Some(ring) = &self.ring
            && let Some((base, _)) = ring.behind(self.env, self.position).await.first()
        {
            end = end.min(*base);
        }
        let from = self.position + crate::batch::ALIGN;
        let next = source.next_intact(from, end, self.epoch, &mut Checked::default()).await;
        Ok(next.map_err(self.io())?.unwrap_or(end))
    }

    async fn quarantine(&mut self) -> Result<(), OpenError> {
        let (start, end) = (self.position, self.damage_end().await?);
        let copy = quarantine::set_aside(self.env, self.id, self.segments, self.epoch, start, end).await?;
        tracing::error!(
            shard = self.id.shard, start, end, copy = %copy.display(),
            "damaged range of the log: its messages are lost; a copy was set aside"
        );
        self.index.quarantined(start, end - start);
        let segment = self.segments.get(self.segments.number_of(start)).expect("it was set aside from there");
        let mut source = self.source(&segment).await?;
        self.traces(&mut source, start, end).await?;
        self.report.quarantined.push(Quarantined { start, end, copy });
        self.position = end;
        Ok(())
    }

    /// Whether the ring can go on as it is: it ends the log, and has all of it from what is known to be durable on. Segments are
    /// not trusted with any of that, as if no flush of it had been tried.
    async fn in_ring(&self, scanned_from: u64) -> Option<InRing> {
        let is_whole = self.ring_ends_log && self.report.quarantined.is_empty();
        let ring = self.ring.as_ref().filter(|ring| ring.may_be_kept && is_whole)?;
        // Also what segments had and have lost to damage comes from the ring.
        let replayed = self.replayed.first().map_or(self.position, |range| range.start);
        let durable = self.durable.clamp(scanned_from, replayed);
        let synced = durable - durable % BLOCK as u64;
        let first = self.batches.partition_point(|base| *base <= synced).checked_sub(1)?;
        let floor = self.batches[first];
        if !ring.can_hold(floor, self.position) {
            return None;
        }
        // What was replayed up to the end has just been checked.
        let unchecked = self.replayed.last().filter(|range| range.end == self.position);
        let unchecked = unchecked.map_or(self.position, |range| range.start);
        let (mut at, mut since_yield) = (floor, floor);
        let mut checked = Checked::default();
        while at < unchecked {
            at = ring.batch(at, &mut checked)?.end();
            if at - since_yield >= 256 * 1024 {
                since_yield = at;
                self.env.yield_now().await;
            }
        }
        (at == unchecked).then_some(InRing { floor, synced, oldest_epoch: ring.oldest() })
    }

    /// Writes what was only in the ring to segments, synced. Where the last of it begins, if the log ends with it.
    async fn drain(&mut self) -> Result<Option<u64>, OpenError> {
        let ranges = std::mem::take(&mut self.replayed);
        for range in &ranges {
            let mut from = range.start;
            while from < range.end {
                let number = self.segments.number_of(from);
                while self.segments.get(number).is_none() {
                    let next = self.segments.end().map_or(number, |end| self.segments.number_of(end));
                    add_segment(self.env, self.segments, next).await.map_err(self.io())?;
                }
                let segment = self.segments.get(number).expect("made above");
                let file = self.segments.file(self.env, &segment).await.map_err(self.io())?;
                let base = self.segments.base(number);
                let to = range.end.min(base + self.segments.bytes);
                let ring = self.ring.as_ref().expect("it was replayed from");
                copy_from_ring(&file, base, from..to, ring).await.map_err(OpenError::io(&segment.path))?;
                self.sync(&segment).await?;
                from = to;
            }
        }
        Ok(ranges.last().filter(|range| range.end == self.position).map(|range| range.start))
    }

    /// Makes durable what was found but is not known to be: it was written before a crash, perhaps never synced,
    /// perhaps by a sync that failed, after which only writing it again helps (if none failed, a sync is enough). What was
    /// just drained is known to be.
    async fn settle(
        &self,
        scanned_from: u64,
        drained: Option<u64>,
        needs_rewrite: bool,
    ) -> Result<(), OpenError> {
        let block = BLOCK as u64;
        let to = drained.unwrap_or(self.position);
        let mut from = self.durable.max(scanned_from).min(to);
        from -= from % block;
        while from < to {
            let number = self.segments.number_of(from);
            let segment = self.segments.get(number).expect("the log lies in segments");
            let file = self.segments.file(self.env, &segment).await.map_err(self.io())?;
            let base = self.segments.base(number);
            let end = to.next_multiple_of(block).min(base + self.segments.bytes);
            if needs_rewrite {
                let rewrites = pieces(from..end).map(|piece| {
                    let (file, at, len) = (&file, piece.start - base, (piece.end - piece.start) as usize);
                    async move { file.write_at(at, file.read_at(at, len).await?).await.map(drop) }
                });
                all_by_few(rewrites).await.map_err(OpenError::io(&segment.path))?;
            }
            self.sync(&segment).await?;
            from = end;
        }
        Ok(())
    }

    async fn sync(&self, segment: &Rc<Segment<E>>) -> Result<(), OpenError> {
        let file = self.segments.file(self.env, segment).await.map_err(self.io())?;
        file.sync().await.map_err(OpenError::io(&segment.path))
    }
}

/// Cuts a range of the log for writes. Only its ends may be inside a block.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let step = REWRITE_BYTES as u64;
    let first = range.start - range.start % step;
    (first..range.end).step_by(REWRITE_BYTES).map(move |at| at.max(range.start)..(at + step).min(range.end))
}

/// Some at a time, up to the first error.
async fn all_by_few<F: Future<Output = std::io::Result<()>>>(
    writes: impl Iterator<Item = F>,
) -> std::io::Result<()> {
    let mut writes = writes.peekable();
    while writes.peek().is_some() {
        let few = writes.by_ref().take(REWRITES_UNDER_WAY_MAX).collect();
        join_all(few).await.into_iter().collect::<std::io::Result<()>>()?;
    }
    Ok(())
}

/// Writes a range of the log from the ring into a segment, keeping what is around it in its first and last block.
async fn copy_from_ring<F: File, R: Region>(
    file: &F,
    base: u64,
    range: Range<u64>,
    ring: &RingSource<R>,
) -> std::io::Result<()> {
    let block = BLOCK as u64;
    let start = range.start - range.start % block;
    let stop = range.end.next_multiple_of(block);
    let (from, to) = (range.start, range.end);
    let writes = pieces(start..stop).map(|piece| async move {
        let mut bytes = AlignedBuf::zeroed((piece.end - piece.start) as usize);
        let len = bytes.len();
        if piece.start < from {
            bytes[..BLOCK].copy_from_slice(&file.read_at(piece.start - base, BLOCK).await?);
        }
        if to < piece.end {
            bytes[len - BLOCK..].copy_from_slice(&file.read_at(piece.end - block - base, BLOCK).await?);
        }
        let (first, last) = (from.max(piece.start), to.min(piece.end));
        let place = (first - piece.start) as usize..(last - piece.start) as usize;
        ring.copy(first, &mut bytes[place]);
        file.write_at(piece.start - base, bytes).await.map(drop)
    });
    all_by_few(writes).await
}

/// Time since the last look.
struct PhaseClock<'e, E: Env> {
    env: &'e E,
    since_ns: u64,
}

impl<'e, E: Env> PhaseClock<'e, E> {
    fn new(env: &'e E) -> Self {
        Self { env, since_ns: env.monotonic_ns() }
    }

    /// Whole milliseconds; what is less counts for the next phase.
    fn lap(&mut self) -> u64 {
        let ms = (self.env.monotonic_ns() - self.since_ns) / 1_000_000;
        self.since_ns += ms * 1_000_000;
        ms
    }
}

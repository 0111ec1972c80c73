//! Recycles whole sealed segments by age, size and disk use, and refuses appends while the disk is too full.
//!
//! Owns: the rules of RocketMQ 5.5.0 `DefaultMessageStore.CleanCommitLogService` on segments. Invariants: the
//! oldest segment goes first, only when it is sealed, and never the only one; the floor file is durable before;
//! a segment that is being read waits, and so does one with records that a keeper needs (`Shard::add_keeper`).
//! On failure: an I/O error is reported and tried again at the next look: keeping data too long harms nobody's
//! acknowledgement. Appends are accepted again as soon as the disk is below the refusing ratio.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::STORE_ITEMS_PER_TURN;
use ringmq_io::{Disk, Env};

use crate::config::RetentionConfig;
use crate::floor::{Floor, QueueStart};
use crate::inner::{DiskRoom, Inner, add};
use crate::segments::{Segment, file_name};
use crate::shard::QueueRef;

/// How often the disk's fill is looked at, whatever the interval of the other rules.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// Why the oldest segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Expired,
    Size,
    DiskFull,
}

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
struct Facts {
    now_ms: i64,
    /// Newest message of the oldest segment.
    newest_ms: i64,
    segments_bytes: u64,
    used: f64,
    /// Somebody wants what is expired gone now.
    asked: bool,
}

fn verdict(config: &RetentionConfig, facts: Facts) -> Option<Reason> {
    if config.max_bytes.is_some_and(|max| facts.segments_bytes > max) {
        return Some(Reason::Size);
    }
    if config.clean_forcibly && facts.used > config.forcible_ratio {
        return Some(Reason::DiskFull);
    }
    let local = facts.now_ms / 1000 + i64::from(config.utc_offset_secs);
    let hour = (local.rem_euclid(24 * 3600) / 3600) as u8;
    let time_to_clean = facts.asked || config.delete_hours.contains(&hour) || facts.used > config.clean_ratio;
    let age_ms = facts.now_ms.saturating_sub(facts.newest_ms);
    let expired = i128::from(age_ms) >= config.reserved.as_millis() as i128;
    (time_to_clean && expired).then_some(Reason::Expired)
}

pub async fn run<E: Env>(inner: Rc<Inner<E>>) {
    let interval = inner.config.retention.interval.min(SPACE_INTERVAL);
    let mut since_rules = inner.config.retention.interval;
    while !inner.is_ending() {
        let asked = inner.expire_asked.replace(false);
        match look(&inner, asked || since_rules >= inner.config.retention.interval, asked).await {
            Ok(()) => {}
            Err(error) => tracing::error!(shard = inner.id.shard, "retention: {error}"),
        }
        if since_rules >= inner.config.retention.interval {
            since_rules = Duration::ZERO;
        }
        since_rules += interval;
        inner.env.sleep(interval).or(inner.stop.wait()).await;
    }
}

async fn look<E: Env>(inner: &Inner<E>, all_rules: bool, asked: bool) -> io::Result<()> {
    let config = &inner.config.retention;
    let mut used = look_at_disk(inner).await?;
    if !all_rules && used <= config.clean_ratio {
        return Ok(());
    }
    while let Some(oldest) = inner.segments.first() {
        let facts = Facts {
            now_ms: inner.env.now_ms(),
            newest_ms: oldest.newest_ms.get(),
            segments_bytes: inner.segments.count() as u64 * inner.segments.bytes,
            used,
            asked,
        };
        if oldest.index().is_none() || inner.segments.count() < 2 || inner.is_ending() {
            break;
        }
        let Some(reason) = verdict(config, facts) else {
            break;
        };
        let end = inner.segments.base(oldest.number + 1);
        drop(oldest);
        if inner.kept_from() < end {
            // Looked at again when the interval is over: by then it is written again.
            inner.wanted.advance(end);
            break;
        }
        recycle_oldest(inner, used > config.clean_ratio, reason).await?;
        used = look_at_disk(inner).await?;
    }
    Ok(())
}

async fn look_at_disk<E: Env>(inner: &Inner<E>) -> io::Result<f64> {
    let config = &inner.config.retention;
    let used = inner.env.disk().space(&inner.segments.dir).await?.used_ratio();
    let room = if used > config.refuse_ratio {
        DiskRoom::AboveRatio {
            used_percent: (used * 100.0).round() as u8,
            limit_percent: (config.refuse_ratio * 100.0).round() as u8,
        }
    } else {
        DiskRoom::Enough
    };
    let before = inner.disk_room.replace(room);
    match (before, room) {
        (DiskRoom::Enough, DiskRoom::AboveRatio { used_percent, limit_percent }) => {
            tracing::error!(
                shard = inner.id.shard,
                used_percent,
                limit_percent,
                "disk too full: appends are refused"
            );
        }
        (DiskRoom::AboveRatio { .. }, DiskRoom::Enough) => {
            tracing::info!(shard = inner.id.shard, "disk has room: appends are accepted again");
        }
        _ => {}
    }
    Ok(used)
}

/// Takes the oldest segment out of the log and gives its file back: to the disk if that is short of space, else
/// to the provisioner.
pub async fn recycle_oldest<E: Env>(inner: &Inner<E>, give_to_disk: bool, reason: Reason) -> io::Result<()> {
    let number = inner.segments.first().expect("the caller looked").number;
    let log_start = inner.segments.base(number + 1);
    write_floor(inner, log_start).await?;
    let segment = inner.segments.take_first().expect("only retention takes segments");
    forget_runs(inner, number).await;
    while Rc::strong_count(&segment) > 1 {
        if inner.is_ending() {
            return Ok(());
        }
        inner.env.sleep(Duration::from_millis(10)).await;
    }
    give_back(inner, &segment, give_to_disk).await?;
    add(&inner.counters.recycled, 1);
    tracing::info!(shard = inner.id.shard, base = inner.segments.base(number), ?reason, "segment recycled");
    Ok(())
}

async fn give_back<E: Env>(inner: &Inner<E>, segment: &Segment<E>, to_disk: bool) -> io::Result<()> {
    let (disk, dir) = (inner.env.disk(), &inner.segments.dir);
    disk.remove(&segment.path.with_extension("idx")).await?;
    inner.segments.close_file(segment);
    let spare_waits = disk.list(dir).await?.iter().any(|entry| entry.name.ends_with(".free"));
    if to_disk || spare_waits {
        disk.remove(&segment.path).await?;
    } else {
        let base = inner.segments.base(segment.number);
        disk.rename(&segment.path, &dir.join(file_name(base, "free"))).await?;
    }
    disk.sync_dir(dir).await?;
    inner.provision.notify();
    Ok(())
}

/// Queues without a sealed message at or after `log_start` keep the offset at which they go on there: what only unsealed segments
/// have of them may be in memory still, and a power loss takes it.
async fn write_floor<E: Env>(inner: &Inner<E>, log_start: u64) -> io::Result<()> {
    let kept_from = inner.segments.number_of(log_start);
    let mut rows = Vec::new();
    let next_number = Cell::new(0);
    while next_number.get() < inner.queues.borrow().len() {
        {
            let queues = inner.queues.borrow();
            let last = queues.len().min(next_number.get() + STORE_ITEMS_PER_TURN);
            for number in next_number.get()..last {
                let queue = queues.get(QueueRef(number as u32));
                let in_runs = queue.runs.back().is_some_and(|run| run.segment >= kept_from);
                if queue.open.first() > 0 && !in_runs {
                    rows.push(QueueStart {
                        topic: queue.topic.to_string(),
                        queue_id: queue.id,
                        first: queue.open.first(),
                    });
                }
            }
            next_number.set(last);
        }
        inner.env.yield_now().await;
    }
    Floor { log_start, queues: rows }.write(inner.env.disk(), &inner.segments.dir).await
}

async fn forget_runs<E: Env>(inner: &Inner<E>, number: u32) {
    let mut at = 0;
    while at < inner.queues.borrow().len() {
        {
            let mut queues = inner.queues.borrow_mut();
            let last = queues.len().min(at + STORE_ITEMS_PER_TURN);
            for slot in at..last {
                let runs = &mut queues.get_mut(QueueRef(slot as u32)).runs;
                while runs.front().is_some_and(|run| run.segment <= number) {
                    runs.pop_front();
                }
            }
            at = last;
        }
        inner.env.yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn facts() -> Facts {
        // 12:00 UTC, a segment that is 73 hours old.
        let now_ms = 20_000 * 24 * HOUR_MS + 12 * HOUR_MS;
        Facts { now_ms, newest_ms: now_ms - 73 * HOUR_MS, segments_bytes: 1000, used: 0.5, asked: false }
    }

    #[test]
    fn expired_segments_wait_for_their_hour_or_a_filling_disk() {
        let config = RetentionConfig::default();
        assert_eq!(verdict(&config, facts()), None);
        let at_four = Facts { now_ms: facts().now_ms + 16 * HOUR_MS, ..facts() };
        assert_eq!(verdict(&config, at_four), Some(Reason::Expired));
        let in_china = RetentionConfig { utc_offset_secs: -8 * 3600, ..config.clone() };
        assert_eq!(verdict(&in_china, facts()), Some(Reason::Expired), "12:00 UTC is 04:00 there");
        assert_eq!(verdict(&config, Facts { used: 0.76, ..facts() }), Some(Reason::Expired));
        let young = Facts { newest_ms: facts().now_ms - 71 * HOUR_MS, used: 0.76, ..facts() };
        assert_eq!(verdict(&config, young), None);
        assert_eq!(verdict(&config, Facts { asked: true, ..facts() }), Some(Reason::Expired));
        assert_eq!(verdict(&config, Facts { asked: true, ..young }), None);
    }

    #[test]
    fn a_very_full_disk_and_a_size_limit_do_not_ask_for_age() {
        let config = RetentionConfig::default();
        let young = Facts { newest_ms: facts().now_ms, ..facts() };
        assert_eq!(verdict(&config, Facts { used: 0.86, ..young }), Some(Reason::DiskFull));
        let gentle = RetentionConfig { clean_forcibly: false, ..config.clone() };
        assert_eq!(verdict(&gentle, Facts { used: 0.86, ..young }), None);
        let small = RetentionConfig { max_bytes: Some(999), ..config };
        assert_eq!(verdict(&small, young), Some(Reason::Size));
    }
}

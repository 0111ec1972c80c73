//! What a store is opened with.
//!
//! Owns: the settings and their rules. Invariants: a checked configuration has power-of-two rings that divide a
//! segment, so that no batch ever has to cross a segment's end. On failure: [`OpenError::Config`] names the
//! setting, its value and the rule.

use std::path::PathBuf;
use std::time::Duration;

use ringmq_io::Blocks;

use crate::OpenError;
use crate::defects::Defects;
use crate::physical::SHARDS_MAX;

/// Smallest ring: leases work in blocks of a thirty-second of it, which must hold a direct-I/O block.
pub const RING_BYTES_MIN: usize = 256 * 1024;
/// Smallest ring by default: half of it takes RocketMQ's largest message (4 MiB) and then some.
const RING_BYTES_DEFAULT_MIN: usize = 16 << 20;
/// Largest ring a shard may have.
pub const RING_BYTES_MAX: usize = 1 << 30;
/// Largest segment: positions inside one fit 32 bits in the sealed index.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;
/// Longest time between flushes: the bound that ASYNC_FLUSH promises for a power loss.
pub const FLUSH_INTERVAL_MAX: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data directory; created if it is missing.
    pub data: PathBuf,
    /// Where the hot rings go; `None` asks the environment for a directory on tmpfs. Where there is none, the
    /// ring is a file in the data directory and ASYNC_FLUSH waits for the segment write.
    pub ring_dir: Option<PathBuf>,
    /// Fixed when the store is created.
    pub shards: u16,
    /// Ring of one shard; a power of two.
    pub ring_bytes: usize,
    /// Segment size; a multiple of `ring_bytes`; fixed when the store is created.
    pub segment_bytes: u64,
    /// Longest time between an append and its segment write + fdatasync in ASYNC_FLUSH.
    pub flush_interval: Duration,
    /// What is done with a new segment's blocks. `Write` where acknowledgements wait for syncs: a sync that has to
    /// write metadata too takes a sixth longer (decision 014). Else `Reserve`: writing zeros first would halve what the device
    /// has left for messages.
    pub blocks: Blocks,
    pub retention: RetentionConfig,
    /// None, but in tests that plant them.
    pub defects: Defects,
}

impl StoreConfig {
    /// The defaults for a store at `data`: rings of 64 MiB together for up to four shards, then 16 MiB each,
    /// 128 MiB segments, a flush each 50 ms, RocketMQ's retention.
    pub fn new(data: impl Into<PathBuf>, shards: u16) -> Self {
        let share = (64 << 20) / usize::from(shards.max(1)).next_power_of_two();
        Self {
            data: data.into(),
            ring_dir: None,
            shards,
            ring_bytes: share.clamp(RING_BYTES_DEFAULT_MIN, 32 << 20),
            segment_bytes: 128 << 20,
            flush_interval: Duration::from_millis(50),
            blocks: Blocks::Reserve,
            retention: RetentionConfig::default(),
            defects: Defects::default(),
        }
    }

    pub fn check(&self) -> Result<(), OpenError> {
        let refuse = |setting: &'static str, value: String, rule: String| {
            Err(OpenError::Config { setting, value, rule })
        };
        if self.shards == 0 || self.shards > SHARDS_MAX {
            return refuse("shards", self.shards.to_string(), format!("1 to {SHARDS_MAX}"));
        }
        if !self.ring_bytes.is_power_of_two() || !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&self.ring_bytes)
        {
            let rule = format!("a power of two from {RING_BYTES_MIN} to {RING_BYTES_MAX}");
            return refuse("ring bytes", self.ring_bytes.to_string(), rule);
        }
        if self.segment_bytes == 0
            || self.segment_bytes > SEGMENT_BYTES_MAX
            || !self.segment_bytes.is_multiple_of(self.ring_bytes as u64)
        {
            let rule =
                format!("a multiple of the ring's {} bytes, at most {SEGMENT_BYTES_MAX}", self.ring_bytes);
            return refuse("segment bytes", self.segment_bytes.to_string(), rule);
        }
        if self.flush_interval.is_zero() || self.flush_interval > FLUSH_INTERVAL_MAX {
            let rule = format!("above 0 and at most {FLUSH_INTERVAL_MAX:?}");
            return refuse("flush interval", format!("{:?}", self.flush_interval), rule);
        }
        self.retention.check()
    }
}

/// When segments go. RocketMQ 5.5.0 `DefaultMessageStore.CleanCommitLogService`: expired segments go in the hours
/// of `deleteWhen` or when the disk is above `diskMaxUsedSpaceRatio`; above the forcible ratio the oldest go
/// whatever their age; above the refusing ratio appends are refused until space is back.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionConfig {
    /// `fileReservedTime`.
    pub reserved: Duration,
    /// `deleteWhen`: hours of the local day.
    pub delete_hours: Vec<u8>,
    /// Local time minus UTC, for `delete_hours`.
    pub utc_offset_secs: i32,
    /// `diskMaxUsedSpaceRatio` / 100.
    pub clean_ratio: f64,
    /// Above it segments go regardless of age, if `clean_forcibly`.
    pub forcible_ratio: f64,
    /// Above it appends are refused.
    pub refuse_ratio: f64,
    /// `cleanFileForciblyEnable`.
    pub clean_forcibly: bool,
    /// Most bytes of segments one shard keeps; `None` = as many as the disk takes.
    pub max_bytes: Option<u64>,
    /// How often the rules are looked at.
    pub interval: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            reserved: Duration::from_secs(72 * 3600),
            delete_hours: vec![4],
            utc_offset_secs: 0,
            clean_ratio: 0.75,
            forcible_ratio: 0.85,
            refuse_ratio: 0.90,
            clean_forcibly: true,
            max_bytes: None,
            interval: Duration::from_secs(10),
        }
    }
}

impl RetentionConfig {
    fn check(&self) -> Result<(), OpenError> {
        let ratios = [self.clean_ratio, self.forcible_ratio, self.refuse_ratio];
        if ratios.iter().any(|ratio| !(0.01..=1.0).contains(ratio)) {
            return Err(OpenError::Config {
                setting: "disk ratios",
                value: format!("{ratios:?}"),
                rule: "each from 0.01 to 1".into(),
            });
        }
        if let Some(hour) = self.delete_hours.iter().find(|hour| **hour > 23) {
            return Err(OpenError::Config {
                setting: "delete hours",
                value: hour.to_string(),
                rule: "each from 0 to 23".into(),
            });
        }
        if self.interval.is_zero() {
            return Err(OpenError::Config {
                setting: "retention interval",
                value: "0".into(),
                rule: "above 0".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_for_any_shard_count() {
        for shards in [1, 2, 3, 4, 7, 64, SHARDS_MAX] {
            let config = StoreConfig::new("/data", shards);
            config.check().unwrap();
            if shards <= 4 {
                assert!(config.ring_bytes * usize::from(shards) <= 64 << 20);
            }
        }
    }

    #[test]
    fn a_refusal_names_setting_value_and_rule() {
        let refused = |change: fn(&mut StoreConfig)| {
            let mut config = StoreConfig::new("/data", 1);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refused(|c| c.shards = 0).contains("shards"));
        assert!(refused(|c| c.ring_bytes = 3 << 20).contains("3145728"));
        assert!(refused(|c| c.segment_bytes = 1 << 20).contains("multiple"));
        assert!(refused(|c| c.flush_interval = Duration::from_secs(1)).contains("100ms"));
        assert!(refused(|c| c.retention.clean_ratio = 75.0).contains("ratios"));
        assert!(refused(|c| c.retention.delete_hours = vec![24]).contains("24"));
    }
}

//! The store that is looked at, held by a shared lock.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ringmq_store::{RecoveryReport, Shard, StoreHandle, StoreLayout, offline, open_store};

use super::StoreArgs;
use super::env::Offline;

pub struct Store {
    pub env: Offline,
    handle: StoreHandle<Offline>,
}

impl Store {
    pub async fn open(env: &Offline, args: &StoreArgs) -> Result<Self> {
        let data = std::path::absolute(&args.data)?;
        let config = offline::config(env, &data).await?;
        let handle = open_store(env, &config)
            .await
            .with_context(|| format!("{} cannot be looked at now: stop its broker first", data.display()))?;
        Ok(Self { env: env.clone(), handle })
    }

    pub fn layout(&self) -> &StoreLayout {
        &self.handle.layout
    }

    pub fn shards(&self) -> std::ops::Range<u16> {
        0..self.layout().config.shards
    }

    /// A shard as a start would find it: recovered, in memory.
    pub async fn shard(
        &self,
        shard: u16,
    ) -> Result<(Shard<Offline>, RecoveryReport), ringmq_store::OpenError> {
        Shard::open(&self.env, self.layout(), shard).await
    }

    pub fn metadata_dir(&self) -> PathBuf {
        self.layout().config.data.join("metadata")
    }
}

/// Milliseconds since 1970 as UTC.
pub fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

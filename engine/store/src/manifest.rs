//! `MANIFEST`: what a store is, fixed when it is created; and the lock on its directory.
//!
//! ```text
//! envelope body: 0 u64 store id   8 u64 segment bytes   16 u16 shards
//! ```
//! Owns: opening a store on core 0. Invariants: a directory has one owner at a time; shard count and segment size
//! never change; the store id is random and in every batch, so files of two stores never mix.
//! On failure: a clear refusal that says both numbers and what to do.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ringmq_io::{Disk, Env};

use crate::envelope::{self, Form};
use crate::lock::lock_patiently;
use crate::{OpenError, StoreConfig};

pub const NAME: &str = "MANIFEST";
const FORM: Form = Form { magic: *b"RINGMQMF", version: 1 };
const BODY: usize = 18;

/// What the other cores need to open their shards.
#[derive(Clone, Debug)]
pub struct StoreLayout {
    pub config: StoreConfig,
    pub store_id: u64,
    /// Where the hot rings are.
    pub ring_dir: PathBuf,
    /// Whether the rings outlive the process without waiting for a disk (tmpfs).
    pub ring_is_memory: bool,
}

/// A store's lock and layout, kept by core 0 as long as any shard is open.
pub struct StoreHandle<E: Env> {
    pub layout: StoreLayout,
    _lock: <E::Disk as Disk>::DirLock,
}

/// Locks the data directory and reads or makes its manifest.
pub async fn open_store<E: Env>(env: &E, config: &StoreConfig) -> Result<StoreHandle<E>, OpenError> {
    config.check()?;
    let disk = env.disk();
    let data = &config.data;
    disk.create_dir_all(data).await.map_err(OpenError::io(data))?;
    let lock = lock_patiently(env, data).await?;
    let path = data.join(NAME);
    let store_id = match read(env, data).await? {
        Some(fixed) => {
            check(config, &fixed)?;
            fixed.store_id
        }
        None => create(env, config, &path).await?,
    };
    let data = absolute(data)?;
    let memory = config.ring_dir.clone().or_else(|| disk.ring_dir(&data));
    let ring_is_memory = memory.is_some();
    let ring_dir = absolute(&memory.unwrap_or_else(|| data.join("rings")))?;
    disk.create_dir_all(&ring_dir).await.map_err(OpenError::io(&ring_dir))?;
    let config = StoreConfig { data, ..config.clone() };
    let layout = StoreLayout { config, store_id, ring_dir, ring_is_memory };
    Ok(StoreHandle { layout, _lock: lock })
}

impl<E: Env> StoreHandle<E> {
    /// After all shards were shut down: removes the directory of the rings, unless it is the operator's or something
    /// is left in it.
    pub async fn close(self, env: &E) {
        let dir = &self.layout.ring_dir;
        if self.layout.config.ring_dir.is_some() {
            return;
        }
        match env.disk().remove_dir(dir).await {
            Err(error) if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                tracing::warn!(dir = %dir.display(), %error, "the directory of the rings was not removed");
            }
            _ => {}
        }
    }
}

impl StoreLayout {
    pub fn shard_dir(&self, shard: u16) -> PathBuf {
        self.config.data.join(format!("shard-{shard:02}"))
    }

    /// Rings of many stores may share a directory; a store and its copy must not share a ring.
    pub(crate) fn ring_path(&self, shard: u16) -> PathBuf {
        let place = crc32c::crc32c(self.config.data.as_os_str().as_encoded_bytes());
        self.ring_dir.join(format!("ringmq-{:016x}-{place:08x}-{shard:02}.ring", self.store_id))
    }
}

/// The path as it is recorded in files: absolute, and text.
fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    let path = std::path::absolute(path).map_err(OpenError::io(path))?;
    if path.to_str().is_none() {
        let value = path.to_string_lossy().into_owned();
        return Err(OpenError::Config { setting: "directory", value, rule: "a path of UTF-8 text".into() });
    }
    Ok(path)
}

async fn create<E: Env>(env: &E, config: &StoreConfig, path: &Path) -> Result<u64, OpenError> {
    let entries = env.disk().list(&config.data).await.map_err(OpenError::io(&config.data))?;
    if entries.iter().any(|entry| entry.is_dir && entry.name.starts_with("shard-")) {
        let what = "it is missing, but there are shards beside it; restore it from a copy".to_owned();
        return Err(OpenError::Damaged { path: path.into(), what });
    }
    let store_id = env.random();
    let body = Fixed { store_id, segment_bytes: config.segment_bytes, shards: config.shards }.encode();
    envelope::replace(env.disk(), FORM, &config.data, NAME, &body).await.map_err(OpenError::io(path))?;
    Ok(store_id)
}

/// What is fixed when a store is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub store_id: u64,
    pub segment_bytes: u64,
    pub shards: u16,
}

impl Fixed {
    pub fn encode(self) -> [u8; BODY] {
        let mut body = [0; BODY];
        body[0..8].copy_from_slice(&self.store_id.to_le_bytes());
        body[8..16].copy_from_slice(&self.segment_bytes.to_le_bytes());
        body[16..18].copy_from_slice(&self.shards.to_le_bytes());
        body
    }

    /// What it says is looked at by [`check`]: any number may stand there.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; BODY] = body.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let shards = u16::from_le_bytes([body[16], body[17]]);
        Some(Self { store_id: word(0), segment_bytes: word(8), shards })
    }
}

/// `None` if there is no manifest.
pub(crate) async fn read<E: Env>(env: &E, data: &Path) -> Result<Option<Fixed>, OpenError> {
    let path = data.join(NAME);
    let body = envelope::read(env.disk(), FORM, &path).await?;
    let Some(body) = body else { return Ok(None) };
    let what = || format!("its body has {} bytes instead of {BODY}", body.len());
    Fixed::decode(&body).map(Some).ok_or_else(|| OpenError::Damaged { path, what: what() })
}

fn check(config: &StoreConfig, fixed: &Fixed) -> Result<(), OpenError> {
    let path = config.data.clone();
    if fixed.shards != config.shards {
        return Err(OpenError::ShardCount { path, found: fixed.shards, asked: config.shards });
    }
    if fixed.segment_bytes != config.segment_bytes {
        let asked = config.segment_bytes;
        return Err(OpenError::SegmentBytes { path, found: fixed.segment_bytes, asked });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringmq_simenv::World;

    proptest! {
        #[test]
        fn bodies_round_trip_and_no_two_stores_have_the_same(store_id: u64, segment_bytes: u64, shards: u16, bit in 0usize..BODY * 8) {
            let fixed = Fixed { store_id, segment_bytes, shards };
            let mut body = fixed.encode();
            prop_assert_eq!(Fixed::decode(&body), Some(fixed));
            prop_assert_eq!(Fixed::decode(&body[..BODY - 1]), None);
            body[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(Fixed::decode(&body), Some(fixed));
        }

        /// Whatever the body says, in an envelope that checks: a store opens as it was made, or is refused with the file's name.
        #[test]
        fn a_body_of_any_bytes_opens_as_what_it_says_or_is_refused(
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                (any::<u64>(), 0u16..3).prop_map(|(id, shards)| {
                    Fixed { store_id: id, segment_bytes: StoreConfig::new("", 1).segment_bytes, shards }.encode().to_vec()
                }),
            ],
        ) {
            World::simulate(1, move |env| async move {
                let config = StoreConfig::new("/data", 1);
                env.disk().create_dir_all(&config.data).await.unwrap();
                envelope::replace(env.disk(), FORM, &config.data, NAME, &body).await.unwrap();
                match (open_store(&env, &config).await, Fixed::decode(&body)) {
                    (Ok(store), Some(fixed)) => {
                        assert_eq!((fixed.shards, fixed.segment_bytes), (config.shards, config.segment_bytes));
                        assert_eq!(store.layout.store_id, fixed.store_id);
                    }
                    (Ok(_), None) => panic!("opened without a manifest"),
                    (Err(refused), _) => assert!(refused.to_string().contains("/data"), "{refused}"),
                }
            });
        }
    }
}

//! Mapped memory of the hot ring.

use std::io::ErrorKind;
use std::path::Path;

use crate::{AlignedBuf, BLOCK, Blocks, Disk, Env, File, OpenMode, Region};

pub async fn all<E: Env>(env: &E, dir: &Path) {
    a_region_keeps_its_bytes(env, dir).await;
    an_extent_shows_its_range(env, dir).await;
    a_region_is_written_to_a_file(env, dir).await;
}

/// A new region is zeroed; a region that is mapped again has the bytes that were written to it; one of
/// another length is refused.
pub async fn a_region_keeps_its_bytes<E: Env>(env: &E, dir: &Path) {
    let at = env.disk().ring_dir(dir).unwrap_or_else(|| dir.to_owned());
    let path = at.join(format!("conformance-{:x}", env.random()));
    let (region, existed) = env.disk().map_region(&path, 16 * BLOCK).await.expect("a region");
    assert!(!existed && region.len() == 16 * BLOCK && !region.is_empty());
    region.with(0..region.len(), |bytes| assert!(bytes.iter().all(|b| *b == 0)));
    region.with_mut(100..200, |bytes| bytes.fill(1));
    drop(region);
    let (region, existed) = env.disk().map_region(&path, 16 * BLOCK).await.expect("the region");
    assert!(existed);
    region.with(99..201, |bytes| {
        assert!(bytes[0] == 0 && bytes[101] == 0 && bytes[1..101].iter().all(|b| *b == 1));
    });
    let error = env.disk().map_region(&path, 8 * BLOCK).await.err().expect("another length");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    env.disk().remove(&path).await.expect("a removal");
}

/// An extent has the bytes of its range, outlives the handle and moves between threads.
pub async fn an_extent_shows_its_range<E: Env>(env: &E, dir: &Path) {
    let path = dir.join("extent.region");
    let (region, _) = env.disk().map_region(&path, 4 * BLOCK).await.expect("a region");
    region.with_mut(10..20, |bytes| bytes.copy_from_slice(b"0123456789"));
    let extent = region.extent(12..16);
    region.with_mut(16..20, |bytes| bytes.fill(b'x')); // next to it, which is allowed
    drop(region);
    let seen = std::thread::spawn(move || extent.as_ref().to_vec()).join().expect("a thread");
    assert_eq!(seen, b"2345");
    env.disk().remove(&path).await.expect("a removal");
}

/// A range of a region goes to a file without a copy by the caller, beside ordinary writes.
pub async fn a_region_is_written_to_a_file<E: Env>(env: &E, dir: &Path) {
    let path = dir.join("written.region");
    let (region, _) = env.disk().map_region(&path, 64 * BLOCK).await.expect("a region");
    for block in 0..64usize {
        region.with_mut(block * BLOCK..(block + 1) * BLOCK, |bytes| bytes.fill(block as u8));
    }
    let file = env.disk().open(&dir.join("segment"), OpenMode::CreateNew).await.expect("a file");
    file.preallocate(128 * BLOCK as u64, Blocks::Write).await.expect("room");
    file.write_region(32 * BLOCK as u64, &region, 8 * BLOCK..64 * BLOCK).await.expect("a write");
    file.write_at(0, AlignedBuf::zeroed(BLOCK)).await.expect("a write");
    file.sync().await.expect("a sync");
    let read = file.read_at(32 * BLOCK as u64, 56 * BLOCK).await.expect("a read");
    for (i, block) in read.chunks(BLOCK).enumerate() {
        assert!(block.iter().all(|b| *b == i as u8 + 8), "block {i}");
    }
    env.disk().remove(&path).await.expect("a removal");
}

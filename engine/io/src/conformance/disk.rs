//! Files and directories, as far as a machine that does not crash can show it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use futures_lite::future::zip;

use crate::{AlignedBuf, BLOCK, Blocks, Disk, Env, File, Mapped, OpenMode};

pub async fn all<E: Env>(env: &E, dir: &Path) {
    what_is_written_is_read(env, dir).await;
    open_modes_hold(env, dir).await;
    a_file_grows_by_writes(env, dir).await;
    a_read_past_the_end_fails(env, dir).await;
    preallocation_keeps_and_zeroes(env, dir).await;
    truncation_cuts(env, dir).await;
    operations_run_at_the_same_time(env, dir).await;
    a_synced_write_is_there(env, dir).await;
    a_dropped_write_does_no_harm(env, dir).await;
    rename_replaces(env, dir).await;
    directories_list_sorted(env, dir).await;
    an_open_file_outlives_its_name(env, dir).await;
    a_lock_is_exclusive(env, dir).await;
    a_mapping_gives_the_bytes(env, dir).await;
    space_is_known(env, dir).await;
}

async fn fresh<E: Env>(env: &E, dir: &Path, name: &str) -> PathBuf {
    let dir = dir.join(name);
    env.disk().create_dir_all(&dir).await.expect("a directory");
    dir
}

fn filled(len: usize, fill: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(len);
    buf.fill(fill);
    buf
}

async fn create<E: Env>(env: &E, path: &Path) -> <E::Disk as Disk>::File {
    env.disk().open(path, OpenMode::CreateNew).await.expect("a new file")
}

/// A read gives what the last write put there, before and after a sync, through this and another
/// handle, and the written buffer comes back unchanged.
pub async fn what_is_written_is_read<E: Env>(env: &E, dir: &Path) {
    let path = fresh(env, dir, "written").await.join("a");
    let file = create(env, &path).await;
    let back = file.write_at(0, filled(3 * BLOCK, 1)).await.expect("a write");
    assert!(back.len() == 3 * BLOCK && back.iter().all(|b| *b == 1));
    file.write_at(BLOCK as u64, filled(BLOCK, 2)).await.expect("a write");
    for synced in [false, true] {
        if synced {
            file.sync().await.expect("a sync");
        }
        let read = file.read_at(0, 3 * BLOCK).await.expect("a read");
        assert!(read[..BLOCK].iter().all(|b| *b == 1), "synced: {synced}");
        assert!(read[BLOCK..2 * BLOCK].iter().all(|b| *b == 2), "synced: {synced}");
        assert!(read[2 * BLOCK..].iter().all(|b| *b == 1), "synced: {synced}");
    }
    let other = env.disk().open(&path, OpenMode::Read).await.expect("the file");
    assert_eq!(other.len(), 3 * BLOCK as u64);
    assert_eq!(other.read_at(BLOCK as u64, BLOCK).await.expect("a read")[0], 2);
}

/// `CreateNew` refuses an existing file, the others a missing one, and `Read` allows no writing.
pub async fn open_modes_hold<E: Env>(env: &E, dir: &Path) {
    let path = fresh(env, dir, "modes").await.join("a");
    for mode in [OpenMode::Read, OpenMode::Write] {
        let error = env.disk().open(&path, mode).await.err().expect("missing");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    create(env, &path).await.write_at(0, filled(BLOCK, 1)).await.expect("a write");
    let error = env.disk().open(&path, OpenMode::CreateNew).await.err().expect("exists");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let reader = env.disk().open(&path, OpenMode::Read).await.expect("the file");
    assert!(reader.write_at(0, filled(BLOCK, 2)).await.is_err(), "written through a reading handle");
    let writer = env.disk().open(&path, OpenMode::Write).await.expect("the file");
    assert_eq!(writer.read_at(0, BLOCK).await.expect("a read")[0], 1);
}

/// A write past the end grows the file; the gap reads as zeros.
pub async fn a_file_grows_by_writes<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "grow").await.join("a")).await;
    assert!(file.is_empty());
    file.write_at(2 * BLOCK as u64, filled(BLOCK, 3)).await.expect("a write");
    assert_eq!(file.len(), 3 * BLOCK as u64);
    let read = file.read_at(0, 3 * BLOCK).await.expect("a read");
    assert!(read[..2 * BLOCK].iter().all(|b| *b == 0));
    assert!(read[2 * BLOCK..].iter().all(|b| *b == 3));
}

/// A read gives all bytes or `UnexpectedEof`, never fewer.
pub async fn a_read_past_the_end_fails<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "eof").await.join("a")).await;
    file.write_at(0, filled(BLOCK, 1)).await.expect("a write");
    for (pos, len) in [(0, 2 * BLOCK), (BLOCK as u64, BLOCK), (10 * BLOCK as u64, BLOCK)] {
        let error = file.read_at(pos, len).await.expect_err("past the end");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    }
}

/// A write that is synced at once is there, in place of what was, and past the end it makes the file longer.
pub async fn a_synced_write_is_there<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "synced").await.join("a")).await;
    file.write_at(0, filled(2 * BLOCK, 1)).await.expect("a write");
    let given = file.write_synced(BLOCK as u64, filled(3 * BLOCK, 2)).await.expect("a synced write");
    assert_eq!((given.len(), file.len()), (3 * BLOCK, 4 * BLOCK as u64), "the buffer comes back");
    let read = file.read_at(0, 4 * BLOCK).await.expect("a read");
    assert!(read[..BLOCK].iter().all(|b| *b == 1) && read[BLOCK..].iter().all(|b| *b == 2));
}

/// Preallocation grows the file with zeros and keeps what was in it.
pub async fn preallocation_keeps_and_zeroes<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "preallocate").await.join("a")).await;
    file.write_at(0, filled(BLOCK, 5)).await.expect("a write");
    for (len, blocks) in [(64, Blocks::Write), (128, Blocks::Reserve)] {
        file.preallocate(len * BLOCK as u64, blocks).await.expect("room");
        assert_eq!(file.len(), len * BLOCK as u64);
        let read = file.read_at(0, len as usize * BLOCK).await.expect("a read");
        assert!(read[..BLOCK].iter().all(|b| *b == 5), "what was there is kept");
        assert!(read[BLOCK..].iter().all(|b| *b == 0));
        file.preallocate(4 * BLOCK as u64, blocks).await.expect("nothing to do");
        assert_eq!(file.len(), len * BLOCK as u64, "preallocation never shrinks");
    }
}

/// Bytes that were cut off are zeros when the file grows again.
pub async fn truncation_cuts<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "truncate").await.join("a")).await;
    file.write_at(0, filled(4 * BLOCK, 6)).await.expect("a write");
    file.truncate(BLOCK as u64).await.expect("a cut");
    assert_eq!(file.len(), BLOCK as u64);
    assert!(file.read_at(0, 2 * BLOCK).await.is_err());
    file.truncate(4 * BLOCK as u64).await.expect("growth");
    let read = file.read_at(0, 4 * BLOCK).await.expect("a read");
    assert!(read[..BLOCK].iter().all(|b| *b == 6) && read[BLOCK..].iter().all(|b| *b == 0));
}

/// Writes to different places of one file may be under way together, with a sync among them.
pub async fn operations_run_at_the_same_time<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "together").await.join("a")).await;
    file.preallocate(16 * BLOCK as u64, Blocks::Write).await.expect("room");
    let (first, second) = (file.clone(), file.clone());
    let writes = zip(
        async {
            for at in 0..8u8 {
                first.write_at(u64::from(at) * BLOCK as u64, filled(BLOCK, at + 1)).await.expect("a write");
            }
        },
        async {
            for at in 8..16u8 {
                second.write_at(u64::from(at) * BLOCK as u64, filled(BLOCK, at + 1)).await.expect("a write");
            }
        },
    );
    let (_, synced) = zip(writes, file.sync()).await;
    synced.expect("a sync");
    for at in 0..16usize {
        let read = file.read_at((at * BLOCK) as u64, BLOCK).await.expect("a read");
        assert!(read.iter().all(|b| *b == at as u8 + 1), "block {at}");
    }
}

/// A write whose future is dropped is done or not, block by block, and harms nothing else.
pub async fn a_dropped_write_does_no_harm<E: Env>(env: &E, dir: &Path) {
    let file = create(env, &fresh(env, dir, "dropped").await.join("a")).await;
    file.preallocate(8 * BLOCK as u64, Blocks::Write).await.expect("room");
    for _ in 0..20 {
        let mut write = Box::pin(file.write_at(0, filled(8 * BLOCK, 7)));
        let _ = futures_lite::future::poll_once(&mut write).await;
        drop(write);
        env.yield_now().await;
    }
    let read = file.read_at(0, 8 * BLOCK).await.expect("a read");
    for block in read.chunks(BLOCK) {
        assert!(block.iter().all(|b| *b == 7) || block.iter().all(|b| *b == 0));
    }
}

/// A rename puts a file in the place of another; a missing source is `NotFound` and changes nothing.
pub async fn rename_replaces<E: Env>(env: &E, dir: &Path) {
    let dir = fresh(env, dir, "rename").await;
    let (new, name) = (dir.join("new"), dir.join("name"));
    create(env, &name).await.write_at(0, filled(BLOCK, 1)).await.expect("a write");
    let file = create(env, &new).await;
    file.write_at(0, filled(2 * BLOCK, 2)).await.expect("a write");
    file.sync().await.expect("a sync");
    env.disk().rename(&new, &name).await.expect("a rename");
    env.disk().sync_dir(&dir).await.expect("a sync");
    let renamed = env.disk().open(&name, OpenMode::Read).await.expect("the file");
    assert_eq!(renamed.len(), 2 * BLOCK as u64);
    assert_eq!(renamed.read_at(0, BLOCK).await.expect("a read")[0], 2);
    let error = env.disk().rename(&new, &name).await.expect_err("the source is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(env.disk().open(&name, OpenMode::Read).await.is_ok());
    let error = env.disk().remove(&new).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// A listing has the files with their lengths and the directories, sorted by name.
pub async fn directories_list_sorted<E: Env>(env: &E, dir: &Path) {
    let dir = fresh(env, dir, "list").await;
    fresh(env, &dir, "b/deep").await;
    for name in ["c", "a"] {
        create(env, &dir.join(name)).await.write_at(0, filled(BLOCK, 1)).await.expect("a write");
    }
    let listed = env.disk().list(&dir).await.expect("a listing");
    let seen: Vec<(&str, bool)> = listed.iter().map(|entry| (entry.name.as_str(), entry.is_dir)).collect();
    assert_eq!(seen, [("a", false), ("b", true), ("c", false)]);
    assert_eq!(listed[0].len, BLOCK as u64);
    env.disk().remove(&dir.join("a")).await.expect("a removal");
    assert_eq!(env.disk().list(&dir).await.expect("a listing").len(), 2);
    let error = env.disk().list(&dir.join("missing")).await.expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    fresh(env, &dir, "b").await; // an existing directory is no error
    let error = env.disk().remove_dir(&dir.join("b")).await.expect_err("something is in it");
    assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty, "{error}");
    env.disk().remove_dir(&dir.join("b/deep")).await.expect("a removal");
    env.disk().remove_dir(&dir.join("b")).await.expect("a removal");
    let error = env.disk().remove_dir(&dir.join("b")).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// An open file stays readable after its removal and under a new name.
pub async fn an_open_file_outlives_its_name<E: Env>(env: &E, dir: &Path) {
    let dir = fresh(env, dir, "unlinked").await;
    let file = create(env, &dir.join("a")).await;
    file.write_at(0, filled(BLOCK, 8)).await.expect("a write");
    env.disk().rename(&dir.join("a"), &dir.join("b")).await.expect("a rename");
    file.write_at(0, filled(BLOCK, 9)).await.expect("a write");
    let renamed = env.disk().open(&dir.join("b"), OpenMode::Read).await.expect("the file");
    assert_eq!(renamed.read_at(0, BLOCK).await.expect("a read")[0], 9);
    env.disk().remove(&dir.join("b")).await.expect("a removal");
    assert_eq!(file.read_at(0, BLOCK).await.expect("a read")[0], 9);
}

/// A directory is locked once; the lock is free again when dropped.
pub async fn a_lock_is_exclusive<E: Env>(env: &E, dir: &Path) {
    let dir = fresh(env, dir, "lock").await;
    let held = env.disk().lock_dir(&dir).await.expect("a lock");
    let error = env.disk().lock_dir(&dir).await.err().expect("held");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    drop(held);
    drop(env.disk().lock_dir(&dir).await.expect("a lock"));
}

/// A mapping has the whole file, also where its length is not a multiple of [`BLOCK`].
pub async fn a_mapping_gives_the_bytes<E: Env>(env: &E, dir: &Path) {
    let path = fresh(env, dir, "map").await.join("a");
    let file = create(env, &path).await;
    let mut buf = AlignedBuf::zeroed(2 * BLOCK);
    for (i, byte) in buf.iter_mut().enumerate() {
        *byte = (i % 251) as u8;
    }
    file.write_at(0, buf).await.expect("a write");
    file.truncate(BLOCK as u64 + 100).await.expect("a cut");
    file.sync().await.expect("a sync");
    let mapped = env.disk().map(&path).await.expect("a mapping");
    let expected: Vec<u8> = (0..BLOCK + 100).map(|i| (i % 251) as u8).collect();
    assert_eq!(mapped.len(), expected.len());
    mapped.bring(0..mapped.len()).await.expect("read");
    assert!(mapped.is_in_memory(BLOCK + 7..mapped.len()));
    assert_eq!(mapped.clone().look(0..mapped.len()), expected);
    assert_eq!(mapped.look(BLOCK + 7..BLOCK + 9), &expected[BLOCK + 7..BLOCK + 9]);
    let error = env.disk().map(&path.with_extension("missing")).await.err().expect("missing");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// The space of a file system is known and not more than it has.
pub async fn space_is_known<E: Env>(env: &E, dir: &Path) {
    let space = env.disk().space(dir).await.expect("the space");
    assert!(space.used + space.available <= space.total && space.total > 0, "{space:?}");
    assert!((0.0..=1.0).contains(&space.used_ratio()), "{space:?}");
}

//! Small checksummed files that are replaced atomically: manifest, shard state, queue floor.
//!
//! ```text
//! 0 u64 magic   8 u32 format version   12 u32 crc32c of body   16 u64 body bytes   24 u64 0   32 body, zeros
//! ```
//! Invariants: a reader sees the old file or the new one, whole; a new one is durable when [`replace`] returns.
//! On failure: an unreadable file is `Damaged`, another version is named with both numbers.

use std::path::{Path, PathBuf};

use ringmq_io::{AlignedBuf, BLOCK, Disk, File, OpenMode};

use crate::OpenError;

const HEAD: usize = 32;

/// What kind of file, and the version this program writes and reads.
#[derive(Clone, Copy)]
pub struct Form {
    pub magic: [u8; 8],
    pub version: u32,
}

pub fn encode(form: Form, body: &[u8]) -> AlignedBuf {
    let mut out = AlignedBuf::zeroed(HEAD + body.len());
    out[0..8].copy_from_slice(&form.magic);
    out[8..12].copy_from_slice(&form.version.to_le_bytes());
    out[12..16].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    out[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    out[HEAD..HEAD + body.len()].copy_from_slice(body);
    out
}

pub fn decode<'b>(form: Form, path: &Path, bytes: &'b [u8]) -> Result<&'b [u8], OpenError> {
    let damaged = |what: &str| OpenError::Damaged { path: path.into(), what: what.into() };
    if bytes.len() < HEAD || bytes[0..8] != form.magic {
        return Err(damaged("it does not begin with its magic"));
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    if word(8) != form.version {
        return Err(OpenError::FormatVersion { path: path.into(), found: word(8), expected: form.version });
    }
    let len = u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes"));
    let body = usize::try_from(len)
        .ok()
        .and_then(|len| bytes[HEAD..].get(..len))
        .ok_or_else(|| damaged("its length is impossible"))?;
    if crc32c::crc32c(body) != word(12) {
        return Err(damaged("its checksum does not match"));
    }
    Ok(body)
}

/// The body of the file; `None` if there is no file.
pub async fn read<D: Disk>(disk: &D, form: Form, path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    let file = match disk.open(path, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(path)(error)),
    };
    let len = usize::try_from(file.len()).expect("a small file");
    if len == 0 || !len.is_multiple_of(BLOCK) {
        let what = format!("it has {len} bytes, which is no number of whole blocks");
        return Err(OpenError::Damaged { path: path.into(), what });
    }
    let bytes = file.read_at(0, len).await.map_err(OpenError::io(path))?;
    decode(form, path, &bytes).map(|body| Some(body.to_vec()))
}

/// Writes `name` in `dir` beside the old one and puts it in its place.
pub async fn replace<D: Disk>(
    disk: &D,
    form: Form,
    dir: &Path,
    name: &str,
    body: &[u8],
) -> std::io::Result<()> {
    write_whole(disk, dir, name, encode(form, body)).await
}

/// Atomic and durable: temporary file, sync, rename, sync of the directory.
pub async fn write_whole<D: Disk>(
    disk: &D,
    dir: &Path,
    name: &str,
    bytes: AlignedBuf,
) -> std::io::Result<()> {
    let path = dir.join(name);
    let temporary = temporary_name(&path);
    let file = create_anew(disk, &temporary).await?;
    file.write_at(0, bytes).await?;
    file.sync().await?;
    drop(file);
    disk.rename(&temporary, &path).await?;
    disk.sync_dir(dir).await
}

pub fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a file's path").to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Creates a file; one that an interrupted attempt left behind goes first.
pub async fn create_anew<D: Disk>(disk: &D, path: &Path) -> std::io::Result<D::File> {
    match disk.open(path, OpenMode::CreateNew).await {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            disk.remove(path).await?;
            disk.open(path, OpenMode::CreateNew).await
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORM: Form = Form { magic: *b"RINGTEST", version: 3 };

    #[test]
    fn a_version_is_refused_with_both_numbers() {
        let bytes = encode(Form { version: 4, ..FORM }, b"body");
        let text = decode(FORM, Path::new("/d/MANIFEST"), &bytes).unwrap_err().to_string();
        assert!(
            text.contains("version 4") && text.contains("version 3") && text.contains("/d/MANIFEST"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn bodies_round_trip_and_damage_is_seen(body in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..232, bit in 0u8..8) {
            let mut bytes = encode(FORM, &body);
            prop_assert_eq!(decode(FORM, Path::new("x"), &bytes).unwrap(), &body[..]);
            prop_assume!(at < 24 || (HEAD..HEAD + body.len()).contains(&at));
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(FORM, Path::new("x"), &bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(FORM, Path::new("x"), &bytes);
        }
    }
}

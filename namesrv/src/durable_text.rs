//! A small text file that is replaced whole: the old one or the new one survives, never a mixture.
//!
//! Files are O_DIRECT, so text is padded with line ends to whole blocks, which JSON and properties both ignore. Reading
//! maps the file, so one of any length, such as RocketMQ's own, can be taken over.

use std::io;
use std::path::{Path, PathBuf};

use ringmq_io::{AlignedBuf, BLOCK, Disk, File, Mapped, OpenMode};

const PADDING: u8 = b'\n';

/// `None` if there is no such file.
pub async fn read<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<String>> {
    let (dir, name) = split(path)?;
    let found = match disk.list(dir).await {
        Ok(entries) => entries.into_iter().find(|entry| entry.name == name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match found {
        None => Ok(None),
        Some(entry) if entry.len == 0 => Ok(Some(String::new())),
        Some(_) => {
            let mapped = disk.map(path).await?;
            // What is no text is damage; replacing what cannot be read would make it the new truth.
            mapped.bring(0..mapped.len()).await?;
            let text = std::str::from_utf8(mapped.look(0..mapped.len())).map_err(|error| {
                let message = format!("{}: {error}; repair the file or move it away", path.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            Ok(Some(text.to_owned()))
        }
    }
}

/// Durable when it returns. One call at a time for a path.
pub async fn replace<D: Disk>(disk: &D, path: &Path, text: &str) -> io::Result<()> {
    let (dir, name) = split(path)?;
    disk.create_dir_all(dir).await?;
    let draft: PathBuf = dir.join(format!("{name}.new"));
    match disk.remove(&draft).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&draft, OpenMode::CreateNew).await?;
    let mut block = AlignedBuf::zeroed(text.len().max(1));
    block.fill(PADDING);
    block[..text.len()].copy_from_slice(text.as_bytes());
    assert!(block.len().is_multiple_of(BLOCK));
    file.write_at(0, block).await?;
    file.sync().await?;
    drop(file);
    disk.rename(&draft, path).await?;
    disk.sync_dir(dir).await
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let dir = path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    dir.zip(name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{} does not name a file", path.display()))
    })
}

//! Walks a segment batch by batch, over what does not check to the next that does.
//!
//! Invariant: the pieces tile the segment, in order. On failure: the I/O error.

use ringmq_io::{Env, File};

use crate::batch::{ALIGN, Header};
use crate::recovery::source::{Checked, SegmentSource};

pub enum Piece<'a> {
    Batch(&'a Header, &'a Checked),
    Nothing { start: u64, end: u64 },
}

/// Yields behind each batch.
pub async fn walk<E: Env, F: File>(
    env: &E,
    source: &mut SegmentSource<F>,
    base: u64,
    mut each: impl FnMut(Piece<'_>),
) -> std::io::Result<()> {
    let mut checked = Checked::default();
    let (mut position, mut epoch) = (base, 0);
    while position < source.end() {
        env.yield_now().await;
        if let Ok(header) = source.batch(position, epoch, &mut checked).await? {
            each(Piece::Batch(&header, &checked));
            (position, epoch) = (header.end(), header.epoch);
            continue;
        }
        let start = position;
        let end = source.end();
        position = source.next_intact(start + ALIGN, end, epoch, &mut checked).await?.unwrap_or(end);
        each(Piece::Nothing { start, end: position });
    }
    Ok(())
}

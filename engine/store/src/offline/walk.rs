//! Shows a segment batch by batch.
//!
//! Invariant: the stretches tile the segment, in order.

use ringmq_io::Env;

use super::{SegmentInfo, open_segment};
use crate::batch::{Header, Kind};
use crate::walk::{Piece, walk};
use crate::{OpenError, StoreLayout};

/// A piece of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    Batch(BatchInfo),
    /// No intact batch, up to the next one or the segment's end. In a segment that is not sealed the last stretch is what
    /// was not written yet.
    Nothing {
        start: u64,
        end: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    pub position: u64,
    pub kind: &'static str,
    pub length: u32,
    pub records: u32,
    pub epoch: u32,
    pub durable: u64,
    pub store_time_ms: i64,
}

impl From<&Header> for BatchInfo {
    fn from(header: &Header) -> Self {
        let kind = match header.kind {
            Kind::Records => "records",
            Kind::Filler => "filler",
            Kind::Control => "control",
            Kind::Hole => "hole",
        };
        Self {
            position: header.base,
            kind,
            length: header.length,
            records: header.records,
            epoch: header.epoch,
            durable: header.durable,
            store_time_ms: header.store_time_ms,
        }
    }
}

/// Shows the stretches of a segment, sealed or not.
pub async fn batches<E: Env>(
    env: &E,
    layout: &StoreLayout,
    shard: u16,
    segment: &SegmentInfo,
    mut show: impl FnMut(Stretch),
) -> Result<(), OpenError> {
    let mut source = open_segment(env, layout, shard, segment).await?;
    let walked = walk(env, &mut source, segment.base, |piece| match piece {
        Piece::Batch(header, _) => show(Stretch::Batch(header.into())),
        Piece::Nothing { start, end } => show(Stretch::Nothing { start, end }),
    });
    walked.await.map_err(OpenError::io(&segment.path))
}

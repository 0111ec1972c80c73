//! The decisions of recovery, as a table.
//!
//! Recovery walks the log batch by batch, first in sealed indexes and segments. Where the segments hold no intact
//! batch at a position X, three facts decide what that means:
//!
//! - **at** what the segment has at X: nothing that belongs there, or a batch that does not check;
//! - **ring** whether the ring (of this store, shard and last epoch) has an intact batch at X;
//! - **later** whether intact batches lie behind X, in segments or ring: none; some, but no batch says that X was
//!   synced before it was closed; or one says so (its `durable` is past X), so X was lost after it was durable. A batch in a
//!   later segment always says so, since a segment is synced before the next one is begun. The last clean stop may say so
//!   too, also where no batch is left behind X.
//!
//! | # | at | ring | later | decision |
//! | --- | --- | --- | --- | --- |
//! | 1 | any | batch | any | replay it, and go on behind it |
//! | 2 | absent | none | none | the log ends here |
//! | 3 | torn | none | none | the log ends here: its last write was cut by a power loss |
//! | 4 | any | none | unsynced | the log ends here: later writes of the same unsynced group came through |
//! | 5 | any | none | durable | quarantine from X to the next intact batch, and go on behind |
//!
//! Rows 2 to 4 lose nothing that SYNC_FLUSH acknowledged, and with a ring that survived nothing that ASYNC_FLUSH
//! did. Row 5 is damage: what was there is copied aside and reported, never silently cut.
//! Invariant: every combination matches exactly one row (tested).

/// What the segment has at the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Absent,
    Torn,
}

/// Intact batches behind the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    None,
    Unsynced,
    Durable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub at: At,
    pub ring_has_batch: bool,
    pub later: Later,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Replay,
    EndClean,
    EndTorn,
    EndUnsynced,
    Quarantine,
}

/// A row: `None` matches anything.
struct Row {
    at: Option<At>,
    ring_has_batch: bool,
    later: Option<Later>,
    decision: Decision,
}

const TABLE: [Row; 5] = [
    Row { at: None, ring_has_batch: true, later: None, decision: Decision::Replay },
    Row {
        at: Some(At::Absent),
        ring_has_batch: false,
        later: Some(Later::None),
        decision: Decision::EndClean,
    },
    Row { at: Some(At::Torn), ring_has_batch: false, later: Some(Later::None), decision: Decision::EndTorn },
    Row { at: None, ring_has_batch: false, later: Some(Later::Unsynced), decision: Decision::EndUnsynced },
    Row { at: None, ring_has_batch: false, later: Some(Later::Durable), decision: Decision::Quarantine },
];

fn matches(row: &Row, facts: Facts) -> bool {
    row.at.is_none_or(|at| at == facts.at)
        && row.ring_has_batch == facts.ring_has_batch
        && row.later.is_none_or(|later| later == facts.later)
}

pub fn decide(facts: Facts) -> Decision {
    TABLE.iter().find(|row| matches(row, facts)).expect("the table covers all facts").decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_matches_exactly_one_row() {
        for at in [At::Absent, At::Torn] {
            for ring_has_batch in [false, true] {
                for later in [Later::None, Later::Unsynced, Later::Durable] {
                    let facts = Facts { at, ring_has_batch, later };
                    let rows = TABLE.iter().filter(|row| matches(row, facts)).count();
                    assert_eq!(rows, 1, "{facts:?}");
                }
            }
        }
    }

    #[test]
    fn every_row_is_reached_and_durable_damage_is_never_an_end() {
        let all = [At::Absent, At::Torn].into_iter().flat_map(|at| {
            [false, true].into_iter().flat_map(move |ring_has_batch| {
                [Later::None, Later::Unsynced, Later::Durable].into_iter().map(move |later| Facts {
                    at,
                    ring_has_batch,
                    later,
                })
            })
        });
        let all: Vec<Facts> = all.collect();
        for row in &TABLE {
            assert!(all.iter().any(|facts| matches(row, *facts)), "{:?}", row.decision);
        }
        for facts in all.iter().filter(|facts| facts.later == Later::Durable) {
            assert!(matches!(decide(*facts), Decision::Replay | Decision::Quarantine));
        }
    }
}

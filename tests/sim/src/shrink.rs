//! What can be left out of a run, to see which faults a failure needs.
//!
//! Owns: the kinds of faults of a [`Plan`] by name, and the search: each is left out in turn and stays out if the seed fails
//! all the same. Invariant: the plan is drawn as ever and then reduced, so that the rest of it stays as it was.

use ringmq_simenv::CrashKind;

use crate::plan::{Life, Plan, RingFate};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    ReadErrors,
    WriteErrors,
    SyncErrors,
    NoSpace,
    ShortWrites,
    SlowSyncs,
    SlowDisk,
    ClockJumps,
    FullDisk,
    Rot,
    Rings,
    RegionKills,
    EarlyDeaths,
    PowerLosses,
    FirstLives,
}

impl Plan {
    pub fn leave_out(&mut self, faults: &[Fault]) {
        for fault in faults {
            if *fault == Fault::FirstLives {
                let last = self.lives.len() - 1;
                self.lives.drain(..last);
            }
            self.lives.iter_mut().for_each(|life| life.leave_out(*fault));
        }
    }
}

impl Life {
    fn leave_out(&mut self, fault: Fault) {
        let disk = &mut self.faults.disk;
        match fault {
            Fault::ReadErrors => disk.read_error = 0.0,
            Fault::WriteErrors => disk.write_error = 0.0,
            Fault::SyncErrors => disk.sync_error = 0.0,
            Fault::NoSpace => disk.no_space = 0.0,
            Fault::ShortWrites => disk.short_write = 0.0,
            Fault::SlowSyncs => disk.slow_sync = 0.0,
            Fault::SlowDisk => disk.latency_us = 10..=200,
            Fault::ClockJumps => self.faults.clock.jump = 0.0,
            Fault::FullDisk => self.disk_full = false,
            Fault::Rot => self.rot = false,
            Fault::Rings => self.ring = RingFate::Kept,
            Fault::RegionKills => self.kill_in_region_write = None,
            Fault::EarlyDeaths => self.dies_young = false,
            Fault::PowerLosses => self.end = CrashKind::Process,
            Fault::FirstLives => {}
        }
    }
}

/// The faults that the failure does not need: leaving all of them out, it is still there. `fails`: runs the seed without these.
pub fn superfluous<E>(mut fails: impl FnMut(&[Fault]) -> Result<bool, E>) -> Result<Vec<Fault>, E> {
    let mut out = Vec::new();
    for fault in <Fault as clap::ValueEnum>::value_variants() {
        out.push(*fault);
        if !fails(&out)? {
            out.pop();
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_simenv::World;

    #[test]
    fn what_a_failure_needs_is_what_is_left() {
        let needs = [Fault::SyncErrors, Fault::PowerLosses];
        let fails = |out: &[Fault]| Ok::<_, ()>(needs.iter().all(|fault| !out.contains(fault)));
        let out = superfluous(fails).unwrap();
        assert_eq!(out.len(), 13);
        assert!(needs.iter().all(|fault| !out.contains(fault)));
    }

    #[test]
    fn a_plan_without_anything_is_calm() {
        let everything = <Fault as clap::ValueEnum>::value_variants();
        let mut eventful = 0;
        for seed in 0..50 {
            let mut plan = Plan::drawn(&World::new(seed).rng("plan"));
            eventful += usize::from(plan.lives.iter().any(|life| !life.calm()));
            plan.leave_out(everything);
            assert!(plan.lives.len() == 1 && plan.lives[0].calm() && plan.lives[0].end == CrashKind::Process);
        }
        assert!(eventful > 10);
    }
}

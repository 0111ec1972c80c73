//! What can be left out of a run, to see which faults a failure needs.
//!
//! Owns: the kinds of faults of a [`Plan`] by name, and the search: each is left out in turn and stays out if the seed fails
//! all the same. Invariant: the plan is drawn as ever and then reduced, so that the rest of it stays as it was.

use ringmq_simenv::{CrashKind, Cut, Faults, NetFaults};

use crate::plan::{Life, Plan, RingFate};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    ReadErrors,
    WriteErrors,
    SyncErrors,
    NoSpace,
    ShortWrites,
    MisdirectedWrites,
    SlowSyncs,
    SlowDisk,
    ClockJumps,
    FullDisk,
    Rot,
    Rings,
    RegionKills,
    EarlyDeaths,
    PowerLosses,
    Resets,
    Partitions,
    CutReads,
    ShortSends,
    SlowNetwork,
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

impl Fault {
    /// Takes it from what may happen to a machine.
    pub fn take_from(self, faults: &mut Faults) {
        let disk = &mut faults.disk;
        match self {
            Self::ReadErrors => disk.read_error = 0.0,
            Self::WriteErrors => disk.write_error = 0.0,
            Self::SyncErrors => disk.sync_error = 0.0,
            Self::NoSpace => disk.no_space = 0.0,
            Self::ShortWrites => disk.short_write = 0.0,
            Self::MisdirectedWrites => disk.misdirected_write = 0.0,
            Self::SlowSyncs => disk.slow_sync = 0.0,
            Self::SlowDisk => disk.latency_us = 10..=200,
            Self::ClockJumps => faults.clock.jump = 0.0,
            _ => self.take_from_net(&mut faults.net),
        }
    }

    pub fn take_from_net(self, net: &mut NetFaults) {
        match self {
            Self::Resets => net.reset = 0.0,
            Self::CutReads => net.cut = Cut::Whole,
            Self::ShortSends => net.short_send = 0.0,
            Self::SlowNetwork => net.latency_us = 50..=500,
            _ => {}
        }
    }
}

impl Life {
    fn leave_out(&mut self, fault: Fault) {
        fault.take_from(&mut self.faults);
        match fault {
            Fault::FullDisk => self.disk_full = false,
            Fault::Rot => self.rot = false,
            Fault::Rings => self.ring = RingFate::Kept,
            Fault::RegionKills => self.kill_in_region_write = None,
            Fault::EarlyDeaths => self.dies_young = false,
            Fault::PowerLosses => self.end = CrashKind::Process,
            _ => {}
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

//! What may go wrong on a host, and how often. All probabilities are per operation.
//!
//! The fault model: a device write is atomic in units of 512 B or 4 KiB (drawn for each crash), and
//! an overwrite cut short leaves each byte old or new, never a third value. Silent damage (bit rot,
//! misdirected writes) is recorded with the host, see [`crate::Damage`], so that an oracle knows what
//! a checksum can only detect.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::rng::Rng;

#[derive(Clone, Debug)]
pub struct Faults {
    pub disk: DiskFaults,
    pub net: NetFaults,
    pub clock: ClockFaults,
}

#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// EIO from a read.
    pub read_error: f64,
    /// EIO from a write; any of its blocks may have been written.
    pub write_error: f64,
    /// EIO from fsync (file or directory). What was unsynced may or may not be durable, and no later
    /// fsync makes it so.
    pub sync_error: f64,
    /// A failed fsync reports success: what code that ignores the error would see. For planted defects.
    pub hide_sync_error: bool,
    /// ENOSPC from a write, a preallocation or a creation, beside the real capacity.
    pub no_space: f64,
    /// The first blocks of a write are written, the rest is not, and the write fails.
    pub short_write: f64,
    /// The bytes go to another place, in this file or in another one, and the write reports success.
    pub misdirected_write: f64,
    /// An fsync that takes up to `slow_sync_time`.
    pub slow_sync: f64,
    pub slow_sync_time: Duration,
    /// Bits that flip in stored blocks while the host is down: the chance for each crash.
    pub rot_at_crash: f64,
    /// Time of a write or read, in microseconds.
    pub latency_us: RangeInclusive<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A receive gets all that has arrived.
    Whole,
    /// A receive gets a random part of it.
    Random,
    /// A receive gets one byte.
    SingleBytes,
}

#[derive(Clone, Debug)]
pub struct NetFaults {
    /// One way between two hosts, in microseconds. Drawn for each delivery, so deliveries of different
    /// connections overtake each other; within one connection order is kept.
    pub latency_us: RangeInclusive<u64>,
    pub cut: Cut,
    /// A send resets its connection; what was on its way may be lost.
    pub reset: f64,
    /// A send takes a part of what it is given, and the rest a while later.
    pub short_send: f64,
    /// The rest is not sent: what code that takes a short send for a whole one would do. For planted defects.
    pub lose_short_send: bool,
    /// What is sent on a connection that was reset leaves on the newest other one: what a use of a descriptor after its close
    /// would do. For planted defects.
    pub stale_descriptor: bool,
    /// Bytes that one direction of a connection holds before its sender waits.
    pub socket_bytes: RangeInclusive<u64>,
}

#[derive(Clone, Debug)]
pub struct ClockFaults {
    /// A jump of the wall clock in each virtual second.
    pub jump: f64,
    /// By at most so much, in either direction.
    pub jump_max: Duration,
}

impl DiskFaults {
    /// Whether the disk does what it is asked for, within a millisecond.
    pub fn is_calm(&self) -> bool {
        let chances = [
            self.read_error,
            self.write_error,
            self.sync_error,
            self.no_space,
            self.short_write,
            self.misdirected_write,
            self.slow_sync,
        ];
        chances.iter().all(|chance| *chance == 0.0) && *self.latency_us.end() <= 300
    }
}

impl Faults {
    /// A machine on which nothing goes wrong; times still vary with the seed.
    pub fn none() -> Self {
        Self {
            disk: DiskFaults {
                read_error: 0.0,
                write_error: 0.0,
                sync_error: 0.0,
                hide_sync_error: false,
                no_space: 0.0,
                short_write: 0.0,
                misdirected_write: 0.0,
                slow_sync: 0.0,
                slow_sync_time: Duration::from_secs(5),
                rot_at_crash: 0.0,
                latency_us: 10..=200,
            },
            net: NetFaults {
                latency_us: 50..=500,
                cut: Cut::Whole,
                reset: 0.0,
                short_send: 0.0,
                lose_short_send: false,
                stale_descriptor: false,
                socket_bytes: 64 * 1024..=256 * 1024,
            },
            clock: ClockFaults { jump: 0.0, jump_max: Duration::from_secs(3600) },
        }
    }

    /// A plan from a seed. Each fault is on or off by a coin, so that many runs exercise one fault
    /// without another masking it. Silent damage stays off: it breaks promises by itself, switch it on
    /// by hand together with an oracle that knows [`crate::Damage`].
    pub fn drawn(rng: &Rng) -> Self {
        let rate = |most: f64| if rng.coin() { most * rng.below(1000) as f64 / 1000.0 } else { 0.0 };
        let mut faults = Self::none();
        faults.disk.read_error = rate(0.002);
        faults.disk.write_error = rate(0.01);
        faults.disk.sync_error = rate(0.02);
        faults.disk.no_space = rate(0.01);
        faults.disk.short_write = rate(0.01);
        faults.disk.slow_sync = rate(0.05);
        faults.disk.slow_sync_time = Duration::from_millis(rng.within(50..=8000));
        faults.disk.latency_us = 5..=[50, 300, 5000][rng.index(3)];
        faults.net.latency_us = 20..=[100, 1000, 50_000][rng.index(3)];
        faults.net.cut = [Cut::Whole, Cut::Random, Cut::SingleBytes][rng.index(3)];
        faults.net.reset = rate(0.01);
        faults.net.socket_bytes = 4096..=[8192, 65_536, 1 << 20][rng.index(3)];
        faults.clock.jump = rate(0.2);
        faults
    }
}

//! Finds idle connections and stalled sends: one coarse sweep over all connections of a listener, no timer and no
//! clock reading for a frame.

use std::time::Duration;

use ringmq_io::Env;

use crate::{Connection, why};

/// What the last sweeps saw of a connection.
pub(crate) struct Seen {
    moved: u64,
    /// `moved` has this value since then.
    moved_at_ns: u64,
    rounds: u64,
    /// The send under way, if any, has been under way since then.
    round_at_ns: u64,
}

impl Seen {
    pub(crate) fn at(now_ns: u64) -> Self {
        Self { moved: 0, moved_at_ns: now_ns, rounds: 0, round_at_ns: now_ns }
    }
}

/// How long a peer may be silent, or take nothing. Zero `idle`: for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) idle: Duration,
    pub(crate) stall: Duration,
}

impl Patience {
    /// Between two sweeps: late by at most a twelfth of the shorter patience.
    pub(crate) fn period(&self) -> Duration {
        let shorter = if self.idle.is_zero() { self.stall } else { self.idle.min(self.stall) };
        (shorter / 12).max(Duration::from_millis(10))
    }

    /// Closes the connection if its peer has used up our patience.
    pub(crate) fn check<E: Env>(&self, conn: &Connection<E>, now_ns: u64) {
        let since = |then: u64| Duration::from_nanos(now_ns.saturating_sub(then));
        let mut seen = conn.seen.borrow_mut();
        let rounds = conn.output.rounds.get();
        if seen.rounds != rounds || !conn.output.sending.get() {
            (seen.rounds, seen.round_at_ns) = (rounds, now_ns);
        }
        let moved = conn.moved.get();
        if seen.moved != moved {
            (seen.moved, seen.moved_at_ns) = (moved, now_ns);
        }
        let stalled = since(seen.round_at_ns) >= self.stall;
        let idle = !self.idle.is_zero() && since(seen.moved_at_ns) >= self.idle;
        drop(seen);
        if stalled {
            conn.close(why::SEND_STALLED);
        } else if idle {
            conn.close(why::IDLE);
        }
    }
}

//! The open loop's schedule: request k ought to leave at `start + k * interval`.

/// Times are nanoseconds of the run's clock.
pub struct Pacing {
    start: u64,
    /// Requests per second.
    rate: f64,
    next: u64,
}

impl Pacing {
    pub fn new(start: u64, requests_per_second: f64) -> Self {
        assert!(requests_per_second > 0.0);
        Self { start, rate: requests_per_second, next: 0 }
    }

    /// When the next request ought to leave.
    pub fn next_at(&self) -> u64 {
        self.start + (self.next as f64 * 1e9 / self.rate) as u64
    }

    /// Takes the next request if its time has come; tells that time.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let at = self.next_at();
        (at <= now).then(|| {
            self.next += 1;
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_sender_gets_all_missed_times_and_not_one_more() {
        let mut pacing = Pacing::new(1_000, 1e6);
        assert_eq!(pacing.take(999), None);
        let got: Vec<_> = std::iter::from_fn(|| pacing.take(4_500)).collect();
        assert_eq!(got, [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(pacing.next_at(), 5_000);
    }

    #[test]
    fn the_schedule_does_not_drift() {
        let mut pacing = Pacing::new(0, 3.0);
        while pacing.take(10_000_000_000).is_some() {}
        assert_eq!(pacing.next, 31);
    }
}

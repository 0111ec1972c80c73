//! What the cores tell each other about starting and ending.
//!
//! Invariants: `serve` and `stop` are signalled at most once and stay so; core 0 counts each peer once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ringmq_io::sync::{Event, Stop};

type Outcomes = RefCell<BTreeMap<usize, Result<(), String>>>;

#[derive(Default)]
pub struct Lifecycle {
    /// Clients may come.
    pub serve: Stop,
    /// The broker ends.
    pub stop: Stop,
    opened: Outcomes,
    stopped: Outcomes,
    changed: Event,
}

impl Lifecycle {
    pub fn peer_opened(&self, core: usize, outcome: Result<(), String>) {
        self.opened.borrow_mut().insert(core, outcome);
        self.changed.notify();
    }

    pub fn peer_stopped(&self, core: usize, outcome: Result<(), String>) {
        self.stopped.borrow_mut().insert(core, outcome);
        self.changed.notify();
    }

    /// Waits for `peers` cores to have opened their shards, or for the first that could not.
    pub async fn all_opened(&self, peers: usize) -> Result<(), String> {
        self.all(&self.opened, peers).await
    }

    pub async fn all_stopped(&self, peers: usize) -> Result<(), String> {
        self.all(&self.stopped, peers).await
    }

    async fn all(&self, outcomes: &Outcomes, peers: usize) -> Result<(), String> {
        loop {
            {
                let outcomes = outcomes.borrow();
                if let Some((core, Err(error))) = outcomes.iter().find(|(_, outcome)| outcome.is_err()) {
                    return Err(format!("core {core}: {error}"));
                }
                if outcomes.len() == peers {
                    return Ok(());
                }
            }
            self.changed.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, zip};

    use super::*;

    #[test]
    fn waits_for_all_and_reports_the_first_error() {
        block_on(async {
            let life = Lifecycle::default();
            life.peer_opened(1, Ok(()));
            let (all, ()) = zip(life.all_opened(2), async { life.peer_opened(2, Ok(())) }).await;
            assert_eq!(all, Ok(()));
            life.peer_stopped(2, Err("disk".into()));
            assert_eq!(life.all_stopped(2).await, Err("core 2: disk".into()));
        });
    }
}

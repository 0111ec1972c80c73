//! Lanes between cores: one bounded queue for every ordered pair of cores, no lock.
//!
//! A lane never drops: a full lane gives the message back, and the caller answers for it (the client
//! gets SYSTEM_BUSY with the lane's name). Per lane, order is kept.

/// Hands out this core's ends of a full mesh between all cores of the process.
pub trait Mesh: Clone + 'static {
    type Lanes<T: Send + 'static>: Lanes<T>;

    /// Every core calls this in the same order, once for each kind of message; returns when all have.
    /// `depth` = messages a lane holds.
    async fn join<T: Send + 'static>(&self, name: &'static str, depth: usize) -> Self::Lanes<T>;
}

/// This core's ends of the lanes. Cheap to clone.
pub trait Lanes<T>: Clone + 'static {
    /// How many cores, this one included.
    fn peers(&self) -> usize;
    /// Gives the message back if the lane is full or the peer is gone. `to` is never this core.
    fn try_send(&self, to: usize, message: T) -> Result<(), T>;
    /// Messages that are in the lane to `to` now.
    fn waiting(&self, to: usize) -> usize;
    /// The next message of any other core, with its sender. `None` when all peers are gone. Only one
    /// task receives.
    async fn recv(&self) -> Option<(usize, T)>;
}

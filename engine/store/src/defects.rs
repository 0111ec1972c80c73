//! Defects that a test plants in the running code, to see that its oracles catch them.
//!
//! Invariant: only with the feature `planted-defects`, which the simulator alone asks for. Without it there is no field to set, every
//! question has the answer no at compile time, and nothing of this is left in the program.

#[cfg(feature = "planted-defects")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// Recovery ends the log at the first bad batch, whatever is known to follow.
    pub cut_at_damage: bool,
    /// A segment's index is written when its last batch is closed, before the segment is written and synced.
    pub index_before_sync: bool,
}

#[cfg(not(feature = "planted-defects"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defects {}

impl Defects {
    #[cfg(feature = "planted-defects")]
    pub(crate) fn cuts_at_damage(self) -> bool {
        self.cut_at_damage
    }

    #[cfg(feature = "planted-defects")]
    pub(crate) fn seals_before_sync(self) -> bool {
        self.index_before_sync
    }

    #[cfg(not(feature = "planted-defects"))]
    pub(crate) const fn cuts_at_damage(self) -> bool {
        false
    }

    #[cfg(not(feature = "planted-defects"))]
    pub(crate) const fn seals_before_sync(self) -> bool {
        false
    }
}

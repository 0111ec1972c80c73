//! How long topics and groups take to make that administrators ask for: from the request to its answer, for the metrics.
//!
//! Invariant: each of the four requests (17, 18, 200, 225) that was understood counts once, by what became of it.

use std::rc::Rc;

use ringmq_io::{Class, Env};

use super::Control;
use crate::buckets::{Buckets, MillisToMake};
use crate::reply::{Refusal, Responder};

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Topics,
    Groups,
}

/// By what became of it: made, refused.
#[derive(Debug, Default)]
pub struct Made {
    pub topics: [Buckets<MillisToMake>; 2],
    pub groups: [Buckets<MillisToMake>; 2],
}

/// A request of this kind came.
#[derive(Debug)]
pub struct Making {
    kind: Kind,
    began_ns: u64,
}

impl<E: Env> Control<E> {
    pub fn making(&self, kind: Kind) -> Making {
        Making { kind, began_ns: self.core.env.monotonic_ns() }
    }

    /// Answers when what was changed is settled, or with the refusal.
    pub fn answer_when_made(
        self: &Rc<Self>,
        responder: Responder<E>,
        making: Making,
        outcome: Result<(), Refusal>,
    ) {
        let control = self.clone();
        self.core.env.spawn(Class::Foreground, async move {
            let outcome = match outcome {
                Ok(()) => control.settled().await,
                refused => refused,
            };
            control.note_made(&making, outcome.is_ok());
            match outcome {
                Ok(()) => responder.ok(),
                Err(refusal) => responder.refuse_with(&refusal),
            }
        });
    }

    fn note_made(&self, making: &Making, is_made: bool) {
        let of_kind = match making.kind {
            Kind::Topics => &self.made.topics,
            Kind::Groups => &self.made.groups,
        };
        let passed_ns = self.core.env.monotonic_ns() - making.began_ns;
        of_kind[usize::from(!is_made)].note(1, passed_ns / 1_000_000);
    }
}

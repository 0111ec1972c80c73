//! Delayed messages: when each is due, how it is stored while it waits, and how it reaches its queue.
//!
//! Delay levels and timer properties are one mechanism here (`docs/decisions/018-*.md`): a message that waits is in the
//! shard's timer book (`pending`), which says when it is due; the delivery is in the same batch as its end in the book.
//! What a consumer sees of it follows RocketMQ 5.5.0 ScheduleMessageService and TimerMessageStore.

mod deliver;
mod text;
mod when;

pub use deliver::deliver;
pub use text::{delivered_text, waiting_text};
pub use when::{DelayLevels, Wait, when};

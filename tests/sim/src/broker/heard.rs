//! What a broker says of messages that damage has taken from it, heard where an operator reads it: in its log.
//!
//! Owns: the listener of the run's thread, and the reading of those lines. Lines that speak of something else are passed over.
//! On failure: a line that is not understood names nothing, so that what it was about counts as missing without a word.

use std::fmt::{Debug, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

use super::plan::TOPIC;

/// A loss that was named.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// By queue and offsets, the last one included.
    Messages { queue: usize, first: u64, last: u64 },
    /// By shard and position in its log.
    Record { shard: u16, position: u64 },
}

/// Listens until it is dropped.
pub struct Ear {
    said: Receiver<Said>,
    _listens: DefaultGuard,
}

impl Ear {
    pub fn new() -> Self {
        let (tell, said) = channel();
        Self { said, _listens: tracing::subscriber::set_default(Listener(tell)) }
    }

    /// What was said since the last call.
    pub fn said(&self) -> impl Iterator<Item = Said> {
        self.said.try_iter()
    }
}

struct Listener(Sender<Said>);

#[derive(Default)]
struct Line {
    message: String,
    path: String,
    shard: Option<u64>,
    position: Option<u64>,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "shard" => self.shard = Some(value),
            "position" => self.position = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "path" => &mut self.path,
            _ => return,
        };
        let _ = write!(text, "{value:?}");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(said) = line.read() {
            let _ = self.0.send(said);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Line {
    fn read(&self) -> Option<Said> {
        let words: Vec<&str> = self.message.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().ok();
        let messages = |topic: &str, queue: &str, first: u64, last: u64| {
            let queue = number(queue).filter(|_| topic == TOPIC)? as usize;
            Some(Said::Messages { queue, first, last })
        };
        match words[..] {
            // A start: a range, or one.
            ["lost", "to", "damage:", topic, "queue", queue, "offset", first, "to", last] => {
                messages(topic, queue, number(first)?, number(last)?)
            }
            ["lost", "to", "damage:", topic, "queue", queue, "offset", first] => {
                messages(topic, queue, number(first)?, number(first)?)
            }
            // An index that was made anew.
            ["messages", first, "to", end, "(not", "included)", "of", topic, "queue", queue, ..] => {
                messages(topic, queue, number(first)?, number(end)?.checked_sub(1)?)
            }
            ["damaged", "message", "is", "left", "out"] => {
                let shard = self.shard.or_else(|| shard_of(&self.path))?;
                Some(Said::Record { shard: shard as u16, position: self.position? })
            }
            _ => None,
        }
    }
}

fn shard_of(path: &str) -> Option<u64> {
    let dir = Path::new(path).parent()?.file_name()?.to_str()?;
    dir.strip_prefix("shard-")?.parse().ok()
}

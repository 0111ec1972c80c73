//! The JSON text of a long table, made in parts between which other tasks run.
//!
//! Owns: the parts of one answer, and the walk over the table. Invariants: nothing of the table is borrowed between two parts, so it may
//! change meanwhile: an entry that is there all the time is told once, and the version that is told is that of the beginning, so that who compares versions
//! asks again. At most `TABLE_TEXTS_MAX` are made at a time. On failure: a text that does not fit a frame is given up as soon as
//! that shows, and refused with the frame's limit; one more than may be made is SYSTEM_BUSY.

use std::rc::Rc;

use ringmq_io::limits::{FRAME_BYTES_MAX, TABLE_TEXTS_MAX};
use ringmq_io::{Class, Env};
use ringmq_transport::Parts;
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::json_dialect;
use serde::Serialize;

use crate::control::Control;
use crate::control::journal::State;
use crate::core::Core;
use crate::reply::{Refusal, Responder};
use crate::request::{Handled, Request};
use crate::under_way::UnderWay;

/// Entries between two yields: some hundred microseconds.
const ENTRIES_PER_TURN: usize = 32;

/// What the entries go into.
pub struct Document {
    /// The whole text without entries.
    pub empty: Vec<u8>,
    /// Where they belong in it.
    pub field: &'static str,
    /// Of the answer's header: the number of entries of the whole table.
    pub total: (&'static str, usize),
}

/// Answers with at most `count` entries. `next` gives some, those behind a name, or the first of them; `name` is an entry's.
pub fn answer<E: Env, T: Serialize + 'static>(
    control: &Rc<Control<E>>,
    request: &Request<'_, '_, E>,
    document: Document,
    count: usize,
    name: fn(&T) -> &str,
    next: impl Fn(&State, Option<&str>, usize) -> Vec<Rc<T>> + 'static,
) -> Handled {
    let responder = request.responder();
    let mut text = match TableText::begin(&control.core, &document) {
        Ok(text) => text,
        Err(refusal) => {
            responder.refuse_with(&refusal);
            return Handled::Done;
        }
    };
    let control = control.clone();
    control.core.env.clone().spawn(Class::Background, async move {
        let (mut left, mut last) = (count, None::<Rc<T>>);
        loop {
            let some = next(&control.state.borrow(), last.as_deref().map(name), left.min(ENTRIES_PER_TURN));
            some.iter().for_each(|entry| text.entry(name(entry), &**entry));
            left -= some.len();
            last = some.last().cloned();
            if last.is_none() || !text.fits() {
                break;
            }
            control.core.env.yield_now().await;
        }
        text.answer(responder, document.total);
    });
    Handled::Done
}

struct TableText<E: Env> {
    parts: Parts,
    /// What follows the entries.
    tail: String,
    is_empty: bool,
    _one: UnderWay<E>,
}

impl<E: Env> TableText<E> {
    fn begin(core: &Rc<Core<E>>, document: &Document) -> Result<Self, Refusal> {
        let one = UnderWay::begin(core, |counters| &counters.table_texts_now, TABLE_TEXTS_MAX);
        let one = one.map_err(|now| {
            let remark = format!("[RINGMQ_BUSY] {now} lists of topics or groups are being made");
            Refusal::new(response_code::SYSTEM_BUSY, remark)
        })?;
        let text = String::from_utf8_lossy(&document.empty);
        let opening = format!("\"{}\":{{", document.field);
        let at = text.find(&opening).expect("the document has the field") + opening.len();
        let mut parts = Parts::default();
        parts.put(&text.as_bytes()[..at]);
        Ok(Self { parts, tail: text[at..].to_owned(), is_empty: true, _one: one })
    }

    fn entry(&mut self, name: &str, value: &impl Serialize) {
        if !self.is_empty {
            self.parts.put(b",");
        }
        self.is_empty = false;
        self.parts.put(&json_dialect::to_vec(&name));
        self.parts.put(b":");
        self.parts.put(&json_dialect::to_vec(value));
    }

    /// Whether it is worth going on.
    fn fits(&self) -> bool {
        self.parts.bytes() < FRAME_BYTES_MAX
    }

    fn answer(mut self, responder: Responder<E>, (field, total): (&str, usize)) {
        self.parts.put(self.tail.as_bytes());
        let bytes = self.parts.bytes();
        responder.answer_with_body(
            |out, opaque| {
                let code = response_code::SUCCESS;
                let mut writer = begin_response(out, Serialization::Json, code, opaque, 0, None);
                writer.ext_int(field, total);
                writer.finish_with_external_body(bytes)
            },
            self.parts.into_chunks(),
        );
    }
}

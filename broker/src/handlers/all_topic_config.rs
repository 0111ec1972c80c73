//! GET_ALL_TOPIC_CONFIG (21): all topics, whole or in pages.
//!
//! A caller that names no page gets everything (RocketMQ 5.5.0 AdminBrokerProcessor#getAllTopicConfig); if that does
//! not fit a frame it gets an error that says so.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::headers::GetAllTopicConfigHeader;
use ringmq_wire::json_dialect::{self, TopicConfigTable};

use super::page::Page;
use super::queue::bad_header;
use super::table_text::{ENTRIES_PER_TURN, TableText};
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetAllTopicConfigHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let most = control.core.config.split_metadata_size as usize;
    let page = Page::of(header.topic_seq, header.max_topic_num, header.data_version, most);
    let (version, total) = {
        let state = control.state.borrow();
        (state.topics.version(), state.topics.len())
    };
    let empty =
        json_dialect::to_vec(&TopicConfigTable { data_version: version, ..TopicConfigTable::default() });
    let mut text = match TableText::begin(&control.core, &empty, "topicConfigTable") {
        Ok(text) => text,
        Err(refusal) => {
            request.responder().refuse_with(&refusal);
            return Handled::Done;
        }
    };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let mut left = page.count;
        let mut some: Vec<_> = {
            let state = control.state.borrow();
            let first = state.topics.page(page.from, left.min(ENTRIES_PER_TURN), page.seen);
            first.into_iter().cloned().collect()
        };
        while let Some(last) = some.last().cloned() {
            some.iter().for_each(|entry| text.entry(&entry.topic_name, &**entry));
            left -= some.len();
            if !text.fits() {
                break;
            }
            control.core.env.yield_now().await;
            let state = control.state.borrow();
            let more = state.topics.after(Some(&last.topic_name)).take(left.min(ENTRIES_PER_TURN));
            some = more.cloned().collect();
        }
        text.answer(responder, ("totalTopicNum", total));
    });
    Handled::Done
}

//! GET_ALL_TOPIC_CONFIG (21): all topics, whole or in pages.
//!
//! A caller that names no page gets everything (RocketMQ 5.5.0 AdminBrokerProcessor#getAllTopicConfig); if that does
//! not fit a frame it gets an error that says so.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::GetAllTopicConfigHeader;
use ringmq_wire::json_dialect::{self, TopicConfig, TopicConfigTable};

use super::page::Page;
use super::queue::bad_header;
use super::table_text::{self, Document};
use crate::control::Control;
use crate::control::journal::State;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetAllTopicConfigHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let most = control.core.config.split_metadata_size as usize;
    let page = Page::of(header.topic_seq, header.max_topic_num, header.data_version, most);
    let document = {
        let topics = &control.state.borrow().topics;
        let empty = TopicConfigTable { data_version: topics.version(), ..TopicConfigTable::default() };
        Document {
            empty: json_dialect::to_vec(&empty),
            field: "topicConfigTable",
            total: ("totalTopicNum", topics.len()),
        }
    };
    let next = move |state: &State, after: Option<&str>, count: usize| match after {
        None => state.topics.page(page.from, count, page.seen).into_iter().cloned().collect(),
        after => state.topics.after(after).take(count).cloned().collect(),
    };
    table_text::answer(control, request, document, page.count, |one: &TopicConfig| &one.topic_name, next)
}

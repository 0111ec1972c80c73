//! GET_ALL_TOPIC_CONFIG (21): all topics, whole or in pages.
//!
//! A caller that names no page gets everything (RocketMQ 5.5.0 AdminBrokerProcessor#getAllTopicConfig); if that does
//! not fit a frame it gets an error that says so.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::GetAllTopicConfigHeader;
use ringmq_wire::json_dialect::{self, TopicConfigTable};

use super::page::Page;
use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetAllTopicConfigHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let most = control.core.config.split_metadata_size as usize;
    let page = Page::of(header.topic_seq, header.max_topic_num, header.data_version, most);
    let state = control.state.borrow();
    let topics = state.topics.page(page.from, page.count, page.seen);
    let body = json_dialect::to_vec(&TopicConfigTable {
        data_version: state.topics.version(),
        topic_config_table: topics.into_iter().map(|t| (t.topic_name.clone(), (**t).clone())).collect(),
        ..TopicConfigTable::default()
    });
    request.responder().answer(|out, opaque| {
        let mut writer = begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None);
        writer.ext_int("totalTopicNum", state.topics.len());
        writer.finish(&body)
    });
    Handled::Done
}

//! GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): all groups, whole or in pages. See `all_topic_config`.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::Serialization;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::GetAllSubscriptionGroupHeader;
use ringmq_wire::json_dialect::{self, SubscriptionGroupTable};

use super::page::Page;
use super::queue::bad_header;
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetAllSubscriptionGroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let most = control.core.config.split_metadata_size as usize;
    let page = Page::of(header.group_seq, header.max_group_num, header.data_version, most);
    let state = control.state.borrow();
    let groups = state.groups.page(page.from, page.count, page.seen);
    let body = json_dialect::to_vec(&SubscriptionGroupTable {
        data_version: state.groups.version(),
        subscription_group_table: groups.into_iter().map(|g| (g.group_name.clone(), (**g).clone())).collect(),
        ..SubscriptionGroupTable::default()
    });
    request.responder().answer(|out, opaque| {
        let mut writer = begin_response(out, Serialization::Json, response_code::SUCCESS, opaque, 0, None);
        writer.ext_int("totalGroupNum", state.groups.len());
        writer.finish(&body)
    });
    Handled::Done
}

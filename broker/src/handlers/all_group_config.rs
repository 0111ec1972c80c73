//! GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): all groups, whole or in pages. See `all_topic_config`.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::headers::GetAllSubscriptionGroupHeader;
use ringmq_wire::json_dialect::{self, SubscriptionGroupConfig, SubscriptionGroupTable};

use super::page::Page;
use super::queue::bad_header;
use super::table_text::{self, Document};
use crate::control::Control;
use crate::control::journal::State;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetAllSubscriptionGroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let most = control.core.config.split_metadata_size as usize;
    let page = Page::of(header.group_seq, header.max_group_num, header.data_version, most);
    let document = {
        let groups = &control.state.borrow().groups;
        let empty =
            SubscriptionGroupTable { data_version: groups.version(), ..SubscriptionGroupTable::default() };
        Document {
            empty: json_dialect::to_vec(&empty),
            field: "subscriptionGroupTable",
            total: ("totalGroupNum", groups.len()),
        }
    };
    let next = move |state: &State, after: Option<&str>, count: usize| match after {
        None => state.groups.page(page.from, count, page.seen).into_iter().cloned().collect(),
        after => state.groups.after(after).take(count).cloned().collect(),
    };
    table_text::answer(
        control,
        request,
        document,
        page.count,
        |one: &SubscriptionGroupConfig| &one.group_name,
        next,
    )
}

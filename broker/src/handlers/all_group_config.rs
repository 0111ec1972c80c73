//! GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): all groups, whole or in pages. See `all_topic_config`.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::headers::GetAllSubscriptionGroupHeader;
use ringmq_wire::json_dialect::{self, SubscriptionGroupTable};

use super::page::Page;
use super::queue::bad_header;
use super::table_text::{ENTRIES_PER_TURN, TableText};
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match GetAllSubscriptionGroupHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let most = control.core.config.split_metadata_size as usize;
    let page = Page::of(header.group_seq, header.max_group_num, header.data_version, most);
    let (version, total) = {
        let state = control.state.borrow();
        (state.groups.version(), state.groups.len())
    };
    let empty = json_dialect::to_vec(&SubscriptionGroupTable {
        data_version: version,
        ..SubscriptionGroupTable::default()
    });
    let mut text = match TableText::begin(&control.core, &empty, "subscriptionGroupTable") {
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
            let first = state.groups.page(page.from, left.min(ENTRIES_PER_TURN), page.seen);
            first.into_iter().cloned().collect()
        };
        while let Some(last) = some.last().cloned() {
            some.iter().for_each(|entry| text.entry(&entry.group_name, &**entry));
            left -= some.len();
            if !text.fits() {
                break;
            }
            control.core.env.yield_now().await;
            let state = control.state.borrow();
            let more = state.groups.after(Some(&last.group_name)).take(left.min(ENTRIES_PER_TURN));
            some = more.cloned().collect();
        }
        text.answer(responder, ("totalGroupNum", total));
    });
    Handled::Done
}

//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225): an administrator makes or changes many consumer groups.
//!
//! Each is checked by the rules of 200 before any is made. Invariant: answered when all are durable and published. On failure: a
//! refusal; if the journal fails on the way, some may have been made, and the same request again makes the rest.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::response_code;
use ringmq_wire::json_dialect::{self, SubscriptionGroupList};

use super::update_group::prepare;
use crate::control::groups::GroupConfig;
use crate::control::{Control, group_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let list: SubscriptionGroupList = match json_dialect::read(request.command.body) {
        Ok(list) => list,
        Err(error) => {
            return request.refuse(response_code::SYSTEM_ERROR, &format!("body not understood: {error}"));
        }
    };
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Foreground, async move {
        match put(&control, list.group_config_list).await {
            Ok(()) => control.answer_when_settled(responder),
            Err(refusal) => responder.refuse_with(&refusal),
        }
    });
    Handled::Done
}

async fn put<E: Env>(control: &Control<E>, asked: Vec<GroupConfig>) -> Result<(), Refusal> {
    let mut groups = Vec::with_capacity(asked.len());
    for group in asked {
        groups.extend(prepare(control, group)?);
        control.core.env.yield_now().await;
    }
    for group in groups {
        control.room().await?;
        control.put_group(group).map_err(|error| group_refusal(&error))?;
    }
    Ok(())
}

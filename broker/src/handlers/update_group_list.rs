//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225): an administrator makes or changes many consumer groups.
//!
//! Each is checked by the rules of 200 before any is made. Invariant: answered when all are durable and published. On failure: a
//! refusal; if the journal fails on the way, some may have been made, and the same request again makes the rest.

use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::json_dialect::ListReader;

use super::queue::{bad_body, not_understood};
use super::update_group::prepare;
use crate::control::groups::GroupConfig;
use crate::control::making::Kind;
use crate::control::{CHANGES_PER_TURN, Control, group_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let list = match ListReader::open(request.command.body, "groupConfigList") {
        Ok(list) => list,
        Err(error) => return bad_body(request, &error),
    };
    let (control, responder, making) = (control.clone(), request.responder(), control.making(Kind::Groups));
    control.core.env.clone().spawn(Class::Foreground, async move {
        let outcome = put(&control, list).await;
        control.answer_when_made(responder, making, outcome);
    });
    Handled::Done
}

async fn put<E: Env>(control: &Control<E>, mut list: ListReader) -> Result<(), Refusal> {
    let mut groups = Vec::new();
    while let Some(group) = list.read_next::<GroupConfig>().map_err(|error| not_understood(&error))? {
        groups.extend(prepare(control, group)?);
        control.core.env.yield_now().await;
    }
    for (n, group) in groups.into_iter().enumerate() {
        control.room().await?;
        control.put_group(group).map_err(|error| group_refusal(&error))?;
        if n % CHANGES_PER_TURN == CHANGES_PER_TURN - 1 {
            control.core.env.yield_now().await;
        }
    }
    Ok(())
}

//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200): an administrator makes or changes a consumer group.
//!
//! Invariant: answered when the settings are durable and published.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::json_dialect;

use super::queue::bad_body;
use crate::control::attributes::{self, GROUP_ATTRIBUTES};
use crate::control::groups::GroupConfig;
use crate::control::making::Kind;
use crate::control::{Control, group_refusal};
use crate::reply::Refusal;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let group: GroupConfig = match json_dialect::read(request.command.body) {
        Ok(group) => group,
        Err(error) => return bad_body(request, &error),
    };
    let (responder, making) = (request.responder(), control.making(Kind::Groups));
    let outcome = prepare(control, group).and_then(|group| match group {
        Some(group) => control.put_group(group).map_err(|error| group_refusal(&error)),
        None => Ok(()),
    });
    control.answer_when_made(responder, making, outcome);
    Handled::Done
}

/// The group as it is to be, of one whose attributes are changes; `None`: it is so already. Nothing is changed.
pub(super) fn prepare<E: Env>(
    control: &Control<E>,
    group: GroupConfig,
) -> Result<Option<GroupConfig>, Refusal> {
    let known = control.state.borrow().groups.get(&group.group_name).cloned();
    let current = known.as_ref().map(|group| &group.attributes);
    let attributes = attributes::alter(GROUP_ATTRIBUTES, current, &group.attributes)
        .map_err(|error| Refusal::new(response_code::SYSTEM_ERROR, error.to_string()))?;
    let group = GroupConfig { attributes, ..group };
    if known.is_some_and(|known| *known == group) {
        return Ok(None);
    }
    control.state.borrow().groups.check(&group).map_err(|error| group_refusal(&error))?;
    Ok(Some(group))
}

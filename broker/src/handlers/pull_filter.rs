//! What a pull gets to see: from its own header, or from what its group's members have said.
//!
//! Order of the checks and their codes: RocketMQ 5.5.0 PullMessageProcessor#processRequest. One answer is another than
//! RocketMQ's: a pull whose tag subscription is newer than the known one is served unfiltered instead of refused with
//! SUBSCRIPTION_NOT_LATEST. A Java client makes its subscription newer whenever its queues change, and leaves it to the next
//! heartbeat, up to 30 s later, to say so when another beat is just under way: it would be given nothing for so long. Clients
//! filter by tag themselves, since tag codes collide, so none sees a message too many. They do not filter by SQL92: such a
//! pull waits a moment for the heartbeat (see `pull_message`) and is refused only then.
//! On failure: a [`Refused`]; of an expression that does not compile, the place of the error is in the remark.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::PullHeader;
use ringmq_wire::subscription::{SQL92, SubscriptionData, TAG};

use super::pull_message::{Refused, forbidden};
use crate::core::Core;
use crate::filter::Wanted;
use crate::request::Target;
use crate::tables::{GroupSettings, Subscription};

/// What a pull gets to see.
pub enum Filter {
    All,
    Some(Rc<Subscription>),
    /// All, because what the client wants is newer than what we know.
    AllForNow,
}

pub fn of<E: Env>(
    core: &Core<E>,
    header: &PullHeader<'_>,
    group: &GroupSettings,
    target: Option<Target>,
) -> Result<Filter, Refused> {
    if header.has_subscription() { carried(core, header) } else { known(core, header, group, target) }
}

/// The pull brings its subscription along.
fn carried<E: Env>(core: &Core<E>, header: &PullHeader<'_>) -> Result<Filter, Refused> {
    let parse_failed = |why: &str| {
        let remark = format!("parse the consumer's subscription failed{why}");
        Refused::new(response_code::SUBSCRIPTION_PARSE_FAILED, remark)
    };
    let expression = header.subscription.unwrap_or_default();
    if !is_tags(header) {
        let kind = header.expression_type.unwrap_or_default();
        check_enabled(core, kind)?;
        let subscription = core.carried_filters.get(header.topic, kind, expression);
        return subscription.map(Filter::Some).map_err(|why| parse_failed(&format!(": {why}")));
    }
    if expression.is_empty() || expression == "*" {
        return Ok(Filter::All);
    }
    let Ok(parsed) = SubscriptionData::of_tags(header.topic, expression) else {
        return Err(parse_failed(""));
    };
    Ok(match Wanted::of(&parsed) {
        Wanted::All => Filter::All,
        wanted => {
            let (topic, version) = (header.topic.into(), header.sub_version);
            Filter::Some(Rc::new(Subscription { topic, version, wanted }))
        }
    })
}

/// What the group's members have said with their heartbeats.
fn known<E: Env>(
    core: &Core<E>,
    header: &PullHeader<'_>,
    group: &GroupSettings,
    target: Option<Target>,
) -> Result<Filter, Refused> {
    let Some(consumers) = core.tables.consumers(header.consumer_group) else {
        let remark = "the consumer's group info not exist";
        return Err(Refused::for_now(response_code::SUBSCRIPTION_NOT_EXIST, remark));
    };
    if consumers.broadcasting && !group.consume_broadcast_enable {
        let remark =
            format!("the consumer group[{}] can not consume by broadcast way", header.consumer_group);
        return Err(Refused::forbidden(forbidden::BROADCASTING, remark));
    }
    if group.forbidden.iter().any(|topic| **topic == *header.topic) {
        let remark =
            format!("the consumer group[{}] is forbidden for topic[{}]", header.consumer_group, header.topic);
        return Err(Refused::forbidden(forbidden::SUBSCRIPTION, remark));
    }
    let Some(subscription) = consumers.subscription(header.topic) else {
        let remark = "the consumer's subscription not exist";
        return Err(Refused::for_now(response_code::SUBSCRIPTION_NOT_EXIST, remark));
    };
    if subscription.version < header.sub_version {
        // Where the connection is, the tables are as new as anything that this client was answered; elsewhere they may be
        // a moment behind.
        let is_news = matches!(target, None | Some(Target::QueueUnfiltered { .. }));
        if is_news && is_tags(header) {
            return Ok(Filter::AllForNow);
        }
        let remark = "the consumer's subscription not latest";
        let mut refused = Refused::for_now(response_code::SUBSCRIPTION_NOT_LATEST, remark);
        refused.waits_for_news = is_news;
        return Err(refused);
    }
    if subscription.wanted.by_expression() {
        check_enabled(core, header.expression_type.unwrap_or(SQL92))?;
    }
    match &subscription.wanted {
        Wanted::All => Ok(Filter::All),
        Wanted::Tags(_) | Wanted::Sql(_) => Ok(Filter::Some(subscription.clone())),
        Wanted::Bad(why) => {
            let remark = format!(
                "The broker's consumer filter data is not exist!Your expression may be wrong! {}: {why}",
                header.topic
            );
            Err(Refused::for_now(response_code::FILTER_DATA_NOT_EXIST, remark))
        }
    }
}

/// As RocketMQ 5.5.0 ExpressionType#isTagType has it.
fn is_tags(header: &PullHeader<'_>) -> bool {
    matches!(header.expression_type, None | Some("" | TAG))
}

fn check_enabled<E: Env>(core: &Core<E>, kind: &str) -> Result<(), Refused> {
    if core.config.enable_property_filter {
        return Ok(());
    }
    Err(Refused::new(response_code::SYSTEM_ERROR, unsupported(kind)))
}

/// The remark with `enablePropertyFilter=false`.
pub fn unsupported(kind: &str) -> String {
    let kind: String = kind.chars().take(64).collect();
    format!("The broker does not support consumer to filter message by {kind}")
}

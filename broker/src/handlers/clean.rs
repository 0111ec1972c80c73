//! What an administrator has cleaned at once: CLEAN_EXPIRED_CONSUMEQUEUE (306), CLEAN_UNUSED_TOPIC (316), DELETE_EXPIRED_COMMITLOG (329).
//!
//! 306 has nothing to do: an index goes with its segment. 316 drops queues of topics that are not there, which a deletion that was
//! cut short has left. 329 makes retention look now, whatever the hour (`deleteWhen`); what is not expired stays.
//! RocketMQ 5.5.0 AdminBrokerProcessor#cleanExpiredConsumeQueue, #cleanUnusedTopic, #deleteExpiredCommitLog.
//! On failure: a refusal with the store's reason; the same request again goes on.

use std::collections::BTreeSet;
use std::rc::Rc;

use ringmq_io::{Class, Env};
use ringmq_wire::code::{request_code as code, response_code};

use crate::admin::gather;
use crate::ask::{Answer, Question};
use crate::control::Control;
use crate::request::{Handled, Request};

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let what = request.command.code;
    tracing::info!(what = code::name(what), peer = %request.peer, "cleaning was asked for");
    let (control, responder) = (control.clone(), request.responder());
    control.core.env.clone().spawn(Class::Background, async move {
        let outcome = match what {
            code::CLEAN_UNUSED_TOPIC => drop_unused(&control).await,
            code::DELETE_EXPIRED_COMMITLOG => expire(&control).await,
            _ => Ok(()),
        };
        match outcome {
            Ok(()) => responder.ok(),
            Err(reason) => responder.refuse(response_code::SYSTEM_ERROR, &reason),
        }
    });
    Handled::Done
}

async fn drop_unused<E: Env>(control: &Rc<Control<E>>) -> Result<(), String> {
    let used: BTreeSet<Box<str>> = gather::topics_with_messages(&control.core).await?;
    for topic in used {
        // Looked at again for each: it may have been made meanwhile.
        if control.state.borrow().topics.contains(&topic) || control.system.contains(&topic) {
            continue;
        }
        let _leave = control.leaving.begin(&topic);
        tracing::info!(topic = &*topic, "queues of a topic that is no more are dropped");
        control.core.drop_queues(&topic).await?;
    }
    Ok(())
}

async fn expire<E: Env>(control: &Rc<Control<E>>) -> Result<(), String> {
    for core in 0..control.core.placement.cores() {
        match control.core.ask(core, Question::Expire).await {
            Answer::Noted => {}
            other => unreachable!("asked to look at retention, was answered {other:?}"),
        }
    }
    Ok(())
}

//! A send to a topic that takes each message once: stored like any other, or answered with the message that it repeats.
//!
//! What counts is the unique key, which clients keep when they send again (RocketMQ 5.5.0 MessageClientIDSetter#setUniqID, called
//! before the first attempt). A batch is stored whole or not at all, so its first message's key stands for it; it repeats
//! another only if all of its keys are there, in order. Not looked at: messages without a key of their producer's, delayed ones and
//! halves of transactions, which are not in the topic yet.
//! The later requests of the connection wait until the message has its place: order is kept. Bounded by the connections.

use std::rc::Rc;

use ringmq_io::sync::Stop;
use ringmq_io::{Class, Env};
use ringmq_store::key_hash;
use ringmq_wire::Serialization;
use ringmq_wire::batch;
use ringmq_wire::code::response_code;
use ringmq_wire::encode::{SendAnswer, send_response};
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message_id::OffsetIds;
use ringmq_wire::properties::{self, name};

use super::message::Traits;
use crate::core::Core;
use crate::once::{Claim, Earlier, Sought, Verdict};
use crate::request::{Handled, OwnedRequest, Request, Target};
use crate::stats::add;

/// `None`: this message is stored however often it comes.
pub(super) fn sought<E: Env>(
    core: &Core<E>,
    request: &Request<'_, '_, E>,
    header: &SendHeader<'_>,
    window_ms: i64,
) -> Option<Sought> {
    let traits = Traits::read(header.properties);
    if traits.may_wait() {
        return None;
    }
    let keys: Vec<Box<str>> = if header.batch {
        // What is wrong with an item, the store says.
        batch::items(request.command.body)
            .flatten()
            .map(|item| properties::get(item.properties, name::UNIQUE_KEY).unwrap_or_default().into())
            .collect()
    } else {
        traits.unique_key.into_iter().map(Box::from).collect()
    };
    let has_key = keys.first().is_some_and(|key| !key.is_empty());
    has_key.then(|| Sought { topic: header.topic.into(), keys, since_ms: core.env.now_ms() - window_ms })
}

/// `target` is where it goes if it repeats none.
pub(super) fn handle<E: Env>(
    core: &Rc<Core<E>>,
    request: &Request<'_, '_, E>,
    sought: Sought,
    window_ms: i64,
    target: Target,
) -> Handled {
    let (core, owned) = (core.clone(), request.to_owned_request());
    // A task of its own: it ends what it begins even if the connection is gone.
    let placed = Stop::new();
    let signal = placed.clone();
    core.env.clone().spawn(Class::Foreground, async move {
        decide(&core, owned, &sought, window_ms, target).await;
        signal.signal();
    });
    Handled::Wait(Box::pin(async move { placed.wait().await }))
}

async fn decide<E: Env>(
    core: &Rc<Core<E>>,
    mut owned: OwnedRequest<E>,
    sought: &Sought,
    window_ms: i64,
    target: Target,
) {
    let hash = key_hash(&sought.topic, &sought.keys[0]);
    let mut not = None;
    loop {
        let physical = match core.claim(&sought.topic, window_ms, hash, not).await {
            Ok(Verdict::Store(claim)) => {
                owned.claim = Some(Claim::new(core, claim));
                break;
            }
            Ok(Verdict::Look { physical }) => physical,
            Err(refusal) => return owned.refuse(refusal.code, &refusal.remark),
        };
        match core.earlier(physical, sought).await {
            Ok(Some(earlier)) => {
                add(&core.counters.sent_again, 1);
                return answer(core, &owned, &earlier);
            }
            Ok(None) => not = Some(physical),
            Err(refusal) => return owned.refuse(refusal.code, &refusal.remark),
        }
    }
    if matches!(target, Target::Queue { shard, .. } if core.local(shard).is_some()) {
        owned.target = Some(target);
        core.clone().handle_again(owned).await;
    } else {
        owned.with(|request| core.hop_to(target, &request));
    }
}

fn answer<E: Env>(core: &Core<E>, owned: &OwnedRequest<E>, earlier: &Earlier) {
    let ids = OffsetIds::new(core.identity.store_host);
    let ids: Vec<String> =
        earlier.physicals.iter().map(|physical| ids.id(*physical as i64).as_str().to_owned()).collect();
    let code = if earlier.safe { response_code::SUCCESS } else { response_code::FLUSH_DISK_TIMEOUT };
    owned.with(|request| {
        // Of a batch the answer names its own key, as that of the first send did.
        let properties = SendHeader::decode(request.command).map(|header| header.properties);
        let own = properties.ok().and_then(|text| properties::get(text, name::UNIQUE_KEY));
        request.responder().answer(|out, opaque| {
            let answer = SendAnswer {
                code,
                opaque,
                remark: None,
                msg_id: &ids.join(","),
                queue_id: earlier.queue_id as i32,
                queue_offset: earlier.queue_offset as i64,
                transaction_id: own,
                batch_uniq_id: None,
                recall_handle: None,
                region: &core.identity.region,
                trace_on: core.identity.trace_on,
            };
            send_response(out, Serialization::Json, &answer)
        });
    });
}

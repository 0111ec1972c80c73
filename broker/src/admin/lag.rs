//! A closer look at what groups are behind with: how old it is, and how much of it they want.
//!
//! Invariants: at most `LAG_LOOKS_MAX` queues are looked at for one scrape, in order of groups and topics; other tasks run in between.
//! On failure: as all gathering; what nobody looked at keeps its counts of all messages, and has no age.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::{ADMIN_ROWS_PER_TURN, LAG_LOOKS_MAX};

use super::gather::{Lag, QueueLag, ask, breathe};
use crate::ask::{Answer, Question};
use crate::control::Control;
use crate::filter::Wanted;
use crate::lag_look::{Behind, Place};

pub(super) async fn look_closer<E: Env>(control: &Rc<Control<E>>, lags: &mut [Lag]) -> Result<(), String> {
    let mut left = LAG_LOOKS_MAX;
    for (n, lag) in lags.iter_mut().enumerate() {
        breathe(&control.core.env, n).await;
        let behind = lag.queues.iter().filter(|queue| is_behind(queue)).count();
        if behind <= left {
            left -= behind;
            look_at(control, lag).await?;
        }
    }
    Ok(())
}

fn is_behind(queue: &QueueLag) -> bool {
    queue.messages > 0 || queue.in_flight > 0 || queue.ready > 0
}

async fn look_at<E: Env>(control: &Rc<Control<E>>, lag: &mut Lag) -> Result<(), String> {
    let core = &control.core;
    let tags = tags(control, lag);
    let first_shard = core.placement.first_shard(&lag.topic);
    let mut by_core: Vec<Vec<usize>> = vec![Vec::new(); core.placement.cores()];
    for (at, queue) in lag.queues.iter().enumerate().filter(|(_, queue)| is_behind(queue)) {
        let shard = core.placement.shard(first_shard, queue.place.queue_id);
        by_core[core.placement.core(shard)].push(at);
    }
    let mut oldest = [None; 2];
    for (of, queues) in by_core.into_iter().enumerate() {
        for some in queues.chunks(ADMIN_ROWS_PER_TURN) {
            let places: Vec<Place> = some.iter().map(|at| lag.queues[*at].place).collect();
            let question = Question::Lag { topic: Box::from(&*lag.topic), places, tags: tags.clone() };
            let found = match ask(core, of, question).await? {
                Answer::Lag(found) => found?,
                other => unreachable!("asked what a group is behind with, was answered {other:?}"),
            };
            for (at, Behind { unconsumed_ms, unpulled_ms, wanted }) in some.iter().zip(found) {
                for (oldest, ms) in oldest.iter_mut().zip([unconsumed_ms, unpulled_ms]) {
                    *oldest = (*oldest).into_iter().chain(ms).min();
                }
                if let Some(wanted) = wanted {
                    let queue = &mut lag.queues[*at];
                    (queue.messages, queue.in_flight, queue.ready) =
                        (wanted.messages, wanted.in_flight, wanted.ready);
                }
            }
        }
    }
    lag.oldest_ms = Some(oldest);
    Ok(())
}

/// Codes of the tags that the group wants of the topic; `None`: all messages, or by properties, which the index does not know.
fn tags<E: Env>(control: &Control<E>, lag: &Lag) -> Option<Box<[i64]>> {
    if !control.core.config.estimate_accumulation {
        return None;
    }
    let consumers = control.core.tables.consumers(&lag.group)?;
    match &consumers.subscription(&lag.topic)?.wanted {
        Wanted::Tags(codes) => Some(codes.clone()),
        Wanted::All | Wanted::Sql(_) | Wanted::Bad(_) => None,
    }
}

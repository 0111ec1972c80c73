//! GET_BROKER_RUNTIME_INFO (28): what this broker has done and how it is, as a table of texts.
//!
//! Only figures that are known are told: those which RocketMQ's tools parse without looking whether they are there
//! (`clusterList`, the dashboard) are always among them.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_io::{Class, Disk, Env, Space};
use ringmq_wire::json_dialect::{self, KvTable};

use crate::control::Control;
use crate::rates::Rate;
use crate::request::{Handled, Request};
use crate::stats::CoreStats;

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let responder = request.responder();
    let control = control.clone();
    control.clone().core.env.spawn(Class::Background, async move {
        let stats = control.core.stats_of_all().await;
        let data = &control.core.config.store_path_root_dir;
        let space = control.core.env.disk().space(data).await.ok();
        let earliest = control.core.earliest_of_all().await;
        let table = table(&control, &stats, space, earliest);
        responder.ok_with_body(&json_dialect::to_vec(&KvTable { table }));
    });
    Handled::Done
}

fn table<E: Env>(
    control: &Control<E>,
    stats: &CoreStats,
    space: Option<Space>,
    earliest_ms: Option<i64>,
) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        table.insert(key.to_string(), value);
    };
    let now = control.core.env.now_ms();
    put("bootTimestamp", control.started_ms.to_string());
    put("runtime", runtime(now - control.started_ms));
    put("brokerActive", "true".into());
    put("brokerVersionDesc", version_name());
    put("ringmqVersion", env!("CARGO_PKG_VERSION").into());

    // The reference never tells 0 messages, since tools divide by it.
    put("putMessageTimesTotal", stats.put_messages.max(1).to_string());
    put("putMessageSizeTotal", stats.put_bytes.to_string());
    let average = stats.put_bytes as f64 / stats.put_messages.max(1) as f64;
    put("putMessageAverageSize", average.to_string());
    put("putMessageFailedTimes", stats.put_refused.to_string());
    put("msgPutTotalTodayNow", stats.put_messages.to_string());
    put("msgGetTotalTodayNow", stats.get_messages.to_string());
    let mornings = control.mornings.get();
    put("msgPutTotalYesterdayMorning", mornings.yesterday.put.to_string());
    put("msgPutTotalTodayMorning", mornings.today.put.to_string());
    put("msgGetTotalYesterdayMorning", mornings.yesterday.got.to_string());
    put("msgGetTotalTodayMorning", mornings.today.got.to_string());
    for (key, rate) in [
        ("putTps", Rate::Puts),
        ("getTransferredTps", Rate::Transferred),
        ("getTotalTps", Rate::Gets),
        ("getFoundTps", Rate::Found),
        ("getMissTps", Rate::Missed),
    ] {
        put(key, control.rates.shown(rate));
    }

    // The index is never behind the log, nothing queues in front of a thread pool, and no timer has slots.
    for key in [
        "dispatchBehindBytes",
        "pageCacheLockTimeMills",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
    ] {
        put(key, "0".into());
    }
    for key in ["timerEnqueueTps", "timerDequeueTps"] {
        put(key, "0.0".into());
    }
    for pool in ["send", "pull"] {
        put(&format!("{pool}ThreadPoolQueueSize"), "0".into());
        put(&format!("{pool}ThreadPoolQueueCapacity"), "0".into());
        put(&format!("{pool}ThreadPoolQueueHeadWaitTimeMills"), "0".into());
    }
    put("earliestMessageTimeStamp", earliest_ms.unwrap_or(-1).to_string());
    put("startAcceptSendRequestTimeStamp", "0".into());

    if let Some(space) = space {
        let ratio = space.used_ratio();
        let shown = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
        put("commitLogDiskRatio", ratio.to_string());
        put("consumeQueueDiskRatio", ratio.to_string());
        put(
            "commitLogDirCapacity",
            format!("Total : {}, Free : {}.", shown(space.total), shown(space.available)),
        );
    }
    put("commitLogBytes", stats.log_bytes.to_string());
    // Of all shards' logs together.
    put("commitLogMinOffset", (stats.log_end - stats.log_bytes).to_string());
    put("commitLogMaxOffset", stats.log_end.to_string());

    put("delayedWaiting", stats.delayed_waiting.to_string());
    put("delayedDelivered", stats.delayed_delivered.to_string());
    put("sentBack", stats.sent_back.to_string());
    put("recalled", stats.recalled.to_string());
    put("sentAgain", stats.sent_again.to_string());
    put("deadLetters", stats.dead_letters.to_string());
    put("transactionsWaiting", stats.transactions_waiting.to_string());
    put("transactionsCommitted", stats.transactions_committed.to_string());
    put("transactionsRolledBack", stats.transactions_rolled_back.to_string());
    put("transactionsGivenUp", stats.transactions_given_up.to_string());
    put("transactionChecks", stats.transaction_checks.to_string());
    put("delayedLost", stats.delayed_lost.to_string());
    put("connections", stats.connections.to_string());
    put("longPollings", stats.holds.to_string());
    put("shardsLatched", stats.shards_latched.to_string());
    put("requestsNotSupported", stats.unsupported.to_string());
    put("requestsBetweenCores", stats.hops.to_string());
    put("lanesFull", stats.lanes_full.to_string());
    let state = control.state.borrow();
    put("topics", state.topics.len().to_string());
    put("consumerGroups", state.groups.len().to_string());
    put("consumerOffsets", state.offsets.len().to_string());
    put("clientMemberships", control.clients.borrow().memberships().to_string());
    table
}

/// The version that this broker's answers carry: tools show it, and compare it with the versions that they know.
fn version_name() -> String {
    "V5_5_0".into()
}

fn runtime(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    format!("[ {days} days, {hours} hours, {} minutes, {} seconds ]", seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_time_is_shown_as_the_tools_know_it() {
        assert_eq!(runtime(0), "[ 0 days, 0 hours, 0 minutes, 0 seconds ]");
        assert_eq!(runtime(90_061_999), "[ 1 days, 1 hours, 1 minutes, 1 seconds ]");
    }
}

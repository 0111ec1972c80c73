//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): the next messages of a queue, now or when there are some.
//!
//! Order of the checks and their codes: RocketMQ 5.5.0 PullMessageProcessor#processRequest. They need only the tables, so
//! they are made where the connection is (and once more on the shard's core, whose tables may be a moment behind: then
//! the request waits for them). The answer's codes: DefaultPullMessageResultHandler.
//! What a pull gets to see is found out in `pull_filter`.
//! On failure: a damaged message is passed over (PULL_RETRY_IMMEDIATELY), another read error is SYSTEM_ERROR.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{COLD_READS_PER_CORE_MAX, PULLS_FOR_NEWS_MAX, TABLE_LAG_MS_MAX};
use ringmq_io::{Class, Env};
use ringmq_store::{Chosen, QueueRef, ReadLimits, ReadOutcome, ReadPlan, Shard};
use ringmq_transport::ExtentOf;
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::encode::{PullAnswer, pull_response};
use ringmq_wire::headers::PullHeader;

use super::pull_filter::{self, Filter};
use super::{on_demand, queue};
use crate::core::Core;
use crate::filter::{Wanted, chooses};
use crate::group_queue::GroupQueueRef;
use crate::reply::{Refusal, Responder};
use crate::request::{Handled, Request, Target};
use crate::stages::Stage;
use crate::stats::add;
use crate::tables::{GroupSettings, Subscription, Topic};
use crate::traffic::Row;
use crate::under_way::UnderWay;

/// How long a pull waits for the heartbeat that its subscription is to come with: a client that is refused waits 3 s.
const NEWS_WAIT: Duration = Duration::from_secs(2);

/// `forbiddenType` of answers with NO_PERMISSION (RocketMQ 5.5.0 ForbiddenType).
pub mod forbidden {
    pub const BROKER: i32 = 1;
    pub const GROUP: i32 = 2;
    pub const TOPIC: i32 = 3;
    pub const BROADCASTING: i32 = 4;
    pub const SUBSCRIPTION: i32 = 5;
}

/// A pull that has passed all checks: what is left to do, now or when a message comes.
pub struct Pull {
    pub shard: u16,
    /// The queue's id in the topic.
    queue_id: u16,
    pub queue: QueueRef,
    pub offset: u64,
    max_messages: u32,
    topic_sys_flag: i32,
    /// Where what it gets is counted.
    row: Rc<Row>,
    pub group: Rc<GroupSettings>,
    /// `None`: all messages.
    filter: Option<Rc<Subscription>>,
}

impl Pull {
    /// Notes where it ends, which is where the group's next pull is to begin.
    fn ends_at<E: Env>(&self, core: &Core<E>, offset: u64) {
        core.tables.traffic.note_pull(&self.row, self.group.life, self.queue_id, offset);
    }

    fn wanted(&self) -> &Wanted {
        self.filter.as_ref().map_or(&Wanted::All, |subscription| &subscription.wanted)
    }

    /// Whether the consumer wants the message at this offset of the queue, just appended.
    pub fn wants<E: Env>(&self, shard: &Shard<E>, offset: u64, tags_code: i64) -> bool {
        match self.wanted() {
            Wanted::All => true,
            Wanted::Tags(codes) => codes.contains(&tags_code),
            // One that has left the ring already is found out about by reading.
            Wanted::Sql(program) => {
                shard.look_at(self.queue, offset, |record| chooses(program, record)).unwrap_or(true)
            }
            Wanted::Bad(_) => false,
        }
    }
}

/// Why a pull is refused.
pub struct Refused {
    code: i32,
    remark: String,
    forbidden_type: Option<i32>,
    /// Tables that are a moment behind could be the reason.
    may_pass_later: bool,
    /// A heartbeat that is on its way could change it.
    pub(super) waits_for_news: bool,
}

impl Refused {
    pub(super) fn new(code: i32, remark: impl Into<String>) -> Self {
        let remark = remark.into();
        Self { code, remark, forbidden_type: None, may_pass_later: false, waits_for_news: false }
    }

    pub(super) fn forbidden(kind: i32, remark: impl Into<String>) -> Self {
        Self { forbidden_type: Some(kind), ..Self::new(response_code::NO_PERMISSION, remark) }
    }

    pub(super) fn for_now(code: i32, remark: impl Into<String>) -> Self {
        Self { may_pass_later: true, ..Self::new(code, remark) }
    }
}

pub fn handle<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match PullHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return queue::bad_header(request, &error),
    };
    if let Err(refused) = check_broker(core, request) {
        return refuse(request, &refused);
    }
    let Some(group) = core.tables.group(header.consumer_group) else {
        return on_demand::group(core, request, header.consumer_group);
    };
    let (topic, filter) = match check(core, &header, &group, request) {
        Ok(checked) => checked,
        Err(refused) if refused.may_pass_later && request.target.is_some() => {
            let wait = Duration::from_millis(TABLE_LAG_MS_MAX);
            return Handled::Wait(Box::pin(when_tables_have_changed(core.clone(), request, refused, wait)));
        }
        Err(refused) if refused.waits_for_news && request.target.is_none() => {
            return when_there_is_news(core, request, refused);
        }
        Err(refused) => return refuse(request, &refused),
    };
    let queue_id = header.queue_id as u32;
    if request.target.is_none()
        && header.commits_offset()
        && let Ok(offset) = u64::try_from(header.commit_offset)
    {
        core.carry_commit(header.consumer_group, header.topic, queue_id, offset);
    }
    let shard = core.shard_of(&topic, queue_id);
    let Some(local) = core.local(shard) else {
        return Handled::Elsewhere(match filter {
            Filter::AllForNow => Target::QueueUnfiltered { shard, queue_id },
            Filter::All | Filter::Some(_) => Target::Queue { shard, queue_id },
        });
    };
    let pull = Pull {
        shard,
        queue_id: header.queue_id as u16,
        queue: topic.queue(&local.shard, queue_id),
        // A negative offset is before the start of everything.
        offset: u64::try_from(header.queue_offset).unwrap_or(0),
        max_messages: header.max_msg_nums.max(1) as u32,
        topic_sys_flag: topic.settings.sys_flag,
        row: topic.outgoing(&core.tables.traffic, header.consumer_group),
        group: group.clone(),
        filter: match filter {
            Filter::Some(subscription) => Some(subscription),
            Filter::All | Filter::AllForNow => None,
        },
    };
    let responder = request.responder();
    let (group, topic) = (header.consumer_group, header.topic);
    if let Some(offset) = core.take_reset(GroupQueueRef { group, topic, queue_id }) {
        answer_reset(core, &pull, responder, offset);
        return Handled::Done;
    }
    if header.queue_offset < 0 {
        let bounds = local.shard.bounds(pull.queue);
        let (code, remark) = (response_code::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL");
        answer_empty(core, &pull, responder, code, bounds.min, remark);
        return Handled::Done;
    }
    let patience = header.may_suspend().then(|| {
        if core.config.long_polling_enable {
            Duration::from_millis(header.suspend_timeout_millis.max(0) as u64)
        } else {
            Duration::from_millis(core.config.short_polling_time_ms)
        }
    });
    answer(core, pull, responder, patience);
    Handled::Done
}

fn refuse<E: Env>(request: &Request<'_, '_, E>, refused: &Refused) -> Handled {
    request.responder().answer(|out, opaque| {
        let (code, remark) = (refused.code, Some(refused.remark.as_str()));
        let json = Serialization::Json;
        let mut writer = ringmq_wire::encode::begin_response(out, json, code, opaque, 0, remark);
        if let Some(kind) = refused.forbidden_type {
            writer.ext_int("forbiddenType", kind);
        }
        writer.finish(&[])
    });
    Handled::Done
}

fn check_broker<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>) -> Result<(), Refused> {
    if !core.tables.broker_readable() {
        let remark = format!("the broker[{}] pulling message is forbidden", core.config.broker_ip1);
        return Err(Refused::forbidden(forbidden::BROKER, remark));
    }
    if request.command.code == request_code::LITE_PULL_MESSAGE && !core.config.lite_pull_message_enable {
        let remark = format!("the broker[{}] for lite pull consumer is forbidden", core.config.broker_ip1);
        return Err(Refused::forbidden(forbidden::BROKER, remark));
    }
    Ok(())
}

type Checked = (Rc<Topic>, Filter);

fn check<E: Env>(
    core: &Rc<Core<E>>,
    header: &PullHeader<'_>,
    group: &GroupSettings,
    request: &Request<'_, '_, E>,
) -> Result<Checked, Refused> {
    if !group.consume_enable {
        let remark = format!("subscription group no permission, {}", header.consumer_group);
        return Err(Refused::forbidden(forbidden::GROUP, remark));
    }
    let Some(topic) = core.tables.topic(header.topic) else {
        let remark = format!("topic[{}] not exist, apply first please!", header.topic);
        return Err(Refused::for_now(response_code::TOPIC_NOT_EXIST, remark));
    };
    if !topic.readable() {
        let remark = format!("the topic[{}] pulling message is forbidden", header.topic);
        return Err(Refused::forbidden(forbidden::TOPIC, remark));
    }
    if header.queue_id < 0 || header.queue_id >= topic.settings.read_queues as i32 {
        let remark = format!(
            "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
            header.queue_id, header.topic, topic.settings.read_queues, request.peer
        );
        return Err(Refused::for_now(response_code::INVALID_PARAMETER, remark));
    }
    let filter = pull_filter::of(core, header, group, request.target)?;
    Ok((topic, filter))
}

/// The heartbeat that says what this pull wants may be on its way, on this very connection: nothing waits for this pull.
fn when_there_is_news<E: Env>(core: &Rc<Core<E>>, request: &Request<'_, '_, E>, refused: Refused) -> Handled {
    let waiting = core.counters.pulls_for_news.get();
    if waiting >= PULLS_FOR_NEWS_MAX as u64 {
        return refuse(request, &refused);
    }
    core.counters.pulls_for_news.set(waiting + 1);
    let wait = when_tables_have_changed(core.clone(), request, refused, NEWS_WAIT);
    let core = core.clone();
    core.env.clone().spawn(Class::Foreground, async move {
        wait.await;
        core.counters.pulls_for_news.set(core.counters.pulls_for_news.get() - 1);
    });
    Handled::Done
}

/// Looks at the pull again when the tables have changed so that it passes; refuses it if they do not in time.
fn when_tables_have_changed<E: Env>(
    core: Rc<Core<E>>,
    request: &Request<'_, '_, E>,
    refused: Refused,
    wait: Duration,
) -> impl Future<Output = ()> + use<E> {
    let owned = request.to_owned_request();
    async move {
        let deadline = core.env.monotonic_ns() + wait.as_nanos() as u64;
        loop {
            let left = Duration::from_nanos(deadline.saturating_sub(core.env.monotonic_ns()));
            if left.is_zero() || core.hop.is_stopping() {
                owned.with(|request| {
                    let _ = refuse(&request, &refused);
                });
                return;
            }
            core.tables.changed().wait().or(core.env.sleep(left)).await;
            let passes = owned.with(|request| {
                let header = PullHeader::decode(&request.command.ext).ok()?;
                let group = core.tables.group(header.consumer_group)?;
                check(&core, &header, &group, &request).ok()
            });
            if passes.is_some() {
                return core.handle_again(owned).await;
            }
        }
    }
}

/// Reads; holds the pull if there is nothing yet and it may wait.
fn answer<E: Env>(core: &Rc<Core<E>>, pull: Pull, responder: Responder<E>, patience: Option<Duration>) {
    let local = core.local(pull.shard).expect("a pull is answered on its shard's core");
    let shard = &local.shard;
    let config = &core.config;
    let max_messages = pull.max_messages.min(config.max_transfer_count_in_memory);
    let began = core.stages.begin(&core.env, Stage::Pull);
    let limits = ReadLimits {
        max_messages,
        max_bytes_hot: config.max_transfer_bytes_in_memory as usize,
        max_bytes_cold: config.max_transfer_bytes_in_disk as usize,
        max_messages_cold: pull.max_messages.min(config.max_transfer_count_in_disk),
        scan_entries: pull.wanted().scan_entries().max(max_messages),
    };
    let outcome = match pull.wanted() {
        Wanted::All => shard.read(pull.queue, pull.offset, &limits, |_| true),
        Wanted::Tags(codes) => shard.read(pull.queue, pull.offset, &limits, |code| codes.contains(&code)),
        Wanted::Sql(program) => {
            shard.read_chosen(pull.queue, pull.offset, &limits, |record| chooses(program, record))
        }
        Wanted::Bad(_) => unreachable!("a pull without a good expression is refused"),
    };
    core.stages.end(&core.env, Stage::Pull, began);
    let (code, next, remark) = match outcome {
        ReadOutcome::Found(plan) => return answer_found(core, shard, pull, responder, plan, limits),
        ReadOutcome::NoneMatched { next_offset } => {
            (response_code::PULL_RETRY_IMMEDIATELY, next_offset, "NO_MATCHED_MESSAGE")
        }
        ReadOutcome::Empty if pull.offset == 0 => (response_code::PULL_NOT_FOUND, 0, "NO_MESSAGE_IN_QUEUE"),
        ReadOutcome::Empty => (response_code::PULL_OFFSET_MOVED, 0, "NO_MESSAGE_IN_QUEUE"),
        ReadOutcome::AtEnd => (response_code::PULL_NOT_FOUND, pull.offset, "OFFSET_OVERFLOW_ONE"),
        ReadOutcome::AfterEnd => {
            (response_code::PULL_OFFSET_MOVED, shard.bounds(pull.queue).max, "OFFSET_OVERFLOW_BADLY")
        }
        ReadOutcome::BeforeStart => {
            (response_code::PULL_OFFSET_MOVED, shard.bounds(pull.queue).min, "OFFSET_TOO_SMALL")
        }
        ReadOutcome::Illegible => return answer_legible(core, shard, pull, responder, patience),
    };
    if code == response_code::PULL_NOT_FOUND
        && let Some(patience) = patience
    {
        pull.ends_at(core, next);
        let deadline = core.env.monotonic_ns().saturating_add(patience.as_nanos() as u64);
        if let Err((pull, responder)) = core.holds.hold(pull, responder, deadline) {
            add(&core.counters.full.holds, 1);
            answer_empty(core, &pull, responder, code, next, remark);
        }
        return;
    }
    answer_empty(core, &pull, responder, code, next, remark);
}

/// An administrator has moved the group: it is told where to.
pub(crate) fn answer_reset<E: Env>(core: &Rc<Core<E>>, pull: &Pull, responder: Responder<E>, offset: u64) {
    answer_empty(core, pull, responder, response_code::PULL_OFFSET_MOVED, offset, "OFFSET_RESET");
}

/// A held pull, woken or timed out: whatever there is now is the answer.
pub(crate) fn answer_again<E: Env>(core: &Rc<Core<E>>, pull: Pull, responder: Responder<E>) {
    answer(core, pull, responder, None);
}

/// The index is not in memory there, or damaged: it is read, and made whole, first.
fn answer_legible<E: Env>(
    core: &Rc<Core<E>>,
    shard: &Shard<E>,
    pull: Pull,
    responder: Responder<E>,
    patience: Option<Duration>,
) {
    let Ok(under_way) = begin_cold_read(core) else { return refuse_cold_read(core, responder) };
    let (core, shard) = (core.clone(), shard.clone());
    core.env.clone().spawn(Class::ColdRead, async move {
        let legible = shard.make_legible(pull.queue, pull.offset, 1).await;
        drop(under_way);
        match legible {
            Ok(()) => answer(&core, pull, responder, patience),
            Err(error) => responder.refuse_with(&Refusal::unreadable(error)),
        }
    });
}

fn begin_cold_read<E: Env>(core: &Rc<Core<E>>) -> Result<UnderWay<E>, u64> {
    UnderWay::begin(core, |counters| &counters.cold_reads, COLD_READS_PER_CORE_MAX)
}

fn refuse_cold_read<E: Env>(core: &Rc<Core<E>>, responder: Responder<E>) {
    let remark =
        format!("[RINGMQ_BUSY] {COLD_READS_PER_CORE_MAX} reads from disk are under way on this core");
    add(&core.counters.full.cold_reads, 1);
    responder.refuse(response_code::SYSTEM_BUSY, &remark);
}

fn answer_found<E: Env>(
    core: &Rc<Core<E>>,
    shard: &Shard<E>,
    pull: Pull,
    responder: Responder<E>,
    plan: ReadPlan<E>,
    limits: ReadLimits,
) {
    let next = plan.next_offset;
    if plan.is_hot() {
        let mut fetch = pin!(fetch(shard, &pull, plan, limits));
        match fetch.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(fetched) => answer_fetched(core, shard, &pull, responder, next, fetched),
            Poll::Pending => unreachable!("a plan in ring memory is fetched without waiting"),
        }
        return;
    }
    let Ok(under_way) = begin_cold_read(core) else { return refuse_cold_read(core, responder) };
    let (core, shard) = (core.clone(), shard.clone());
    core.env.clone().spawn(Class::ColdRead, async move {
        let fetched = fetch(&shard, &pull, plan, limits).await;
        drop(under_way);
        answer_fetched(&core, &shard, &pull, responder, next, fetched);
    });
}

async fn fetch<E: Env>(
    shard: &Shard<E>,
    pull: &Pull,
    plan: ReadPlan<E>,
    limits: ReadLimits,
) -> std::io::Result<Chosen<ExtentOf<E>>> {
    match pull.wanted() {
        Wanted::Sql(program) if !plan.is_chosen() => {
            shard.fetch_chosen(plan, &limits, |record| chooses(program, record)).await
        }
        _ => {
            let (next_offset, messages) = (plan.next_offset, plan.messages);
            let chunks = shard.fetch(plan).await?;
            Ok(Chosen { next_offset, messages, chunks })
        }
    }
}

fn answer_fetched<E: Env>(
    core: &Rc<Core<E>>,
    shard: &Shard<E>,
    pull: &Pull,
    responder: Responder<E>,
    planned_next: u64,
    fetched: std::io::Result<Chosen<ExtentOf<E>>>,
) {
    let Chosen { next_offset: next, messages, chunks: body } = match fetched {
        Ok(Chosen { messages: 0, next_offset, .. }) => {
            let code = response_code::PULL_RETRY_IMMEDIATELY;
            return answer_empty(core, pull, responder, code, next_offset, "NO_MATCHED_MESSAGE");
        }
        Ok(chosen) => chosen,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            tracing::warn!(shard = pull.shard, offset = pull.offset, %error, "damaged messages passed over");
            let code = response_code::PULL_RETRY_IMMEDIATELY;
            return answer_empty(core, pull, responder, code, planned_next, "MESSAGE_WAS_REMOVING");
        }
        Err(error) => return responder.refuse_with(&Refusal::unreadable(error)),
    };
    let bytes = body.iter().map(ringmq_io::Chunk::len).sum::<usize>();
    add(&core.counters.pulls_found, 1);
    add(&core.counters.get_messages, u64::from(messages));
    add(&core.counters.get_bytes, bytes as u64);
    pull.row.count(u64::from(messages), bytes as u64);
    pull.ends_at(core, next);
    let bounds = shard.bounds(pull.queue);
    responder.answer_with_body(
        |out, opaque| {
            let answer = PullAnswer {
                code: response_code::SUCCESS,
                opaque,
                remark: Some("FOUND"),
                suggest_which_broker_id: 0,
                next_begin_offset: next as i64,
                min_offset: bounds.min as i64,
                max_offset: bounds.max as i64,
                topic_sys_flag: Some(pull.topic_sys_flag),
                group_sys_flag: Some(pull.group.sys_flag),
                offset_delta: None,
                forbidden_type: None,
            };
            pull_response(out, Serialization::Json, &answer, bytes)
        },
        body,
    );
}

/// An answer without messages. The master suggests itself (id 0) for the next pull: `slaveReadEnable` is off.
fn answer_empty<E: Env>(
    core: &Rc<Core<E>>,
    pull: &Pull,
    responder: Responder<E>,
    code: i32,
    next: u64,
    remark: &'static str,
) {
    add(&core.counters.pulls_missed, 1);
    pull.ends_at(core, next);
    let bounds = core.local(pull.shard).map(|local| local.shard.bounds(pull.queue)).unwrap_or_default();
    responder.answer(|out, opaque| {
        let answer = PullAnswer {
            code,
            opaque,
            remark: Some(remark),
            suggest_which_broker_id: 0,
            next_begin_offset: next as i64,
            min_offset: bounds.min as i64,
            max_offset: bounds.max as i64,
            topic_sys_flag: Some(pull.topic_sys_flag),
            group_sys_flag: Some(pull.group.sys_flag),
            offset_delta: None,
            forbidden_type: None,
        };
        pull_response(out, Serialization::Json, &answer, 0)
    });
}

//! One core of the broker: its shards, its replica of the tables, its connections, its way to the other cores.
//!
//! Owns: everything that the handlers of this core share. Invariants: shared nothing: a `Core` never leaves its thread;
//! what another core must know goes through `hop`. Core 0 also has the control plane.
//! On failure: a latched shard refuses; the other shards of the core go on.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use ringmq_io::{Class, Env, Lanes};
use ringmq_store::{Indexed, QueueRef, Shard};
use ringmq_transport::{ConnId, Connection, Server};
use ringmq_wire::message_id::{MessageId, UniqueIdGenerator};

use crate::ack::AckQueue;
use crate::ask::{Answer, Question, QueueState, Tickets};
use crate::carried::Carried;
use crate::config::{BrokerConfig, LiveConfig};
use crate::control_plane::ControlPlane;
use crate::filter;
use crate::hold::Holds;
use crate::hop::{CoreMessage, Hop, HoppingRequest, MessageOf};
use crate::lifecycle::Lifecycle;
use crate::once::{Claim, Once};
use crate::parked::Parked;
use crate::pending::{Book, Books};
use crate::placement::Placement;
use crate::reply::Origin;
use crate::request::{OwnedRequest, Target};
use crate::resets::Resets;
use crate::stages::{Stage, Stages};
use crate::stats::{CoreStats, Counters};
use crate::tables::{TableChange, Tables, Topic};
use crate::transactions::Asked;
use crate::vip;

/// Messages from other cores handled between two yields.
const LANE_MESSAGES_PER_TURN: usize = 64;

/// Who this broker is, the same on every core.
#[derive(Clone, Debug)]
pub struct Identity {
    pub cluster: String,
    pub broker_name: String,
    pub broker_id: u64,
    /// `brokerIP1` with `advertisedPort`, else `listenPort`: in every record, in every offset message id, and what name
    /// servers tell clients unless `advertisedAddresses` says otherwise.
    pub store_host: SocketAddr,
    /// The port that it listens on.
    pub listen_port: u16,
    pub region: String,
    pub trace_on: bool,
    /// Properties that every stored message gets.
    pub added_properties: String,
}

impl Identity {
    pub fn new(config: &BrokerConfig, listen_port: u16) -> Self {
        let added = |name: &str, value: &str| format!("{name}\u{1}{value}\u{2}");
        let trace_on = if config.trace_on { "true" } else { "false" };
        let told_port = if config.advertised_port == 0 { listen_port } else { config.advertised_port };
        Self {
            cluster: config.broker_cluster_name.clone(),
            broker_name: config.broker_name.clone(),
            broker_id: config.broker_id,
            store_host: SocketAddr::new(config.broker_ip1, told_port),
            listen_port,
            region: config.region_id.clone(),
            trace_on: config.trace_on,
            added_properties: added("MSG_REGION", &config.region_id)
                + &added("TRACE_ON", trace_on)
                + &added("CLUSTER", &config.broker_cluster_name),
        }
    }
}

/// A shard of this core with what waits on it.
pub struct LocalShard<E: Env> {
    pub shard: Shard<E>,
    pub acks: Rc<AckQueue<E>>,
    pub parked: Rc<Parked<E>>,
    /// Messages that wait for their time.
    pub timers: Rc<Book<E>>,
    /// Half messages of transactions.
    pub halves: Rc<Book<E>>,
    /// How often producers were asked about each of them.
    pub asked: Asked,
}

/// A shard that is open, with what was found waiting in it.
pub struct OpenShard<E: Env> {
    pub shard: Shard<E>,
    pub books: Books<E>,
}

pub struct Core<E: Env> {
    pub env: E,
    pub config: LiveConfig,
    pub identity: Identity,
    pub placement: Placement,
    pub tables: Tables,
    pub hop: Rc<Hop<E>>,
    pub counters: Counters,
    pub stages: Rc<Stages>,
    /// Of the connections, in both directions.
    pub transport: Rc<ringmq_transport::Counters>,
    pub lifecycle: Lifecycle,
    pub holds: Holds<E>,
    pub(crate) carried: Carried,
    pub(crate) resets: Resets,
    pub(crate) once: Once,
    pub(crate) carried_filters: filter::Carried,
    tickets: Rc<Tickets>,
    /// By shard id; `None` where another core runs it.
    shards: Box<[Option<LocalShard<E>>]>,
    unique_ids: RefCell<UniqueIdGenerator>,
    control: OnceCell<Rc<dyn ControlPlane<E>>>,
    server: OnceCell<Rc<Server<E>>>,
}

impl<E: Env> Core<E> {
    /// `shards` are the ones that `placement` gives to this core, opened.
    pub fn new(
        env: &E,
        config: BrokerConfig,
        identity: Identity,
        placement: Placement,
        hop: Rc<Hop<E>>,
        shards: Vec<OpenShard<E>>,
    ) -> Rc<Self> {
        let stages: Rc<Stages> = Rc::default();
        let mut by_id: Vec<Option<LocalShard<E>>> = (0..placement.shards()).map(|_| None).collect();
        for OpenShard { shard, books } in shards {
            assert_eq!(placement.core(shard.id()), env.core(), "shard {} is not of this core", shard.id());
            let id = usize::from(shard.id());
            by_id[id] = Some(LocalShard {
                acks: AckQueue::new(env, &shard, &config, &identity, &stages),
                parked: Parked::new(),
                timers: books.timers,
                halves: books.halves,
                asked: Asked::default(),
                shard,
            });
        }
        let pid = std::process::id() as u16;
        Rc::new(Self {
            env: env.clone(),
            tables: Tables::new(placement, config.broker_permission),
            holds: Holds::new(placement.shards()),
            unique_ids: RefCell::new(UniqueIdGenerator::new(
                identity.store_host.ip(),
                pid,
                env.random() as u32,
            )),
            config: LiveConfig::new(config),
            identity,
            placement,
            hop,
            counters: Counters::default(),
            stages,
            transport: Rc::default(),
            lifecycle: Lifecycle::default(),
            carried: Carried::default(),
            resets: Resets::default(),
            once: Once::default(),
            carried_filters: filter::Carried::default(),
            tickets: Rc::default(),
            shards: by_id.into(),
            control: OnceCell::new(),
            server: OnceCell::new(),
        })
    }

    /// Starts the tasks that every core has: the receiver of the lanes, long-poll wake-ups and time-outs.
    pub fn start(self: &Rc<Self>) {
        self.env.spawn(Class::Foreground, self.clone().receive());
        self.start_holds();
        for local in self.local_shards() {
            local.acks.start(&self.env);
            self.env.spawn(Class::Foreground, crate::timers::deliver(self.clone(), local.shard.id()));
            self.env.spawn(Class::Background, local.timers.clone().keep_short());
            self.env
                .spawn(Class::Foreground, crate::transactions::check_back(self.clone(), local.shard.id()));
            self.env.spawn(Class::Background, local.halves.clone().keep_short());
        }
    }

    /// Only on core 0, once.
    pub fn set_control(&self, control: Rc<dyn ControlPlane<E>>) {
        assert_eq!(self.env.core(), CONTROL_CORE);
        assert!(self.control.set(control).is_ok(), "the control plane was set twice");
    }

    pub fn control(&self) -> Option<&Rc<dyn ControlPlane<E>>> {
        self.control.get()
    }

    pub fn set_server(&self, server: Rc<Server<E>>) {
        assert!(self.server.set(server).is_ok(), "the listener was set twice");
    }

    pub fn server(&self) -> Option<&Rc<Server<E>>> {
        self.server.get()
    }

    /// The shard, if this core runs it.
    pub fn local(&self, shard: u16) -> Option<&LocalShard<E>> {
        self.shards.get(usize::from(shard))?.as_ref()
    }

    pub fn local_shards(&self) -> impl Iterator<Item = &LocalShard<E>> {
        self.shards.iter().flatten()
    }

    pub fn shard_of(&self, topic: &Topic, queue_id: u32) -> u16 {
        self.placement.shard(topic.first_shard, queue_id)
    }

    pub fn core_of(&self, target: Target) -> usize {
        match target {
            Target::Control => CONTROL_CORE,
            Target::Queue { shard, .. } | Target::QueueUnfiltered { shard, .. } | Target::Shard(shard) => {
                self.placement.core(shard)
            }
        }
    }

    /// A unique id for a message whose producer made none.
    pub fn unique_id(&self) -> MessageId {
        self.unique_ids.borrow_mut().next(self.env.now_ms())
    }

    /// Control core: applies a change here and sends it to every other core.
    pub fn publish(&self, change: TableChange) {
        debug_assert_eq!(self.env.core(), CONTROL_CORE);
        self.hop.broadcast(|| CoreMessage::Table(Box::new(change.clone())));
        self.apply(change);
    }

    fn apply(&self, change: TableChange) {
        match change {
            TableChange::Config(settings) => {
                self.config.apply(&settings);
                self.tables.set_broker_permission(self.config.broker_permission);
            }
            other => self.tables.apply(other),
        }
    }

    /// Sends an encoded oneway request to a client, wherever its connection is. Does nothing if it is gone.
    pub fn push_to_client(&self, conn: ConnId, frames: Vec<u8>) {
        let core = Connection::<E>::core_of(conn);
        if core == self.env.core() {
            self.write_to(conn, &frames);
        } else {
            self.hop.send(core, CoreMessage::Push { conn, frames });
        }
    }

    /// State of a queue, from the core that has it.
    pub async fn ask_queue(self: &Rc<Self>, topic: &str, queue_id: u32) -> QueueState {
        let shard = self.placement.shard_of(topic, queue_id);
        let question = Question::Queue { topic: topic.into(), queue_id };
        match self.ask(self.placement.core(shard), question).await {
            Answer::Queue(state) => state,
            other => unreachable!("asked for a queue, was answered {other:?}"),
        }
    }

    /// Forgets a topic's queues on all cores: their offsets start at 0 again. Durable when it returns.
    pub async fn drop_queues(self: &Rc<Self>, topic: &str) -> Result<(), String> {
        for core in 0..self.placement.cores() {
            match self.ask(core, Question::DropQueues { topic: topic.into() }).await {
                Answer::Dropped(outcome) => outcome?,
                other => unreachable!("asked to drop queues, was answered {other:?}"),
            }
        }
        Ok(())
    }

    /// The counters of all cores together.
    pub async fn stats_of_all(self: &Rc<Self>) -> CoreStats {
        let mut sum = CoreStats::default();
        for core in 0..self.placement.cores() {
            match self.ask(core, Question::Stats).await {
                Answer::Stats(stats) => sum += *stats,
                other => unreachable!("asked for statistics, was answered {other:?}"),
            }
        }
        sum
    }

    /// When the oldest message that is kept was stored; `None` without one, or if a store cannot be read.
    pub async fn earliest_of_all(self: &Rc<Self>) -> Option<i64> {
        let mut earliest: Option<i64> = None;
        for core in 0..self.placement.cores() {
            match self.ask(core, Question::Earliest).await {
                Answer::Earliest(Ok(found)) => earliest = earliest.into_iter().chain(found).min(),
                Answer::Earliest(Err(error)) => tracing::warn!(core, error, "the store cannot be read"),
                other => unreachable!("asked for the oldest message, was answered {other:?}"),
            }
        }
        earliest
    }

    /// The counters of this core.
    pub fn stats(&self) -> CoreStats {
        let counters = &self.counters;
        let shard_stats = self.local_shards().map(|local| local.shard.stats());
        CoreStats {
            put_messages: counters.put_messages.get(),
            put_bytes: counters.put_bytes.get(),
            put_refused: counters.put_refused.get(),
            delayed_waiting: self.local_shards().map(|local| local.timers.len() as u64).sum(),
            delayed_delivered: counters.delayed_delivered.get(),
            delayed_lost: counters.delayed_lost.get(),
            sent_back: counters.sent_back.get(),
            dead_letters: counters.dead_letters.get(),
            transactions_waiting: self.local_shards().map(|local| local.halves.len() as u64).sum(),
            transactions_committed: counters.transactions_committed.get(),
            transactions_rolled_back: counters.transactions_rolled_back.get(),
            transactions_given_up: counters.transactions_given_up.get(),
            transaction_checks: counters.transaction_checks.get(),
            recalled: counters.recalled.get(),
            sent_again: counters.sent_again.get(),
            get_messages: counters.get_messages.get(),
            get_bytes: counters.get_bytes.get(),
            pulls_found: counters.pulls_found.get(),
            pulls_missed: counters.pulls_missed.get(),
            holds: self.holds.len() as u64,
            holds_woken: counters.holds_woken.get(),
            holds_timed_out: counters.holds_timed_out.get(),
            hops: self.hop.requests.get(),
            lanes_full: self.hop.lanes_full.get(),
            unsupported: counters.unsupported_total(),
            connections: self.server.get().map_or(0, |server| server.connection_count() as u64),
            frames_in: self.transport.frames_in.get(),
            frames_out: self.transport.frames_out.get(),
            bytes_in: self.transport.bytes_in.get(),
            bytes_out: self.transport.bytes_out.get(),
            log_bytes: shard_stats.map(|stats| stats.log_end - stats.log_start).sum(),
            log_end: self.local_shards().map(|local| local.shard.stats().log_end).sum(),
            shards_latched: self.local_shards().filter(|local| local.shard.latched().is_some()).count()
                as u64,
        }
    }

    /// A queue of a shard of this core. Without an entry in the tables (deleted meanwhile, or they are not filled yet) it is
    /// made known to the shard, as RocketMQ stores such a message too.
    pub fn queue_here(&self, local: &LocalShard<E>, topic: &str, queue_id: u32) -> QueueRef {
        match self.tables.topic(topic) {
            Some(topic) => topic.queue(&local.shard, queue_id),
            None => local.shard.queue(topic, queue_id),
        }
    }

    /// Counts messages that came into a topic by another way than a client's send of them.
    pub fn count_incoming(&self, topic: &str, messages: u64, stored_bytes: u64) {
        if let Some(topic) = self.tables.topic(topic) {
            self.count_in(&topic, messages, stored_bytes);
        }
    }

    /// The same, of a topic of the tables.
    pub fn count_in(&self, topic: &Topic, messages: u64, stored_bytes: u64) {
        topic.incoming(&self.tables.traffic).count(messages, stored_bytes);
        self.counters.record_bytes.note(messages, stored_bytes);
    }

    /// A message began to wait until then.
    pub fn count_delay(&self, due_ms: i64) {
        let wait_ms = (due_ms - self.env.now_ms()).max(0) as u64;
        self.counters.seconds_of_delay.note(1, wait_ms / 1000);
    }

    /// Asks a core, this one included.
    pub async fn ask(self: &Rc<Self>, core: usize, question: Question) -> Answer {
        if core == self.env.core() {
            return self.clone().answer(question).await;
        }
        let ticket = self.tickets.take();
        self.hop.send(core, CoreMessage::Ask { ticket: ticket.number, question: Box::new(question) });
        ticket.answer().await
    }

    async fn answer(self: Rc<Self>, question: Question) -> Answer {
        match question {
            Question::Queue { topic, queue_id } => Answer::Queue(self.queue_state(&topic, queue_id)),
            Question::Stats => Answer::Stats(Box::new(self.stats())),
            Question::Snapshot => Answer::Snapshot(Box::new(self.snapshot())),
            Question::Traffic { cursor } => {
                let (rows, next) = self.tables.traffic.some(cursor);
                Answer::Traffic(rows, next)
            }
            Question::QueueEnds { shard, cursor, most } => {
                let local = self.local(shard).expect("asked of the core that runs the shard");
                let (ends, next) = local.shard.queue_ends(cursor, most);
                Answer::QueueEnds(ends, next)
            }
            Question::Pulled { cursor } => {
                let (rows, next) = self.tables.some_pulled(cursor);
                Answer::Pulled(rows, next)
            }
            Question::LookAtQueues { topic, looks, group } => {
                Answer::Seen(self.look_here(&topic, &looks, group.as_deref()).await)
            }
            Question::Lag { topic, places, tags } => {
                Answer::Lag(self.lag_here(&topic, &places, tags.as_deref()).await)
            }
            Question::Index { topic, queue_id, from, count } => {
                let found = self.index_here(&topic, queue_id, from, count).await;
                Answer::Index(found.map_err(|error| error.to_string()))
            }
            Question::Earliest => Answer::Earliest(self.earliest_here().await),
            Question::Expire => {
                self.local_shards().for_each(|local| local.shard.expire_now());
                Answer::Noted
            }
            Question::DropQueues { topic } => {
                self.resets.forget_topic(&topic);
                let mut outcome = Ok(());
                for local in self.local_shards() {
                    if let Err(error) = local.shard.drop_queues(&topic).await {
                        outcome = Err(error.to_string());
                    }
                }
                Answer::Dropped(outcome)
            }
            Question::Records { topic, key, begin_ms, end_ms, max } => {
                let mut found = Vec::new();
                for local in self.local_shards() {
                    match local.shard.query_key(&topic, &key, begin_ms, end_ms, max).await {
                        Ok(records) => found.extend(records),
                        Err(error) => return Answer::Records(Err(error.to_string())),
                    }
                }
                Answer::Records(Ok(found))
            }
            Question::Store(message) => Answer::Stored(self.store_here(*message).await),
            Question::Recall { topic, key } => {
                Answer::Recalled(crate::handlers::recall_message::recall_here(self, &topic, &key).await)
            }
            Question::Claim { topic, window_ms, hash, not } => {
                Answer::Claimed(self.claim_here(&topic, window_ms, hash, not).await)
            }
            Question::RecentKeys { topic, since_ms, home, max } => {
                let found = self.recent_keys_here(&topic, since_ms, home, max).await;
                Answer::RecentKeys(found.map_err(|error| error.to_string()))
            }
            Question::Earlier { physical, sought } => {
                Answer::Earlier(self.earlier_here(physical, &sought).await)
            }
            Question::Record { shard, physical } => {
                let local = self.local(shard).expect("a shard's core was asked");
                Answer::Record(local.shard.read_at(physical).await.map_err(|error| error.to_string()))
            }
            Question::CreateGroupTopic { topic, queues, unit_mode } => {
                Answer::Created(self.expect_control().create_group_topic(topic, queues, unit_mode).await)
            }
            Question::OffsetAt { topic, queue_id, ms } => {
                Answer::Offset(self.offset_at(&topic, queue_id, ms).await.map_err(|error| error.to_string()))
            }
            Question::SetReset { queue, offset } => {
                self.set_reset(queue, offset);
                Answer::Noted
            }
            Question::ResetTold { queue, offset } => {
                self.expect_control().reset_told(&queue, offset);
                Answer::Noted
            }
            Question::FindProducer { client_id } => {
                Answer::Producer(self.expect_control().find_producer(&client_id))
            }
            Question::AnyProducer { group } => Answer::Producer(self.expect_control().any_producer(&group)),
            Question::CallClient { conn, call, timeout } => {
                Answer::Called(self.call_client_here(conn, *call, timeout).await)
            }
            Question::HoldsLocks { group } => Answer::HoldsLocks(self.expect_control().holds_locks(&group)),
            Question::CreateTopic(wanted) => {
                Answer::Created(self.expect_control().create_topic(wanted).await)
            }
            Question::CreateGroup(group) => Answer::Created(self.expect_control().create_group(group).await),
        }
    }

    fn expect_control(&self) -> Rc<dyn ControlPlane<E>> {
        self.control.get().expect("asked after the control plane was started").clone()
    }

    fn queue_state(&self, topic: &str, queue_id: u32) -> QueueState {
        let shard = self.placement.shard_of(topic, queue_id);
        let local = self.local(shard).expect("a queue's core has its shard");
        match local.shard.find_queue(topic, queue_id) {
            Some(queue) => {
                let bounds = local.shard.bounds(queue);
                QueueState { min: bounds.min, max: bounds.max, young: local.shard.is_young(queue) }
            }
            None => QueueState::default(),
        }
    }

    async fn earliest_here(&self) -> Result<Option<i64>, String> {
        let mut earliest: Option<i64> = None;
        for local in self.local_shards() {
            let found = local.shard.earliest_ms().await.map_err(|error| error.to_string())?;
            earliest = earliest.into_iter().chain(found).min();
        }
        Ok(earliest)
    }

    async fn index_here(
        &self,
        topic: &str,
        queue_id: u32,
        from: u64,
        count: u32,
    ) -> std::io::Result<Option<(QueueState, Vec<Indexed>)>> {
        let shard = self.placement.shard_of(topic, queue_id);
        let shard = &self.local(shard).expect("a queue's core has its shard").shard;
        let Some(queue) = shard.find_queue(topic, queue_id) else { return Ok(None) };
        shard.make_legible(queue, from, count).await?;
        let mut entries = Vec::new();
        shard.look(queue, from, count, |entry| entries.push(entry));
        Ok(Some((self.queue_state(topic, queue_id), entries)))
    }

    async fn offset_at(&self, topic: &str, queue_id: u32, ms: i64) -> std::io::Result<u64> {
        let shard = self.placement.shard_of(topic, queue_id);
        let shard = &self.local(shard).expect("a queue's core has its shard").shard;
        match shard.find_queue(topic, queue_id) {
            None => Ok(0),
            Some(queue) if ms < 0 => Ok(shard.bounds(queue).max),
            Some(queue) => shard.offset_by_time(queue, ms, false).await,
        }
    }

    /// Takes what other cores send, until all of them are gone.
    async fn receive(self: Rc<Self>) {
        let mut taken = 0;
        while let Some((from, message)) = self.hop.lanes().recv().await {
            self.on_core_message(from, message);
            taken += 1;
            if taken % LANE_MESSAGES_PER_TURN == 0 {
                self.env.yield_now().await;
            }
        }
    }

    fn on_core_message(self: &Rc<Self>, from: usize, message: MessageOf<E>) {
        match message {
            CoreMessage::Request(HoppingRequest { conn, peer, target, frame, claim, began }) => {
                self.stages.end(&self.env, Stage::Hop, began);
                let origin = Origin::Remote { hop: self.hop.clone(), conn };
                let claim = claim.map(|name| Claim::new(self, name));
                self.handle_hopped(OwnedRequest { frame, peer, origin, target: Some(target), claim });
            }
            CoreMessage::ClaimEnded { number, stored } => self.end_claim(number, stored),
            CoreMessage::Reply { conn, frames } | CoreMessage::Push { conn, frames } => {
                self.write_to(conn, &frames);
            }
            CoreMessage::ReplyWithBody { conn, frames, body } => {
                // Made in any case: dropping it gives the lease back.
                let body = self.hop.chunks(from, body);
                if let Some(conn) = self.connection(conn) {
                    conn.write_with_body(|out| out.extend_from_slice(&frames), body);
                }
            }
            CoreMessage::Release { lease } => self.hop.release(lease),
            CoreMessage::Closed { conn } => self.connection_is_gone(conn),
            CoreMessage::Table(change) => self.apply(*change),
            CoreMessage::Carried(commits) => self.expect_control().on_carried_commits(commits),
            CoreMessage::Ask { ticket, question } => {
                let core = self.clone();
                self.env.spawn(Class::Foreground, async move {
                    let answer = Box::new(core.clone().answer(*question).await);
                    core.hop.send(from, CoreMessage::Answer { ticket, answer });
                });
            }
            CoreMessage::Answer { ticket, answer } => self.tickets.answer(ticket, *answer),
            CoreMessage::Opened(outcome) => self.lifecycle.peer_opened(from, outcome),
            CoreMessage::Serve => self.lifecycle.serve.signal(),
            CoreMessage::ListenToo { addr } => vip::share(self, addr),
            CoreMessage::Stop => self.lifecycle.stop.signal(),
            CoreMessage::Stopped(outcome) => self.lifecycle.peer_stopped(from, outcome),
            CoreMessage::Open { .. } => {
                tracing::error!(from, "a second start message; ignored");
                debug_assert!(false, "a second start message from core {from}");
            }
        }
    }

    pub(crate) fn connection(&self, conn: ConnId) -> Option<Rc<Connection<E>>> {
        self.server.get()?.connection(conn)
    }

    fn write_to(&self, conn: ConnId, frames: &[u8]) {
        if let Some(conn) = self.connection(conn) {
            conn.write(|out| out.extend_from_slice(frames));
        }
    }

    /// A connection, here or elsewhere, is gone.
    pub(crate) fn connection_is_gone(&self, conn: ConnId) {
        self.holds.drop_connection(conn);
        if let Some(control) = self.control.get() {
            control.on_connection_closed(conn);
        }
    }

    /// Hands the offsets that came with pulls to the control core.
    pub(crate) fn flush_carried(&self) {
        let commits = self.carried.take();
        if commits.is_empty() {
            return;
        }
        match self.control.get() {
            Some(control) => control.on_carried_commits(commits),
            None => self.hop.send(CONTROL_CORE, CoreMessage::Carried(commits)),
        }
    }
}

/// The core that owns the metadata.
pub const CONTROL_CORE: usize = 0;

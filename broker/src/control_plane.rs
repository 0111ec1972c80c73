//! What the data plane needs of the control core, and which requests are its.
//!
//! Invariants: one implementation runs, on core 0; every change that the data plane has to see goes out through
//! `Core::publish` before the promise that announces it is kept (`create_topic` returns after the topic was published,
//! so a retry of the request finds it: lane order does the rest).

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::ConnId;
use ringmq_wire::code::request_code as code;

use crate::group_queue::GroupQueue;
use crate::reply::Refusal;
use crate::request::{Handled, LocalFuture, Request};

/// A topic that a producer has named and nobody made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTopic {
    pub topic: Box<str>,
    /// Whose settings it shall have; normally `TBW102`.
    pub template: Box<str>,
    pub queues: i32,
    pub unit_mode: bool,
    /// For the log.
    pub producer: std::net::SocketAddr,
}

/// An offset that came along with a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedCommit {
    pub group: Box<str>,
    pub topic: Box<str>,
    pub queue_id: u32,
    pub offset: u64,
}

/// The control core's side.
pub trait ControlPlane<E: Env> {
    /// A request of `is_control_request`, from any core.
    fn on_request(self: Rc<Self>, request: &Request<'_, '_, E>) -> Handled;

    /// A connection is gone, on whatever core. Comes after the last request of that connection.
    fn on_connection_closed(&self, conn: ConnId);

    /// Offsets that came with pulls; nobody waits for them.
    fn on_carried_commits(&self, commits: Vec<CarriedCommit>);

    /// Makes the topic by its template, or its retry topic rules; succeeds at once if it is there already.
    fn create_topic(self: Rc<Self>, wanted: WantedTopic) -> LocalFuture<Result<(), Refusal>>;

    /// Makes a group's retry or dead letter topic, for reading and writing; succeeds at once if it is there already.
    fn create_group_topic(
        self: Rc<Self>,
        topic: Box<str>,
        queues: u32,
        unit_mode: bool,
    ) -> LocalFuture<Result<(), Refusal>>;

    /// Does any client hold an unexpired lease on a queue for this group?
    fn holds_locks(&self, group: &str) -> bool;

    /// A pull was told the offset that was reset for its group.
    fn reset_told(&self, queue: &GroupQueue, offset: u64);

    /// The connection of a producer client, the newest of several.
    fn find_producer(&self, client_id: &str) -> Option<ConnId>;

    /// Some connection of a producer group, another one each time.
    fn any_producer(&self, group: &str) -> Option<ConnId>;

    /// Makes the group with default settings; succeeds at once if it is there already.
    fn create_group(self: Rc<Self>, group: Box<str>) -> LocalFuture<Result<(), Refusal>>;
}

/// Requests that the control core answers. Known to every core, so that a request hops at once.
pub fn is_control_request(request: i32) -> bool {
    matches!(
        request,
        code::HEART_BEAT
            | code::UNREGISTER_CLIENT
            | code::GET_CONSUMER_LIST_BY_GROUP
            | code::QUERY_CONSUMER_OFFSET
            | code::UPDATE_CONSUMER_OFFSET
            | code::LOCK_BATCH_MQ
            | code::UNLOCK_BATCH_MQ
            | code::CHECK_CLIENT_CONFIG
            | code::UPDATE_AND_CREATE_TOPIC
            | code::GET_ALL_TOPIC_CONFIG
            | code::GET_TOPIC_CONFIG
            | code::DELETE_TOPIC_IN_BROKER
            | code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
            | code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG
            | code::GET_SUBSCRIPTIONGROUP_CONFIG
            | code::INVOKE_BROKER_TO_RESET_OFFSET
            | code::GET_CONSUMER_RUNNING_INFO
            | code::CONSUME_MESSAGE_DIRECTLY
            | code::UPDATE_BROKER_CONFIG
            | code::GET_BROKER_CONFIG
            | code::GET_BROKER_RUNTIME_INFO
            | code::UPDATE_AND_CREATE_TOPIC_LIST
            | code::GET_TOPIC_STATS_INFO
            | code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER
            | code::QUERY_TOPIC_CONSUME_BY_WHO
            | code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
            | code::DELETE_SUBSCRIPTIONGROUP
            | code::GET_CONSUMER_CONNECTION_LIST
            | code::GET_PRODUCER_CONNECTION_LIST
            | code::GET_ALL_PRODUCER_INFO
            | code::GET_CONSUME_STATS
            | code::GET_BROKER_CONSUME_STATS
            | code::QUERY_CONSUME_TIME_SPAN
            | code::QUERY_CORRECTION_OFFSET
            | code::QUERY_TOPICS_BY_CONSUMER
            | code::QUERY_SUBSCRIPTION_BY_CONSUMER
            | code::CLONE_GROUP_OFFSET
            | code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS
            | code::QUERY_CONSUME_QUEUE
            | code::VIEW_BROKER_STATS_DATA
            | code::GET_BROKER_HA_STATUS
            | code::CLEAN_EXPIRED_CONSUMEQUEUE
            | code::CLEAN_UNUSED_TOPIC
            | code::DELETE_EXPIRED_COMMITLOG
            | code::UPDATE_AND_GET_GROUP_FORBIDDEN
            | code::QUERY_ASSIGNMENT
    )
}

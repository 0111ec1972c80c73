//! The data plane's view of the control plane: which handler serves which request, and what else it asks for.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::ConnId;
use ringmq_wire::code::{request_code as code, response_code};

use super::Control;
use crate::control_plane::{CarriedCommit, ControlPlane, WantedTopic};
use crate::group_queue::GroupQueue;
use crate::handlers;
use crate::reply::Refusal;
use crate::request::{Handled, LocalFuture, Request};

impl<E: Env> ControlPlane<E> for Control<E> {
    fn on_request(self: Rc<Self>, request: &Request<'_, '_, E>) -> Handled {
        let control = &self;
        if is_change(request.command.code)
            && let Err(refusal) = control.may_change()
        {
            return request.refuse(refusal.code, &refusal.remark);
        }
        match request.command.code {
            code::HEART_BEAT => handlers::heartbeat::handle(control, request),
            code::UNREGISTER_CLIENT => handlers::unregister_client::handle(control, request),
            code::CHECK_CLIENT_CONFIG => handlers::check_client_config::handle(&self, request),
            code::GET_CONSUMER_LIST_BY_GROUP => handlers::consumer_list::handle(control, request),
            code::QUERY_CONSUMER_OFFSET => handlers::query_consumer_offset::handle(control, request),
            code::UPDATE_CONSUMER_OFFSET => handlers::update_consumer_offset::handle(control, request),
            code::LOCK_BATCH_MQ => handlers::lock_batch::handle(control, request),
            code::UNLOCK_BATCH_MQ => handlers::unlock_batch::handle(control, request),
            code::UPDATE_AND_CREATE_TOPIC => handlers::update_topic::handle(control, request),
            code::GET_ALL_TOPIC_CONFIG => handlers::all_topic_config::handle(control, request),
            code::GET_TOPIC_CONFIG => handlers::topic_config::handle(control, request),
            code::DELETE_TOPIC_IN_BROKER => handlers::delete_topic::handle(control, request),
            code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => handlers::update_group::handle(control, request),
            code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => handlers::all_group_config::handle(control, request),
            code::GET_SUBSCRIPTIONGROUP_CONFIG => handlers::group_config::handle(control, request),
            code::INVOKE_BROKER_TO_RESET_OFFSET => handlers::reset_offset::handle(control, request),
            code::GET_CONSUMER_RUNNING_INFO | code::CONSUME_MESSAGE_DIRECTLY => {
                handlers::ask_consumer::handle(control, request)
            }
            code::UPDATE_AND_CREATE_TOPIC_LIST => handlers::update_topic_list::handle(control, request),
            code::GET_TOPIC_STATS_INFO => handlers::topic_stats::handle(control, request),
            code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => handlers::system_topics::handle(control, request),
            code::QUERY_TOPIC_CONSUME_BY_WHO => handlers::topic_consumers::handle(control, request),
            code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => {
                handlers::update_group_list::handle(control, request)
            }
            code::UPDATE_AND_GET_GROUP_FORBIDDEN => handlers::group_forbidden::handle(control, request),
            code::DELETE_SUBSCRIPTIONGROUP => handlers::delete_group::handle(control, request),
            code::GET_CONSUMER_CONNECTION_LIST => handlers::consumer_connections::handle(control, request),
            code::GET_PRODUCER_CONNECTION_LIST => handlers::producer_connections::handle(control, request),
            code::GET_ALL_PRODUCER_INFO => handlers::all_producers::handle(control, request),
            code::GET_CONSUME_STATS => handlers::consume_stats::handle(control, request),
            code::GET_BROKER_CONSUME_STATS => handlers::all_consume_stats::handle(control, request),
            code::QUERY_CONSUME_TIME_SPAN => handlers::consume_time_span::handle(control, request),
            code::QUERY_CORRECTION_OFFSET => handlers::correction_offset::handle(control, request),
            code::QUERY_TOPICS_BY_CONSUMER => handlers::topics_of_group::handle(control, request),
            code::QUERY_SUBSCRIPTION_BY_CONSUMER => handlers::group_subscription::handle(control, request),
            code::CLONE_GROUP_OFFSET => handlers::clone_offsets::handle(control, request),
            code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => handlers::consumer_status::handle(control, request),
            code::QUERY_CONSUME_QUEUE => handlers::consume_queue::handle(control, request),
            code::VIEW_BROKER_STATS_DATA => handlers::broker_stats::handle(control, request),
            code::GET_BROKER_HA_STATUS => handlers::ha_status::handle(control, request),
            code::CLEAN_EXPIRED_CONSUMEQUEUE | code::CLEAN_UNUSED_TOPIC | code::DELETE_EXPIRED_COMMITLOG => {
                handlers::clean::handle(control, request)
            }
            code::UPDATE_BROKER_CONFIG => handlers::update_broker_config::handle(control, request),
            code::GET_BROKER_CONFIG => handlers::broker_config::handle(control, request),
            code::GET_BROKER_RUNTIME_INFO => handlers::runtime_info::handle(control, request),
            other => {
                self.core.counters.count_unsupported(other);
                let remark = format!(" request type {other} not supported");
                request.refuse(response_code::REQUEST_CODE_NOT_SUPPORTED, &remark)
            }
        }
    }

    fn on_connection_closed(&self, conn: ConnId) {
        self.connection_closed(conn);
    }

    fn on_carried_commits(&self, commits: Vec<CarriedCommit>) {
        self.carried_commits(commits);
    }

    fn create_topic(self: Rc<Self>, wanted: WantedTopic) -> LocalFuture<Result<(), Refusal>> {
        Box::pin(async move {
            self.room().await?;
            self.make_wanted_topic(&wanted)?;
            self.settled().await
        })
    }

    fn create_group_topic(
        self: Rc<Self>,
        topic: Box<str>,
        queues: u32,
        unit_mode: bool,
    ) -> LocalFuture<Result<(), Refusal>> {
        Box::pin(async move {
            self.room().await?;
            self.make_group_topic(&topic, queues, unit_mode)?;
            self.settled().await
        })
    }

    fn holds_locks(&self, group: &str) -> bool {
        self.locks.borrow().any_held(group, self.uptime_ms())
    }

    fn reset_told(&self, queue: &GroupQueue, offset: u64) {
        self.resets.told(queue, offset);
    }

    fn find_producer(&self, client_id: &str) -> Option<ConnId> {
        self.clients.borrow().producer_client(client_id)
    }

    fn any_producer(&self, group: &str) -> Option<ConnId> {
        self.clients.borrow_mut().any_producer(group)
    }

    fn create_group(self: Rc<Self>, group: Box<str>) -> LocalFuture<Result<(), Refusal>> {
        Box::pin(async move {
            self.room().await?;
            if self.group_or_auto_created(&group)?.is_none() {
                let remark = format!("subscription group [{group}] does not exist");
                return Err(Refusal::new(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
            }
            self.all_announced().await
        })
    }
}

/// Requests that are an administrator's change. Others ask the journal where they come to change something: a commit
/// that nobody waits for is kept until there is room, and a heartbeat mostly changes nothing.
fn is_change(request: i32) -> bool {
    matches!(
        request,
        code::UPDATE_AND_CREATE_TOPIC
            | code::UPDATE_AND_CREATE_TOPIC_LIST
            | code::DELETE_TOPIC_IN_BROKER
            | code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
            | code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
            | code::DELETE_SUBSCRIPTIONGROUP
            | code::CLONE_GROUP_OFFSET
            | code::UPDATE_BROKER_CONFIG
            | code::INVOKE_BROKER_TO_RESET_OFFSET
    )
}

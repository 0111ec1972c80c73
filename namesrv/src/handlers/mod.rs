//! Requests by code: which function answers which.
//!
//! Invariants: every request that is not oneway gets exactly one answer, with a JSON header; a header or body that
//! cannot be read is answered SYSTEM_ERROR with what is wrong, a code that is not listed REQUEST_CODE_NOT_SUPPORTED.

mod broker;
mod config;
mod kv_config;
mod route;
mod topics;

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::{Connection, Flow, FrameRef, Parts, Service};
use ringmq_wire::code::{request_code as ask, response_code};
use ringmq_wire::encode::{EncodeError, FrameWriter, begin_response};
use ringmq_wire::headers::FieldError;
use ringmq_wire::json_dialect::BodyError;
use ringmq_wire::{Command, Serialization};
use thiserror::Error;
use tracing::{error, info, warn};

use crate::NameServer;
use crate::kv::KvError;
use crate::table::RegistrationError;

/// Why a request cannot be answered as it asks.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Header(#[from] FieldError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("{1}")]
    Code(i32, String),
}

impl Refusal {
    fn code(&self) -> i32 {
        match self {
            Refusal::Code(code, _) => *code,
            _ => response_code::SYSTEM_ERROR,
        }
    }
}

/// Where the answer to one request goes.
#[derive(Clone)]
pub(crate) struct Asker<E: Env> {
    conn: Rc<Connection<E>>,
    opaque: i32,
    oneway: bool,
}

impl<E: Env> Asker<E> {
    pub(crate) fn peer(&self) -> std::net::SocketAddr {
        self.conn.peer()
    }

    pub(crate) fn connection(&self) -> &Rc<Connection<E>> {
        &self.conn
    }

    fn put(
        &self,
        code: i32,
        remark: Option<&str>,
        header: impl FnOnce(&mut FrameWriter<'_>),
        body: &[u8],
    ) -> Result<(), EncodeError> {
        let mut result = Ok(0);
        if !self.oneway {
            self.conn.write(|out| {
                let mut writer = begin_response(out, Serialization::Json, code, self.opaque, 0, remark);
                header(&mut writer);
                result = writer.finish(body);
            });
        }
        result.map(drop)
    }

    pub(crate) fn ok(&self) {
        self.ok_with(|_| {}, &[]);
    }

    pub(crate) fn ok_body(&self, body: &[u8]) {
        self.ok_with(|_| {}, body);
    }

    pub(crate) fn ok_with(&self, header: impl FnOnce(&mut FrameWriter<'_>), body: &[u8]) {
        if let Err(error) = self.put(response_code::SUCCESS, None, header, body) {
            self.too_long(&error);
        }
    }

    /// Success with a long body.
    pub(crate) fn ok_parts(&self, body: Parts) {
        if self.oneway {
            return;
        }
        let mut head = Vec::with_capacity(128);
        let writer =
            begin_response(&mut head, Serialization::Json, response_code::SUCCESS, self.opaque, 0, None);
        match writer.finish_with_external_body(body.bytes()) {
            Ok(_) => self.conn.write_with_body(|out| out.extend_from_slice(&head), body.into_chunks()),
            Err(error) => self.too_long(&error),
        }
    }

    /// Only a table too large for a frame gets here.
    fn too_long(&self, error: &EncodeError) {
        error!(peer = %self.peer(), %error, "answer does not fit a frame");
        self.refuse(&Refusal::Code(response_code::SYSTEM_ERROR, error.to_string()));
    }

    pub(crate) fn ok_remark(&self, remark: &str) {
        self.put(response_code::SUCCESS, Some(remark), |_| {}, &[]).expect("a short answer fits a frame");
    }

    pub(crate) fn refuse(&self, refusal: &Refusal) {
        let remark = refusal.to_string();
        // A remark may quote what came in, which was bounded by a frame and escaped may not be.
        let remark = remark.char_indices().nth(2048).map_or(&*remark, |(end, _)| &remark[..end]);
        self.put(refusal.code(), Some(remark), |_| {}, &[]).expect("a short answer fits a frame");
    }
}

type Handled = Result<Flow, Refusal>;

impl<E: Env> Service<E> for NameServer<E> {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        let command = &frame.command;
        let asker = Asker { conn: conn.clone(), opaque: command.opaque, oneway: command.is_oneway() };
        self.answer(&asker, command).unwrap_or_else(|refusal| {
            info!(peer = %conn.peer(), code = command.code, %refusal, "request refused");
            asker.refuse(&refusal);
            Flow::Continue
        })
    }

    fn on_close(&self, conn: &Rc<Connection<E>>) {
        self.table.borrow_mut().connection_lost(conn.id());
    }
}

impl<E: Env> NameServer<E> {
    fn answer(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        match command.code {
            ask::GET_ROUTEINFO_BY_TOPIC => self.get_route(asker, command),
            ask::REGISTER_BROKER => self.register_broker(asker, command),
            ask::UNREGISTER_BROKER => self.unregister_broker(asker, command),
            ask::QUERY_DATA_VERSION => self.query_data_version(asker, command),
            ask::BROKER_HEARTBEAT => self.broker_heartbeat(asker, command),
            ask::GET_BROKER_MEMBER_GROUP => self.get_member_group(asker, command),
            ask::GET_BROKER_CLUSTER_INFO => self.get_cluster_info(asker),
            ask::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write_perm(asker, command),
            ask::ADD_WRITE_PERM_OF_BROKER => self.add_write_perm(asker, command),
            ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER
            | ask::GET_TOPICS_BY_CLUSTER
            | ask::GET_SYSTEM_TOPIC_LIST_FROM_NS
            | ask::GET_UNIT_TOPIC_LIST
            | ask::GET_HAS_UNIT_SUB_TOPIC_LIST
            | ask::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => self.list_topics(asker, command),
            ask::REGISTER_TOPIC_IN_NAMESRV => self.register_topic(asker, command),
            ask::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(asker, command),
            ask::PUT_KV_CONFIG => self.put_kv(asker, command),
            ask::GET_KV_CONFIG => self.get_kv(asker, command),
            ask::DELETE_KV_CONFIG => self.delete_kv(asker, command),
            ask::GET_KVLIST_BY_NAMESPACE => self.get_kv_namespace(asker, command),
            ask::UPDATE_NAMESRV_CONFIG => self.update_config(asker, command),
            ask::GET_NAMESRV_CONFIG => self.get_config(asker),
            other => {
                self.not_supported.set(self.not_supported.get() + 1);
                warn!(peer = %asker.peer(), code = other, "request code not supported");
                let remark = format!(" request type {other} not supported");
                Err(Refusal::Code(response_code::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
        }
    }
}

//! What brokers say (103, 104, 322, 904), and what is asked about them (106, 205, 327, 901).

use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_transport::Flow;
use ringmq_wire::Command;
use ringmq_wire::code::response_code::SYSTEM_ERROR;
use ringmq_wire::headers::{
    BrokerHeartbeatHeader, BrokerIdentityHeader, BrokerMemberGroupHeader, BrokerNameHeader,
    RegisterBrokerAnswerHeader, RegisterBrokerHeader,
};
use ringmq_wire::json_dialect::{BrokerMemberGroupAnswer, DataVersion, RegisterBrokerBody, read, to_vec};
use ringmq_wire::message::body_crc;
use ringmq_wire::version::ordinal;
use tracing::info;

use super::{Asker, Handled, Refusal};
use crate::NameServer;
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::table::Registration;

impl<E: Env> NameServer<E> {
    /// RocketMQ 5.5.0 DefaultRequestProcessor#registerBroker.
    pub(super) fn register_broker(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = RegisterBrokerHeader::decode(&command.ext)?;
        if header.body_crc32 != 0 && header.body_crc32 != body_crc(command.body) {
            return Err(Refusal::Code(SYSTEM_ERROR, "crc32 not match".into()));
        }
        let body = registered_topics(command, header.compressed)?;
        let (delete_missing, return_order) = {
            let config = self.config.borrow();
            (config.delete_topic_with_broker_registration, config.return_order_topic_config_to_broker)
        };
        let patience = header.heartbeat_timeout_millis.map(|ms| Duration::from_millis(ms.max(0) as u64));
        let registration = Registration {
            cluster: header.cluster_name,
            addr: header.broker_addr,
            name: header.broker_name,
            id: header.broker_id,
            ha_addr: header.ha_server_addr,
            zone: header.zone_name,
            patience,
            acting_master: header.enable_acting_master,
            topics: &body.topic_config_serialize_wrapper,
            filter_servers: body.filter_server_list.clone(),
            conn: asker.connection().id(),
            now_ns: self.env.monotonic_ns(),
        };
        let registered = self.table.borrow_mut().register(registration, delete_missing)?;
        let order =
            return_order.then(|| self.kv.table_text(ORDER_TOPIC_CONFIG)).flatten().unwrap_or_default();
        let answer = RegisterBrokerAnswerHeader {
            ha_server_addr: registered.master_ha_addr.as_deref(),
            master_addr: registered.master_addr.as_deref(),
        };
        asker.ok_with(
            |writer| {
                writer.ensure_ext();
                answer.write(writer);
            },
            &order,
        );
        Ok(Flow::Continue)
    }

    pub(super) fn unregister_broker(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = BrokerIdentityHeader::decode(&command.ext)?;
        self.table.borrow_mut().unregister(header.cluster_name, header.broker_addr, header.broker_name);
        asker.ok();
        Ok(Flow::Continue)
    }

    pub(super) fn query_data_version(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = BrokerIdentityHeader::decode(&command.ext)?;
        let theirs: DataVersion = read(command.body)?;
        let now = self.env.monotonic_ns();
        let ours = self.table.borrow_mut().touch(header.cluster_name, header.broker_addr, now);
        let body = ours.map(|version| to_vec(&version)).unwrap_or_default();
        asker.ok_with(
            |writer| {
                writer.ext_bool("changed", ours != Some(theirs));
            },
            &body,
        );
        Ok(Flow::Continue)
    }

    pub(super) fn broker_heartbeat(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = BrokerHeartbeatHeader::decode(&command.ext)?;
        let now = self.env.monotonic_ns();
        self.table.borrow_mut().touch(header.cluster_name, header.broker_addr, now);
        asker.ok();
        Ok(Flow::Continue)
    }

    pub(super) fn get_member_group(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = BrokerMemberGroupHeader::decode(&command.ext)?;
        let group = self.table.borrow().member_group(header.cluster_name, header.broker_name);
        asker.ok_body(&to_vec(&BrokerMemberGroupAnswer { broker_member_group: group }));
        Ok(Flow::Continue)
    }

    pub(super) fn get_cluster_info(self: &Rc<Self>, asker: &Asker<E>) -> Handled {
        asker.ok_body(&to_vec(&self.table.borrow().cluster_info()));
        Ok(Flow::Continue)
    }

    pub(super) fn wipe_write_perm(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = BrokerNameHeader::decode(&command.ext)?;
        let topics = self.table.borrow_mut().wipe_write_perm(header.broker_name);
        info!(broker = header.broker_name, peer = %asker.peer(), topics, "write permission wiped");
        asker.ok_with(
            |writer| {
                writer.ext_int("wipeTopicCount", topics);
            },
            &[],
        );
        Ok(Flow::Continue)
    }

    pub(super) fn add_write_perm(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = BrokerNameHeader::decode(&command.ext)?;
        let topics = self.table.borrow_mut().add_write_perm(header.broker_name);
        info!(broker = header.broker_name, peer = %asker.peer(), topics, "write permission added");
        asker.ok_with(
            |writer| {
                writer.ext_int("addTopicCount", topics);
            },
            &[],
        );
        Ok(Flow::Continue)
    }
}

/// The body's form depends on the broker's version: before V3_0_11 it is the topic table alone.
fn registered_topics(command: &Command<'_>, compressed: bool) -> Result<RegisterBrokerBody, Refusal> {
    if command.body.is_empty() {
        return Ok(RegisterBrokerBody::default());
    }
    if command.version >= ordinal::V3_0_11 {
        return Ok(RegisterBrokerBody::decode(command.body, compressed, command.version)?);
    }
    Ok(RegisterBrokerBody {
        topic_config_serialize_wrapper: read(command.body)?,
        ..RegisterBrokerBody::default()
    })
}

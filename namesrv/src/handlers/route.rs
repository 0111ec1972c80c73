//! 105, by far the most frequent request: where is this topic?

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::Flow;
use ringmq_wire::Command;
use ringmq_wire::code::response_code::{SYSTEM_ERROR, TOPIC_NOT_EXIST};
use ringmq_wire::headers::GetRouteHeader;
use ringmq_wire::json_dialect::{Dialect, to_vec, write};
use ringmq_wire::version::ordinal;

use super::{Asker, Handled, Refusal};
use crate::NameServer;
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::table::filter_by_zone;

impl<E: Env> NameServer<E> {
    /// RocketMQ 5.5.0 ClientRequestProcessor#getRouteInfoByTopic.
    pub(super) fn get_route(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = GetRouteHeader::decode(&command.ext)?;
        let (order, acting_master) = {
            let config = self.config.borrow();
            if config.need_wait_for_service && self.uptime() < config.wait_for_service {
                return Err(Refusal::Code(SYSTEM_ERROR, "name server not ready".into()));
            }
            (config.order_message_enable, config.support_acting_master)
        };
        let standard = command.version >= ordinal::V4_9_4 || header.accept_standard_json_only;
        let dialect = if standard { Dialect::Standard } else { Dialect::Legacy };
        let zone =
            command.ext.get_bool("__ZONE_MODE").unwrap_or(false).then(|| command.ext.get("__ZONE_NAME"));
        let zone = zone.flatten().filter(|zone| !zone.trim().is_empty());
        let table = self.table.borrow();
        if !order && zone.is_none() {
            let text = table.route_text(header.topic, dialect, acting_master);
            asker.ok_body(&text.ok_or_else(|| unknown(header.topic))?);
            return Ok(Flow::Continue);
        }
        let mut route = table.route(header.topic, acting_master).ok_or_else(|| unknown(header.topic))?;
        if order {
            route.order_topic_conf = self.kv.get(ORDER_TOPIC_CONFIG, header.topic);
        }
        let text = match zone {
            Some(zone) => {
                filter_by_zone(&mut route, zone);
                // The reference writes a filtered route again without looking at the client's version.
                to_vec(&route)
            }
            None => {
                let mut text = Vec::new();
                write(&mut text, &route, dialect);
                text
            }
        };
        asker.ok_body(&text);
        Ok(Flow::Continue)
    }
}

fn unknown(topic: &str) -> Refusal {
    Refusal::Code(TOPIC_NOT_EXIST, format!("No topic route info in name server for the topic: {topic}"))
}

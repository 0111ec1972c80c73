//! Lists of topics (206, 224, 304, 311 to 313), and single topics (216, 217).

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::Flow;
use ringmq_wire::Command;
use ringmq_wire::code::request_code as ask;
use ringmq_wire::code::response_code::SYSTEM_ERROR;
use ringmq_wire::headers::{DeleteTopicInNamesrvHeader, RegisterTopicHeader, TopicsByClusterHeader};
use ringmq_wire::json_dialect::{TopicRouteData, read, to_vec};

use super::{Asker, Handled, Refusal};
use crate::NameServer;
use crate::table::TopicFlag;

impl<E: Env> NameServer<E> {
    pub(super) fn list_topics(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let enabled = {
            let config = self.config.borrow();
            match command.code {
                ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => config.enable_all_topic_list,
                ask::GET_SYSTEM_TOPIC_LIST_FROM_NS => true,
                _ => config.enable_topic_list,
            }
        };
        if !enabled {
            return Err(Refusal::Code(SYSTEM_ERROR, "disable".into()));
        }
        let table = self.table.borrow();
        let list = match command.code {
            ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => table.all_topics(),
            ask::GET_TOPICS_BY_CLUSTER => {
                table.topics_of_cluster(TopicsByClusterHeader::decode(&command.ext)?.cluster)
            }
            ask::GET_SYSTEM_TOPIC_LIST_FROM_NS => table.system_topics(),
            ask::GET_UNIT_TOPIC_LIST => table.topics_with(TopicFlag::Unit),
            ask::GET_HAS_UNIT_SUB_TOPIC_LIST => table.topics_with(TopicFlag::UnitSub),
            ask::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => table.topics_with(TopicFlag::UnitSubWithoutUnit),
            other => unreachable!("{other} lists no topics"),
        };
        asker.ok_body(&to_vec(&list));
        Ok(Flow::Continue)
    }

    pub(super) fn register_topic(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = RegisterTopicHeader::decode(&command.ext)?;
        if !command.body.is_empty() {
            let route: TopicRouteData = read(command.body)?;
            self.table.borrow_mut().register_topic(header.topic, &route.queue_datas)?;
        }
        asker.ok();
        Ok(Flow::Continue)
    }

    pub(super) fn delete_topic(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = DeleteTopicInNamesrvHeader::decode(&command.ext)?;
        let cluster = header.cluster_name.filter(|cluster| !cluster.is_empty());
        self.table.borrow_mut().delete_topic(header.topic, cluster);
        asker.ok();
        Ok(Flow::Continue)
    }
}

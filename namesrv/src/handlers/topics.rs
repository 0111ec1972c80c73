//! Lists of topics (206, 224, 304, 311 to 313), and single topics (216, 217).

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::{FRAME_BYTES_MAX, NAMESRV_LOOKS_PER_TURN};
use ringmq_transport::{Flow, Parts};
use ringmq_wire::Command;
use ringmq_wire::code::request_code as ask;
use ringmq_wire::code::response_code::SYSTEM_ERROR;
use ringmq_wire::headers::{DeleteTopicInNamesrvHeader, RegisterTopicHeader, TopicsByClusterHeader};
use ringmq_wire::json_dialect::{Dialect, TopicRouteData, read, to_vec, write};

use super::{Asker, Handled, Refusal};
use crate::NameServer;
use crate::table::{Name, TopicFlag, Which};

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
        let which = match command.code {
            ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Which::All,
            ask::GET_TOPICS_BY_CLUSTER => {
                Which::OfCluster(TopicsByClusterHeader::decode(&command.ext)?.cluster.into())
            }
            ask::GET_SYSTEM_TOPIC_LIST_FROM_NS => {
                asker.ok_body(&to_vec(&self.table.borrow().system_topics()));
                return Ok(Flow::Continue);
            }
            ask::GET_UNIT_TOPIC_LIST => Which::With(TopicFlag::Unit),
            ask::GET_HAS_UNIT_SUB_TOPIC_LIST => Which::With(TopicFlag::UnitSub),
            ask::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => Which::With(TopicFlag::UnitSubWithoutUnit),
            other => unreachable!("{other} lists no topics"),
        };
        Ok(Flow::Wait(Box::pin(self.clone().tell_names(asker.clone(), which))))
    }

    /// A list of any length, made in parts between which other tasks run.
    async fn tell_names(self: Rc<Self>, asker: Asker<E>, which: Which) {
        let _turn = self.lists.take_turn().await;
        let mut text = Parts::default();
        text.put(b"{\"topicList\":[");
        let (mut after, mut name_text) = (None::<Name>, Vec::new());
        let mut is_first = true;
        loop {
            let (names, next) =
                self.table.borrow().some_topics(&which, after.as_deref(), NAMESRV_LOOKS_PER_TURN);
            for name in names {
                name_text.clear();
                if !std::mem::take(&mut is_first) {
                    name_text.push(b',');
                }
                write(&mut name_text, &&*name, Dialect::Legacy);
                text.put(&name_text);
            }
            after = next;
            if after.is_none() || text.bytes() > FRAME_BYTES_MAX {
                break;
            }
            self.env.yield_now().await;
        }
        text.put(b"]}");
        asker.ok_parts(text);
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

//! A name server as far as brokers see it: notes which topics they register, and passes over known topics when a
//! registration repeats the version that it knows, as RocketMQ's does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use ringmq_broker::control::registration::NameServer;
use ringmq_io::sync::Stop;
use ringmq_io::{Env, Net, Sharing};
use ringmq_simenv::{CrashKind, Host, SimEnv};
use ringmq_transport::{Connection, Flow, FrameRef, ServerConfig, Service, serve};
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::headers::RegisterBrokerHeader;
use ringmq_wire::json_dialect::{DataVersion, RegisterBrokerBody, TopicConfig};

use crate::common::Scene;

const PORT: u16 = 9876;

#[derive(Default)]
struct Known {
    topics: RefCell<BTreeMap<String, TopicConfig>>,
    version: Cell<Option<DataVersion>>,
    unregistered: Cell<bool>,
}

#[derive(Clone)]
pub struct FakeNameServer {
    host: Rc<Host>,
    known: Rc<Known>,
}

pub fn start(scene: &Scene, name: &str) -> FakeNameServer {
    let server = FakeNameServer { host: Rc::new(scene.world.host(name)), known: Rc::default() };
    server.restart();
    server
}

impl FakeNameServer {
    pub fn as_configured(&self) -> NameServer {
        NameServer::new(self.host.name())
    }

    pub fn knows(&self, topic: &str) -> bool {
        self.known.topics.borrow().contains_key(topic)
    }

    /// Read queues of a topic.
    pub fn queues(&self, topic: &str) -> Option<i32> {
        self.known.topics.borrow().get(topic).map(|topic| topic.read_queue_nums)
    }

    pub fn unregistered(&self) -> bool {
        self.known.unregistered.get()
    }

    /// Ends it; what it knew is gone.
    pub fn crash(&self) {
        self.host.crash(CrashKind::Process);
        self.known.topics.borrow_mut().clear();
        self.known.version.set(None);
    }

    pub fn restart(&self) {
        let known = self.known.clone();
        self.host.start(1, move |env| {
            let service = Rc::new(Answers(known.clone()));
            async move {
                let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
                let listener = env.net().listen(addr, Sharing::Alone).unwrap();
                let stop = Stop::new();
                let _server = serve(&env, listener, service, stop.clone(), ServerConfig::new(Rc::default()));
                stop.wait().await;
            }
        });
    }
}

struct Answers(Rc<Known>);

impl Service<SimEnv> for Answers {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<SimEnv>>, frame: FrameRef<'_>) -> Flow {
        let command = &frame.command;
        match command.code {
            code::REGISTER_BROKER => {
                let header = RegisterBrokerHeader::decode(&command.ext).unwrap();
                assert_eq!((header.broker_name, header.cluster_name), ("broker-a", "DefaultCluster"));
                assert_eq!(header.body_crc32, (crc32fast::hash(command.body) & 0x7FFF_FFFF) as i32);
                let body =
                    RegisterBrokerBody::decode(command.body, header.compressed, command.version).unwrap();
                let table = body.topic_config_serialize_wrapper;
                let news = self.0.version.replace(Some(table.data_version)) != Some(table.data_version);
                let mut topics = self.0.topics.borrow_mut();
                for (name, topic) in table.topic_config_table {
                    if news || !topics.contains_key(&name) {
                        topics.insert(name, topic);
                    }
                }
            }
            code::UNREGISTER_BROKER => self.0.unregistered.set(true),
            other => panic!("a broker asks a name server for {other}"),
        }
        conn.write(|out| {
            begin_response(out, Serialization::Json, 0, command.opaque, 0, None).finish(&[]).unwrap();
        });
        Flow::Continue
    }
}

//! What the verbs ask servers, over connections that are made when first needed and kept.
//!
//! Owns: one connection per server; the answers as typed bodies. Invariants: only RocketMQ's own requests, so that Apache's
//! servers answer as well; a wait for a server ends (`Rpc`). On failure: an error with the server's address, its code and remark.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use ringmq_bench::rpc::{Rpc, refused};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::encode::FrameWriter;
use ringmq_wire::headers::GetRouteHeader;
use ringmq_wire::json_dialect::{self, ClusterInfo, TopicRouteData};
use serde::de::DeserializeOwned;

pub struct Session {
    pub name_servers: Vec<String>,
    connections: BTreeMap<String, Rpc>,
}

/// An answer, whatever its code.
pub struct Answer {
    pub code: i32,
    /// With address, code and remark, for when the code is not what was hoped for.
    pub refusal: String,
    pub fields: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer if it is a success.
    pub fn ok(self) -> Result<Self> {
        if self.code == response_code::SUCCESS { Ok(self) } else { bail!(self.refusal) }
    }

    pub fn body<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(json_dialect::read(&self.body)?)
    }

    pub fn number(&self, field: &str) -> Result<i64> {
        let text = self.fields.get(field).with_context(|| format!("an answer without {field}"))?;
        text.parse().with_context(|| format!("an answer with {field} {text:?}"))
    }
}

/// One broker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub cluster: String,
    pub name: String,
    /// 0 is the master.
    pub id: i64,
    pub address: String,
}

impl Session {
    /// `name_servers` as RocketMQ writes them: `HOST:PORT;HOST:PORT`.
    pub fn new(name_servers: &str) -> Self {
        let servers = name_servers.split(';').map(str::trim).filter(|server| !server.is_empty());
        Self { name_servers: servers.map(str::to_owned).collect(), connections: BTreeMap::new() }
    }

    pub fn ask(
        &mut self,
        address: &str,
        code: i32,
        header: impl FnOnce(&mut FrameWriter<'_>),
        body: &[u8],
    ) -> Result<Answer> {
        if !self.connections.contains_key(address) {
            self.connections.insert(address.to_owned(), Rpc::connect(address)?);
        }
        let rpc = self.connections.get_mut(address).expect("just connected");
        let name = request_code::name(code).unwrap_or("request");
        let answer = rpc.call_with_body(code, header, body, |command| {
            let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
            Ok(Answer {
                code: command.code,
                fields: command.ext.iter().map(text).collect(),
                refusal: refused(&format!("{address} refuses {name}"), command).to_string(),
                body: command.body.to_vec(),
            })
        });
        if answer.is_err() {
            // An answer that comes too late must not be taken for the next one's.
            self.connections.remove(address);
        }
        answer.with_context(|| format!("{name} to {address}"))
    }

    /// Asks the first name server that is up.
    pub fn ask_names(&mut self, code: i32, header: impl Fn(&mut FrameWriter<'_>)) -> Result<Answer> {
        let mut last = None;
        for server in self.name_servers.clone() {
            match self.ask(&server, code, &header, &[]) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error.context(format!("name server {server}"))),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no name server is named: -n HOST:PORT")))
    }

    pub fn brokers(&mut self) -> Result<Vec<Broker>> {
        let info: ClusterInfo =
            self.ask_names(request_code::GET_BROKER_CLUSTER_INFO, |_| {})?.ok()?.body()?;
        let mut brokers = Vec::new();
        for (cluster, names) in info.cluster_addr_table {
            for name in names {
                let addresses = info.broker_addr_table.get(&name).map(|data| data.broker_addrs.clone());
                brokers.extend(addresses.into_iter().flatten().map(|(id, address)| Broker {
                    cluster: cluster.clone(),
                    name: name.clone(),
                    id,
                    address,
                }));
            }
        }
        brokers.sort_by(|a, b| (&a.cluster, &a.name, a.id).cmp(&(&b.cluster, &b.name, b.id)));
        Ok(brokers)
    }

    /// The masters, at least one.
    pub fn masters(&mut self) -> Result<Vec<Broker>> {
        let mut masters = self.brokers()?;
        masters.retain(|broker| broker.id == 0);
        if masters.is_empty() {
            bail!("the name server {} knows no master", self.name_servers.join(";"));
        }
        Ok(masters)
    }

    /// The broker of this address or name; without one, the only broker there is.
    pub fn broker(&mut self, wanted: Option<&str>) -> Result<String> {
        if let Some(address) = wanted.filter(|wanted| wanted.contains(':')) {
            return Ok(address.to_owned());
        }
        let brokers = self.masters()?;
        let listed = || {
            let all: Vec<_> = brokers.iter().map(|b| format!("{} ({})", b.name, b.address)).collect();
            all.join(", ")
        };
        match wanted {
            Some(name) => match brokers.iter().find(|broker| broker.name == name) {
                Some(broker) => Ok(broker.address.clone()),
                None => bail!("no broker is named {name}; there are {}", listed()),
            },
            None if brokers.len() == 1 => Ok(brokers[0].address.clone()),
            None => bail!("which broker? {}", listed()),
        }
    }

    /// `None`: there is no such topic.
    pub fn find_route(&mut self, topic: &str) -> Result<Option<TopicRouteData>> {
        let header = GetRouteHeader { topic, accept_standard_json_only: true };
        let answer = self.ask_names(request_code::GET_ROUTEINFO_BY_TOPIC, |w| header.write(w))?;
        if answer.code == response_code::TOPIC_NOT_EXIST {
            return Ok(None);
        }
        answer.ok()?.body().map(Some)
    }

    pub fn route(&mut self, topic: &str) -> Result<TopicRouteData> {
        let route = self.find_route(topic)?;
        route.with_context(|| {
            format!("no broker has topic {topic} (name server {})", self.name_servers.join(";"))
        })
    }
}

/// The masters in a route.
pub fn masters_of(route: &TopicRouteData) -> Vec<Broker> {
    let master = |data: &json_dialect::BrokerData| {
        let address = data.broker_addrs.get(&0)?.clone();
        Some(Broker { cluster: data.cluster.clone(), name: data.broker_name.clone(), id: 0, address })
    };
    route.broker_datas.iter().filter_map(master).collect()
}

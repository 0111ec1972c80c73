//! What is loaded: the topics, the brokers that hold them, their queues.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::headers::{AUTO_CREATE_TOPIC, CreateTopicHeader, GetRouteHeader};
use serde_json::Value;

use crate::args::Common;
use crate::rpc::{Rpc, refused, resolve};

const PERM_READ: i64 = 4;
const PERM_WRITE: i64 = 2;

pub struct Queue {
    pub topic: usize,
    pub broker: usize,
    pub id: i32,
    pub readable: bool,
    pub writable: bool,
}

/// A broker that has just started is known to the name server by then, and a topic that was just made.
const ROUTE_WITHIN: Duration = Duration::from_secs(20);
const ROUTE_PAUSE: Duration = Duration::from_millis(20);

/// Topics are made, and their routes asked for, over so many connections at once, as the members of a cluster that starts would.
const AT_ONCE: usize = 8;

pub struct Target {
    pub topics: Vec<String>,
    pub broker_names: Vec<String>,
    pub addrs: Vec<SocketAddr>,
    pub queues: Vec<Queue>,
}

impl Target {
    /// Creates the topics where asked to and reads their routes.
    pub fn prepare(args: &Common) -> Result<Self> {
        let topics: Vec<String> = match args.topics {
            1 => vec![args.topic.clone()],
            n => (0..n).map(|i| format!("{}-{i}", args.topic)).collect(),
        };
        let mut names = Rpc::connect(&args.namesrv)?;
        if !args.no_create {
            create(&mut names, &topics, args.queues)?;
        }
        let mut target = Self { topics, broker_names: Vec::new(), addrs: Vec::new(), queues: Vec::new() };
        let least = if args.no_create { 0 } else { args.queues };
        let with_connection = || {
            let mut names = Rpc::connect(&args.namesrv)?;
            Ok(move |topic: &String| route_of(&mut names, topic, least))
        };
        for (topic, route) in at_once(&target.topics, with_connection)?.iter().enumerate() {
            target.take_route(topic, route)?;
        }
        if !target.queues.iter().any(|q| q.writable || q.readable) {
            bail!("topic {} has no usable queue", args.topic);
        }
        Ok(target)
    }

    fn take_route(&mut self, topic: usize, route: &Value) -> Result<()> {
        for broker in array(route, "brokerDatas") {
            let broker_name = text(broker, "brokerName")?;
            let Some(addr) = broker["brokerAddrs"]["0"].as_str() else { continue };
            let index = match self.broker_names.iter().position(|n| n == broker_name) {
                Some(index) => index,
                None => {
                    self.broker_names.push(broker_name.to_owned());
                    self.addrs.push(resolve(addr)?);
                    self.addrs.len() - 1
                }
            };
            for data in array(route, "queueDatas").filter(|d| d["brokerName"] == broker["brokerName"]) {
                let number = |key: &str| data[key].as_i64().unwrap_or(0);
                let (read, write) = (number("readQueueNums"), number("writeQueueNums"));
                for id in 0..read.max(write) {
                    self.queues.push(Queue {
                        topic,
                        broker: index,
                        id: id as i32,
                        readable: id < read && number("perm") & PERM_READ != 0,
                        writable: id < write && number("perm") & PERM_WRITE != 0,
                    });
                }
            }
        }
        Ok(())
    }
}

fn create(names: &mut Rpc, topics: &[String], queues: u32) -> Result<()> {
    // It is a topic of every broker that allows auto-creation.
    let until = Instant::now() + ROUTE_WITHIN;
    let route = loop {
        match route(names, AUTO_CREATE_TOPIC)? {
            Some(route) => break route,
            None if Instant::now() > until => bail!(
                "no broker has registered topic {AUTO_CREATE_TOPIC}: create the topics yourself and add --no-create"
            ),
            None => std::thread::sleep(ROUTE_PAUSE),
        }
    };
    for broker in array(&route, "brokerDatas") {
        let Some(addr) = broker["brokerAddrs"]["0"].as_str() else { continue };
        at_once(topics, || creator(addr, queues))?;
    }
    Ok(())
}

/// What `work` gives for each of the topics, in their order; each of the connections takes a share of them, one after the other.
fn at_once<T: Send, W: FnMut(&String) -> Result<T>>(
    topics: &[String],
    with_connection: impl Fn() -> Result<W> + Sync,
) -> Result<Vec<T>> {
    let with_connection = &with_connection;
    std::thread::scope(|scope| {
        let share = topics.len().div_ceil(AT_ONCE).max(1);
        let work = |share: &[String]| share.iter().map(with_connection()?).collect::<Result<Vec<T>>>();
        let workers: Vec<_> = topics.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("no panic"));
        Ok(done.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// The route of a topic, as soon as it has so many queues.
fn route_of(names: &mut Rpc, topic: &str, queues: u32) -> Result<Value> {
    let until = Instant::now() + ROUTE_WITHIN;
    loop {
        match route(names, topic)? {
            Some(route) if queue_count(&route) >= queues as i64 => return Ok(route),
            _ if Instant::now() > until => {
                bail!("the name server gives no route with {queues} queues for topic {topic}")
            }
            _ => std::thread::sleep(ROUTE_PAUSE),
        }
    }
}

/// Makes one topic after the other over a connection of its own.
fn creator(addr: &str, queues: u32) -> Result<impl FnMut(&String) -> Result<()>> {
    let mut rpc = Rpc::connect(addr)?;
    Ok(move |topic: &String| {
        rpc.call(
            request_code::UPDATE_AND_CREATE_TOPIC,
            |w| {
                let header = CreateTopicHeader {
                    topic,
                    default_topic: Some(AUTO_CREATE_TOPIC),
                    read_queue_nums: queues as i32,
                    write_queue_nums: queues as i32,
                    perm: (PERM_READ | PERM_WRITE) as i32,
                    topic_filter_type: "SINGLE_TAG",
                    topic_sys_flag: 0,
                    order: false,
                    attributes: None,
                    force: false,
                };
                header.write(w);
            },
            |answer| match answer.code {
                response_code::SUCCESS => Ok(()),
                _ => Err(refused(&format!("create topic {topic} at {addr}"), answer)),
            },
        )
    })
}

fn route(names: &mut Rpc, topic: &str) -> Result<Option<Value>> {
    names.call(
        request_code::GET_ROUTEINFO_BY_TOPIC,
        |w| GetRouteHeader { topic, accept_standard_json_only: true }.write(w),
        |answer| match answer.code {
            response_code::SUCCESS => Ok(Some(serde_json::from_slice(answer.body)?)),
            response_code::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(refused("route", answer)),
        },
    )
}

fn queue_count(route: &Value) -> i64 {
    array(route, "queueDatas").map(|d| d["writeQueueNums"].as_i64().unwrap_or(0)).max().unwrap_or(0)
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().ok_or_else(|| anyhow!("route without {key}"))
}

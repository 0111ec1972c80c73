//! Topics and groups that clients make, at the same time: one that was acknowledged is there, as it was asked for, and none is there
//! that nobody asked for. A journal that damage has hit may have lost its end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::SimEnv;
use ringmq_transport::Client;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::json_dialect::{self, SubscriptionGroupConfig, SubscriptionGroupTable, TopicConfigTable};

use super::clients::{PATIENCE, SEND_TIMEOUT, connect};
use super::wire;

pub type SharedSettings = Rc<RefCell<Settings>>;

/// So many make things at the same time.
const MAKERS: usize = 3;
/// Of the names of topics and groups that are made here.
const MADE: &str = "made-";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Asked,
    Acknowledged,
}

/// By name, whose number is also the number of queues or of tries.
#[derive(Default)]
pub struct Settings {
    topics: BTreeMap<String, Made>,
    groups: BTreeMap<String, Made>,
    number: u32,
}

fn number(name: &str) -> i32 {
    name.strip_prefix(MADE).and_then(|number| number.parse::<i32>().ok()).map_or(0, |number| 1 + number % 8)
}

pub fn run(env: &SimEnv, addr: SocketAddr, settings: &SharedSettings) {
    let client = connect(env, addr, &Rc::default());
    for maker in 0..MAKERS {
        env.spawn(Class::Foreground, make(env.clone(), client.clone(), settings.clone(), maker));
    }
}

async fn make(env: SimEnv, client: Rc<Client<SimEnv>>, settings: SharedSettings, maker: usize) {
    loop {
        // On the same beat, so that some share a group of the journal.
        let beat = 50_000 - env.monotonic_ns() / 1000 % 50_000;
        env.sleep(Duration::from_micros(beat + env.random() % 100)).await;
        let name = {
            let mut settings = settings.borrow_mut();
            settings.number += 1;
            format!("{MADE}{}", settings.number)
        };
        let is_topic = maker > 0;
        let note = |made| {
            let mut settings = settings.borrow_mut();
            let table = if is_topic { &mut settings.topics } else { &mut settings.groups };
            table.insert(name.clone(), made);
        };
        note(Made::Asked);
        let answer = if is_topic {
            let queues = number(&name).to_string();
            let fields = [
                ("topic", &*name),
                ("defaultTopic", "TBW102"),
                ("readQueueNums", &queues),
                ("writeQueueNums", &queues),
                ("perm", "6"),
                ("topicFilterType", "SINGLE_TAG"),
                ("topicSysFlag", "0"),
                ("order", "false"),
            ];
            wire::ask(&client, request_code::UPDATE_AND_CREATE_TOPIC, &fields, &[], SEND_TIMEOUT).await
        } else {
            let config = SubscriptionGroupConfig {
                group_name: name.clone(),
                retry_max_times: number(&name),
                ..SubscriptionGroupConfig::default()
            };
            let body = json_dialect::to_vec(&config);
            let code = request_code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
            wire::ask(&client, code, &[], &body, SEND_TIMEOUT).await
        };
        if answer.is_ok_and(|answer| answer.command().code == response_code::SUCCESS) {
            note(Made::Acknowledged);
        }
    }
}

/// What was acknowledged before the broker is asked for it.
pub struct Expected(Vec<String>);

impl Settings {
    fn expected(table: &BTreeMap<String, Made>) -> Expected {
        let acknowledged = table.iter().filter(|(_, made)| **made == Made::Acknowledged);
        Expected(acknowledged.map(|(name, _)| name.clone()).collect())
    }

    fn compare(
        table: &BTreeMap<String, Made>,
        expected: &Expected,
        found: &BTreeMap<String, i32>,
        was_hit: bool,
    ) {
        for name in &expected.0 {
            assert!(
                found.contains_key(name) || was_hit,
                "{name} was made and acknowledged, and is not there"
            );
        }
        for (name, value) in found.iter().filter(|(name, _)| name.starts_with(MADE)) {
            assert!(table.contains_key(name), "{name} is there, and nobody made it");
            assert_eq!(*value, number(name), "{name} is not as it was made");
        }
    }
}

/// Asks a broker for all of them; `was_hit`: its journal.
pub async fn audit(client: &Client<SimEnv>, settings: &SharedSettings, was_hit: bool) {
    let ask = async |code| {
        let answer = wire::ask(client, code, &[], &[], PATIENCE).await.expect("nothing is in its way");
        assert_eq!(answer.command().code, response_code::SUCCESS, "{:?}", answer.command().remark);
        answer
    };
    let expected = Settings::expected(&settings.borrow().topics);
    let answer = ask(request_code::GET_ALL_TOPIC_CONFIG).await;
    let table: TopicConfigTable = json_dialect::read(answer.command().body).expect("a table of topics");
    let found = table.topic_config_table.into_iter().map(|(name, topic)| (name, topic.read_queue_nums));
    Settings::compare(&settings.borrow().topics, &expected, &found.collect(), was_hit);
    let expected = Settings::expected(&settings.borrow().groups);
    let answer = ask(request_code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG).await;
    let table: SubscriptionGroupTable = json_dialect::read(answer.command().body).expect("a table of groups");
    let found = table.subscription_group_table.into_iter();
    let found = found.map(|(name, group)| (name, group.retry_max_times)).collect();
    Settings::compare(&settings.borrow().groups, &expected, &found, was_hit);
}

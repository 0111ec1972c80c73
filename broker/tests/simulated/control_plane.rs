//! Groups, offsets, topics and locks through a whole broker in the simulated world, on one core and on two.

use std::time::Duration;

use crate::common::{Peer, each_seed, property, pull_header, send_header, topic_fields};
use futures_lite::future::zip;
use ringmq_io::Env;
use ringmq_transport::OwnedFrame;
use ringmq_wire::code::request_code as code;
use ringmq_wire::code::response_code::SYSTEM_BUSY;
use ringmq_wire::json_dialect::{self, HeartbeatData, SubscriptionGroupConfig, TopicConfig};
use ringmq_wire::subscription::SubscriptionData;

pub const SEEDS: u64 = 6;

pub fn beat(client: &str, group: &str, topics: &[&str]) -> Vec<u8> {
    let everything =
        |topic: &&str| SubscriptionData { sub_version: 1, ..SubscriptionData::of_tags(topic, "*").unwrap() };
    beat_with(client, group, &topics.iter().map(everything).collect::<Vec<_>>())
}

fn beat_with(client: &str, group: &str, subscriptions: &[SubscriptionData]) -> Vec<u8> {
    let subscriptions: Vec<String> =
        subscriptions.iter().map(|data| String::from_utf8(json_dialect::to_vec(data)).unwrap()).collect();
    format!(
        r#"{{"clientID":"{client}","consumerDataSet":[{{"groupName":"{group}","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "subscriptionDataSet":[{}]}}],"producerDataSet":[]}}"#,
        subscriptions.join(",")
    )
    .into_bytes()
}

pub fn code_of(answer: &OwnedFrame) -> i32 {
    answer.command().code
}

fn remark_of(answer: &OwnedFrame) -> String {
    answer.command().remark.as_deref().unwrap_or_default().to_owned()
}

async fn members(peer: &Peer, group: &str) -> Vec<String> {
    let answer = peer.ask(code::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", group)], b"").await;
    if code_of(&answer) != 0 {
        assert_eq!(
            (code_of(&answer), remark_of(&answer)),
            (1, format!("no consumer for this group, {group}"))
        );
        return Vec::new();
    }
    let list: json_dialect::ConsumerIdList = json_dialect::read(answer.command().body).unwrap();
    list.consumer_id_list
}

pub fn told(peer: &Peer, group: &str) -> usize {
    let asked = peer.asked.0.borrow();
    let is_notice = |frame: &&OwnedFrame| {
        let command = frame.command();
        command.code == code::NOTIFY_CONSUMER_IDS_CHANGED
            && command.is_oneway()
            && command.ext.get("consumerGroup") == Some(group)
    };
    asked.iter().filter(is_notice).count()
}

pub async fn commit(peer: &Peer, group: &str, topic: &str, queue: u32, offset: i64) -> OwnedFrame {
    let (queue, offset) = (queue.to_string(), offset.to_string());
    let fields = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", queue.as_str()),
        ("commitOffset", offset.as_str()),
    ];
    peer.ask(code::UPDATE_CONSUMER_OFFSET, &fields, b"").await
}

pub async fn committed(peer: &Peer, group: &str, topic: &str, queue: u32) -> Result<i64, i32> {
    let queue = queue.to_string();
    let fields = [("consumerGroup", group), ("topic", topic), ("queueId", queue.as_str())];
    let answer = peer.ask(code::QUERY_CONSUMER_OFFSET, &fields, b"").await;
    match code_of(&answer) {
        0 => Ok(answer.command().ext.get_i64("offset").unwrap()),
        code => Err(code),
    }
}

pub async fn make_topic(peer: &Peer, topic: &str, queues: u32) -> OwnedFrame {
    let queues = queues.to_string();
    let fields = [&topic_fields(topic, &queues)[..], &[("attributes", "+message.type=FIFO")]].concat();
    peer.ask(code::UPDATE_AND_CREATE_TOPIC, &fields, b"").await
}

pub async fn topic_config(peer: &Peer, topic: &str) -> Result<TopicConfig, i32> {
    let answer = peer.ask(code::GET_TOPIC_CONFIG, &[("topic", topic)], b"").await;
    match code_of(&answer) {
        0 => Ok(json_dialect::read(answer.command().body).unwrap()),
        code => Err(code),
    }
}

#[test]
fn consumers_come_and_go_and_the_others_are_told() {
    each_seed(SEEDS, |rig| async move {
        let (one, two) = (rig.connect(), rig.connect());
        let answer = one.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t", "%RETRY%g"])).await;
        assert_eq!(code_of(&answer), 0, "{}", remark_of(&answer));
        assert_eq!(answer.command().ext.get("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
        assert_eq!(answer.command().ext.get("IS_SUB_CHANGE"), Some("true"));
        // The group's retry topic is there when the beat is answered.
        let retry = topic_config(&one, "%RETRY%g").await.unwrap();
        assert_eq!((retry.read_queue_nums, retry.perm), (1, 6));
        assert_eq!(members(&one, "g").await, ["c1"]);

        let before = told(&one, "g");
        two.ask(code::HEART_BEAT, &[], &beat("c2", "g", &["t", "%RETRY%g"])).await;
        let mut both = members(&two, "g").await;
        both.sort();
        assert_eq!(both, ["c1", "c2"]);
        rig.env.sleep(Duration::from_secs(1)).await;
        assert_eq!(told(&one, "g"), before + 1);

        // The same beat again is no news.
        let news = (told(&one, "g"), told(&two, "g"));
        two.ask(code::HEART_BEAT, &[], &beat("c2", "g", &["t", "%RETRY%g"])).await;
        rig.env.sleep(Duration::from_secs(1)).await;
        assert_eq!((told(&one, "g"), told(&two, "g")), news);

        // Leaving by word, and by hanging up.
        two.ask(code::UNREGISTER_CLIENT, &[("clientID", "c2"), ("consumerGroup", "g")], b"").await;
        assert_eq!(members(&one, "g").await, ["c1"]);
        two.ask(code::HEART_BEAT, &[], &beat("c2", "g", &["t", "%RETRY%g"])).await;
        two.client.close();
        rig.env.sleep(Duration::from_secs(2)).await;
        assert_eq!(members(&one, "g").await, ["c1"]);
        assert_eq!(told(&one, "g"), before + 4);
    });
}

#[test]
fn a_silent_client_is_dropped_and_a_silent_connection_with_it() {
    each_seed(SEEDS, |rig| async move {
        let (silent, other) = (rig.connect(), rig.connect());
        silent.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await;
        for _ in 0..5 {
            rig.env.sleep(Duration::from_secs(25)).await;
            other.ask(code::HEART_BEAT, &[], &beat("c2", "g", &["t"])).await;
            // Not a beat, but a sign of life that keeps the connection open.
            silent.ask(code::GET_BROKER_CONFIG, &[], b"").await;
        }
        rig.env.sleep(Duration::from_secs(10)).await;
        assert_eq!(members(&other, "g").await, ["c2"]);
    });
}

#[test]
fn the_heartbeats_subscription_serves_pulls_on_every_core() {
    each_seed(SEEDS, |rig| async move {
        let consumer = rig.connect();
        consumer.send(send_header("t", 1, ""), b"m").await;
        let mut without = pull_header("t", 1, 0);
        without.sys_flag = 0;
        without.subscription = None;
        without.consumer_group = "g";
        assert_eq!(consumer.pull(without).await.code, 24);
        consumer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await;
        // Whichever cores these connections are on.
        for _ in 0..4 {
            let pulled = rig.connect().pull(without).await;
            assert_eq!((pulled.code, pulled.bodies()), (0, vec!["m"]), "{}", pulled.remark);
        }
    });
}

/// Members of a group are to have one subscription. If they do not, the newest counts for all of them, as with RocketMQ 5.5.0
/// (ConsumerGroupInfo#updateSubscription), whoever beats last.
#[test]
fn of_different_subscriptions_in_a_group_the_newest_counts() {
    each_seed(SEEDS, |rig| async move {
        let (first, second) = (rig.connect(), rig.connect());
        for queue in 0..4 {
            first.send(send_header("t", queue, &property("TAGS", "A")), b"a").await;
            first.send(send_header("t", queue, &property("TAGS", "B")), b"b").await;
        }
        let beat = |client: &str, expression: &str, version: i64| {
            let tags = SubscriptionData::of_tags("t", expression).unwrap();
            beat_with(client, "g", &[SubscriptionData { sub_version: version, ..tags }])
        };
        let pull = |queue, version| {
            let peer = rig.connect();
            async move {
                let mut header = pull_header("t", queue, 0);
                (header.sys_flag, header.subscription) = (0, None);
                (header.consumer_group, header.sub_version) = ("g", version);
                let pulled = peer.pull(header).await;
                (pulled.code, pulled.bodies().concat())
            }
        };
        assert_eq!(code_of(&first.ask(code::HEART_BEAT, &[], &beat("c1", "A", 1)).await), 0);
        assert_eq!(code_of(&second.ask(code::HEART_BEAT, &[], &beat("c2", "B", 2)).await), 0);
        // Whatever the first one says again.
        assert_eq!(code_of(&first.ask(code::HEART_BEAT, &[], &beat("c1", "A", 1)).await), 0);
        for queue in 0..4 {
            for version in [1, 2] {
                assert_eq!(pull(queue, version).await, (0, "b".into()));
            }
        }
        assert_eq!(code_of(&first.ask(code::HEART_BEAT, &[], &beat("c1", "A", 3)).await), 0);
        assert_eq!(pull(0, 3).await, (0, "a".into()));
    });
}

/// A Java client pulls with a newer version before it beats with it: see `pull_message.rs`.
#[test]
fn a_pull_that_is_ahead_of_its_heartbeat_is_served_unfiltered() {
    each_seed(SEEDS, |rig| async move {
        let consumer = rig.connect();
        for queue in 0..4 {
            consumer.send(send_header("t", queue, &property("TAGS", "A")), b"a").await;
            consumer.send(send_header("t", queue, &property("TAGS", "B")), b"b").await;
        }
        let beat = |expression: &str, version: i64| {
            let tags = SubscriptionData::of_tags("t", expression).unwrap();
            beat_with("c1", "g", &[SubscriptionData { sub_version: version, ..tags }])
        };
        let pull = |peer: Peer, queue, version, kind| async move {
            let mut header = pull_header("t", queue, 0);
            (header.sys_flag, header.subscription) = (0, None);
            (header.consumer_group, header.sub_version, header.expression_type) = ("g", version, kind);
            let pulled = peer.pull(header).await;
            (pulled.code, pulled.bodies().concat())
        };
        consumer.ask(code::HEART_BEAT, &[], &beat("A", 1)).await;
        // Whichever cores the connections and the queues are on.
        for queue in 0..4 {
            assert_eq!(pull(rig.connect(), queue, 1, Some("TAG")).await, (0, "a".into()));
            assert_eq!(pull(rig.connect(), queue, 2, Some("TAG")).await, (0, "ab".into()));
            assert_eq!(pull(rig.connect(), queue, 2, None).await, (0, "ab".into()));
            // Its client does not filter for itself.
            assert_eq!(pull(rig.connect(), queue, 2, Some("SQL92")).await.0, 25);
        }
        consumer.ask(code::HEART_BEAT, &[], &beat("B", 2)).await;
        for queue in 0..4 {
            assert_eq!(pull(rig.connect(), queue, 2, Some("TAG")).await, (0, "b".into()));
        }
    });
}

#[test]
fn offsets_are_kept_by_group_topic_and_queue() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        peer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await;
        assert_eq!(code_of(&make_topic(&peer, "t", 4).await), 0);
        assert_eq!(code_of(&commit(&peer, "g", "t", 2, 7).await), 0);
        assert_eq!(committed(&peer, "g", "t", 2).await, Ok(7));
        assert_eq!(committed(&peer, "g", "t", 1).await, Err(22));
        let unknown = commit(&peer, "nobody", "t", 2, 7).await;
        assert_eq!((code_of(&unknown), remark_of(&unknown)), (26, "Group nobody not exist!".into()));
        let unknown = commit(&peer, "g", "nothing", 2, 7).await;
        assert_eq!((code_of(&unknown), remark_of(&unknown)), (17, "Topic nothing not exist!".into()));
        assert_eq!(code_of(&commit(&peer, "g", "t", 4, 7).await), 29);
        assert_eq!(code_of(&commit(&peer, "g", "t", 2, -1).await), 29);
        // Accepted, as RocketMQ accepts it.
        assert_eq!(code_of(&commit(&peer, "g", "t", 2, 3).await), 0);
        assert_eq!(committed(&peer, "g", "t", 2).await, Ok(3));
    });
}

#[test]
fn a_new_group_starts_a_young_queue_at_its_beginning() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        for queue in 0..4 {
            peer.send(send_header("young", queue, ""), b"m").await;
            assert_eq!(committed(&peer, "new", "young", queue as u32).await, Ok(0), "queue {queue}");
        }
        // Nothing was ever stored there.
        assert_eq!(code_of(&make_topic(&peer, "empty", 4).await), 0);
        assert_eq!(committed(&peer, "new", "empty", 0).await, Err(22));
        assert_eq!(committed(&peer, "new", "absent", 0).await, Err(22));
        let fields =
            [("consumerGroup", "new"), ("topic", "young"), ("queueId", "0"), ("setZeroIfNotFound", "false")];
        assert_eq!(code_of(&peer.ask(code::QUERY_CONSUMER_OFFSET, &fields, b"").await), 22);
    });
}

#[test]
fn topics_are_made_read_and_deleted() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        assert_eq!(code_of(&make_topic(&peer, "t", 3).await), 0);
        let topic = topic_config(&peer, "t").await.unwrap();
        assert_eq!((topic.read_queue_nums, topic.write_queue_nums, topic.perm), (3, 3, 6));
        assert_eq!(topic.attributes["message.type"], "FIFO");
        for (name, code, part) in [
            ("a b", 29, "illegal characters"),
            ("TBW102", 29, "conflict with system topic"),
            ("DefaultCluster", 29, "conflict with system topic"),
            ("rmq_sys_x", 29, "conflict with system topic"),
        ] {
            let answer = make_topic(&peer, name, 3).await;
            assert_eq!(code_of(&answer), code, "{name}");
            assert!(remark_of(&answer).contains(part), "{name}: {}", remark_of(&answer));
        }
        let answer = make_topic(&peer, "wide", 70_000).await;
        assert_eq!(code_of(&answer), 29);
        assert!(remark_of(&answer).contains("65536"), "{}", remark_of(&answer));

        // All of them, whole and in pages.
        let answer = peer.ask(code::GET_ALL_TOPIC_CONFIG, &[], b"").await;
        let all: json_dialect::TopicConfigTable = json_dialect::read(answer.command().body).unwrap();
        let total = answer.command().ext.get_i64("totalTopicNum").unwrap();
        assert_eq!(all.topic_config_table.len() as i64, total);
        for name in
            ["t", "TBW102", "DefaultCluster", "broker-a", "SCHEDULE_TOPIC_XXXX", "DefaultCluster_REPLY_TOPIC"]
        {
            assert!(all.topic_config_table.contains_key(name), "{name}");
        }
        let page = [("topicSeq", "0"), ("maxTopicNum", "2")];
        let answer = peer.ask(code::GET_ALL_TOPIC_CONFIG, &page, b"").await;
        let page: json_dialect::TopicConfigTable = json_dialect::read(answer.command().body).unwrap();
        assert_eq!(page.topic_config_table.len(), 2);

        for _ in 0..3 {
            assert_eq!(peer.send(send_header("t", 2, ""), b"m").await.code, 0);
        }
        peer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await;
        commit(&peer, "g", "t", 2, 2).await;
        assert_eq!(code_of(&peer.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"").await), 0);
        assert_eq!(topic_config(&peer, "t").await, Err(17));
        assert_eq!(committed(&peer, "g", "t", 2).await, Err(22));
        assert_eq!(code_of(&peer.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "TBW102")], b"").await), 29);
        // Made again, it begins at 0.
        assert_eq!(code_of(&make_topic(&peer, "t", 3).await), 0);
        let sent = peer.send(send_header("t", 2, ""), b"new").await;
        assert_eq!((sent.code, sent.queue_offset), (0, 0), "{}", sent.remark);
        assert_eq!(peer.pull(pull_header("t", 2, 0)).await.bodies(), ["new"]);
    });
}

/// What is acknowledged in a new topic does not go with the queues of the old one of that name.
#[test]
fn a_topic_that_is_made_anew_while_it_is_deleted_keeps_its_messages() {
    each_seed(SEEDS, |rig| async move {
        let (deleter, maker) = (rig.connect(), rig.connect());
        let mut refused = 0;
        for _ in 0..10 {
            assert_eq!(code_of(&make_topic(&maker, "t", 4).await), 0);
            for queue in 0..4 {
                maker.send(send_header("t", queue, ""), b"old").await;
            }
            let deleting = async {
                let answer = deleter.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"").await;
                assert_eq!(code_of(&answer), 0);
            };
            let making = async {
                while topic_config(&maker, "t").await.is_ok() {}
                while code_of(&make_topic(&maker, "t", 4).await) == SYSTEM_BUSY {
                    refused += 1;
                }
                for queue in 0..4 {
                    let sent = maker.send(send_header("t", queue, ""), b"new").await;
                    assert_eq!((sent.code, sent.queue_offset), (0, 0), "{}", sent.remark);
                }
            };
            zip(deleting, making).await;
            for queue in 0..4 {
                assert_eq!(maker.pull(pull_header("t", queue, 0)).await.bodies(), ["new"]);
            }
            assert_eq!(code_of(&deleter.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"").await), 0);
        }
        assert!(refused > 0, "nothing was made while the old one went");
    });
}

#[test]
fn groups_are_made_and_read() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let wanted = SubscriptionGroupConfig {
            group_name: "g".into(),
            retry_max_times: 3,
            consume_broadcast_enable: false,
            ..SubscriptionGroupConfig::default()
        };
        let body = json_dialect::to_vec(&wanted);
        assert_eq!(code_of(&peer.ask(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], &body).await), 0);
        let answer = peer.ask(code::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "g")], b"").await;
        let group: SubscriptionGroupConfig = json_dialect::read(answer.command().body).unwrap();
        assert_eq!(group, wanted);
        let bad = br#"{"groupName":"g g"}"#;
        let answer = peer.ask(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], bad).await;
        assert_eq!(code_of(&answer), 29);
        let answer = peer.ask(code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], b"").await;
        let all: json_dialect::SubscriptionGroupTable = json_dialect::read(answer.command().body).unwrap();
        assert!(all.subscription_group_table.contains_key("g"));
        assert!(all.subscription_group_table.contains_key("CID_RMQ_SYS_TRANS"));
    });
}

#[test]
fn a_queue_is_locked_by_one_client() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let body = |client: &str| {
            format!(
                r#"{{"clientId":"{client}","consumerGroup":"g","mqSet":[{{"brokerName":"broker-a","queueId":0,"topic":"t"}}]}}"#
            )
            .into_bytes()
        };
        let held = async |client: &str| {
            let answer = peer.ask(code::LOCK_BATCH_MQ, &[], &body(client)).await;
            let answer: json_dialect::LockBatchAnswer = json_dialect::read(answer.command().body).unwrap();
            answer.lock_ok_mq_set.len()
        };
        assert_eq!((held("a").await, held("b").await, held("a").await), (1, 0, 1));
        peer.ask(code::UNLOCK_BATCH_MQ, &[], &body("b")).await;
        assert_eq!(held("b").await, 0);
        peer.ask(code::UNLOCK_BATCH_MQ, &[], &body("a")).await;
        assert_eq!(held("b").await, 1);
        rig.env.sleep(Duration::from_secs(61)).await;
        assert_eq!(held("a").await, 1);
    });
}

#[test]
fn what_is_over_a_limit_or_not_understood_is_refused_with_the_reason() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let answer = peer.ask(code::HEART_BEAT, &[], b"{not json").await;
        assert_eq!(code_of(&answer), 1);
        assert!(remark_of(&answer).contains("heartbeat not understood"), "{}", remark_of(&answer));
        let mut many = HeartbeatData { client_id: "c".into(), ..HeartbeatData::default() };
        many.producer_data_set.resize(5000, json_dialect::ProducerData { group_name: "p".into() });
        let answer = peer.ask(code::HEART_BEAT, &[], &json_dialect::to_vec(&many)).await;
        assert_eq!(code_of(&answer), 29);
        assert!(remark_of(&answer).contains("4096"), "{}", remark_of(&answer));
        let answer = peer.ask(code::QUERY_ASSIGNMENT, &[], b"{}").await;
        assert_eq!(code_of(&answer), 3);
    });
}

#[test]
fn configuration_and_figures_can_be_read() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        for i in 0..5 {
            peer.send(send_header("t", i % 4, ""), b"12345678").await;
        }
        let answer = peer.ask(code::GET_BROKER_CONFIG, &[], b"").await;
        assert!(answer.command().ext.get("version").unwrap().contains("timestamp"));
        let text = String::from_utf8(answer.command().body.to_vec()).unwrap();
        assert!(text.contains("brokerName=broker-a\n") && text.contains("listenPort=10911\n"), "{text}");
        let answer = peer.ask(code::GET_BROKER_RUNTIME_INFO, &[], b"").await;
        let info: json_dialect::KvTable = json_dialect::read(answer.command().body).unwrap();
        assert_eq!(info.table["msgPutTotalTodayNow"], "5");
        let later = || async {
            rig.env.sleep(Duration::from_secs(1)).await;
            let answer = peer.ask(code::GET_BROKER_RUNTIME_INFO, &[], b"").await;
            json_dialect::read::<json_dialect::KvTable>(answer.command().body).unwrap()
        };
        while later().await.table["putTps"].split(' ').any(|rate| rate.parse::<f64>().unwrap() == 0.0) {}
        for _ in 0..11 {
            later().await;
        }
        let rates = later().await.table["putTps"].clone();
        assert!(rates.starts_with("0.0 ") && !rates.ends_with(" 0.0"), "{rates}: nothing in the last 10 s");
        assert!(info.table["commitLogDiskRatio"].parse::<f64>().unwrap() >= 0.0);
    });
}

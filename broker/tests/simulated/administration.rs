//! What administrators ask of topics and groups: lists that are made together, deletion, offsets and times, who is online.

use std::time::Duration;

use crate::common::{Peer, Rig, Scene, each_seed, pull_header, send_header};
use ringmq_io::Env;
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::{PullHeader, SendHeader};
use ringmq_wire::json_dialect::{
    self, BrokerStats, ConsumeQueue, ConsumeStats, ConsumeStatsList, ConsumeTimeSpans, ConsumerConnection,
    CorrectionOffsets, GroupList, HaRuntimeInfo, KvTable, ProducerConnection, ProducerTable,
    SubscriptionGroupTable, TopicConfig, TopicConfigList, TopicConfigTable, TopicList, TopicStatsTable,
};
use serde::de::DeserializeOwned;

const SEEDS: u64 = 4;

/// Code and remark, or the body.
async fn body<T: DeserializeOwned>(
    peer: &Peer,
    code: i32,
    fields: &[(&str, &str)],
    sent: &[u8],
) -> Result<T, (i32, String)> {
    let answer = peer.ask(code, fields, sent).await;
    let command = answer.command();
    match command.code {
        0 => Ok(json_dialect::read(command.body).unwrap()),
        other => Err((other, command.remark.as_deref().unwrap_or_default().to_owned())),
    }
}

async fn done(peer: &Peer, code: i32, fields: &[(&str, &str)], sent: &[u8]) -> (i32, String) {
    let answer = peer.ask(code, fields, sent).await;
    let command = answer.command();
    (command.code, command.remark.as_deref().unwrap_or_default().to_owned())
}

fn ok() -> (i32, String) {
    (0, String::new())
}

async fn make_group(peer: &Peer, group: &str) {
    let body = format!(r#"{{"groupName":"{group}"}}"#);
    assert_eq!(done(peer, code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], body.as_bytes()).await, ok());
}

async fn commit(peer: &Peer, group: &str, topic: &str, queue: i32, offset: i64) {
    let (queue, offset) = (queue.to_string(), offset.to_string());
    let fields =
        [("consumerGroup", group), ("topic", topic), ("queueId", &*queue), ("commitOffset", &*offset)];
    assert_eq!(done(peer, code::UPDATE_CONSUMER_OFFSET, &fields, b"").await, ok());
}

/// Messages in four queues of a topic, and some of them consumed.
async fn orders(rig: &Rig) -> Peer {
    let peer = rig.connect();
    for queue in 0..4 {
        for body in ["a", "b", "c"] {
            let header = SendHeader { properties: "TAGS\u{1}x\u{2}", ..send_header("orders", queue, "") };
            assert_eq!(peer.send(header, body.as_bytes()).await.code, 0);
            rig.env.sleep(Duration::from_millis(20)).await;
        }
    }
    make_group(&peer, "g").await;
    commit(&peer, "g", "orders", 1, 2).await;
    commit(&peer, "g", "orders", 2, 3).await;
    peer
}

async fn stats(peer: &Peer, group: &str, more: &[(&str, &str)]) -> Vec<(i32, i64, i64, bool)> {
    let mut fields = vec![("consumerGroup", group)];
    fields.extend(more);
    let stats: ConsumeStats = body(peer, code::GET_CONSUME_STATS, &fields, b"").await.unwrap();
    let row = |(queue, offset): (&json_dialect::MessageQueue, &json_dialect::OffsetWrapper)| {
        assert_eq!(offset.pull_offset, offset.consumer_offset, "nobody has pulled");
        (queue.queue_id, offset.broker_offset, offset.consumer_offset, offset.last_timestamp > 0)
    };
    stats.offset_table.iter().map(row).collect()
}

#[test]
fn a_list_of_topics_is_made_whole_or_not_at_all() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let topic = |name: &str, queues| TopicConfig {
            topic_name: name.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..TopicConfig::default()
        };
        let make = async |topics: Vec<TopicConfig>| {
            let list = json_dialect::to_vec(&TopicConfigList { topic_config_list: topics });
            done(&peer, code::UPDATE_AND_CREATE_TOPIC_LIST, &[], &list).await
        };
        let queues = async |name: &str| {
            let found: Result<TopicConfig, _> =
                body(&peer, code::GET_TOPIC_CONFIG, &[("topic", name)], b"").await;
            found.map(|topic| topic.read_queue_nums).map_err(|(code, _)| code)
        };
        let (code, remark) = make(vec![topic("one", 3), topic("bad name", 1)]).await;
        assert_eq!(code, 29, "{remark}");
        assert!(remark.contains("bad name"), "{remark}");
        assert_eq!(queues("one").await, Err(17));
        assert_eq!(make(vec![topic("one", 3), topic("two", 5)]).await, ok());
        // One that is so already does not keep the others from being made.
        assert_eq!(make(vec![topic("one", 3), topic("two", 2), topic("three", 1)]).await, ok());
        assert_eq!((queues("one").await, queues("two").await, queues("three").await), (Ok(3), Ok(2), Ok(1)));
        let (code, _) = make(vec![topic("TBW102", 1)]).await;
        assert_eq!(code, 29);
    });
}

/// Lists that are made in parts have every entry once, also while others come.
#[test]
fn long_lists_are_told_whole() {
    each_seed(SEEDS, |rig| async move {
        let (peer, other) = (rig.connect(), rig.connect());
        let topics = |from: i32, to: i32| {
            let one = |n| TopicConfig { topic_name: format!("topic-{n:04}"), ..TopicConfig::default() };
            json_dialect::to_vec(&TopicConfigList { topic_config_list: (from..to).map(one).collect() })
        };
        let make = |list: Vec<u8>| {
            let peer = rig.connect();
            async move { done(&peer, code::UPDATE_AND_CREATE_TOPIC_LIST, &[], &list).await }
        };
        assert_eq!(make(topics(0, 500)).await, ok());
        let groups: Vec<String> = (0..300).map(|n| format!(r#"{{"groupName":"group-{n:04}"}}"#)).collect();
        let groups = format!(r#"{{"groupConfigList":[{}]}}"#, groups.join(","));
        let code = code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST;
        assert_eq!(done(&peer, code, &[], groups.as_bytes()).await, ok());

        let all = body::<TopicConfigTable>(&other, code::GET_ALL_TOPIC_CONFIG, &[], b"");
        let (made, all) = futures_lite::future::zip(make(topics(500, 600)), all).await;
        assert_eq!(made, ok());
        let told = all.unwrap().topic_config_table;
        let ours = |table: &std::collections::BTreeMap<String, TopicConfig>| {
            table.keys().filter(|name| name.starts_with("topic-")).cloned().collect::<Vec<_>>()
        };
        let before: Vec<String> = (0..500).map(|n| format!("topic-{n:04}")).collect();
        assert_eq!(ours(&told)[..500], before);
        assert!(told.values().zip(told.keys()).all(|(topic, name)| topic.topic_name == *name));

        let first: TopicConfigTable =
            body(&peer, code::GET_ALL_TOPIC_CONFIG, &[("topicSeq", "0"), ("maxTopicNum", "450")], b"")
                .await
                .unwrap();
        let version = String::from_utf8(json_dialect::to_vec(&first.data_version)).unwrap();
        let page = [("topicSeq", "450"), ("maxTopicNum", "450"), ("dataVersion", &*version)];
        let second: TopicConfigTable = body(&peer, code::GET_ALL_TOPIC_CONFIG, &page, b"").await.unwrap();
        assert_eq!(first.topic_config_table.len(), 450);
        let mut both = ours(&first.topic_config_table);
        both.extend(ours(&second.topic_config_table));
        assert_eq!(both.len(), 600);
        assert!(both.is_sorted());
        let all: SubscriptionGroupTable =
            body(&peer, code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], b"").await.unwrap();
        assert!((0..300).all(|n| all.subscription_group_table.contains_key(&format!("group-{n:04}"))));
    });
}

#[test]
fn a_list_of_groups_is_made_whole_or_not_at_all() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let make = async |text: &str| {
            done(&peer, code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, &[], text.as_bytes()).await
        };
        let retries = async || {
            let all: SubscriptionGroupTable =
                body(&peer, code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], b"").await.unwrap();
            ["a", "b"].map(|name| all.subscription_group_table.get(name).map(|group| group.retry_max_times))
        };
        let (code, _) = make(r#"{"groupConfigList":[{"groupName":"a"},{"groupName":"b b"}]}"#).await;
        assert_eq!(code, 29);
        assert_eq!(retries().await, [None, None]);
        let both = r#"{"groupConfigList":[{"groupName":"a","retryMaxTimes":3},{"groupName":"b"}]}"#;
        assert_eq!(make(both).await, ok());
        assert_eq!(retries().await, [Some(3), Some(16)]);
        assert_eq!(make("{").await.0, 1);
    });
}

#[test]
fn a_group_is_deleted_with_or_without_its_offsets_also_over_a_restart() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |config| config.auto_create_subscription_group = false);
        scene.client(|rig| async move {
            let peer = orders(&rig).await;
            make_group(&peer, "h").await;
            commit(&peer, "h", "orders", 0, 1).await;
            let delete = async |group: &str, clean: &str| {
                let fields = [("groupName", group), ("cleanOffset", clean)];
                done(&peer, code::DELETE_SUBSCRIPTIONGROUP, &fields, b"").await
            };
            assert_eq!(delete("g", "false").await, ok());
            assert_eq!(delete("h", "true").await, ok());
            assert_eq!(delete("never", "true").await, ok());
            assert_eq!(delete(" ", "true").await.0, 29);
        });
        scene.stop();
        scene.start(cores, |config| config.auto_create_subscription_group = false);
        scene.client(|rig| async move {
            let peer = rig.connect();
            let all: SubscriptionGroupTable =
                body(&peer, code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], b"").await.unwrap();
            assert!(["g", "h"].iter().all(|name| !all.subscription_group_table.contains_key(*name)));
            let committed = |group| stats_of(rig.connect(), group);
            assert_eq!(committed("g").await, [0, 2, 3, 0]);
            assert_eq!(committed("h").await, [0, 0, 0, 0]);
            // What is left of a group that is gone goes as well.
            let fields = [("groupName", "g"), ("cleanOffset", "true")];
            assert_eq!(done(&peer, code::DELETE_SUBSCRIPTIONGROUP, &fields, b"").await, ok());
            assert_eq!(committed("g").await, [0, 0, 0, 0]);
        });
        scene.stop();
    }
}

async fn stats_of(peer: Peer, group: &str) -> Vec<i64> {
    stats(&peer, group, &[("topic", "orders")]).await.into_iter().map(|row| row.2).collect()
}

#[test]
fn offsets_ends_and_times_of_a_topic_and_a_group() {
    each_seed(SEEDS, |rig| async move {
        let peer = orders(&rig).await;
        let topic: TopicStatsTable =
            body(&peer, code::GET_TOPIC_STATS_INFO, &[("topic", "orders")], b"").await.unwrap();
        let rows: Vec<_> = topic.offset_table.values().map(|row| (row.min_offset, row.max_offset)).collect();
        assert_eq!(rows, [(0, 3); 4]);
        assert!(topic.offset_table.values().all(|row| row.last_update_timestamp > 0));
        let absent: Result<TopicStatsTable, _> =
            body(&peer, code::GET_TOPIC_STATS_INFO, &[("topic", "absent")], b"").await;
        assert_eq!(absent, Err((17, "topic[absent] not exist".into())));

        let expected = [(0, 3, 0, false), (1, 3, 2, true), (2, 3, 3, true), (3, 3, 0, false)];
        for more in [&[][..], &[("topic", "orders")], &[("topicList", "orders;absent")]] {
            assert_eq!(stats(&peer, "g", more).await, expected);
        }
        assert_eq!(stats(&peer, "g", &[("topic", "absent")]).await, []);
        assert_eq!(stats(&peer, "nobody", &[]).await, []);
        let all: ConsumeStatsList =
            body(&peer, code::GET_BROKER_CONSUME_STATS, &[("isOrder", "false")], b"").await.unwrap();
        assert_eq!((all.total_diff, all.total_inflight_diff), (7, 0));
        assert!(all.consume_stats_list.iter().any(|group| group.get("g").is_some_and(|g| g.len() == 1)));
        let ordered: ConsumeStatsList =
            body(&peer, code::GET_BROKER_CONSUME_STATS, &[("isOrder", "true")], b"").await.unwrap();
        assert_eq!(ordered.total_diff, 0);

        let fields = [("topic", "orders"), ("group", "g")];
        let spans: ConsumeTimeSpans = body(&peer, code::QUERY_CONSUME_TIME_SPAN, &fields, b"").await.unwrap();
        let spans = spans.consume_time_span_set;
        assert_eq!(spans.len(), 4);
        assert!(
            spans.iter().all(|span| span.min_time_stamp > 0 && span.max_time_stamp > span.min_time_stamp)
        );
        assert_eq!(spans[0].consume_time_stamp, spans[0].min_time_stamp);
        assert!(spans[1].min_time_stamp < spans[1].consume_time_stamp);
        assert!(spans[1].consume_time_stamp < spans[1].max_time_stamp && spans[1].delay_time > 0);
        assert_eq!((spans[2].consume_time_stamp, spans[2].delay_time), (spans[2].max_time_stamp, 0));
    });
}

/// What was pulled and not committed is told apart from what was not pulled, whatever a pull ended with.
#[test]
fn what_a_group_has_pulled_is_told() {
    each_seed(SEEDS, |rig| async move {
        let peer = orders(&rig).await;
        let pull = async |queue: i32, offset: i64, most: i32| {
            let header = pull_header("orders", queue, offset);
            rig.connect().pull(PullHeader { consumer_group: "g", max_msg_nums: most, ..header }).await
        };
        let told = async || {
            let stats: ConsumeStats =
                body(&peer, code::GET_CONSUME_STATS, &[("consumerGroup", "g")], b"").await.unwrap();
            stats.offset_table.values().map(|at| (at.consumer_offset, at.pull_offset)).collect::<Vec<_>>()
        };
        assert_eq!(told().await, [(0, 0), (2, 2), (3, 3), (0, 0)]);
        assert_eq!(pull(0, 0, 32).await.bodies().len(), 3);
        assert_eq!(pull(1, 1, 1).await.bodies().len(), 1);
        assert_eq!(pull(3, 0, 2).await.bodies().len(), 2);
        // What is committed has been pulled by somebody.
        assert_eq!(told().await, [(0, 3), (2, 2), (3, 3), (0, 2)]);
        let all: ConsumeStatsList =
            body(&peer, code::GET_BROKER_CONSUME_STATS, &[("isOrder", "false")], b"").await.unwrap();
        assert_eq!((all.total_diff, all.total_inflight_diff), (7, 5));
        commit(&peer, "g", "orders", 0, 2).await;
        assert_eq!(told().await[0], (2, 3));
        // A consumer that takes over begins anew; one that is ahead of the end is sent back.
        assert_eq!(pull(0, 0, 1).await.next, 1);
        assert_eq!(told().await[0], (2, 2));
        assert_eq!(pull(3, 90, 1).await.next, 3);
        assert_eq!(told().await[3], (0, 3));
        // Another group has pulled nothing of it, and a group that is made again neither.
        make_group(&peer, "h").await;
        commit(&peer, "h", "orders", 0, 1).await;
        assert_eq!(stats(&peer, "h", &[]).await.len(), 4);
        let delete = [("groupName", "g"), ("cleanOffset", "false")];
        assert_eq!(done(&peer, code::DELETE_SUBSCRIPTIONGROUP, &delete, b"").await, ok());
        make_group(&peer, "g").await;
        assert_eq!(told().await, [(2, 2), (2, 2), (3, 3), (0, 0)]);
    });
}

#[test]
fn offsets_are_compared_and_cloned() {
    each_seed(SEEDS, |rig| async move {
        let peer = orders(&rig).await;
        make_group(&peer, "h").await;
        commit(&peer, "h", "orders", 1, 1).await;
        let compare = async |without: &str| {
            let fields = [("topic", "orders"), ("compareGroup", "h"), ("filterGroups", without)];
            let found: CorrectionOffsets =
                body(&peer, code::QUERY_CORRECTION_OFFSET, &fields, b"").await.unwrap();
            found.correction_offsets.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(compare("").await, [(1, 1), (2, 3)]);
        assert_eq!(compare("h").await, [(1, i64::MAX), (2, 3)]);
        // It was a question.
        assert_eq!(compare("").await, [(1, 1), (2, 3)]);

        let clone = async |from: &str, to: &str, topic: &str| {
            let fields = [("srcGroup", from), ("destGroup", to), ("topic", topic), ("offline", "true")];
            done(&peer, code::CLONE_GROUP_OFFSET, &fields, b"").await
        };
        assert_eq!(clone("g", "h", "other").await, ok());
        assert_eq!(stats_of(rig.connect(), "h").await, [0, 1, 0, 0]);
        assert_eq!(clone("g", "h", "orders").await, ok());
        assert_eq!(stats_of(rig.connect(), "h").await, [0, 2, 3, 0]);
        assert_eq!(clone("g", "absent", "orders").await.0, 26);
    });
}

#[test]
fn who_is_online_and_what_they_want() {
    each_seed(SEEDS, |rig| async move {
        let peer = orders(&rig).await;
        let none: Result<ConsumerConnection, _> =
            body(&peer, code::GET_CONSUMER_CONNECTION_LIST, &[("consumerGroup", "online")], b"").await;
        assert_eq!(none, Err((206, "the consumer group[online] not online".into())));
        let beat = br#"{"clientID":"10.0.0.9@1","producerDataSet":[{"groupName":"p"}],"consumerDataSet":[
            {"groupName":"online","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING",
             "consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{"topic":"orders","subString":"x",
             "tagsSet":["x"],"codeSet":[120],"subVersion":1,"expressionType":"TAG"}]}]}"#;
        let client = rig.connect();
        assert_eq!(client.ask(code::HEART_BEAT, &[], beat).await.command().code, 0);
        let online: ConsumerConnection =
            body(&peer, code::GET_CONSUMER_CONNECTION_LIST, &[("consumerGroup", "online")], b"")
                .await
                .unwrap();
        let connection = &online.connection_set[0];
        assert_eq!((online.connection_set.len(), &*connection.client_id), (1, "10.0.0.9@1"));
        assert!(connection.client_addr.contains(':'), "{connection:?}");
        assert_eq!(online.subscription_table["orders"].sub_string, "x");
        let producers: ProducerConnection =
            body(&peer, code::GET_PRODUCER_CONNECTION_LIST, &[("producerGroup", "p")], b"").await.unwrap();
        assert_eq!(producers.connection_set, std::slice::from_ref(connection));
        let absent: Result<ProducerConnection, _> =
            body(&peer, code::GET_PRODUCER_CONNECTION_LIST, &[("producerGroup", "q")], b"").await;
        assert_eq!(absent, Err((1, "the producer group[q] not exist".into())));
        let all: ProducerTable = body(&peer, code::GET_ALL_PRODUCER_INFO, &[], b"").await.unwrap();
        let producer = &all.data["p"][0];
        assert_eq!(
            (&producer.client_id, &producer.remote_ip),
            (&connection.client_id, &connection.client_addr)
        );
        assert!((0..10_000).contains(&(rig.env.now_ms() - producer.last_update_timestamp)));

        let groups: GroupList =
            body(&peer, code::QUERY_TOPIC_CONSUME_BY_WHO, &[("topic", "orders")], b"").await.unwrap();
        assert_eq!(groups.group_list, ["g", "online"]);
        let topics: TopicList =
            body(&peer, code::QUERY_TOPICS_BY_CONSUMER, &[("group", "g")], b"").await.unwrap();
        assert_eq!(topics.topic_list, ["orders"]);
        let fields = [("group", "online"), ("topic", "orders")];
        let wanted: json_dialect::GroupSubscription =
            body(&peer, code::QUERY_SUBSCRIPTION_BY_CONSUMER, &fields, b"").await.unwrap();
        assert_eq!(wanted.subscription_data.unwrap().sub_string, "x");

        // A group that is online and wants another topic is asked about that one only.
        make_group(&peer, "online").await;
        commit(&peer, "online", "orders", 0, 1).await;
        assert_eq!(stats(&peer, "online", &[]).await.len(), 4);
        assert_eq!(stats(&peer, "online", &[("topic", "TBW102")]).await, []);

        let index = async |group: &str| {
            let fields = [
                ("topic", "orders"),
                ("queueId", "3"),
                ("index", "1"),
                ("count", "9"),
                ("consumerGroup", group),
            ];
            let queue: ConsumeQueue = body(&peer, code::QUERY_CONSUME_QUEUE, &fields, b"").await.unwrap();
            queue
        };
        let queue = index("online").await;
        assert_eq!((queue.min_queue_index, queue.max_queue_index, queue.queue_data.len()), (0, 3, 2));
        assert!(
            queue
                .queue_data
                .iter()
                .all(|entry| entry.eval && entry.tags_code == 120 && entry.physic_size > 90)
        );
        assert_eq!(queue.subscription_data.unwrap().sub_string, "x");
        let queue = index("g").await;
        assert_eq!(queue.filter_data.unwrap(), "g@orders is not online!");
        assert!(queue.queue_data.iter().all(|entry| !entry.eval));
        let fields = [("topic", "absent"), ("queueId", "0"), ("index", "0"), ("count", "1")];
        let absent: Result<ConsumeQueue, _> = body(&peer, code::QUERY_CONSUME_QUEUE, &fields, b"").await;
        assert_eq!(absent, Err((1, "0@absent is not exist!".into())));
    });
}

#[test]
fn rates_and_replication_are_told_as_they_are() {
    each_seed(SEEDS, |rig| async move {
        let view = async |peer: &Peer, key: &str| {
            let fields = [("statsName", "TOPIC_PUT_NUMS"), ("statsKey", key)];
            body::<BrokerStats>(peer, code::VIEW_BROKER_STATS_DATA, &fields, b"").await
        };
        let peer = orders(&rig).await;
        rig.env.sleep(Duration::from_secs(21)).await;
        let stats = view(&peer, "orders").await.unwrap();
        assert_eq!(stats.stats_minute.sum, 12);
        assert!(stats.stats_minute.tps > 0.3 && stats.stats_minute.tps < 1.3, "{stats:?}");
        let absent = view(&peer, "absent").await;
        assert_eq!(absent, Err((1, "The stats <TOPIC_PUT_NUMS> <absent> not exist".into())));
        let topic: TopicStatsTable =
            body(&peer, code::GET_TOPIC_STATS_INFO, &[("topic", "orders")], b"").await.unwrap();
        assert_eq!(topic.topic_put_tps, stats.stats_minute.tps);
        let ha: HaRuntimeInfo = body(&peer, code::GET_BROKER_HA_STATUS, &[], b"").await.unwrap();
        assert!(ha.master && ha.master_commit_log_max_offset > 0 && ha.ha_connection_info.is_empty());
        let system: TopicList = body(&peer, code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &[], b"").await.unwrap();
        let is_system = |name: &str| system.topic_list.iter().any(|topic| topic == name);
        assert!(is_system("TBW102") && is_system("broker-a") && !is_system("orders"));
    });
}

/// As RocketMQ counts them: whole records, whatever becomes of the message.
#[test]
fn sizes_that_are_told_are_those_of_records() {
    each_seed(SEEDS, |rig| async move {
        let peer = orders(&rig).await;
        let delayed = send_header("later", 0, "DELAY\u{1}18\u{2}");
        assert_eq!(peer.send(delayed, b"waits").await.code, 0);
        let mut sizes = Vec::new();
        for (topic, queues) in [("orders", 4), ("rmq_sys_wheel_timer", 2)] {
            for queue in 0..queues {
                let queue = queue.to_string();
                let fields = [("topic", topic), ("queueId", &*queue), ("index", "0"), ("count", "9")];
                let found: Result<ConsumeQueue, _> =
                    body(&peer, code::QUERY_CONSUME_QUEUE, &fields, b"").await;
                let entries = found.map_or_else(|_| Vec::new(), |queue| queue.queue_data);
                sizes.extend(entries.iter().map(|entry| i64::from(entry.physic_size)));
            }
        }
        assert_eq!(sizes.len(), 13);
        let total: i64 = sizes.iter().sum();
        let told: KvTable = body(&peer, code::GET_BROKER_RUNTIME_INFO, &[], b"").await.unwrap();
        assert_eq!(told.table["putMessageTimesTotal"], "13");
        assert_eq!(told.table["putMessageSizeTotal"], total.to_string());
        assert_eq!(told.table["putMessageAverageSize"], (total as f64 / 13.0).to_string());
    });
}

/// A message that comes into its queue after its topic was deleted belongs to no topic.
#[test]
fn cleaning_drops_what_belongs_to_no_topic_and_nothing_else() {
    each_seed(SEEDS, |rig| async move {
        let peer = orders(&rig).await;
        let delayed = send_header("gone", 0, "DELAY\u{1}1\u{2}");
        assert_eq!(peer.send(delayed, b"late").await.code, 0);
        assert_eq!(done(&peer, code::DELETE_TOPIC_IN_BROKER, &[("topic", "gone")], b"").await, ok());
        rig.env.sleep(Duration::from_secs(3)).await;
        let queue = [("topic", "gone"), ("queueId", "0")];
        assert_eq!(peer.number(code::GET_MAX_OFFSET, &queue, "offset").await, 1);
        for clean in [code::CLEAN_EXPIRED_CONSUMEQUEUE, code::DELETE_EXPIRED_COMMITLOG] {
            assert_eq!(done(&peer, clean, &[], b"").await, ok());
        }
        assert_eq!(peer.number(code::GET_MAX_OFFSET, &queue, "offset").await, 1);
        assert_eq!(done(&peer, code::CLEAN_UNUSED_TOPIC, &[], b"").await, ok());
        assert_eq!(peer.number(code::GET_MAX_OFFSET, &queue, "offset").await, 0);
        for queue in 0..4 {
            assert_eq!(peer.pull_all("orders", queue).await.len(), 3);
        }
    });
}

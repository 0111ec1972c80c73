//! RocketMQ's metrics beyond plain counts: how old is what groups are behind with, how much of it they want, sizes, timers, transactions.

use std::time::Duration;

use crate::admin::{Http, sum};
use crate::common::{Peer, Scene, property, pull_header, send_header, topic_fields};
use ringmq_io::Env;
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::PullHeader;
use ringmq_wire::message_id::decode_offset_id;

const OURS: [&str; 2] = ["topic=\"orders\"", "consumer_group=\"consumers\""];

async fn send_tagged(peer: &Peer, queue: i32, tag: &str) {
    let sent = peer.send(send_header("orders", queue, &property("TAGS", tag)), b"m").await;
    assert_eq!(sent.code, 0, "{}", sent.remark);
}

async fn make_group(peer: &Peer) {
    let group = br#"{"groupName":"consumers"}"#;
    let answer = peer.ask(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group).await;
    assert_eq!(answer.command().code, 0);
}

async fn commit(peer: &Peer, queue: &str, offset: &str) {
    let fields =
        [("consumerGroup", "consumers"), ("topic", "orders"), ("queueId", queue), ("commitOffset", offset)];
    assert_eq!(peer.ask(code::UPDATE_CONSUMER_OFFSET, &fields, b"").await.command().code, 0);
}

/// A member of the group that wants the tag y.
async fn want_y(peer: &Peer) {
    let beat = br#"{"clientID":"10.0.0.9@1","consumerDataSet":[
        {"groupName":"consumers","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING",
         "consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{"topic":"orders","subString":"y",
         "tagsSet":["y"],"codeSet":[121],"subVersion":1,"expressionType":"TAG"}]}]}"#;
    assert_eq!(peer.ask(code::HEART_BEAT, &[], beat).await.command().code, 0);
}

/// Lag, in flight and ready.
fn counts(metrics: &str) -> [f64; 3] {
    ["lag", "inflight", "ready"]
        .map(|name| sum(metrics, &format!("rocketmq_consumer_{name}_messages"), &OURS))
}

/// In whole seconds: what is not committed, and what was not pulled.
fn ages(metrics: &str) -> [f64; 2] {
    ["lag", "queueing"].map(|name| {
        let name = format!("rocketmq_consumer_{name}_latency_milliseconds");
        (sum(metrics, &name, &OURS) / 1000.0).floor()
    })
}

#[test]
fn how_old_it_is_and_how_much_is_wanted_of_what_a_group_is_behind_with() {
    let scene = Scene::new(76);
    scene.start(2, |config| config.shards = 2);
    scene.client(|rig| async move {
        let peer = rig.connect();
        for queue in 0..2 {
            for tag in ["x", "x", "x", "y"] {
                send_tagged(&peer, queue, tag).await;
                rig.env.sleep(Duration::from_secs(2)).await;
            }
        }
        make_group(&peer).await;
        commit(&peer, "0", "1").await;
        commit(&peer, "1", "4").await;
        let http = Http::connect(&rig).await;
        let (_, metrics) = http.get("/metrics").await;
        // The second message is 14 s old, and what is committed is taken for pulled.
        assert_eq!((counts(&metrics), ages(&metrics)), ([3.0, 0.0, 3.0], [14.0, 14.0]));
        let header = PullHeader { max_msg_nums: 3, ..pull_header("orders", 0, 0) };
        assert_eq!(peer.pull(header).await.bodies().len(), 3);
        let (_, metrics) = http.get("/metrics").await;
        assert_eq!((counts(&metrics), ages(&metrics)), ([3.0, 2.0, 1.0], [14.0, 10.0]));

        let member = rig.connect();
        want_y(&member).await;
        let (_, metrics) = http.get("/metrics").await;
        assert_eq!((counts(&metrics), ages(&metrics)), ([1.0, 0.0, 1.0], [14.0, 10.0]));
        let change = b"estimateAccumulation=false";
        assert_eq!(peer.ask(code::UPDATE_BROKER_CONFIG, &[], change).await.command().code, 0);
        let (_, metrics) = http.get("/metrics").await;
        assert_eq!(counts(&metrics), [3.0, 2.0, 1.0]);

        // What is committed and was never given is still ready.
        commit(&peer, "0", "4").await;
        let (_, metrics) = http.get("/metrics").await;
        assert_eq!((counts(&metrics), ages(&metrics)), ([0.0, 0.0, 1.0], [0.0, 10.0]));
    });
    scene.stop();
}

/// Of a long queue the beginning is looked at.
#[test]
fn how_much_is_wanted_of_a_long_queue_is_estimated() {
    let scene = Scene::new(77);
    scene.start(1, |_| ());
    scene.client(|rig| async move {
        let peer = rig.connect();
        make_group(&peer).await;
        for n in 0..1500 {
            send_tagged(&peer, 0, if n % 3 == 0 { "y" } else { "x" }).await;
        }
        commit(&peer, "0", "0").await;
        want_y(&peer).await;
        let (_, metrics) = Http::connect(&rig).await.get("/metrics").await;
        assert_eq!(counts(&metrics), [500.0, 0.0, 500.0]);
    });
    scene.stop();
}

#[test]
fn sizes_timers_transactions_dead_letters_and_makings_are_counted() {
    let scene = Scene::new(78);
    scene.start(2, |config| config.shards = 2);
    scene.client(|rig| async move {
        let peer = rig.connect();
        let small = peer.send(send_header("orders", 0, ""), b"small").await;
        assert_eq!(peer.send(send_header("orders", 1, ""), &[7; 3000]).await.code, 0);
        assert_eq!(peer.send(send_header("later", 0, &property("DELAY", "1")), b"x").await.code, 0);
        let http = Http::connect(&rig).await;
        let figures = async |names: &[(&str, &str)]| {
            let (_, metrics) = http.get("/metrics").await;
            names.iter().map(|(name, label)| sum(&metrics, name, &[label])).collect::<Vec<_>>()
        };
        let timers = [
            ("rocketmq_timing_messages", ""),
            ("rocketmq_timer_enqueue_total", ""),
            ("rocketmq_timer_dequeue_total", ""),
            ("rocketmq_delay_message_latency_seconds_bucket", "le=\"60.0\""),
        ];
        assert_eq!(figures(&timers).await, [1.0, 1.0, 0.0, 1.0]);
        let sizes = [
            ("rocketmq_message_size_bucket", "le=\"1024.0\""),
            ("rocketmq_message_size_bucket", "le=\"4096.0\""),
            ("rocketmq_message_size_count", ""),
        ];
        assert_eq!(figures(&sizes).await, [1.0, 2.0, 2.0]);
        rig.env.sleep(Duration::from_secs(3)).await;
        assert_eq!(figures(&timers).await, [0.0, 1.0, 1.0, 1.0]);
        assert_eq!(figures(&sizes).await, [2.0, 3.0, 3.0]);
        let stored = ["rocketmq_message_size_sum", "rocketmq_throughput_in_total"].map(|name| (name, ""));
        let both = figures(&stored).await;
        assert_eq!(both[0], both[1]);
        let reserved = figures(&[("rocketmq_storage_message_reserve_time_milliseconds", "")]).await[0];
        assert!((3000.0..6000.0).contains(&reserved), "{reserved} ms since the first message");

        let half = property("TRAN_MSG", "true") + &property("PGROUP", "P");
        let mut header = send_header("orders", 0, &half);
        (header.sys_flag, header.born_timestamp) = (4, rig.env.now_ms() - 30_000);
        let halves =
            [peer.send(header, b"h").await, peer.send(header, b"h").await, peer.send(header, b"h").await];
        for (half, fate) in halves.iter().zip(["8", "12"]) {
            let (offset, physical) =
                (half.queue_offset.to_string(), decode_offset_id(&half.msg_id).unwrap().1.to_string());
            let fields = [
                ("producerGroup", "P"),
                ("tranStateTableOffset", &*offset),
                ("commitLogOffset", &*physical),
                ("commitOrRollback", fate),
                ("fromTransactionCheck", "false"),
            ];
            let ended = peer.ask(code::END_TRANSACTION, &fields, b"").await;
            assert_eq!(ended.command().code, 0, "{:?}", ended.command().remark);
        }
        let transactions = [
            ("rocketmq_half_messages", ""),
            ("rocketmq_commit_messages_total", ""),
            ("rocketmq_rollback_messages_total", ""),
            ("rocketmq_finish_message_latency_milliseconds_bucket", "le=\"5.0\""),
            ("rocketmq_finish_message_latency_milliseconds_bucket", "le=\"60.0\""),
        ];
        assert_eq!(figures(&transactions).await, [1.0, 1.0, 1.0, 0.0, 1.0]);

        let physical = decode_offset_id(&small.msg_id).unwrap().1.to_string();
        let fields = [
            ("offset", &*physical),
            ("group", "consumers"),
            ("delayLevel", "-1"),
            ("originTopic", "orders"),
            ("unitMode", "false"),
        ];
        peer.pull(pull_header("orders", 0, 0)).await;
        let back = peer.ask(code::CONSUMER_SEND_MSG_BACK, &fields, b"").await;
        assert_eq!(back.command().code, 0, "{:?}", back.command().remark);
        let dead = [("rocketmq_send_to_dlq_messages_total", "consumer_group=\"consumers\"")];
        assert_eq!(figures(&dead).await, [1.0]);

        let make = async |name: &str| {
            peer.ask(code::UPDATE_AND_CREATE_TOPIC, &topic_fields(name, "1"), b"").await.command().code
        };
        assert_eq!((make("made").await, make("bad name").await), (0, 29));
        let group = br#"{"groupName":"made"}"#;
        let answer = peer.ask(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group).await;
        assert_eq!(answer.command().code, 0);
        let count = |of, status| (of, if status { "status=\"success\"" } else { "status=\"failure\"" });
        let topics = "rocketmq_topic_create_execution_time_milliseconds_count";
        let groups = "rocketmq_consumer_group_create_execution_time_milliseconds_count";
        let made = [count(topics, true), count(topics, false), count(groups, true), count(groups, false)];
        assert_eq!(figures(&made).await, [1.0, 1.0, 1.0, 0.0]);
    });
    scene.stop();
}

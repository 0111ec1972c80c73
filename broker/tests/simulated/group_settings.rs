//! What an administrator sets of a consumer group is in force at once, on every core; a deleted topic takes its offsets along.

use std::time::Duration;

use crate::common::{Peer, Pulled, Rig, each_seed, pull_header, send_header};
use crate::control_plane::{SEEDS, beat, code_of, commit, told, topic_config};
use ringmq_io::Env;
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::PullHeader;
use ringmq_wire::json_dialect::{self, SubscriptionGroupConfig};
use ringmq_wire::message_id::decode_offset_id;

async fn set(peer: &Peer, group: &str, change: impl FnOnce(&mut SubscriptionGroupConfig)) {
    let mut config =
        SubscriptionGroupConfig { group_name: group.into(), ..SubscriptionGroupConfig::default() };
    change(&mut config);
    let body = json_dialect::to_vec(&config);
    assert_eq!(code_of(&peer.ask(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], &body).await), 0);
}

/// As a consumer does that has told its subscription with its heartbeat.
async fn pull(peer: &Peer, group: &str, queue_id: i32) -> Pulled {
    let header = PullHeader { consumer_group: group, ..pull_header("t", queue_id, 0) };
    peer.pull(PullHeader { sys_flag: 0, subscription: None, sub_version: 1, ..header }).await
}

async fn a_message_in_each_queue(rig: &Rig) -> Peer {
    let peer = rig.connect();
    for queue in 0..4 {
        assert_eq!(peer.send(send_header("t", queue, ""), b"x").await.code, 0);
    }
    peer
}

#[test]
fn a_group_may_not_consume() {
    each_seed(SEEDS, |rig| async move {
        let peer = a_message_in_each_queue(&rig).await;
        peer.ask(code::HEART_BEAT, &[], &beat("c", "g", &["t"])).await;
        for enabled in [false, true] {
            set(&peer, "g", |config| config.consume_enable = enabled).await;
            for queue in 0..4 {
                let pulled = pull(&rig.connect(), "g", queue).await;
                if enabled {
                    assert_eq!(pulled.bodies(), ["x"]);
                } else {
                    assert_eq!((pulled.code, &*pulled.remark), (16, "subscription group no permission, g"));
                }
            }
        }
    });
}

#[test]
fn a_group_may_not_broadcast() {
    each_seed(SEEDS, |rig| async move {
        let peer = a_message_in_each_queue(&rig).await;
        let clustering = beat("c", "g", &["t"]);
        let broadcasting =
            String::from_utf8(clustering.clone()).unwrap().replace("CLUSTERING", "BROADCASTING");
        for (beat, allowed, code) in [
            (broadcasting.as_bytes(), false, 16),
            (broadcasting.as_bytes(), true, 0),
            (&clustering, false, 0),
        ] {
            set(&peer, "g", |config| config.consume_broadcast_enable = allowed).await;
            assert_eq!(code_of(&peer.ask(code::HEART_BEAT, &[], beat).await), 0);
            for queue in 0..4 {
                let pulled = pull(&peer, "g", queue).await;
                assert_eq!(pulled.code, code, "{}", pulled.remark);
                if code != 0 {
                    assert_eq!(pulled.remark, "the consumer group[g] can not consume by broadcast way");
                }
            }
            let leave = [("clientID", "c"), ("consumerGroup", "g")];
            assert_eq!(code_of(&peer.ask(code::UNREGISTER_CLIENT, &leave, b"").await), 0);
        }
    });
}

#[test]
fn a_group_may_not_want_to_hear_of_members() {
    each_seed(SEEDS, |rig| async move {
        let (one, two) = (rig.connect(), rig.connect());
        for wanted in [false, true] {
            let group = if wanted { "wants" } else { "does-not" };
            set(&one, group, |config| config.notify_consumer_ids_changed_enable = wanted).await;
            one.ask(code::HEART_BEAT, &[], &beat("c1", group, &["t"])).await;
            let before = told(&one, group);
            two.ask(code::HEART_BEAT, &[], &beat("c2", group, &["t"])).await;
            two.ask(code::UNREGISTER_CLIENT, &[("clientID", "c2"), ("consumerGroup", group)], b"").await;
            rig.env.sleep(Duration::from_secs(2)).await;
            assert_eq!(told(&one, group) - before, if wanted { 2 } else { 0 });
        }
    });
}

/// How many queues a group's retry topic has, and how often a message comes again at most if its consumer does not say.
#[test]
fn retries_are_as_many_and_go_where_the_group_says() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let sent = peer.send(send_header("t", 1, ""), b"bad").await;
        let physical = decode_offset_id(&sent.msg_id).unwrap().1.to_string();
        for (group, queues, times) in [("none", 0, 16), ("three", 3, 16), ("once", 1, 0)] {
            set(&peer, group, |config| (config.retry_queue_nums, config.retry_max_times) = (queues, times))
                .await;
            let fields = [
                ("offset", physical.as_str()),
                ("group", group),
                ("delayLevel", "1"),
                ("originTopic", "t"),
                ("unitMode", "false"),
            ];
            for _ in 0..30 {
                assert_eq!(code_of(&peer.ask(code::CONSUMER_SEND_MSG_BACK, &fields, b"").await), 0);
            }
            rig.env.sleep(Duration::from_secs(3)).await;
            let (retry, dead) = (format!("%RETRY%{group}"), format!("%DLQ%{group}"));
            let mut counts = Vec::new();
            if let Ok(topic) = topic_config(&peer, &retry).await {
                for queue in 0..topic.read_queue_nums {
                    counts.push(peer.pull_all(&retry, queue).await.len());
                }
            }
            let dead = match topic_config(&peer, &dead).await {
                Ok(_) => peer.pull_all(&dead, 0).await.len(),
                Err(_) => 0,
            };
            match group {
                // Success, and nothing is kept: as RocketMQ does.
                "none" => assert_eq!((counts.iter().sum::<usize>(), dead), (0, 0)),
                "three" => {
                    assert_eq!((counts.len(), counts.iter().sum::<usize>(), dead), (3, 30, 0));
                    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
                }
                _ => assert_eq!((counts.iter().sum::<usize>(), dead), (0, 30)),
            }
        }
    });
}

/// Also those of a group that is not online.
#[test]
fn offsets_of_a_deleted_topic_are_gone_for_every_group() {
    each_seed(SEEDS, |rig| async move {
        let peer = a_message_in_each_queue(&rig).await;
        for group in ["online", "offline"] {
            set(&peer, group, |_| ()).await;
            for queue in 0..4 {
                assert_eq!(code_of(&commit(&peer, group, "t", queue, 1).await), 0);
            }
        }
        peer.ask(code::HEART_BEAT, &[], &beat("c", "online", &["t"])).await;
        assert_eq!(code_of(&peer.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"").await), 0);
        assert_eq!(peer.send(send_header("t", 0, ""), b"new").await.queue_offset, 0);
        for group in ["online", "offline"] {
            let fields =
                [("consumerGroup", group), ("topic", "t"), ("queueId", "1"), ("setZeroIfNotFound", "false")];
            assert_eq!(code_of(&peer.ask(code::QUERY_CONSUMER_OFFSET, &fields, b"").await), 22, "{group}");
        }
    });
}

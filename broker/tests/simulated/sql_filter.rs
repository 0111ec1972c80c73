//! SQL92 filters through a whole broker in the simulated world: expressions from heartbeats and from pulls, in memory and from
//! segments, at once and by long polling.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Pulled, each_seed_with, property, pull_header, send_header};
use ringmq_broker::config::BrokerConfig;
use ringmq_io::{Class, Env};
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::PullHeader;
use ringmq_wire::json_dialect::{self, CheckClientConfig};
use ringmq_wire::subscription::{SQL92, SubscriptionData};

const SEEDS: u64 = 4;

/// A pull that brings its expression along.
fn carrying<'a>(queue_id: i32, offset: i64, expression: &'a str) -> PullHeader<'a> {
    let mut header = pull_header("t", queue_id, offset);
    (header.subscription, header.expression_type) = (Some(expression), Some(SQL92));
    header
}

/// A pull of a member of group g, whose heartbeats say what it wants.
fn member<'a>(queue_id: i32, offset: i64, version: i64) -> PullHeader<'a> {
    let mut header = pull_header("t", queue_id, offset);
    (header.sys_flag, header.subscription, header.expression_type) = (2, None, Some(SQL92));
    (header.consumer_group, header.sub_version) = ("g", version);
    header
}

async fn beat(peer: &Peer, expression: &str, version: i64) {
    let sql = SubscriptionData::of("t", expression, Some(SQL92)).unwrap();
    let subscription = SubscriptionData { sub_version: version, ..sql };
    let body = format!(
        r#"{{"clientID":"c1","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING",
        "subscriptionDataSet":[{}],"unitMode":false}}],"heartbeatFingerprint":0,"producerDataSet":[],
        "withoutSub":false}}"#,
        String::from_utf8(json_dialect::to_vec(&subscription)).unwrap()
    );
    let answer = peer.ask(code::HEART_BEAT, &[], body.as_bytes()).await;
    assert_eq!(answer.command().code, 0, "{:?}", answer.command().remark);
}

async fn send(peer: &Peer, queue: i32, number: u32) {
    let properties =
        property("a", &number.to_string()) + &property("color", ["red", "blue"][number as usize % 2]);
    let sent = peer.send(send_header("t", queue, &properties), number.to_string().as_bytes()).await;
    assert_eq!(sent.code, 0, "{}", sent.remark);
}

fn outcome(pulled: &Pulled) -> (i32, Vec<&str>, i64) {
    (pulled.code, pulled.bodies(), pulled.next)
}

#[test]
fn a_pull_brings_its_expression_along() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                for number in 0..10 {
                    send(&peer, queue, number).await;
                }
                let expression = "a between 3 and 8 and color = 'blue'";
                let pulled = rig.connect().pull(carrying(queue, 0, expression)).await;
                assert_eq!(outcome(&pulled), (0, vec!["3", "5", "7"], 10));
                let none = peer.pull(carrying(queue, 2, "a > 100")).await;
                assert_eq!(outcome(&none), (20, vec![], 10), "{}", none.remark);
                let bad = peer.pull(carrying(queue, 0, "a > 'x'")).await;
                assert_eq!(bad.code, 23);
                assert!(bad.remark.contains("at character 5"), "{}", bad.remark);
            }
        },
    );
}

#[test]
fn a_heartbeat_brings_the_expression() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            for number in 0..10 {
                send(&peer, 1, number).await;
            }
            beat(&peer, "color <> 'red' and a < 6", 1).await;
            let pulled = rig.connect().pull(member(1, 0, 1)).await;
            assert_eq!(outcome(&pulled), (0, vec!["1", "3", "5"], 10));
            beat(&peer, "color ! 'red'", 2).await;
            let bad = rig.connect().pull(member(1, 0, 2)).await;
            assert_eq!(bad.code, 27);
            assert!(bad.remark.contains("character 7"), "{}", bad.remark);
        },
    );
}

#[test]
fn a_pull_that_is_ahead_of_its_heartbeat_waits_for_it() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            send(&peer, 0, 1).await;
            send(&peer, 0, 2).await;
            beat(&peer, "a = 1", 1).await;
            let (answered, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
            let (early, is_answered, is_done) = (rig.connect(), answered.clone(), done.clone());
            rig.env.spawn(Class::Foreground, async move {
                let pulled = early.pull(member(0, 0, 2)).await;
                is_answered.set(true);
                // Not by what was wanted before.
                assert_eq!(outcome(&pulled), (0, vec!["2"], 2), "{}", pulled.remark);
                is_done.set(true);
            });
            rig.env.sleep(Duration::from_millis(500)).await;
            assert!(!answered.get());
            beat(&peer, "a = 2", 2).await;
            while !done.get() {
                rig.env.sleep(Duration::from_millis(1)).await;
            }
            // Nobody comes with version 3.
            let late = peer.pull(member(0, 0, 3)).await;
            assert_eq!(late.code, 25, "{}", late.remark);
        },
    );
}

#[test]
fn a_held_pull_wakes_by_a_match_alone() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            send(&peer, 2, 1).await;
            beat(&peer, "a > 5", 1).await;
            let consumer = rig.connect();
            let start = rig.env.monotonic_ns();
            let answer_ns = Rc::new(Cell::new(0));
            let (env, at) = (rig.env.clone(), answer_ns.clone());
            rig.env.spawn(Class::Foreground, async move {
                let mut header = member(2, 1, 1);
                header.suspend_timeout_millis = 20_000;
                let pulled = consumer.pull(header).await;
                assert_eq!(outcome(&pulled), (0, vec!["9"], 4), "{}", pulled.remark);
                at.set(env.monotonic_ns());
            });
            for number in [2, 3] {
                rig.env.sleep(Duration::from_secs(2)).await;
                send(&peer, 2, number).await;
            }
            rig.env.sleep(Duration::from_secs(2)).await;
            assert_eq!(answer_ns.get(), 0, "woken by what it does not want");
            send(&peer, 2, 9).await;
            while answer_ns.get() == 0 {
                rig.env.sleep(Duration::from_millis(1)).await;
            }
            let waited = Duration::from_nanos(answer_ns.get() - start);
            assert!(waited < Duration::from_secs(8), "{waited:?}: it was woken by its time-out");
        },
    );
}

#[test]
fn messages_in_segments_are_chosen_too() {
    let small = |config: &mut BrokerConfig| {
        config.ring_bytes = 1 << 20;
        config.segment_bytes = 4 << 20;
    };
    each_seed_with(SEEDS, small, |rig| async move {
        let peer = rig.connect();
        let padding = "x".repeat(4000);
        for number in 0..2000_u32 {
            let properties = property("a", &number.to_string());
            let body = format!("{number} {padding}");
            let sent = peer.send(send_header("t", 0, &properties), body.as_bytes()).await;
            assert_eq!(sent.code, 0, "{}", sent.remark);
        }
        let (mut at, mut found, mut pulls) = (0, Vec::new(), 0);
        loop {
            let pulled = peer.pull(carrying(0, at, "a endswith '77' or a < 5 or a >= 1990")).await;
            match pulled.code {
                0 => found.extend(pulled.bodies().iter().map(|b| b.split(' ').next().unwrap().to_owned())),
                19 => break,
                20 => assert_eq!(pulled.remark, "NO_MATCHED_MESSAGE"),
                other => panic!("{other}: {}", pulled.remark),
            }
            assert!(pulled.next > at, "at {at}: {}", pulled.remark);
            at = pulled.next;
            pulls += 1;
        }
        let wanted = |n: &u32| n % 100 == 77 || *n < 5 || *n >= 1990;
        let expected: Vec<String> = (0..2000).filter(wanted).map(|n| n.to_string()).collect();
        assert_eq!(found, expected);
        assert!(pulls < 60, "{pulls} pulls for {} messages", found.len());
    });
}

#[test]
fn a_broker_may_be_told_not_to_filter() {
    each_seed_with(
        SEEDS,
        |config| config.enable_property_filter = false,
        |rig| async move {
            let peer = rig.connect();
            send(&peer, 0, 1).await;
            let refused = peer.pull(carrying(0, 0, "a = 1")).await;
            let remark = "The broker does not support consumer to filter message by SQL92";
            assert_eq!((refused.code, refused.remark.as_str()), (1, remark));
            beat(&peer, "a = 1", 1).await;
            assert_eq!(peer.pull(member(0, 0, 1)).await.code, 1);
            let check = check(&peer, "a = 1").await;
            assert_eq!(check, (1, remark.to_string()));
        },
    );
}

async fn check(peer: &Peer, expression: &str) -> (i32, String) {
    let body = CheckClientConfig {
        client_id: "c1".into(),
        group: "g".into(),
        subscription_data: SubscriptionData::of("t", expression, Some(SQL92)).unwrap(),
        ..CheckClientConfig::default()
    };
    let answer = peer.ask(code::CHECK_CLIENT_CONFIG, &[], &json_dialect::to_vec(&body)).await;
    let command = answer.command();
    (command.code, command.remark.as_deref().unwrap_or_default().to_owned())
}

#[test]
fn a_client_is_told_whether_its_expression_will_do() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            assert_eq!(check(&peer, "a > 5 and b is not null").await, (0, String::new()));
            let (code, remark) = check(&peer, "a between 3 and 1").await;
            assert_eq!(code, 23);
            assert_eq!(remark, "SQL92 at character 11: BETWEEN has its bounds in the wrong order");
        },
    );
}

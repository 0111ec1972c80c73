//! Transactions in the simulated world: nothing is seen before its commit, each is there once or waits, whatever crashes, and
//! producers are asked about those that nobody ended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{
    Peer, Rig, Scene, Sent, each_seed_with, longest_taken, property, pull_header, send_header,
};
use ringmq_broker::config::BrokerConfig;
use ringmq_io::{Class, Env};
use ringmq_simenv::CrashKind;
use ringmq_transport::OwnedFrame;
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::{PullRequest, pull_request};
use ringmq_wire::message::{self, RecordView};
use ringmq_wire::message_id::{decode_offset_id, offset_id};
use ringmq_wire::properties;

const SEEDS: u64 = 6;

const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;
const UNKNOWN: i32 = 0;
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

async fn send_half(peer: &Peer, queue: i32, body: &str, more: &str) -> Sent {
    send_half_born(peer, queue, body, more, 0).await
}

async fn send_half_born(peer: &Peer, queue: i32, body: &str, more: &str, born_ms: i64) -> Sent {
    let properties = property("TRAN_MSG", "true") + &property("PGROUP", "P") + &property("TAGS", "a") + more;
    let mut header = send_header("orders", queue, &properties);
    (header.sys_flag, header.born_timestamp) = (4, born_ms);
    peer.send(header, body.as_bytes()).await
}

async fn end(peer: &Peer, half: &Sent, group: &str, fate: i32) -> (i32, String) {
    let physical = decode_offset_id(&half.msg_id).unwrap().1;
    end_at(peer, (half.queue_offset, physical), group, fate, false).await
}

async fn end_at(
    peer: &Peer,
    (offset, physical): (i64, i64),
    group: &str,
    fate: i32,
    check: bool,
) -> (i32, String) {
    let (offset, physical, fate) = (offset.to_string(), physical.to_string(), fate.to_string());
    let fields = [
        ("producerGroup", group),
        ("tranStateTableOffset", &*offset),
        ("commitLogOffset", &*physical),
        ("commitOrRollback", &*fate),
        ("fromTransactionCheck", if check { "true" } else { "false" }),
    ];
    let answer = peer.ask(code::END_TRANSACTION, &fields, b"").await;
    let command = answer.command();
    (command.code, command.remark.as_deref().unwrap_or_default().to_owned())
}

async fn beat(peer: &Peer, id: &str, group: &str) {
    let body = format!(
        r#"{{"clientID":"{id}","consumerDataSet":[],"producerDataSet":[{{"groupName":"{group}"}}],"heartbeatFingerprint":0}}"#
    );
    assert_eq!(peer.ask(code::HEART_BEAT, &[], body.as_bytes()).await.command().code, 0);
}

/// What a producer was asked: half offset, physical offset, body, check times.
fn asked(frame: &OwnedFrame) -> (i64, i64, String, String) {
    let command = frame.command();
    assert_eq!(command.code, code::CHECK_TRANSACTION_STATE);
    let record = RecordView::parse(command.body).unwrap();
    assert_eq!(record.topic, "orders");
    let number = |name| command.ext.get_i64(name).unwrap();
    (
        number("tranStateTableOffset"),
        number("commitLogOffset"),
        String::from_utf8(record.body.to_vec()).unwrap(),
        record.property("TRANSACTION_CHECK_TIMES").unwrap().to_owned(),
    )
}

async fn bodies(peer: &Peer, topic: &str, queue: i32) -> Vec<String> {
    let all = peer.pull_all(topic, queue).await;
    all.into_iter().map(|(_, body, _)| String::from_utf8(body).unwrap()).collect()
}

#[test]
fn a_commit_makes_it_seen_and_a_rollback_does_not() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                let first = send_half(&peer, queue, "first", "").await;
                let second = send_half(&peer, queue, "second", "").await;
                assert_eq!((first.code, second.code, second.queue_id), (0, 0, queue), "{}", first.remark);
                assert_eq!(peer.pull(pull_header("orders", queue, 0)).await.max, 0);
                assert_eq!(end(&peer, &second, "P", ROLLBACK).await, (0, String::new()));
                assert_eq!(end(&peer, &first, "P", UNKNOWN).await.0, 0);
                assert_eq!(peer.pull(pull_header("orders", queue, 0)).await.max, 0);
                // From whatever core.
                assert_eq!(end(&rig.connect(), &first, "P", COMMIT).await, (0, String::new()));
                let pulled = peer.pull(pull_header("orders", queue, 0)).await;
                assert_eq!((pulled.bodies(), pulled.max), (vec!["first"], 1));
                let properties = &pulled.messages[0].2;
                assert!(!properties.contains("REAL_") && !properties.contains("CHECK_TIMES"), "{properties}");
                assert_eq!(properties::get(properties, "TRAN_MSG"), Some("true"));
                assert!(properties.contains("PGROUP\u{1}P\u{2}") && properties.contains("TAGS\u{1}a\u{2}"));
                for gone in [&first, &second] {
                    for fate in [COMMIT, ROLLBACK] {
                        let (code, remark) = end(&peer, gone, "P", fate).await;
                        assert_eq!(code, 1);
                        assert!(remark.contains("Find prepared transaction message failed"), "{remark}");
                        assert!(remark.contains("before"), "{remark}");
                    }
                }
                assert_eq!(bodies(&peer, "orders", queue).await, ["first"]);
            }
        },
    );
}

#[test]
fn a_wrong_end_is_refused_with_the_reason() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            let half = send_half(&peer, 1, "x", "").await;
            let physical = decode_offset_id(&half.msg_id).unwrap().1;
            let (code, remark) = end(&peer, &half, "Q", COMMIT).await;
            assert!(code == 1 && remark.starts_with("The producer group wrong"), "{remark}");
            let (code, remark) = end_at(&peer, (half.queue_offset + 1, physical), "P", COMMIT, false).await;
            assert!(code == 1 && remark.starts_with("The transaction state table offset wrong"), "{remark}");
            for nowhere in [physical + 8, -1, i64::MAX] {
                let (code, remark) = end_at(&peer, (half.queue_offset, nowhere), "P", COMMIT, false).await;
                assert!(
                    code == 1 && remark.starts_with("Find prepared transaction message failed"),
                    "{remark}"
                );
            }
            let ordinary = peer.send(send_header("orders", 1, ""), b"ordinary").await;
            let (code, remark) = end(&peer, &ordinary, "P", COMMIT).await;
            assert!(code == 1 && remark.contains("is of topic orders"), "{remark}");
            // Too late for what it says itself; only the check ends it now.
            let immune = property("CHECK_IMMUNITY_TIME_IN_SECONDS", "1");
            let late = send_half_born(&peer, 1, "late", &immune, rig.env.now_ms()).await;
            rig.env.sleep(Duration::from_millis(1500)).await;
            assert_eq!(end(&peer, &late, "P", COMMIT).await.0, 604);
            let place = (late.queue_offset, decode_offset_id(&late.msg_id).unwrap().1);
            assert_eq!(end_at(&peer, place, "P", COMMIT, true).await.0, 0);
            assert_eq!(end(&peer, &half, "P", COMMIT).await.0, 0);
            assert_eq!(bodies(&peer, "orders", 1).await, ["ordinary", "late", "x"]);
            let mut flag_alone = send_header("orders", 1, "");
            flag_alone.sys_flag = 4;
            assert_eq!(peer.send(flag_alone, b"flag").await.code, 13);
            let delayed = send_half(&peer, 1, "delayed", &property("DELAY", "3")).await;
            assert_eq!(delayed.code, 13, "{}", delayed.remark);
        },
    );
}

#[test]
fn producers_are_asked_in_turn_and_at_last_it_is_given_up() {
    let quick = |config: &mut BrokerConfig| {
        (config.transaction_check_interval_ms, config.transaction_check_max) = (10_000, 3);
    };
    each_seed_with(SEEDS, quick, |rig| async move {
        let peer = rig.connect();
        let start = rig.env.monotonic_ns();
        assert_eq!(send_half(&peer, 2, "forgotten", "").await.code, 0);
        let producers = [rig.connect(), rig.connect()];
        beat(&producers[0], "p0", "P").await;
        beat(&producers[1], "p1", "P").await;
        let other = rig.connect();
        beat(&other, "q", "Q").await;
        let count = || producers.iter().map(|p| p.asked.0.borrow().len()).collect::<Vec<_>>();
        while count().iter().sum::<usize>() == 0 {
            rig.env.sleep(Duration::from_millis(10)).await;
        }
        let first = Duration::from_nanos(rig.env.monotonic_ns() - start);
        assert!((6000..7500).contains(&first.as_millis()), "{first:?}");
        let mut waited = 0;
        while bodies(&peer, GIVEN_UP, given_up_queue(&peer).await).await.is_empty() {
            rig.env.sleep(Duration::from_millis(500)).await;
            waited += 1;
            assert!(waited < 200, "never given up");
        }
        let mut counts = count();
        counts.sort_unstable();
        assert_eq!(counts, [1, 2], "three times, each in turn");
        assert!(other.asked.0.borrow().is_empty());
        let mut times: Vec<String> = producers
            .iter()
            .flat_map(|p| p.asked.0.borrow().iter().map(|f| asked(f).3).collect::<Vec<_>>())
            .collect();
        times.sort();
        assert_eq!(times, ["1", "2", "3"]);
        assert_eq!(peer.pull(pull_header("orders", 2, 0)).await.max, 0);
        let given_up = peer.pull(pull_header(GIVEN_UP, given_up_queue(&peer).await, 0)).await;
        assert_eq!(properties::get(&given_up.messages[0].2, "TRANSACTION_CHECK_TIMES"), Some("3"));
    });
}

#[test]
fn what_was_given_up_is_resumed_and_asked_about_anew() {
    let quick = |config: &mut BrokerConfig| {
        (config.transaction_check_interval_ms, config.transaction_check_max) = (1_000, 1);
        config.transaction_timeout_ms = 1_000;
    };
    each_seed_with(SEEDS, quick, |rig| async move {
        let peer = rig.connect();
        let half = send_half(&peer, 1, "resumed", "").await;
        assert_eq!(half.code, 0);
        let given_up = loop {
            let queue = given_up_queue(&peer).await;
            let answer = peer
                .call(|out, opaque| {
                    let header = pull_header(GIVEN_UP, queue, 0);
                    let request = PullRequest { code: code::PULL_MESSAGE, opaque, header };
                    pull_request(out, Serialization::Json, &request).unwrap();
                })
                .await;
            if let Some(record) = message::records(answer.command().body).next() {
                break record.unwrap().physical_offset;
            }
            rig.env.sleep(Duration::from_millis(500)).await;
        };
        let resume = async |from: &Peer, id: &str| {
            let fields = [("topic", GIVEN_UP), ("msgId", id)];
            let answer = from.ask(code::RESUME_CHECK_HALF_MESSAGE, &fields, b"").await;
            let command = answer.command();
            (command.code, command.remark.as_deref().unwrap_or_default().to_owned())
        };
        // The half message itself has ended, and no other message is one.
        let ordinary = peer.send(send_header("orders", 1, ""), b"ordinary").await;
        for (id, reason) in [
            (&*half.msg_id, "only half messages that were given up"),
            (&*ordinary.msg_id, "only half messages that were given up"),
            ("7F00000100002A9F7FFFFFFFFFFFFFFF", "can not find message"),
            ("orders", "no offset message id"),
        ] {
            let (code, remark) = resume(&peer, id).await;
            assert!(code == 1 && remark.contains(reason), "{id}: {code} {remark}");
        }
        let producer = rig.connect();
        beat(&producer, "p", "P").await;
        let (host, _) = decode_offset_id(&half.msg_id).unwrap();
        let id = offset_id(host, given_up);
        // From whatever core.
        assert_eq!(resume(&rig.connect(), id.as_str()).await, (0, String::new()));
        while producer.asked.0.borrow().is_empty() {
            rig.env.sleep(Duration::from_millis(10)).await;
        }
        let (offset, physical, body, times) = asked(&producer.asked.0.borrow()[0]);
        assert_eq!((body.as_str(), times.as_str()), ("resumed", "1"));
        assert_eq!(end_at(&producer, (offset, physical), "P", COMMIT, true).await, (0, String::new()));
        assert_eq!(bodies(&peer, "orders", 1).await, ["ordinary", "resumed"]);
    });
}

/// The queue of the topic that has something; its number is of the shard.
async fn given_up_queue(peer: &Peer) -> i32 {
    let second = peer.pull(pull_header(GIVEN_UP, 1, 0)).await;
    i32::from(second.code == 0)
}

#[test]
fn a_check_ends_what_its_producer_forgot() {
    each_seed_with(
        SEEDS,
        |config| config.transaction_timeout_ms = 1000,
        |rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                assert_eq!(send_half(&peer, queue, &format!("half-{queue}"), "").await.code, 0);
            }
            let another = rig.connect();
            beat(&another, "another", "P").await;
            while another.asked.0.borrow().len() < 4 {
                rig.env.sleep(Duration::from_millis(10)).await;
            }
            let frames: Vec<_> = another.asked.0.borrow().iter().map(asked).collect();
            for (offset, physical, _, _) in frames {
                assert_eq!(end_at(&another, (offset, physical), "P", COMMIT, true).await, (0, String::new()));
            }
            for queue in 0..4 {
                assert_eq!(bodies(&peer, "orders", queue).await, [format!("half-{queue}")]);
                let pulled = peer.pull(pull_header("orders", queue, 0)).await;
                assert_eq!(properties::get(&pulled.messages[0].2, "TRANSACTION_CHECK_TIMES"), Some("1"));
            }
        },
    );
}

/// No room is left in its properties for how often was asked.
#[test]
fn a_half_with_full_properties_is_asked_about_and_given_up() {
    let quick = |config: &mut BrokerConfig| {
        (config.transaction_check_interval_ms, config.transaction_check_max) = (1_000, 1);
        config.transaction_timeout_ms = 1_000;
    };
    each_seed_with(1, quick, |rig| async move {
        let peer = rig.connect();
        let padding =
            longest_taken(async |padding| send_half(&peer, 1, "full", &property("p", padding)).await.code)
                .await;
        assert!(padding > 32_000, "{padding}");
        let producer = rig.connect();
        beat(&producer, "p", "P").await;
        while bodies(&peer, GIVEN_UP, given_up_queue(&peer).await).await.is_empty() {
            rig.env.sleep(Duration::from_millis(100)).await;
        }
        let frames = producer.asked.0.borrow();
        let record = RecordView::parse(frames[0].command().body).unwrap();
        assert_eq!((record.topic, record.body), ("orders", &b"full"[..]));
    });
}

/// Those that became due while the broker was down are asked about by the one that starts.
#[test]
fn what_is_due_at_a_start_is_asked_about() {
    for cores in 1..=3 {
        let scene = Scene::new(cores);
        let quick = |config: &mut BrokerConfig| config.transaction_timeout_ms = 1000;
        scene.start(cores as usize, quick);
        scene.client(|rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                assert_eq!(send_half(&peer, queue, &format!("half-{queue}"), "").await.code, 0);
            }
        });
        scene.machine.crash(CrashKind::Process);
        scene.world.run_for(Duration::from_secs(5));
        scene.start(cores as usize, quick);
        scene.client(|rig| async move {
            let producer = rig.connect();
            beat(&producer, "producer", "P").await;
            while producer.asked.0.borrow().len() < 4 {
                rig.env.sleep(Duration::from_millis(10)).await;
            }
        });
        scene.stop();
    }
}

/// What a client was told of one transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Half,
    /// Its end was under way.
    Ending(i32),
    Ended(i32),
}

#[test]
fn each_is_committed_once_or_waits_whatever_crashes() {
    for seed in 1..=12 {
        let (scene, rng, cores, flush) = Scene::drawn(seed);
        let change = move |config: &mut BrokerConfig| {
            config.flush_disk_type = flush;
            config.transaction_timeout_ms = 3_600_000;
        };
        let book: Rc<RefCell<BTreeMap<String, (Sent, Told)>>> = Rc::default();
        for life in 0..3 {
            let book = book.clone();
            scene.live_and_crash(&rng, cores, change, flush, move |rig| {
                let book = book.clone();
                async move {
                    for worker in 0..4 {
                        let (worker_rig, book) = (rig.clone(), book.clone());
                        rig.env.spawn(Class::Foreground, async move {
                            work(&worker_rig, life * 10 + worker, &book).await
                        });
                    }
                    rig.env.sleep(Duration::from_secs(3600)).await;
                }
            });
        }
        scene.start(cores, change);
        let all = book.clone();
        scene.client(move |rig| async move {
            let peer = rig.connect();
            let mut seen = BTreeMap::new();
            for queue in 0..4 {
                for body in bodies(&peer, "orders", queue).await {
                    *seen.entry(body).or_insert(0) += 1;
                }
            }
            let (mut committed, mut waiting) = (0, 0);
            for (name, (half, told)) in &all.take() {
                let count = seen.remove(name).unwrap_or(0);
                let may_be_seen = matches!(told, Told::Ending(COMMIT) | Told::Ended(COMMIT));
                assert!(
                    count <= u32::from(may_be_seen),
                    "seed {seed}: {name} is there {count} times, {told:?}"
                );
                assert!(*told != Told::Ended(COMMIT) || count == 1, "seed {seed}: {name} is lost");
                // What was acknowledged as a half can be ended if it was not; and cannot if it was.
                let (code, remark) = end(&peer, half, "P", ROLLBACK).await;
                let ended = count == 1 || *told == Told::Ended(ROLLBACK);
                match told {
                    Told::Ending(ROLLBACK) => {}
                    _ => assert_eq!(code, i32::from(ended), "seed {seed}: {name} {told:?}: {remark}"),
                }
                committed += count;
                waiting += i32::from(code == 0);
            }
            // A send whose answer was lost is a half that nobody ended.
            assert!(seen.is_empty(), "seed {seed}: {seen:?}");
            assert!(committed > 0 && waiting > 0, "seed {seed}: {committed} committed, {waiting} waiting");
        });
        scene.stop();
    }
}

/// Begins and ends transactions until the broker is gone.
async fn work(rig: &Rig, life: u32, book: &RefCell<BTreeMap<String, (Sent, Told)>>) {
    let peer = rig.connect();
    for number in 0_u32.. {
        let name = format!("{life}-{number}");
        let padding = property("padding", &"x".repeat((number as usize * 97) % 3000));
        let properties = property("TRAN_MSG", "true") + &property("PGROUP", "P") + &padding;
        let sent = peer
            .try_call(|out, opaque| {
                let mut header = send_header("orders", (number % 4) as i32, &properties);
                header.sys_flag = 4;
                let body = name.as_bytes();
                let request = ringmq_wire::encode::SendRequest {
                    code: code::SEND_MESSAGE_V2,
                    opaque,
                    flag: 0,
                    header,
                    body,
                };
                ringmq_wire::encode::send_request(out, ringmq_wire::Serialization::Json, &request).unwrap();
            })
            .await;
        let Ok(answer) = sent else { return };
        let half = crate::common::sent(&answer);
        if half.code != 0 {
            continue;
        }
        book.borrow_mut().insert(name.clone(), (half.clone(), Told::Half));
        let fate = match number % 3 {
            0 => COMMIT,
            1 => ROLLBACK,
            _ => continue,
        };
        book.borrow_mut().insert(name.clone(), (half.clone(), Told::Ending(fate)));
        let place = (half.queue_offset, decode_offset_id(&half.msg_id).unwrap().1);
        let (offset, physical, shown) = (place.0.to_string(), place.1.to_string(), fate.to_string());
        let ended = peer
            .try_call(|out, opaque| {
                let json = ringmq_wire::Serialization::Json;
                let mut writer =
                    ringmq_wire::encode::begin_request(out, json, code::END_TRANSACTION, opaque, 0);
                writer.ext("producerGroup", "P");
                writer.ext("tranStateTableOffset", &offset);
                writer.ext("commitLogOffset", &physical);
                writer.ext("commitOrRollback", &shown);
                writer.ext("fromTransactionCheck", "false");
                writer.finish(&[]).unwrap();
            })
            .await;
        let Ok(answer) = ended else { return };
        assert_eq!(answer.command().code, 0, "{:?}", answer.command().remark);
        book.borrow_mut().insert(name, (half, Told::Ended(fate)));
    }
}

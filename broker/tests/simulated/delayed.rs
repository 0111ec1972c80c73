//! Delayed messages through a whole broker: delay levels, timer properties, crashes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Rig, Scene, longest_taken, property, pull_header, send_header};
use ringmq_broker::config::{BrokerConfig, FlushMode};
use ringmq_broker::timers::DelayLevels;
use ringmq_io::{Class, Env};
use ringmq_simenv::CrashKind;
use ringmq_wire::headers::SendHeader;
use ringmq_wire::properties;

fn short_levels(config: &mut BrokerConfig) {
    config.message_delay_level = DelayLevels::read("1s 3s 1h").unwrap();
}

/// Pulls until there is a message at `offset`; gives its properties and when that was.
async fn message_at(rig: &Rig, peer: &Peer, queue_id: i32, offset: i64) -> (String, String, i64) {
    loop {
        let pulled = peer.pull(pull_header("t", queue_id, offset)).await;
        if let Some((_, body, properties)) = pulled.messages.first() {
            return (String::from_utf8(body.clone()).unwrap(), properties.clone(), rig.env.now_ms());
        }
        rig.env.sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_message_comes_when_its_time_has_come() {
    for cores in 1..=3 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, short_levels);
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(peer.send(send_header("t", 0, ""), b"now").await.queue_offset, 0);
            // In each queue, so in each shard.
            for queue_id in 0..4 {
                let begun = rig.env.now_ms();
                let text = property("KEYS", "k") + &property("UNIQ_KEY", "U1") + &property("DELAY", "2");
                let sent = peer.send(send_header("t", queue_id, &text), b"level").await;
                assert_eq!((sent.code, sent.queue_id, sent.transaction_id.as_str()), (0, queue_id, "U1"));
                let text = property("TIMER_DELAY_MS", "700") + &property("TAGS", "a");
                assert_eq!(peer.send(send_header("t", queue_id, &text), b"timer").await.code, 0);
                let past = property("TIMER_DELIVER_MS", &(begun - 5).to_string());
                assert_eq!(peer.send(send_header("t", queue_id, &past), b"past").await.code, 0);
                let first = i64::from(queue_id == 0);
                let (body, text, _) = message_at(&rig, &peer, queue_id, first).await;
                assert_eq!((body.as_str(), properties::get(&text, "TIMER_OUT_MS")), ("past", None));
                let (body, text, came) = message_at(&rig, &peer, queue_id, first + 1).await;
                assert_eq!(body, "timer");
                assert!((begun + 700..begun + 800).contains(&came), "after {} ms", came - begun);
                assert_eq!(properties::get(&text, "TAGS"), Some("a"));
                assert_eq!(properties::get(&text, "REAL_TOPIC"), Some("t"));
                let out: i64 = properties::get(&text, "TIMER_OUT_MS").unwrap().parse().unwrap();
                assert!((begun + 700..begun + 750).contains(&out));
                let (body, text, came) = message_at(&rig, &peer, queue_id, first + 2).await;
                assert_eq!(body, "level");
                assert!((begun + 3000..begun + 3100).contains(&came), "after {} ms", came - begun);
                assert_eq!(properties::get(&text, "DELAY"), Some("2"));
                assert_eq!(properties::get(&text, "REAL_QID"), Some(queue_id.to_string().as_str()));
                assert_eq!(properties::get(&text, "KEYS"), Some("k"));
            }
        });
        scene.stop();
    }
}

#[test]
fn what_cannot_wait_is_refused() {
    let scene = Scene::new(1);
    scene.start(1, |_| {});
    scene.client(|rig| async move {
        let peer = rig.connect();
        for (name, value) in [("DELAY", "x"), ("TIMER_DELAY_SEC", "999999999999"), ("TIMER_DEL_UNIQKEY", "U")]
        {
            let sent = peer.send(send_header("t", 0, &property(name, value)), b"x").await;
            assert_eq!(sent.code, 13, "{name}: {}", sent.remark);
            assert!(sent.remark.contains(name), "{}", sent.remark);
        }
        let item = ringmq_wire::batch::BatchItem { flag: 0, body: b"x", properties: "" };
        let mut body = Vec::new();
        ringmq_wire::batch::put_item(&mut body, &item);
        let batch = SendHeader { batch: true, ..send_header("t", 0, "DELAY\u{1}1\u{2}") };
        assert_eq!(peer.send(batch, &body).await.code, 13);
        for topic in ["rmq_sys_wheel_timer", "rmq_sys_timer_done"] {
            assert_eq!(peer.send(send_header(topic, 0, ""), b"x").await.code, 16);
        }
        assert_eq!(peer.pull_all("t", 0).await, []);
    });
    scene.stop();
}

/// No room is left in its properties for when it waited, or none for a level of more digits: it comes all the same, and holds
/// up nothing.
#[test]
fn a_message_with_full_properties_is_delivered() {
    for delay in [("TIMER_DELAY_MS", "500"), ("DELAY", "1")] {
        let scene = Scene::new(3);
        scene.start(1, short_levels);
        scene.client(|rig| async move {
            let peer = rig.connect();
            let padding = longest_taken(async |padding| {
                let text = property("p", padding) + &property(delay.0, delay.1);
                peer.send(send_header("t", 0, &text), b"full").await.code
            })
            .await;
            assert!(padding > 32_000, "{padding}");
            let text = property(delay.0, delay.1);
            assert_eq!(peer.send(send_header("t", 0, &text), b"behind").await.code, 0);
            let (body, text, _) = message_at(&rig, &peer, 0, 0).await;
            assert_eq!((body.as_str(), properties::get(&text, delay.0)), ("full", Some(delay.1)));
            assert_eq!(message_at(&rig, &peer, 0, 1).await.0, "behind");
        });
        scene.stop();
    }
}

/// The same producer, the same queue, the same delay: the order of the sends is kept.
#[test]
fn messages_of_one_time_keep_their_order() {
    let scene = Scene::new(7);
    scene.start(2, short_levels);
    scene.client(|rig| async move {
        let peer = rig.connect();
        let due = (rig.env.now_ms() + 2000).to_string();
        for i in 0..600u32 {
            let text = property("TIMER_DELIVER_MS", &due);
            assert_eq!(peer.send(send_header("t", 1, &text), &i.to_be_bytes()).await.code, 0);
        }
        message_at(&rig, &peer, 1, 599).await;
        let all = peer.pull_all("t", 1).await;
        let numbers: Vec<u32> =
            all.iter().map(|(_, body, _)| u32::from_be_bytes(body[..].try_into().unwrap())).collect();
        assert_eq!(numbers, (0..600).collect::<Vec<_>>());
    });
    scene.stop();
}

#[test]
fn a_clock_that_jumps_forward_is_noticed() {
    let scene = Scene::new(3);
    scene.start(1, short_levels);
    let machine = scene.machine.clone();
    scene.client(|rig| async move {
        let peer = rig.connect();
        let begun = rig.env.monotonic_ns();
        assert_eq!(peer.send(send_header("t", 0, &property("DELAY", "3")), b"x").await.code, 0);
        machine.jump_clock(2 * 3_600_000);
        message_at(&rig, &peer, 0, 0).await;
        assert!(Duration::from_nanos(rig.env.monotonic_ns() - begun) < Duration::from_secs(3));
    });
    scene.stop();
}

async fn recall(peer: &Peer, topic: &str, handle: &str) -> (i32, String) {
    let fields = [("producerGroup", "producers"), ("topic", topic), ("recallHandle", handle)];
    let answer = peer.ask(ringmq_wire::code::request_code::RECALL_MESSAGE, &fields, b"").await;
    let command = answer.command();
    let text = match command.code {
        0 => command.ext.get("msgId").unwrap_or_default().to_owned(),
        _ => command.remark.as_deref().unwrap_or_default().to_owned(),
    };
    (command.code, text)
}

#[test]
fn a_recalled_message_does_not_come_whatever_crashes() {
    for cores in 1..=3u64 {
        let scene = Scene::new(60 + cores);
        let change = |config: &mut BrokerConfig| {
            config.recall_message_enable = true;
            config.flush_disk_type = FlushMode::Sync;
        };
        scene.start(cores as usize, change);
        scene.client(|rig| async move {
            let peer = rig.connect();
            for i in 0..8 {
                let text = property("TIMER_DELAY_SEC", "30") + &property("UNIQ_KEY", &format!("U{i}"));
                let sent = peer.send(send_header("t", i % 4, &text), format!("m{i}").as_bytes()).await;
                assert_eq!(sent.code, 0);
                if i % 3 == 0 {
                    let expected = (0, format!("U{i}"));
                    assert_eq!(recall(&peer, "t", &sent.recall_handle).await, expected);
                    // A second time as the first, as RocketMQ has it.
                    assert_eq!(recall(&peer, "t", &sent.recall_handle).await, expected);
                }
                if i == 7 {
                    let (code, remark) = recall(&peer, "t", "bm90IG9uZQ==").await;
                    assert_eq!((code, remark.as_str()), (604, "recall handle is invalid"));
                    assert_eq!(recall(&peer, "none", &sent.recall_handle).await.0, 17);
                    assert_eq!(
                        recall(&peer, "TBW102", &sent.recall_handle).await.1,
                        "recall failed, topic not match"
                    );
                }
            }
        });
        scene.machine.crash(CrashKind::PowerLoss);
        scene.start(cores as usize, change);
        scene.client(|rig| async move {
            rig.env.sleep(Duration::from_secs(31)).await;
            let peer = rig.connect();
            let mut came = BTreeSet::new();
            for queue_id in 0..4 {
                for (_, body, text) in peer.pull_all("t", queue_id).await {
                    came.insert(String::from_utf8(body).unwrap());
                    let due: i64 = properties::get(&text, "TIMER_OUT_MS").unwrap().parse().unwrap();
                    let handle = ringmq_broker::recall_handle::of("t", "broker-a", due, "U1").unwrap();
                    assert_eq!(recall(&peer, "t", &handle).await.1, "recall failed, timestamp invalid");
                }
            }
            let expected: BTreeSet<String> = [1, 2, 4, 5, 7].map(|i| format!("m{i}")).into();
            assert_eq!(came, expected);
        });
        scene.stop();
    }
    let scene = Scene::new(9);
    scene.start(1, |_| {});
    scene.client(|rig| async move {
        let forbidden = (16, "recall failed, operation is forbidden".to_owned());
        assert_eq!(recall(&rig.connect(), "t", "any").await, forbidden);
    });
    scene.stop();
}

type Acked = Rc<RefCell<BTreeSet<u64>>>;

async fn produce(rig: Rig, next: Rc<Cell<u64>>, acked: Acked) {
    let peer = rig.connect();
    loop {
        let number = next.get();
        next.set(number + 1);
        let due = rig.env.now_ms() + (rig.env.random() % 1500) as i64;
        let text = property("TIMER_DELIVER_MS", &due.to_string());
        let queue_id = (number % 4) as i32;
        let sent = peer
            .try_call(|out, opaque| {
                let request = ringmq_wire::encode::SendRequest {
                    code: 310,
                    opaque,
                    flag: 0,
                    header: send_header("t", queue_id, &text),
                    body: &number.to_be_bytes(),
                };
                ringmq_wire::encode::send_request(out, ringmq_wire::Serialization::Json, &request).unwrap();
            })
            .await;
        match sent {
            Ok(answer) if answer.command().code == 0 => {
                acked.borrow_mut().insert(number);
            }
            _ => rig.env.sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Real broker, crashes at any moment, several cores: each acknowledged message is delivered once, none before its time.
#[test]
fn crashes_neither_lose_nor_repeat_nor_hurry_a_message() {
    let mut count = 0;
    for seed in 1..=12 {
        let (scene, rng, cores, flush) = Scene::drawn(seed);
        let change = move |config: &mut BrokerConfig| {
            config.flush_disk_type = flush;
        };
        let (next, acked) = (Rc::new(Cell::new(0)), Acked::default());
        for _ in 0..3 {
            let (next, acked) = (next.clone(), acked.clone());
            scene.live_and_crash(&rng, cores, change, flush, move |rig| {
                let (next, acked) = (next.clone(), acked.clone());
                async move {
                    for _ in 0..4 {
                        rig.env.spawn(Class::Foreground, produce(rig.clone(), next.clone(), acked.clone()));
                    }
                    rig.env.sleep(Duration::from_secs(3600)).await;
                }
            });
        }
        scene.start(cores, change);
        let acked = acked.take();
        count += acked.len();
        scene.client(|rig| async move {
            // The last one is due in 1.5 s.
            rig.env.sleep(Duration::from_secs(3)).await;
            let peer = rig.connect();
            let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
            for queue_id in 0..4 {
                for (_, body, text) in peer.pull_all("t", queue_id).await {
                    let number = u64::from_be_bytes(body[..].try_into().unwrap());
                    *seen.entry(number).or_default() += 1;
                    let time = |name| properties::get(&text, name).map(|ms| ms.parse::<i64>().unwrap());
                    if let Some(out) = time("TIMER_OUT_MS") {
                        assert!(time("TIMER_DEQUEUE_MS").unwrap() >= out, "message {number} is early");
                    }
                }
            }
            for (number, times) in &seen {
                assert_eq!(*times, 1, "seed {seed}: message {number}");
            }
            for number in &acked {
                assert!(seen.contains_key(number), "seed {seed}: message {number} is lost");
            }
        });
        scene.stop();
    }
    assert!(count > 500, "only {count} messages were acknowledged");
}

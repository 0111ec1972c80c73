//! Topics that take each message once: what is sent again, however and whenever, is answered with what is there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Rig, Scene, Sent, property, send_header, sent, topic_fields};
use ringmq_broker::config::{BrokerConfig, FlushMode};
use ringmq_io::{Class, Env};
use ringmq_simenv::Faults;
use ringmq_wire::Serialization;
use ringmq_wire::batch::{BatchItem, put_item};
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::{SendRequest, send_request};

const QUEUES: i32 = 4;

/// Code and remark.
async fn make(peer: &Peer, topic: &str, attributes: &str) -> (i32, String) {
    let fields = [&topic_fields(topic, "4")[..], &[("attributes", attributes)]].concat();
    let answer = peer.ask(code::UPDATE_AND_CREATE_TOPIC, &fields, b"").await;
    let command = answer.command();
    (command.code, command.remark.as_deref().unwrap_or_default().to_owned())
}

async fn send(peer: &Peer, topic: &str, queue: i32, key: &str) -> Sent {
    peer.send(send_header(topic, queue, &property("UNIQ_KEY", key)), key.as_bytes()).await
}

/// Bodies of all queues.
async fn all(peer: &Peer, topic: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    for queue in 0..QUEUES {
        let there = peer.pull_all(topic, queue).await;
        bodies.extend(there.into_iter().map(|(_, body, _)| String::from_utf8(body).unwrap()));
    }
    bodies.sort();
    bodies
}

fn each_count_of_cores<F: Future<Output = ()> + 'static>(case: impl Fn(Rig) -> F) {
    for cores in 1..=3 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, |_| ());
        scene.client(&case);
        scene.stop();
    }
}

#[test]
fn what_is_sent_again_is_answered_with_the_first() {
    each_count_of_cores(|rig| async move {
        let peer = rig.connect();
        assert_eq!(make(&peer, "t", "+ringmq.dedup.window=60s").await, (0, String::new()));
        let mut firsts = Vec::new();
        for number in 0..20 {
            let first = send(&peer, "t", number % QUEUES, &format!("k{number}")).await;
            assert_eq!((first.code, first.queue_id), (0, number % QUEUES), "{}", first.remark);
            firsts.push(first);
        }
        // From other connections, so other cores, to other queues.
        for (number, first) in firsts.iter().enumerate() {
            for queue in 0..QUEUES {
                assert_eq!(send(&rig.connect(), "t", queue, &format!("k{number}")).await, *first);
            }
            assert_eq!(
                send(&peer, "t", -1, &format!("k{number}")).await,
                *first,
                "the queue is the broker's choice"
            );
        }
        let mut names: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
        names.sort();
        assert_eq!(all(&peer, "t").await, names);
        let stats = peer.ask(code::GET_BROKER_RUNTIME_INFO, &[], b"").await;
        let stats = String::from_utf8(stats.command().body.to_vec()).unwrap();
        assert!(stats.contains(r#""sentAgain":"100""#), "{stats}");
        // The window is over.
        rig.env.sleep(Duration::from_secs(62)).await;
        let again = send(&peer, "t", 0, "k1").await;
        assert_eq!((again.code, again.queue_id, again.queue_offset), (0, 0, 5));
        assert_eq!(send(&peer, "t", 1, "k1").await, again);
    });
}

#[test]
fn only_what_has_a_key_and_a_topic_that_wants_it() {
    each_count_of_cores(|rig| async move {
        let peer = rig.connect();
        assert_eq!(make(&peer, "once", "+ringmq.dedup.window=60s").await.0, 0);
        assert_eq!(make(&peer, "often", "").await.0, 0);
        for _ in 0..2 {
            assert_eq!(send(&peer, "often", 0, "k").await.code, 0);
            assert_eq!(peer.send(send_header("once", 0, ""), b"no key").await.code, 0);
            // A word of KEYS is not a unique key, whatever it is.
            let words = property("KEYS", "k l");
            assert_eq!(peer.send(send_header("once", 1, &words), b"words").await.code, 0);
            let timer = property("UNIQ_KEY", "timer") + &property("TIMER_DELAY_MS", "100");
            assert_eq!(peer.send(send_header("once", 2, &timer), b"timer").await.code, 0);
        }
        assert_eq!(send(&peer, "once", 3, "k").await.code, 0);
        rig.env.sleep(Duration::from_secs(1)).await;
        assert_eq!(all(&peer, "often").await, ["k", "k"]);
        let there = all(&peer, "once").await;
        assert_eq!(there, ["k", "no key", "no key", "timer", "timer", "words", "words"]);
        // Nothing is oneway's answer, and nothing is stored twice.
        for _ in 0..2 {
            peer.send_oneway(send_header("once", 0, &property("UNIQ_KEY", "oneway")), b"oneway").await;
        }
        assert_eq!(send(&peer, "once", 1, "oneway").await.queue_id, 0);
        // Taken from a topic that has it, and given to one that has messages.
        assert_eq!(make(&peer, "once", "-ringmq.dedup.window").await.0, 0);
        assert_eq!(make(&peer, "often", "+ringmq.dedup.window=1h").await.0, 0);
        rig.env.sleep(Duration::from_secs(2)).await;
        assert_eq!(send(&peer, "once", 3, "k").await.queue_offset, 1);
        let known = send(&peer, "often", 3, "k").await;
        assert_eq!((known.code, known.queue_id), (0, 0));
        assert_eq!(all(&peer, "often").await, ["k", "k"]);
    });
}

/// No room for another key: what is new is refused and can be sent when others have grown too old; what is known is answered.
#[test]
fn at_the_limit_what_is_new_is_refused_and_what_is_known_is_answered() {
    for cores in 1..=2 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, |config| config.dedup_keys_per_core = 50);
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(make(&peer, "t", "+ringmq.dedup.window=30s").await.0, 0);
            let mut taken = Vec::new();
            let refused = loop {
                let key = format!("k{}", taken.len());
                match send(&peer, "t", 0, &key).await {
                    sent if sent.code == 0 => taken.push((key, sent)),
                    refused => break refused,
                }
            };
            assert!((50..=50 * cores as usize).contains(&taken.len()), "{} were taken", taken.len());
            assert_eq!(refused.code, 2, "{}", refused.remark);
            assert!(refused.remark.contains("remembers 50 unique keys already"), "{}", refused.remark);
            for (key, first) in &taken {
                assert_eq!(send(&rig.connect(), "t", 1, key).await, *first);
            }
            let other = send(&peer, "without", 0, "new").await;
            assert_eq!(other.code, 0, "{}", other.remark);
            rig.env.sleep(Duration::from_secs(33)).await;
            let late = send(&peer, "t", 0, &format!("k{}", taken.len())).await;
            assert_eq!((late.code, late.queue_offset), (0, taken.len() as i64), "{}", late.remark);
        });
        scene.stop();
    }
}

/// A topic that opts in when it has more messages than can be remembered: its sends are refused until they are too old.
#[test]
fn a_topic_with_too_many_messages_is_refused_until_they_are_old() {
    let scene = Scene::new(1);
    scene.start(1, |config| config.dedup_keys_per_core = 50);
    scene.client(|rig| async move {
        let peer = rig.connect();
        assert_eq!(make(&peer, "t", "").await.0, 0);
        for number in 0..60 {
            assert_eq!(send(&peer, "t", 0, &format!("k{number}")).await.code, 0);
        }
        assert_eq!(make(&peer, "t", "+ringmq.dedup.window=30s").await.0, 0);
        let refused = send(&peer, "t", 0, "new").await;
        assert_eq!(refused.code, 2);
        assert!(
            refused.remark.contains("more messages within its ringmq.dedup.window"),
            "{}",
            refused.remark
        );
        rig.env.sleep(Duration::from_secs(33)).await;
        let late = send(&peer, "t", 0, "new").await;
        assert_eq!((late.code, late.queue_offset), (0, 60), "{}", late.remark);
    });
    scene.stop();
}

#[test]
fn a_wrong_window_is_refused_with_the_reason() {
    each_count_of_cores(|rig| async move {
        let peer = rig.connect();
        let (code, remark) = make(&peer, "t", "+ringmq.dedup.window=60").await;
        assert!(code == 1 && remark.contains("such as 60s"), "{code} {remark}");
        for topic in ["%RETRY%g", "%DLQ%g", "rmq_sys_wheel_timer"] {
            let (code, remark) = make(&peer, topic, "+ringmq.dedup.window=60s").await;
            assert!(code == 29, "{topic}: {code} {remark}");
        }
    });
}

/// Many at once, from all cores, to all queues: one is stored, and all hear of that one.
#[test]
fn of_sends_at_the_same_time_one_is_stored() {
    for seed in 0..6 {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 3) as usize, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(make(&peer, "t", "+ringmq.dedup.window=60s").await.0, 0);
            for round in 0..20 {
                let answers: Rc<RefCell<Vec<Sent>>> = Rc::default();
                for queue in 0..8 {
                    let (rig, answers) = (rig.clone(), answers.clone());
                    let key = format!("k{round}");
                    rig.env.clone().spawn(Class::Foreground, async move {
                        let answer = send(&rig.connect(), "t", queue % QUEUES, &key).await;
                        answers.borrow_mut().push(answer);
                    });
                }
                while answers.borrow().len() < 8 {
                    rig.env.sleep(Duration::from_millis(1)).await;
                }
                let answers = answers.borrow();
                assert!(
                    answers.iter().all(|answer| answer.code == 0 && *answer == answers[0]),
                    "{answers:?}"
                );
            }
            assert_eq!(all(&peer, "t").await.len(), 20);
        });
        scene.stop();
    }
}

fn batch(names: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for name in names {
        let properties = property("UNIQ_KEY", name);
        put_item(&mut body, &BatchItem { flag: 0, body: name.as_bytes(), properties: &properties });
    }
    body
}

#[test]
fn a_batch_is_known_by_its_messages() {
    each_count_of_cores(|rig| async move {
        let peer = rig.connect();
        assert_eq!(make(&peer, "t", "+ringmq.dedup.window=60s").await.0, 0);
        let own = property("UNIQ_KEY", "batch");
        let send_batch = async |queue, names: &[&str]| {
            let mut header = send_header("t", queue, &own);
            header.batch = true;
            rig.connect().send(header, &batch(names)).await
        };
        let first = send_batch(0, &["a", "b", "c"]).await;
        assert_eq!((first.code, first.msg_id.split(',').count()), (0, 3), "{}", first.remark);
        for queue in 0..QUEUES {
            assert_eq!(send_batch(queue, &["a", "b", "c"]).await, first);
        }
        // A part of it, and one that goes on where it ends, are not it.
        assert_eq!(send_batch(0, &["d"]).await.code, 0);
        for other in [&["a", "b", "x"][..], &["a", "b", "c", "d", "e"], &["a", "c"]] {
            let refused = send_batch(1, other).await;
            assert_eq!(refused.code, 13, "{other:?}");
            assert!(refused.remark.contains("unique key a was sent before"), "{}", refused.remark);
        }
        let alone = send(&peer, "t", 2, "a").await;
        assert_eq!((alone.code, alone.queue_id, alone.queue_offset), (0, 0, 0));
        assert_eq!(alone.msg_id, first.msg_id.split(',').next().unwrap());
        assert_eq!(all(&peer, "t").await, ["a", "b", "c", "d"]);
    });
}

#[test]
fn a_send_that_was_refused_can_be_sent_again() {
    for cores in 1..=3 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, |config| config.max_message_size = 1000);
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(make(&peer, "t", "+ringmq.dedup.window=60s").await.0, 0);
            let key = property("UNIQ_KEY", "k");
            for queue in 0..QUEUES {
                assert_eq!(peer.send(send_header("t", queue, &key), &[7; 1001]).await.code, 13);
            }
            let stored = send(&peer, "t", 3, "k").await;
            assert_eq!((stored.code, stored.queue_id), (0, 3));
        });
        scene.stop();
    }
}

/// The answer to the second promises what that to the first does.
#[test]
fn a_repetition_is_not_acknowledged_before_the_disk_has_the_message() {
    for cores in 1..=3 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, |config| {
            (config.flush_disk_type, config.sync_flush_timeout_ms) = (FlushMode::Sync, 5000);
        });
        let machine = scene.machine.clone();
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(make(&peer, "t", "+ringmq.dedup.window=60s").await.0, 0);
            let mut slow = Faults::none();
            (slow.disk.slow_sync, slow.disk.slow_sync_time) = (1.0, Duration::from_secs(60));
            machine.set_faults(slow);
            let other = rig.clone();
            let answered = Rc::new(RefCell::new(None));
            let first = answered.clone();
            rig.env.spawn(Class::Foreground, async move {
                let answer = send(&other.connect(), "t", 0, "k").await;
                *first.borrow_mut() = Some(answer);
            });
            rig.env.sleep(Duration::from_millis(100)).await;
            assert!(answered.borrow().is_none());
            let again = send(&rig.connect(), "t", 1, "k").await;
            // FLUSH_DISK_TIMEOUT: it is there, and not yet safe; the disk may have it a moment later.
            assert!([0, 10].contains(&again.code), "{} {}", again.code, again.remark);
            assert_eq!((again.queue_id, again.queue_offset), (0, 0));
            assert!(answered.borrow().is_some(), "answered before the first");
            machine.set_faults(Faults::none());
            while send(&peer, "t", 2, "k").await.code != 0 {}
        });
        scene.stop();
    }
}

/// What producers know of their messages: which they have sent, and where they were told that each is.
#[derive(Default)]
struct Told {
    keys: Vec<String>,
    places: BTreeMap<String, Sent>,
}

impl Told {
    fn agree(&mut self, key: &str, answer: Sent) {
        let place = self.places.entry(key.to_owned()).or_insert_with(|| answer.clone());
        assert_eq!(*place, answer, "{key} is in two places");
    }
}

/// Sends until the broker is gone: new messages, and again those of which it does not know, or does.
async fn work(rig: Rig, told: Rc<RefCell<Told>>, worker: u64, life: u64) {
    let peer = rig.connect();
    for number in 0.. {
        let sent_before = told.borrow().keys.len() as u64;
        let key = if sent_before > 0 && rig.env.random().is_multiple_of(3) {
            told.borrow().keys[(rig.env.random() % sent_before) as usize].clone()
        } else {
            let key = format!("k{life}-{worker}-{number}");
            told.borrow_mut().keys.push(key.clone());
            key
        };
        // Words of some are the unique key of another.
        let words = if number % 50 == 0 { "word k1-0-1" } else { "word" };
        let properties = property("UNIQ_KEY", &key) + &property("KEYS", words);
        let queue = (rig.env.random() % QUEUES as u64) as i32;
        let outcome = peer
            .try_call(|out, opaque| {
                let (code, header) = (code::SEND_MESSAGE_V2, send_header("t", queue, &properties));
                let request = SendRequest { code, opaque, flag: 0, header, body: key.as_bytes() };
                send_request(out, Serialization::Json, &request).unwrap();
            })
            .await;
        let Ok(answer) = outcome else { return };
        let answer = sent(&answer);
        if answer.code == 0 {
            told.borrow_mut().agree(&key, answer);
        }
        rig.env.sleep(Duration::from_micros(rig.env.random() % 4000)).await;
    }
}

#[test]
fn each_message_is_there_once_whatever_crashes() {
    let mut messages = 0;
    for seed in 1..=8 {
        let (scene, rng, cores, flush) = Scene::drawn(seed);
        let change = move |config: &mut BrokerConfig| {
            config.flush_disk_type = flush;
            // Some of the keys come from sealed segments.
            (config.ring_bytes, config.segment_bytes) = (1 << 20, 1 << 20);
        };
        let told: Rc<RefCell<Told>> = Rc::default();
        scene.start(cores, change);
        scene.client(|rig| async move {
            assert_eq!(make(&rig.connect(), "t", "+ringmq.dedup.window=10m").await.0, 0);
        });
        scene.stop();
        for life in 0..3 {
            let told = told.clone();
            scene.live_and_crash(&rng, cores, change, flush, move |rig| {
                let told = told.clone();
                async move {
                    for worker in 0..6 {
                        let work = work(rig.clone(), told.clone(), worker, life);
                        rig.env.spawn(Class::Foreground, work);
                    }
                    rig.env.sleep(Duration::from_secs(3600)).await;
                }
            });
        }
        scene.start(cores, change);
        let all_told = told.clone();
        scene.client(move |rig| async move {
            let peer = rig.connect();
            let mut keys = all_told.borrow().keys.clone();
            keys.sort();
            for key in &keys {
                let queue = (rig.env.random() % QUEUES as u64) as i32;
                let answer = send(&peer, "t", queue, key).await;
                assert_eq!(answer.code, 0, "{}", answer.remark);
                all_told.borrow_mut().agree(key, answer);
            }
            assert_eq!(all(&peer, "t").await, keys, "seed {seed}");
        });
        messages += told.borrow().keys.len();
        scene.stop();
    }
    assert!(messages > 1000, "only {messages} messages were looked at");
}

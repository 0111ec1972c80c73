//! Sends and pulls through a whole broker in the simulated world, on one core and on two, over several seeds.

use std::time::Duration;

use crate::common::{Peer, Scene, each_seed, property, pull_header, send_header};
use ringmq_io::{Class, Env};
use ringmq_wire::batch::{BatchItem, put_item};
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message_id::decode_offset_id;

const SEEDS: u64 = 6;

#[test]
fn a_message_is_sent_and_pulled() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let properties =
            property("KEYS", "k1") + &property("UNIQ_KEY", "7F000001AAAA") + &property("TAGS", "TagA");
        for queue in 0..4 {
            let sent = peer.send(send_header("orders", queue, &properties), b"hello").await;
            assert_eq!((sent.code, sent.queue_id, sent.queue_offset), (0, queue, 0), "{}", sent.remark);
            assert_eq!(sent.transaction_id, "7F000001AAAA");
            let (host, physical) = decode_offset_id(&sent.msg_id).unwrap();
            assert_eq!(host, rig.addr);
            let view = peer.ask(code::VIEW_MESSAGE_BY_ID, &[("offset", &physical.to_string())], b"").await;
            assert_eq!(view.command().code, 0, "{:?}", view.command().remark);

            let pulled = peer.pull(pull_header("orders", queue, 0)).await;
            assert_eq!((pulled.code, pulled.next, pulled.min, pulled.max), (0, 1, 0, 1));
            assert_eq!(pulled.remark, "FOUND");
            let (offset, body, stored) = &pulled.messages[0];
            assert_eq!((*offset, &body[..]), (0, &b"hello"[..]));
            let added = property("MSG_REGION", "DefaultRegion")
                + &property("TRACE_ON", "true")
                + &property("CLUSTER", "DefaultCluster");
            assert_eq!(*stored, properties.clone() + &added);
            assert_eq!(view.command().body, {
                let again =
                    peer.ask(code::VIEW_MESSAGE_BY_ID, &[("offset", &physical.to_string())], b"").await;
                again.command().body.to_vec()
            });
        }
        let fields = [("topic", "orders"), ("queueId", "2")];
        assert_eq!(peer.number(code::GET_MAX_OFFSET, &fields, "offset").await, 1);
        assert_eq!(peer.number(code::GET_MIN_OFFSET, &fields, "offset").await, 0);
        assert!(peer.number(code::GET_EARLIEST_MSG_STORETIME, &fields, "timestamp").await > 0);
        let never = [("topic", "orders"), ("queueId", "9")];
        assert_eq!(peer.number(code::GET_MAX_OFFSET, &never, "offset").await, 0);
        assert_eq!(peer.number(code::GET_EARLIEST_MSG_STORETIME, &never, "timestamp").await, -1);
        let early = [("topic", "orders"), ("queueId", "2"), ("timestamp", "1")];
        assert_eq!(peer.number(code::SEARCH_OFFSET_BY_TIMESTAMP, &early, "offset").await, 0);
    });
}

#[test]
fn a_pipelining_connection_keeps_its_order() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        // The first of them creates the topic.
        for i in 0..200 {
            peer.send_oneway(send_header("stream", 1, ""), format!("{i}").as_bytes()).await;
        }
        let last = peer.send(send_header("stream", 1, ""), b"200").await;
        assert_eq!((last.code, last.queue_offset), (0, 200), "{}", last.remark);
        let bodies: Vec<String> = peer
            .pull_all("stream", 1)
            .await
            .into_iter()
            .map(|(_, body, _)| String::from_utf8(body).unwrap())
            .collect();
        let expected: Vec<String> = (0..=200).map(|i| i.to_string()).collect();
        assert_eq!(bodies, expected);
    });
}

#[test]
fn connections_on_any_core_reach_queues_on_every_core() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        scene.start(2, |config| config.shards = 4);
        scene.client(|rig| async move {
            let peers: Vec<_> = (0..8).map(|_| rig.connect()).collect();
            for (i, peer) in peers.iter().enumerate() {
                for queue in 0..4 {
                    let sent = peer.send(send_header("spread", queue, ""), format!("{i}").as_bytes()).await;
                    assert_eq!((sent.code, sent.queue_offset), (0, i as i64), "{}", sent.remark);
                }
            }
            for peer in &peers {
                for queue in 0..4 {
                    let pulled = peer.pull(pull_header("spread", queue, 0)).await;
                    assert_eq!(pulled.bodies(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
                }
            }
        });
        scene.stop();
    }
}

#[test]
fn a_pull_waits_for_a_message() {
    each_seed(SEEDS, |rig| async move {
        let (producer, consumer) = (rig.connect(), rig.connect());
        assert_eq!(producer.send(send_header("news", 0, ""), b"first").await.code, 0);
        for queue in [0, 1] {
            let start = rig.env.monotonic_ns();
            let mut header = pull_header("news", queue, i64::from(queue == 0));
            header.sys_flag |= 2;
            header.suspend_timeout_millis = 15_000;
            let env = rig.env.clone();
            let sender = rig.connect();
            env.clone().spawn(Class::Foreground, async move {
                env.sleep(Duration::from_secs(3)).await;
                assert_eq!(sender.send(send_header("news", queue, ""), b"second").await.code, 0);
            });
            let pulled = consumer.pull(header).await;
            assert_eq!((pulled.code, pulled.bodies()), (0, vec!["second"]));
            let waited = Duration::from_nanos(rig.env.monotonic_ns() - start);
            assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
        }
    });
}

#[test]
fn a_waiting_pull_is_woken_only_by_what_it_wants_and_ends_in_time() {
    each_seed(SEEDS, |rig| async move {
        let (producer, consumer) = (rig.connect(), rig.connect());
        let tag = |tag: &str| property("TAGS", tag);
        assert_eq!(producer.send(send_header("tagged", 0, &tag("A")), b"a0").await.code, 0);
        let mut header = pull_header("tagged", 0, 1);
        header.sys_flag |= 2;
        header.suspend_timeout_millis = 5_000;
        header.subscription = Some("B || C");
        let (env, sender) = (rig.env.clone(), rig.connect());
        let (other, wanted) = (tag("A"), tag("C"));
        rig.env.spawn(Class::Foreground, async move {
            env.sleep(Duration::from_secs(1)).await;
            assert_eq!(sender.send(send_header("tagged", 0, &other), b"a1").await.code, 0);
            env.sleep(Duration::from_secs(1)).await;
            assert_eq!(sender.send(send_header("tagged", 0, &wanted), b"c1").await.code, 0);
        });
        let start = rig.env.monotonic_ns();
        let pulled = consumer.pull(header).await;
        assert_eq!((pulled.code, pulled.next, pulled.bodies()), (0, 3, vec!["c1"]));
        assert!(rig.env.monotonic_ns() - start >= 2_000_000_000);

        // Nothing comes: not found, after the time that the client gave.
        header.queue_offset = 3;
        let start = rig.env.monotonic_ns();
        let pulled = consumer.pull(header).await;
        assert_eq!((pulled.code, pulled.next, pulled.max), (19, 3, 3));
        let waited = Duration::from_nanos(rig.env.monotonic_ns() - start);
        assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");

        // Nothing that matches is there now: go on behind it, at once.
        header.subscription = Some("D");
        header.queue_offset = 0;
        let pulled = consumer.pull(header).await;
        assert_eq!((pulled.code, pulled.next), (20, 3));
    });
}

#[test]
fn one_message_wakes_a_thousand() {
    for cores in [1, 2] {
        let scene = Scene::new(cores);
        scene.start(cores as usize, |_| ());
        scene.client(|rig| async move {
            let producer = rig.connect();
            assert_eq!(producer.send(send_header("crowd", 0, ""), b"0").await.code, 0);
            let done = std::rc::Rc::new(std::cell::Cell::new(0));
            let peers: Vec<_> = (0..10).map(|_| std::rc::Rc::new(rig.connect())).collect();
            for i in 0..1000 {
                let (peer, done) = (peers[i % 10].clone(), done.clone());
                rig.env.spawn(Class::Foreground, async move {
                    let mut header = pull_header("crowd", 0, 1);
                    header.sys_flag |= 2;
                    header.suspend_timeout_millis = 30_000;
                    let pulled = peer.pull(header).await;
                    assert_eq!((pulled.code, pulled.bodies()), (0, vec!["1"]));
                    done.set(done.get() + 1);
                });
            }
            rig.env.sleep(Duration::from_secs(2)).await;
            assert_eq!(done.get(), 0);
            assert_eq!(producer.send(send_header("crowd", 0, ""), b"1").await.code, 0);
            rig.env.sleep(Duration::from_secs(2)).await;
            assert_eq!(done.get(), 1000);
        });
        scene.stop();
    }
}

#[test]
fn a_batch_is_stored_whole() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let mut body = Vec::new();
        for i in 0..5 {
            let properties = property("TAGS", "T") + &property("UNIQ_KEY", &format!("U{i}"));
            let text = format!("m{i}");
            put_item(&mut body, &BatchItem { flag: i, body: text.as_bytes(), properties: &properties });
        }
        let mut header = send_header("batches", 3, "");
        header.batch = true;
        for round in 0..2 {
            let sent = peer.send(header, &body).await;
            assert_eq!((sent.code, sent.queue_offset), (0, 5 * round), "{}", sent.remark);
            let ids: Vec<_> = sent.msg_id.split(',').collect();
            assert_eq!(ids.len(), 5);
            for (i, id) in ids.iter().enumerate() {
                let (_, physical) = decode_offset_id(id).unwrap();
                let view =
                    peer.ask(code::VIEW_MESSAGE_BY_ID, &[("offset", &physical.to_string())], b"").await;
                let view = view.command();
                let record = ringmq_wire::message::RecordView::parse(view.body).unwrap();
                assert_eq!((record.body, record.flag), (format!("m{i}").as_bytes(), i as i32));
                assert_eq!(record.queue_offset, 5 * round + i as i64);
            }
        }
        let all = peer.pull_all("batches", 3).await;
        assert_eq!(all.len(), 10);
        assert_eq!(all[7].2, property("TAGS", "T") + &property("UNIQ_KEY", "U2"));

        // A batch that is cut stores nothing.
        let sent = peer.send(header, &body[..body.len() - 1]).await;
        assert_eq!(sent.code, 13, "{}", sent.remark);
        assert!(sent.remark.contains("item 4"), "{}", sent.remark);
        assert_eq!(peer.pull_all("batches", 3).await.len(), 10);
    });
}

async fn refuses(peer: &Peer, header: SendHeader<'_>, body: &[u8], code: i32, says: &str) {
    let sent = peer.send(header, body).await;
    assert_eq!(sent.code, code, "{}", sent.remark);
    assert!(sent.remark.contains(says), "{} should say {says}", sent.remark);
}

/// RocketMQ's clients pass over what is no name and value; so does the broker, and it stores the rest as before.
#[test]
fn malformed_properties_harm_nothing() {
    const TEXTS: [&str; 7] = [
        "no value",
        "k\u{1}",
        "\u{1}v\u{2}",
        "\u{2}\u{2}\u{2}",
        "\u{1}\u{1}\u{1}",
        "a\u{1}b\u{1}c\u{2}",
        "good\u{1}first\u{2}cut",
    ];
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        for (i, text) in TEXTS.into_iter().enumerate() {
            let text = format!("{text}\u{2}{}", property("TAGS", "T"));
            let sent = peer.send(send_header("t", 0, &text), format!("m{i}").as_bytes()).await;
            assert_eq!((sent.code, sent.queue_offset), (0, i as i64), "{text:?}: {}", sent.remark);
        }
        let mut header = pull_header("t", 0, 0);
        header.subscription = Some("T");
        let pulled = peer.pull(header).await;
        let all: Vec<_> = (0..TEXTS.len()).map(|i| format!("m{i}")).collect();
        assert_eq!(pulled.bodies(), all, "the tag behind is read");
        for (_, _, properties) in peer.pull_all("t", 0).await {
            let known: Vec<_> = ringmq_wire::properties::iter(&properties).collect();
            assert!(known.contains(&("TAGS", "T")), "{properties:?}");
            assert!(
                known.iter().any(|(name, value)| *name == "UNIQ_KEY" && value.len() == 32),
                "{properties:?}"
            );
        }
    });
}

#[test]
fn what_cannot_be_stored_is_refused_with_its_reason() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let peer = &peer;
        refuses(peer, send_header("t", 0, ""), b"", 13, "body 0B").await;
        refuses(peer, send_header("t", 0, ""), &vec![b'x'; 4 * 1024 * 1024 + 1], 13, "limit 4194304B").await;
        refuses(peer, send_header("t", 4, ""), b"x", 29, "queueId[4]").await;
        refuses(peer, send_header("bad topic", 0, ""), b"x", 29, "illegal characters").await;
        refuses(peer, send_header(&"t".repeat(128), 0, ""), b"x", 29, "127").await;
        refuses(peer, send_header("SCHEDULE_TOPIC_XXXX", 0, ""), b"x", 16, "forbidden").await;
        let mut header = send_header("new", 0, "");
        header.default_topic = "nothing";
        refuses(peer, header, b"x", 17, "nothing").await;
        refuses(peer, send_header("t", 0, &property("DELAY", "x")), b"x", 13, "DELAY=x").await;
        refuses(peer, send_header("t", 0, &property("K", &"v".repeat(32_767))), b"x", 13, "").await;
        let mut header = send_header("t", 0, "");
        header.sys_flag = 4;
        refuses(peer, header, b"x", 13, "transactional").await;
        refuses(peer, send_header("t", 0, &property("INNER_NUM", "2")), b"x", 13, "inner batches").await;
        header.sys_flag = 0x80;
        refuses(peer, header, b"x", 13, "inner batches").await;

        // The largest that is allowed passes.
        let largest = vec![b'y'; 4 * 1024 * 1024];
        assert_eq!(peer.send(send_header("t", 0, ""), &largest).await.code, 0);
        let pulled = peer.pull(pull_header("t", 0, 0)).await;
        assert_eq!((pulled.code, pulled.messages.len()), (0, 1));
        assert_eq!(pulled.messages[0].1, largest);

        let unknown = peer.ask(9999, &[], b"").await;
        assert_eq!(unknown.command().code, 3);
        assert_eq!(unknown.command().remark.as_deref(), Some(" request type 9999 not supported"));
    });
}

#[test]
fn pulls_are_checked_in_order() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        assert_eq!(peer.send(send_header("t", 0, ""), b"x").await.code, 0);
        let refused = async |header, code: i32, says: &str| {
            let pulled = peer.pull(header).await;
            assert_eq!(pulled.code, code, "{}", pulled.remark);
            assert!(pulled.remark.contains(says), "{} should say {says}", pulled.remark);
        };
        refused(pull_header("unknown", 0, 0), 17, "unknown").await;
        refused(pull_header("t", 4, 0), 29, "queueId[4]").await;
        refused(pull_header("t", -1, 0), 29, "queueId[-1]").await;
        let mut header = pull_header("t", 0, 0);
        header.subscription = Some("||");
        refused(header, 23, "parse").await;
        header.subscription = Some("a > ");
        header.expression_type = Some("SQL92");
        refused(header, 23, "SQL92 at character 5").await;
        header = pull_header("t", 0, 0);
        header.sys_flag = 0;
        refused(header, 24, "group info not exist").await;
        // Offsets that are not there.
        let moved = peer.pull(pull_header("t", 0, 5)).await;
        assert_eq!((moved.code, moved.next), (21, 1));
        let moved = peer.pull(pull_header("t", 0, -5)).await;
        assert_eq!((moved.code, moved.next), (21, 0));
        let empty = peer.pull(pull_header("t", 1, 0)).await;
        assert_eq!((empty.code, empty.next, empty.max), (19, 0, 0));
        let moved = peer.pull(pull_header("t", 1, 7)).await;
        assert_eq!((moved.code, moved.next), (21, 0));
    });
}

#[test]
fn full_names_and_letters_mean_the_same() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let properties = property("KEYS", "k");
        for (i, code) in [code::SEND_MESSAGE, code::SEND_MESSAGE_V2].into_iter().enumerate() {
            let sent = peer.send_as(code, send_header("both", 0, &properties), b"x").await;
            assert_eq!((sent.code, sent.queue_offset), (0, i as i64), "{}", sent.remark);
            // A producer that makes no key gets one.
            assert_eq!(sent.transaction_id.len(), 32);
        }
        let all = peer.pull_all("both", 0).await;
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|(_, _, properties)| properties.contains("UNIQ_KEY\u{1}")));
    });
}

#[test]
fn messages_are_found_by_key() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        for queue in 0..4 {
            let properties =
                property("KEYS", &format!("all q{queue}")) + &property("UNIQ_KEY", &format!("U{queue}"));
            assert_eq!(peer.send(send_header("keyed", queue, &properties), b"x").await.code, 0);
        }
        let count = async |key: &str, max: &str| {
            let fields = [
                ("topic", "keyed"),
                ("key", key),
                ("maxNum", max),
                ("beginTimestamp", "0"),
                ("endTimestamp", "9223372036854775807"),
            ];
            let answer = peer.ask(code::QUERY_MESSAGE, &fields, b"").await;
            let command = answer.command();
            let found = ringmq_wire::message::records(command.body).filter(|r| r.is_ok()).count();
            assert_eq!(command.code, if found == 0 { 22 } else { 0 });
            found
        };
        assert_eq!(count("all", "64").await, 4);
        assert_eq!(count("all", "3").await, 3);
        assert_eq!(count("q2", "64").await, 1);
        assert_eq!(count("U3", "64").await, 1);
        assert_eq!(count("none", "64").await, 0);
    });
}

#[test]
fn a_restart_finds_everything_again() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            for i in 0..50 {
                let sent = peer.send(send_header("kept", i % 4, ""), format!("{i}").as_bytes()).await;
                assert_eq!(sent.code, 0, "{}", sent.remark);
            }
        });
        match seed % 3 {
            0 => scene.stop(),
            _ => scene.machine.crash(ringmq_simenv::CrashKind::Process),
        }
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                let expected: Vec<String> =
                    (0..50).filter(|i| i % 4 == queue).map(|i| i.to_string()).collect();
                let all = peer.pull_all("kept", queue).await;
                let bodies: Vec<String> =
                    all.into_iter().map(|(_, body, _)| String::from_utf8(body).unwrap()).collect();
                assert_eq!(bodies, expected);
            }
        });
        scene.stop();
    }
}

#[test]
fn a_synced_message_survives_a_power_loss() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        let sync = |config: &mut ringmq_broker::config::BrokerConfig| {
            config.flush_disk_type = ringmq_broker::config::FlushMode::Sync;
        };
        scene.start(cores, sync);
        scene.client(|rig| async move {
            let peer = rig.connect();
            for i in 0..20 {
                let sent = peer.send(send_header("safe", i % 4, ""), format!("{i}").as_bytes()).await;
                assert_eq!(sent.code, 0, "{}", sent.remark);
            }
        });
        scene.machine.crash(ringmq_simenv::CrashKind::PowerLoss);
        scene.start(cores, sync);
        scene.client(|rig| async move {
            let peer = rig.connect();
            let mut found = 0;
            for queue in 0..4 {
                found += peer.pull_all("safe", queue).await.len();
            }
            assert_eq!(found, 20);
        });
        scene.stop();
    }
}

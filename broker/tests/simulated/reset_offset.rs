//! An administrator moves a group's offsets: the group's next pull of each queue is told so, once, and what it commits of its old
//! position is passed over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Pulled, each_seed_with, pull_header, send_header};
use ringmq_io::{Class, Env};
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::PullHeader;
use ringmq_wire::json_dialect::{self, ConsumeStats, ResetOffsetBody};

const SEEDS: u64 = 6;

/// Code and remark, or the offsets by queue.
async fn reset(
    peer: &Peer,
    topic: &str,
    group: &str,
    more: &[(&str, &str)],
) -> Result<Vec<(i32, i64)>, (i32, String)> {
    let mut fields = vec![("topic", topic), ("group", group), ("isForce", "true")];
    fields.extend(more);
    let answer = peer.ask(code::INVOKE_BROKER_TO_RESET_OFFSET, &fields, b"").await;
    let command = answer.command();
    if command.code != 0 {
        return Err((command.code, command.remark.as_deref().unwrap_or_default().to_owned()));
    }
    let body: ResetOffsetBody = json_dialect::read(command.body).unwrap();
    Ok(body.offset_table.into_iter().map(|(queue, offset)| (queue.queue_id, offset)).collect())
}

fn pull_of(queue: i32, offset: i64) -> PullHeader<'static> {
    PullHeader { consumer_group: "g", ..pull_header("t", queue, offset) }
}

async fn committed(peer: &Peer, queue: i32) -> i64 {
    let queue = queue.to_string();
    let fields = [("consumerGroup", "g"), ("topic", "t"), ("queueId", &*queue)];
    peer.number(code::QUERY_CONSUMER_OFFSET, &fields, "offset").await
}

async fn commit(peer: &Peer, queue: i32, offset: i64) {
    let (queue, offset) = (queue.to_string(), offset.to_string());
    let fields = [("consumerGroup", "g"), ("topic", "t"), ("queueId", &*queue), ("commitOffset", &*offset)];
    assert_eq!(peer.ask(code::UPDATE_CONSUMER_OFFSET, &fields, b"").await.command().code, 0);
}

fn told(pulled: &Pulled) -> (i32, &str, i64) {
    (pulled.code, pulled.remark.as_str(), pulled.next)
}

#[test]
fn the_next_pull_of_each_queue_is_told_once() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                for body in ["0", "1", "2", "3"] {
                    assert_eq!(peer.send(send_header("t", queue, ""), body.as_bytes()).await.code, 0);
                }
                assert_eq!(peer.pull(pull_of(queue, 0)).await.bodies().len(), 4);
                commit(&peer, queue, 4).await;
            }
            let all = [("queueId", "-1"), ("timestamp", "1")];
            assert_eq!(reset(&peer, "t", "g", &all).await, Ok(vec![(0, 0), (1, 0), (2, 0), (3, 0)]));
            // What was pulled before says nothing of where the group begins now.
            let fields = [("consumerGroup", "g"), ("topic", "t")];
            let stats = peer.ask(code::GET_CONSUME_STATS, &fields, b"").await;
            let stats: ConsumeStats = json_dialect::read(stats.command().body).unwrap();
            assert!(stats.offset_table.values().all(|at| at.pull_offset == 0), "{stats:?}");
            for queue in 0..4 {
                // A consumer of the old position goes on committing.
                commit(&rig.connect(), queue, 4).await;
                assert_eq!(committed(&peer, queue).await, 0);
                // Another group is not meant.
                let other = peer.pull(pull_header("t", queue, 1)).await;
                assert_eq!(other.bodies(), ["1", "2", "3"]);
                let mut carries = pull_of(queue, 4);
                (carries.sys_flag, carries.commit_offset) = (4 | 1, 4);
                assert_eq!(told(&rig.connect().pull(carries).await), (21, "OFFSET_RESET", 0));
                assert_eq!(committed(&peer, queue).await, 0);
                assert_eq!(peer.pull(pull_of(queue, 0)).await.bodies(), ["0", "1", "2", "3"]);
            }
            // Once it has been told, its commits count again.
            rig.env.sleep(Duration::from_millis(200)).await;
            commit(&peer, 1, 2).await;
            assert_eq!(committed(&peer, 1).await, 2);
            let one = [("queueId", "1"), ("timestamp", "0"), ("offset", "3")];
            assert_eq!(reset(&peer, "t", "g", &one).await, Ok(vec![(1, 3)]));
            assert_eq!(told(&peer.pull(pull_of(1, 0)).await), (21, "OFFSET_RESET", 3));
            assert_eq!(peer.pull(pull_of(0, 4)).await.code, 19);
            let end = [("queueId", "2"), ("timestamp", "-1")];
            assert_eq!(reset(&peer, "t", "g", &end).await, Ok(vec![(2, 4)]));
        },
    );
}

#[test]
fn a_held_pull_is_told_at_once() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                assert_eq!(peer.send(send_header("t", queue, ""), b"x").await.code, 0);
                commit_group(&peer, queue).await;
            }
            let (told, others) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
            for queue in 0..4 {
                let (consumer, told) = (rig.connect(), told.clone());
                rig.env.spawn(Class::Foreground, async move {
                    let mut header = pull_of(queue, 1);
                    (header.sys_flag, header.suspend_timeout_millis) = (4 | 2, 20_000);
                    let pulled = consumer.pull(header).await;
                    told.borrow_mut().push((pulled.code, pulled.next));
                });
                let (other, others) = (rig.connect(), others.clone());
                rig.env.spawn(Class::Foreground, async move {
                    let mut header = pull_header("t", queue, 1);
                    (header.sys_flag, header.suspend_timeout_millis) = (4 | 2, 20_000);
                    other.pull(header).await;
                    others.set(others.get() + 1);
                });
            }
            rig.env.sleep(Duration::from_secs(2)).await;
            assert!(told.borrow().is_empty());
            assert!(reset(&peer, "t", "g", &[("queueId", "-1"), ("timestamp", "0")]).await.is_ok());
            let begun = rig.env.monotonic_ns();
            while told.borrow().len() < 4 {
                rig.env.sleep(Duration::from_millis(1)).await;
                assert!(rig.env.monotonic_ns() - begun < 1_000_000_000, "{:?}", told.borrow());
            }
            assert_eq!(*told.borrow(), [(21, 0); 4]);
            assert_eq!(others.get(), 0, "pulls of another group are left alone");
        },
    );
}

/// Makes the group by its first pull.
async fn commit_group(peer: &Peer, queue: i32) {
    assert_eq!(peer.pull(pull_of(queue, 0)).await.code, 0);
    commit(peer, queue, 1).await;
}

#[test]
fn what_cannot_be_reset_is_refused_with_the_reason() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            assert_eq!(peer.send(send_header("t", 0, ""), b"x").await.code, 0);
            let all = [("queueId", "-1"), ("timestamp", "0")];
            assert_eq!(reset(&peer, "no", "g", &all).await, Err((17, "Topic no does not exist".into())));
            assert_eq!(reset(&peer, "t", "no", &all).await, Err((26, "Group no does not exist".into())));
            commit_group(&peer, 0).await;
            let far = [("queueId", "0"), ("timestamp", "0"), ("offset", "3")];
            let remark = "Target offset 3 not in consume queue range [0-1]".to_string();
            assert_eq!(reset(&peer, "t", "g", &far).await, Err((1, remark)));
        },
    );
}

#[test]
fn without_the_brokers_help_the_consumers_are_told() {
    each_seed_with(
        SEEDS,
        |config| config.use_server_side_reset_offset = false,
        |rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                assert_eq!(peer.send(send_header("t", queue, ""), b"x").await.code, 0);
                commit_group(&peer, queue).await;
            }
            let all = [("timestamp", "0")];
            let (refused, _) = reset(&peer, "t", "g", &all).await.unwrap_err();
            assert_eq!(refused, 206);
            let consumer = rig.connect();
            let beat = br#"{"clientID":"c","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
            "consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[],
            "unitMode":false}],"producerDataSet":[],"heartbeatFingerprint":0}"#;
            assert_eq!(consumer.ask(code::HEART_BEAT, &[], beat).await.command().code, 0);
            assert_eq!(reset(&peer, "t", "g", &all).await, Ok(vec![(0, 0), (1, 0), (2, 0), (3, 0)]));
            let is_reset = |frame: &ringmq_transport::OwnedFrame| {
                frame.command().code == code::RESET_CONSUMER_CLIENT_OFFSET
            };
            while !consumer.asked.0.borrow().iter().any(is_reset) {
                rig.env.sleep(Duration::from_millis(1)).await;
            }
            let frames = consumer.asked.0.take();
            let frame = frames.iter().find(|frame| is_reset(frame)).unwrap();
            assert_eq!(frame.command().ext.get("topic"), Some("t"));
            let body: ResetOffsetBody = json_dialect::read(frame.command().body).unwrap();
            assert_eq!(body.offset_table.len(), 4);
            // The broker has moved nothing itself.
            assert_eq!(committed(&peer, 0).await, 1);
            assert_eq!(peer.pull(pull_of(0, 1)).await.code, 19);
        },
    );
}

//! What a client hears when the metadata journal takes no change: a full disk's reason until there is room, a broken
//! disk's until a restart. What needs no change goes on.

use std::time::Duration;

use crate::common::{Peer, Scene, send_header, topic_fields};
use ringmq_io::Env;
use ringmq_simenv::{CrashKind, Faults};
use ringmq_transport::OwnedFrame;
use ringmq_wire::Serialization;
use ringmq_wire::code::{request_code as code, response_code};
use ringmq_wire::encode::begin_request;

fn code_of(answer: &OwnedFrame) -> i32 {
    answer.command().code
}

/// The reason, given soon enough to be heard.
#[track_caller]
fn assert_refused(answer: &OwnedFrame, reason: &str) {
    assert_eq!(code_of(answer), response_code::SYSTEM_ERROR);
    let command = answer.command();
    let remark = command.remark.as_deref().unwrap_or_default();
    assert!(remark.contains("metadata journal") && remark.contains(reason), "{remark}");
}

async fn make_topic(peer: &Peer, topic: &str) -> OwnedFrame {
    peer.ask(code::UPDATE_AND_CREATE_TOPIC, &topic_fields(topic, "4"), b"").await
}

async fn topic_exists(peer: &Peer, topic: &str) -> bool {
    code_of(&peer.ask(code::GET_TOPIC_CONFIG, &[("topic", topic)], b"").await) == 0
}

async fn beat(peer: &Peer, group: &str) -> OwnedFrame {
    let body = format!(
        r#"{{"clientID":"c1","consumerDataSet":[{{"groupName":"{group}","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "subscriptionDataSet":[]}}],"producerDataSet":[]}}"#
    );
    peer.ask(code::HEART_BEAT, &[], body.as_bytes()).await
}

async fn commit(peer: &Peer, offset: &str) -> OwnedFrame {
    let fields = [("consumerGroup", "g"), ("topic", "t"), ("queueId", "0"), ("commitOffset", offset)];
    peer.ask(code::UPDATE_CONSUMER_OFFSET, &fields, b"").await
}

async fn commit_oneway(peer: &Peer, offset: &str) {
    let encode = |out: &mut Vec<u8>, opaque| {
        let mut writer = begin_request(out, Serialization::Json, code::UPDATE_CONSUMER_OFFSET, opaque, 2);
        writer.ext("consumerGroup", "g").ext("topic", "t").ext("queueId", "0").ext("commitOffset", offset);
        writer.finish(&[]).unwrap();
    };
    peer.client.send(encode, Duration::from_secs(10)).await.unwrap();
}

async fn committed(peer: &Peer) -> i64 {
    let fields = [("consumerGroup", "g"), ("topic", "t"), ("queueId", "0")];
    let answer = peer.ask(code::QUERY_CONSUMER_OFFSET, &fields, b"").await;
    assert_eq!(code_of(&answer), 0);
    answer.command().ext.get_i64("offset").unwrap()
}

const NO_SPACE: &str = "No space left on device";

#[test]
fn a_full_disk_is_said_and_passes_without_a_restart() {
    for seed in 0..8 {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        let machine = scene.machine.clone();
        scene.client(move |rig| async move {
            let peer = rig.connect();
            assert_eq!(code_of(&make_topic(&peer, "t").await), 0);
            assert_eq!(code_of(&beat(&peer, "g").await), 0);
            assert_eq!(code_of(&commit(&peer, "5").await), 0);
            let mut full = Faults::none();
            full.disk.no_space = 1.0;
            machine.set_faults(full);

            let start = rig.env.monotonic_ns();
            // The one that finds the disk full is kept, and says so.
            assert_refused(&make_topic(&peer, "kept").await, NO_SPACE);
            assert_refused(&make_topic(&peer, "kept").await, NO_SPACE);
            // Those after it are not made.
            assert_refused(&make_topic(&peer, "refused").await, NO_SPACE);
            assert!(!topic_exists(&peer, "refused").await);
            assert_refused(&peer.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"").await, NO_SPACE);
            assert!(topic_exists(&peer, "t").await);
            assert_refused(&commit(&peer, "6").await, NO_SPACE);
            assert_eq!(committed(&peer).await, 5);
            assert_refused(&beat(&peer, "new-group").await, NO_SPACE);
            let sent = peer.send(send_header("new-topic", 0, ""), b"x").await;
            assert_eq!(sent.code, response_code::SYSTEM_ERROR);
            assert!(sent.remark.contains(NO_SPACE), "{}", sent.remark);
            // What changes nothing goes on, and what nobody waits for is kept.
            assert_eq!(code_of(&beat(&peer, "g").await), 0);
            commit_oneway(&peer, "7").await;
            assert_eq!(committed(&peer).await, 7);
            let took = Duration::from_nanos(rig.env.monotonic_ns() - start);
            assert!(took < Duration::from_secs(2), "answers came after {took:?}");

            machine.set_faults(Faults::none());
            let mut patience = 20;
            while code_of(&make_topic(&peer, "refused").await) != 0 {
                patience -= 1;
                assert!(patience > 0, "there is room, but changes are refused");
                rig.env.sleep(Duration::from_millis(100)).await;
            }
            assert!(topic_exists(&peer, "kept").await);
            assert_eq!(code_of(&beat(&peer, "new-group").await), 0);
            assert_eq!(peer.send(send_header("new-topic", 0, ""), b"x").await.code, 0);
            assert_eq!(committed(&peer).await, 7);
        });
        scene.machine.crash(CrashKind::PowerLoss);
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            for topic in ["t", "kept", "refused", "new-topic", "%RETRY%new-group"] {
                assert!(topic_exists(&peer, topic).await, "{topic}");
            }
            assert_eq!(committed(&peer).await, 7);
        });
        scene.stop();
    }
}

#[test]
fn a_broken_disk_is_said_until_a_restart() {
    for seed in 0..8 {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        let machine = scene.machine.clone();
        scene.client(move |rig| async move {
            let peer = rig.connect();
            assert_eq!(code_of(&make_topic(&peer, "t").await), 0);
            assert_eq!(code_of(&beat(&peer, "g").await), 0);
            assert_eq!(code_of(&commit(&peer, "5").await), 0);
            let mut broken = Faults::none();
            if seed % 4 < 2 {
                broken.disk.write_error = 1.0
            } else {
                broken.disk.sync_error = 1.0
            }
            machine.set_faults(broken);
            assert_refused(&commit(&peer, "6").await, "latched");
            machine.set_faults(Faults::none());
            assert_refused(&commit(&peer, "7").await, "restart the broker");
            assert_refused(&make_topic(&peer, "refused").await, "latched");
            assert!(!topic_exists(&peer, "refused").await);
            assert_refused(&beat(&peer, "new-group").await, "latched");
            assert_eq!(code_of(&beat(&peer, "g").await), 0);
            // Consumers go on from memory.
            assert_eq!(committed(&peer).await, 6);
        });
        scene.machine.crash(CrashKind::PowerLoss);
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert!([5, 6].contains(&committed(&peer).await));
            assert_eq!(code_of(&make_topic(&peer, "refused").await), 0);
            assert_eq!(code_of(&commit(&peer, "8").await), 0);
        });
        scene.stop();
    }
}

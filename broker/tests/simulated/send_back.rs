//! Messages that a consumer could not consume: retried later, and dead letters at last.

use std::time::Duration;

use crate::common::{Peer, Rig, Scene, Sent, property, pull_header, send_header};
use ringmq_broker::config::{BrokerConfig, FlushMode};
use ringmq_broker::timers::DelayLevels;
use ringmq_io::Env;
use ringmq_simenv::{CrashKind, Faults};
use ringmq_transport::OwnedFrame;
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::{PullRequest, pull_request};
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message::{self, RecordView};

const RETRY: &str = "%RETRY%consumers";
const DEAD: &str = "%DLQ%consumers";

fn levels(config: &mut BrokerConfig) {
    config.message_delay_level = DelayLevels::read("1s 2s 3s 4s").unwrap();
}

/// Waits for the record at an offset.
async fn record(rig: &Rig, peer: &Peer, topic: &str, queue_id: i32, offset: i64) -> Vec<u8> {
    let begun = rig.env.now_ms();
    loop {
        assert!(
            rig.env.now_ms() < begun + 20_000,
            "nothing came to {topic} queue {queue_id} offset {offset}"
        );
        let header = pull_header(topic, queue_id, offset);
        let answer = peer
            .call(|out, opaque| {
                let request = PullRequest { code: code::PULL_MESSAGE, opaque, header };
                pull_request(out, Serialization::Json, &request).unwrap();
            })
            .await;
        if let Some(record) = message::records(answer.command().body).next() {
            return record.unwrap().bytes.to_vec();
        }
        rig.env.sleep(Duration::from_millis(10)).await;
    }
}

async fn back(peer: &Peer, offset: i64, level: i32, max: Option<i32>) -> OwnedFrame {
    let (offset, level) = (offset.to_string(), level.to_string());
    let mut fields = vec![
        ("offset", offset.as_str()),
        ("group", "consumers"),
        ("delayLevel", level.as_str()),
        ("originTopic", "t"),
        ("unitMode", "false"),
    ];
    let max = max.map(|max| max.to_string());
    if let Some(max) = &max {
        fields.push(("maxReconsumeTimes", max));
    }
    // With the version of a client whose maxReconsumeTimes counts.
    peer.call(|out, opaque| {
        let mut writer = ringmq_wire::encode::begin_request(
            out,
            Serialization::Json,
            code::CONSUMER_SEND_MSG_BACK,
            opaque,
            0,
        );
        for (name, value) in fields {
            writer.ext(name, value);
        }
        writer.finish(b"").unwrap();
    })
    .await
}

#[test]
fn a_message_comes_again_and_again_and_is_a_dead_letter_at_last() {
    for cores in 1..=3u64 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, levels);
        scene.client(|rig| async move {
            let peer = rig.connect();
            // From each queue, so from each core.
            for queue_id in 0..4i64 {
                let text = property("TAGS", "a") + &property("KEYS", "k") + &property("UNIQ_KEY", "U");
                let sent = peer.send(send_header("t", queue_id as i32, &text), b"work").await;
                assert_eq!(sent.code, 0);
                let first = record(&rig, &peer, "t", queue_id as i32, 0).await;
                let first = RecordView::parse(&first).unwrap();
                let begun = rig.env.now_ms();
                let answer = back(&peer, first.physical_offset, 0, Some(1)).await;
                assert_eq!(answer.command().code, 0, "{:?}", answer.command().remark);
                // Level 0: 3 for the first time.
                let bytes = record(&rig, &peer, RETRY, 0, queue_id).await;
                let waited = rig.env.now_ms() - begun;
                assert!((3000..3200).contains(&waited), "after {waited} ms");
                let again = RecordView::parse(&bytes).unwrap();
                assert_eq!((again.body, again.reconsume_times), (&b"work"[..], 1));
                assert_eq!(again.born_timestamp, first.born_timestamp);
                for (name, value) in [
                    ("TAGS", "a"),
                    ("KEYS", "k"),
                    ("UNIQ_KEY", "U"),
                    ("RETRY_TOPIC", "t"),
                    ("ORIGIN_MESSAGE_ID", sent.msg_id.as_str()),
                ] {
                    assert_eq!(again.property(name), Some(value), "{name}");
                }
                assert_eq!((again.property("DELAY"), again.property("REAL_TOPIC")), (Some("3"), Some(RETRY)));
                // Once more is once too often.
                assert_eq!(back(&peer, again.physical_offset, 1, Some(1)).await.command().code, 0);
                let bytes = record(&rig, &peer, DEAD, 0, 2 * queue_id).await;
                let dead = RecordView::parse(&bytes).unwrap();
                assert_eq!((dead.body, dead.reconsume_times), (&b"work"[..], 2));
                assert_eq!((dead.property("RETRY_TOPIC"), dead.property("DELAY")), (Some("t"), Some("0")));
                assert_eq!(dead.property("ORIGIN_MESSAGE_ID"), Some(sent.msg_id.as_str()));
                // A negative level says that it is no use.
                assert_eq!(back(&peer, first.physical_offset, -1, None).await.command().code, 0);
                let bytes = record(&rig, &peer, DEAD, 0, 2 * queue_id + 1).await;
                assert_eq!(RecordView::parse(&bytes).unwrap().reconsume_times, 1);
            }
            for nothing in [0x7FFF_FFFF_FFFF, -1, i64::MAX] {
                let answer = back(&peer, nothing, 1, None).await;
                let remark = answer.command().remark.map(|r| r.into_owned()).unwrap_or_default();
                assert_eq!(answer.command().code, 1, "{remark}");
                assert!(remark.contains("look message by offset failed"), "{remark}");
            }
        });
        scene.stop();
    }
}

async fn straight_to_retry(peer: &Peer, reconsume_times: i32) -> Sent {
    let text = property("UNIQ_KEY", "U") + &property("DELAY", "1");
    let header = SendHeader {
        reconsume_times,
        max_reconsume_times: Some(2),
        queue_id: 0,
        ..send_header(RETRY, 0, &text)
    };
    peer.send(header, b"straight").await
}

#[test]
fn a_client_may_send_to_the_retry_topic_itself() {
    for cores in 1..=2 {
        let scene = Scene::new(40 + cores);
        scene.start(cores as usize, levels);
        scene.client(|rig| async move {
            let peer = rig.connect();
            let sent = straight_to_retry(&peer, 2).await;
            assert_eq!(sent.code, 0, "{}", sent.remark);
            let again = record(&rig, &peer, RETRY, 0, 0).await;
            assert_eq!(RecordView::parse(&again).unwrap().reconsume_times, 2);
            // Over the limit.
            let sent = straight_to_retry(&peer, 3).await;
            assert_eq!((sent.code, sent.queue_offset, sent.transaction_id.as_str()), (0, 0, "U"));
            let dead = record(&rig, &peer, DEAD, 0, 0).await;
            let dead = RecordView::parse(&dead).unwrap();
            assert_eq!((dead.body, dead.property("DELAY")), (&b"straight"[..], Some("-1")));
            // A group that consumes in order sends only what it has given up.
            let lock = br#"{"consumerGroup":"consumers","clientId":"c","mqSet":[{"topic":"t","brokerName":"broker-a","queueId":0}]}"#;
            assert_eq!(peer.ask(code::LOCK_BATCH_MQ, &[], lock).await.command().code, 0);
            assert_eq!(straight_to_retry(&peer, 1).await.code, 0);
            record(&rig, &peer, DEAD, 0, 1).await;
            rig.env.sleep(Duration::from_secs(70)).await;
            assert_eq!(straight_to_retry(&peer, 1).await.code, 0);
            record(&rig, &peer, RETRY, 0, 1).await;
            assert_eq!(peer.pull_all(DEAD, 0).await.len(), 2);
        });
        scene.stop();
    }
}

#[test]
fn an_answer_means_that_the_retry_is_safe() {
    for seed in 0..4 {
        let scene = Scene::new(seed);
        let change = |config: &mut BrokerConfig| {
            levels(config);
            config.flush_disk_type = FlushMode::Sync;
        };
        scene.start(1 + (seed % 2) as usize, change);
        let mut slow = Faults::none();
        slow.disk.slow_sync = 1.0;
        slow.disk.slow_sync_time = Duration::from_millis(500);
        scene.machine.set_faults(slow);
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(peer.send(send_header("t", 0, ""), b"work").await.code, 0);
            let first = record(&rig, &peer, "t", 0, 0).await;
            let physical = RecordView::parse(&first).unwrap().physical_offset;
            let answer = back(&peer, physical, 1, None).await;
            assert_eq!(answer.command().code, 0, "{:?}", answer.command().remark);
        });
        scene.machine.crash(CrashKind::PowerLoss);
        scene.machine.set_faults(Faults::none());
        scene.start(1 + (seed % 2) as usize, change);
        scene.client(|rig| async move {
            record(&rig, &rig.connect(), RETRY, 0, 0).await;
        });
        scene.stop();
    }
}

//! Groups that must not read a topic (353): refused until they may again, also after a crash.

use crate::common::{Peer, Pulled, Scene, pull_header, send_header};
use ringmq_simenv::CrashKind;
use ringmq_wire::code::request_code as code;
use ringmq_wire::headers::PullHeader;
use ringmq_wire::json_dialect;
use ringmq_wire::subscription::SubscriptionData;

/// Code and body; without `readable` it is only asked.
async fn ask(peer: &Peer, topic: &str, readable: Option<bool>) -> (i32, String) {
    let mut fields = vec![("group", "consumers"), ("topic", topic)];
    if let Some(readable) = readable {
        fields.push(("readable", if readable { "true" } else { "false" }));
    }
    let answer = peer.ask(code::UPDATE_AND_GET_GROUP_FORBIDDEN, &fields, b"").await;
    let command = answer.command();
    (command.code, String::from_utf8(command.body.to_vec()).unwrap())
}

fn says(topic: &str, readable: bool) -> (i32, String) {
    (0, format!(r#"{{"group":"consumers","readable":{readable},"topic":"{topic}"}}"#))
}

async fn beat(peer: &Peer) {
    let subscriptions = ["one", "two"].map(|topic| {
        let data = SubscriptionData { sub_version: 1, ..SubscriptionData::of_tags(topic, "*").unwrap() };
        String::from_utf8(json_dialect::to_vec(&data)).unwrap()
    });
    let body = format!(
        r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"consumers","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "subscriptionDataSet":[{}]}}],"producerDataSet":[]}}"#,
        subscriptions.join(",")
    );
    assert_eq!(peer.ask(code::HEART_BEAT, &[], body.as_bytes()).await.command().code, 0);
}

/// As a consumer does that has told its subscription with its heartbeat.
async fn pull(peer: &Peer, topic: &str, queue_id: i32) -> Pulled {
    let header = pull_header(topic, queue_id, 0);
    peer.pull(PullHeader { sys_flag: 0, subscription: None, sub_version: 1, ..header }).await
}

#[test]
fn a_group_is_forbidden_a_topic_until_it_may_read_it_again() {
    for cores in 1..=3 {
        let scene = Scene::new(cores);
        scene.start(cores as usize, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            for topic in ["one", "two"] {
                for queue in 0..4 {
                    assert_eq!(peer.send(send_header(topic, queue, ""), b"x").await.code, 0);
                }
            }
            beat(&peer).await;
            assert_eq!(ask(&peer, "one", None).await, says("one", true));
            assert_eq!(ask(&peer, "one", Some(false)).await, says("one", false));
            for queue in 0..4 {
                let refused = pull(&peer, "one", queue).await;
                assert_eq!(refused.code, 16);
                assert_eq!(refused.remark, "the consumer group[consumers] is forbidden for topic[one]");
                assert_eq!(pull(&peer, "two", queue).await.bodies(), ["x"]);
            }
            assert_eq!(ask(&peer, "a,b", Some(false)).await.0, 29);
        });
        scene.machine.crash(CrashKind::Process);
        scene.start(cores as usize, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            beat(&peer).await;
            assert_eq!(ask(&peer, "one", None).await, says("one", false), "after a crash");
            assert_eq!(ask(&peer, "two", None).await, says("two", true));
            assert_eq!(pull(&peer, "one", 3).await.code, 16);
            assert_eq!(ask(&peer, "one", Some(true)).await, says("one", true));
            for queue in 0..4 {
                assert_eq!(pull(&peer, "one", queue).await.bodies(), ["x"]);
            }
        });
        scene.stop();
    }
}

//! Request-reply in the simulated world: a reply is pushed to the client that asked, wherever its connection is, and stored.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Rig, each_seed_with, property, pull_header, send_header};
use ringmq_io::Env;
use ringmq_transport::{Client, ClientConfig, Connection, Flow, FrameRef, OwnedFrame, Service};
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::begin_response;
use ringmq_wire::message_id::decode_offset_id;

const SEEDS: u64 = 6;
const REPLIES: &str = "DefaultCluster_REPLY_TOPIC";

/// A client that answers what it is asked with a code, or not at all.
struct Requester {
    answer: Cell<Option<i32>>,
    asked: RefCell<Vec<OwnedFrame>>,
}

impl<E: Env> Service<E> for Requester {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        self.asked.borrow_mut().push(frame.to_owned_frame());
        if let Some(code) = self.answer.get() {
            let opaque = frame.command.opaque;
            conn.write(|out| {
                begin_response(out, Serialization::Json, code, opaque, 0, Some("so it is"))
                    .finish(&[])
                    .unwrap();
            });
        }
        Flow::Continue
    }
}

/// A producer client that is online under this id.
async fn requester(
    rig: &Rig,
    id: &str,
    answer: Option<i32>,
) -> (Client<ringmq_simenv::SimEnv>, Rc<Requester>) {
    let service = Rc::new(Requester { answer: Cell::new(answer), asked: RefCell::default() });
    let client = Client::new(&rig.env, rig.addr, service.clone(), ClientConfig::default());
    let beat = format!(
        r#"{{"clientID":"{id}","consumerDataSet":[],"producerDataSet":[{{"groupName":"P"}}],"heartbeatFingerprint":0}}"#
    );
    let beaten = client.call(
        |out, opaque| {
            let json = Serialization::Json;
            ringmq_wire::encode::begin_request(out, json, code::HEART_BEAT, opaque, 0)
                .finish(beat.as_bytes())
                .unwrap();
        },
        Duration::from_secs(5),
    );
    assert_eq!(beaten.await.unwrap().command().code, 0);
    (client, service)
}

async fn reply(peer: &Peer, to: Option<&str>, body: &[u8]) -> crate::common::Sent {
    let to = to.map(|to| property("REPLY_TO_CLIENT", to)).unwrap_or_default();
    let properties = to + &property("CORRELATION_ID", "c-1") + &property("MSG_TYPE", "reply");
    peer.send_as(code::SEND_REPLY_MESSAGE_V2, send_header(REPLIES, 0, &properties), body).await
}

#[test]
fn a_reply_reaches_who_asked_and_is_stored() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            // So that their connections are on all cores.
            for number in 0..4 {
                let (_client, asked) = requester(&rig, &format!("client-{number}"), Some(0)).await;
                let peer = rig.connect();
                let sent = reply(&peer, Some(&format!("client-{number}")), b"forty-two").await;
                assert_eq!((sent.code, sent.queue_offset), (0, number), "{}", sent.remark);
                assert!(decode_offset_id(&sent.msg_id).is_ok());
                let frames = asked.asked.borrow();
                assert_eq!(frames.len(), 1);
                let push = frames[0].command();
                assert_eq!((push.code, push.body), (code::PUSH_REPLY_MESSAGE_TO_CLIENT, &b"forty-two"[..]));
                assert_eq!(push.ext.get("topic"), Some(REPLIES));
                assert!(push.ext.get("bornHost").unwrap().contains(':'));
                let properties = push.ext.get("properties").unwrap();
                assert!(properties.contains("CORRELATION_ID\u{1}c-1\u{2}"), "{properties}");
                assert!(properties.contains("PUSH_REPLY_TIME"), "{properties}");
            }
            let stored = rig.connect().pull(pull_header(REPLIES, 0, 0)).await;
            assert_eq!(stored.bodies(), ["forty-two"; 4]);
            assert!(!stored.messages[0].2.contains("PUSH_REPLY_TIME"));
        },
    );
}

#[test]
fn a_reply_that_reaches_nobody_says_so_and_is_stored() {
    each_seed_with(
        SEEDS,
        |_| (),
        |rig| async move {
            let peer = rig.connect();
            let gone = reply(&peer, Some("nobody"), b"1").await;
            let remark = "push reply message fail, channel of <nobody> not found.";
            assert_eq!((gone.code, gone.remark.as_str()), (1, remark));
            let unnamed = reply(&peer, None, b"2").await;
            assert_eq!(
                (unnamed.code, unnamed.remark.as_str()),
                (1, "reply message properties[REPLY_TO_CLIENT] is null")
            );
            let (_client, _asked) = requester(&rig, "refuses", Some(1)).await;
            let refused = reply(&peer, Some("refuses"), b"3").await;
            assert_eq!(refused.code, 1);
            assert_eq!(refused.remark, "push reply message to refusesfail. (it answered 1: so it is)");
            let (_client, _asked) = requester(&rig, "silent", None).await;
            let start = rig.env.monotonic_ns();
            let silent = reply(&peer, Some("silent"), b"4").await;
            let waited = Duration::from_nanos(rig.env.monotonic_ns() - start);
            assert_eq!(silent.code, 1);
            assert!(silent.remark.contains("no answer within 10s"), "{}", silent.remark);
            assert!((10..12).contains(&waited.as_secs()), "{waited:?}");
            assert_eq!(peer.pull(pull_header(REPLIES, 0, 0)).await.bodies(), ["1", "2", "3", "4"]);
            // A connection that ends while its answer is waited for.
            let (client, asked) = requester(&rig, "leaves", None).await;
            let start = rig.env.monotonic_ns();
            let (leaving, env) = (asked.clone(), rig.env.clone());
            rig.env.spawn(ringmq_io::Class::Foreground, async move {
                while leaving.asked.borrow().is_empty() {
                    env.sleep(Duration::from_millis(1)).await;
                }
                client.close();
            });
            let left = reply(&peer, Some("leaves"), b"5").await;
            assert_eq!(left.code, 1);
            assert!(rig.env.monotonic_ns() - start < 5_000_000_000, "{}", left.remark);
        },
    );
}

#[test]
fn a_reply_need_not_be_stored_and_may_be_empty() {
    each_seed_with(
        SEEDS,
        |config| config.store_reply_message_enable = false,
        |rig| async move {
            let (_client, asked) = requester(&rig, "client", Some(0)).await;
            let peer = rig.connect();
            let sent = reply(&peer, Some("client"), b"").await;
            assert_eq!((sent.code, sent.msg_id.as_str(), sent.queue_offset), (0, "0", 0), "{}", sent.remark);
            assert_eq!(asked.asked.borrow().len(), 1);
            assert_eq!(peer.pull(pull_header(REPLIES, 0, 0)).await.max, 0);
        },
    );
}

//! Questions of an administrator to a consumer, through the broker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Rig, each_seed, send_header};
use ringmq_io::Env;
use ringmq_simenv::SimEnv;
use ringmq_transport::{Client, ClientConfig, Connection, Flow, FrameRef, OwnedFrame, Service};
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::{begin_request, begin_response};
use ringmq_wire::message::RecordView;

const SEEDS: u64 = 6;

struct Consumer {
    answers: Cell<bool>,
    asked: RefCell<Vec<OwnedFrame>>,
}

impl<E: Env> Service<E> for Consumer {
    fn on_request(self: &Rc<Self>, conn: &Rc<Connection<E>>, frame: FrameRef<'_>) -> Flow {
        // NOTIFY_CONSUMER_IDS_CHANGED comes too.
        if frame.command.code == code::NOTIFY_CONSUMER_IDS_CHANGED {
            return Flow::Continue;
        }
        self.asked.borrow_mut().push(frame.to_owned_frame());
        if self.answers.get() {
            let opaque = frame.command.opaque;
            conn.write(|out| {
                let remark = Some("as asked");
                let mut writer = begin_response(out, Serialization::Json, 7, opaque, 0, remark);
                writer.ext("field", "value");
                writer.finish(b"a body").unwrap();
            });
        }
        Flow::Continue
    }
}

async fn consumer(rig: &Rig, id: &str, answers: bool) -> (Client<SimEnv>, Rc<Consumer>) {
    let service = Rc::new(Consumer { answers: Cell::new(answers), asked: RefCell::default() });
    let client = Client::new(&rig.env, rig.addr, service.clone(), ClientConfig::default());
    let beat = format!(
        r#"{{"clientID":"{id}","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[],
        "unitMode":false}}],"producerDataSet":[],"heartbeatFingerprint":0}}"#
    );
    let beaten = client.call(
        |out, opaque| {
            let writer = begin_request(out, Serialization::Json, code::HEART_BEAT, opaque, 0);
            writer.finish(beat.as_bytes()).unwrap();
        },
        Duration::from_secs(5),
    );
    assert_eq!(beaten.await.unwrap().command().code, 0);
    (client, service)
}

async fn running_info(peer: &Peer, client: &str) -> OwnedFrame {
    let fields = [("consumerGroup", "g"), ("clientId", client), ("jstackEnable", "false")];
    peer.ask(code::GET_CONSUMER_RUNNING_INFO, &fields, b"").await
}

#[test]
fn a_consumers_answer_comes_back_as_it_is() {
    each_seed(SEEDS, |rig| async move {
        for number in 0..4 {
            let id = format!("c{number}");
            let (_client, asked) = consumer(&rig, &id, true).await;
            let answer = running_info(&rig.connect(), &id).await;
            let command = answer.command();
            assert_eq!((command.code, command.body), (7, &b"a body"[..]));
            assert_eq!(
                (command.remark.as_deref(), command.ext.get("field")),
                (Some("as asked"), Some("value"))
            );
            let frames = asked.asked.borrow();
            let question = frames[0].command();
            assert_eq!((frames.len(), question.code), (1, code::GET_CONSUMER_RUNNING_INFO));
            assert_eq!(question.ext.get("jstackEnable"), Some("false"));
        }
    });
}

#[test]
fn who_is_not_there_or_does_not_answer_is_named() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        let absent = running_info(&peer, "nobody").await;
        let remark = "The Consumer <g> <nobody> not online";
        assert_eq!((absent.command().code, absent.command().remark.as_deref()), (1, Some(remark)));
        let (_client, _asked) = consumer(&rig, "silent", false).await;
        let silent = running_info(&peer, "silent").await;
        assert_eq!(silent.command().code, 207);
        let remark = silent.command().remark.as_deref().unwrap().to_owned();
        assert_eq!(remark, "consumer <g> <silent> Timeout: no answer within 10s");
        let nameless = peer.ask(code::GET_CONSUMER_RUNNING_INFO, &[("consumerGroup", "g")], b"").await;
        assert_eq!(nameless.command().code, 1);
    });
}

#[test]
fn a_message_is_given_to_a_consumer_directly() {
    each_seed(SEEDS, |rig| async move {
        let peer = rig.connect();
        for queue in 0..4 {
            let sent = peer.send(send_header("t", queue, ""), b"again").await;
            let id = format!("c{queue}");
            let (_client, asked) = consumer(&rig, &id, true).await;
            let ask = async |msg_id: &str| {
                let fields = [
                    ("consumerGroup", "g"),
                    ("clientId", &*id),
                    ("msgId", msg_id),
                    ("brokerName", "x"),
                    ("topic", "t"),
                ];
                peer.ask(code::CONSUME_MESSAGE_DIRECTLY, &fields, b"").await
            };
            assert_eq!(ask(&sent.msg_id).await.command().code, 7);
            {
                let frames = asked.asked.borrow();
                let question = frames[0].command();
                assert_eq!(RecordView::parse(question.body).unwrap().body, b"again");
                assert_eq!(question.ext.get("brokerName"), Some("broker-a"));
                assert_eq!(
                    (question.ext.get("topicSysFlag"), question.ext.get("groupSysFlag")),
                    (Some("0"), Some("0"))
                );
            }
            let nowhere = format!("{}{:016X}", &sent.msg_id[..sent.msg_id.len() - 16], 1_u64 << 40);
            for bad in [nowhere.as_str(), "no id"] {
                let refused = ask(bad).await;
                assert_eq!(refused.command().code, 1);
                assert!(refused.command().remark.as_deref().unwrap().contains(bad));
            }
            assert_eq!(asked.asked.borrow().len(), 1);
        }
    });
}

//! Half messages and kill -9: nothing is seen before its commit, producers are asked about what nobody ended, and what was
//! committed is there once.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use harness::remoting::{Answer, Heard, Remote, pull_header, send_header};
use harness::server::Standalone;
use harness::{scratch, take_turn};
use ringmq_wire::code::request_code;
use ringmq_wire::headers::SendHeader;
use ringmq_wire::message::sys_flag::{TRANSACTION_COMMIT, TRANSACTION_PREPARED, TRANSACTION_ROLLBACK};
use ringmq_wire::message::{self, RecordView};

const QUEUES: u32 = 4;
const MESSAGES: u32 = 300;
/// Far more than a check takes to come; only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Where a half message is.
struct Half {
    offset: String,
    physical: String,
}

fn send_half(client: &mut Remote, number: u32) -> Half {
    let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}UNIQ_KEY\u{1}U{number}\u{2}");
    let header = SendHeader {
        properties: &properties,
        sys_flag: TRANSACTION_PREPARED,
        ..send_header("orders", (number % QUEUES) as i32)
    };
    let answer = client.send(header, &number.to_be_bytes());
    assert_eq!(answer.code, 0, "{}", answer.remark);
    let physical = ringmq_wire::message_id::decode_offset_id(answer.field("msgId")).expect("an id").1;
    Half { offset: answer.field("queueOffset").to_owned(), physical: physical.to_string() }
}

fn end_fields<'a>(half: &'a Half, fate: &'a str, from_check: bool) -> [(&'static str, &'a str); 5] {
    [
        ("producerGroup", "P"),
        ("tranStateTableOffset", &half.offset),
        ("commitLogOffset", &half.physical),
        ("commitOrRollback", fate),
        ("fromTransactionCheck", if from_check { "true" } else { "false" }),
    ]
}

/// The code of the answer.
fn end(client: &mut Remote, half: &Half, fate: i32, from_check: bool) -> i32 {
    client.ask(request_code::END_TRANSACTION, &end_fields(half, &fate.to_string(), from_check), b"").code
}

/// A client that is a producer of the group from now on.
fn producer(address: &str, id: &str) -> Remote {
    let mut client = Remote::connect(address);
    let beat = format!(
        r#"{{"clientID":"{id}","consumerDataSet":[],"producerDataSet":[{{"groupName":"P"}}],"heartbeatFingerprint":0}}"#
    );
    assert_eq!(client.ask(request_code::HEART_BEAT, &[], beat.as_bytes()).code, 0);
    client
}

fn number_of(record: &RecordView<'_>) -> u32 {
    u32::from_be_bytes(record.body.try_into().expect("a number"))
}

/// How often each message can be consumed.
fn seen(address: &str) -> BTreeMap<u32, u32> {
    let mut client = Remote::connect(address);
    let mut seen = BTreeMap::new();
    for queue_id in 0..QUEUES {
        let mut at = 0;
        loop {
            let answer = client.pull(pull_header("orders", queue_id as i32, at));
            for record in message::records(&answer.body) {
                let record = record.expect("a whole record");
                let state = record.sys_flag & message::sys_flag::TRANSACTION_MASK;
                assert_eq!(state, message::sys_flag::TRANSACTION_COMMIT, "a half message was delivered");
                *seen.entry(number_of(&record)).or_default() += 1;
                at = record.queue_offset + 1;
            }
            if at >= answer.field("maxOffset").parse().expect("an offset") {
                break;
            }
        }
    }
    seen
}

/// The half message that a producer is asked about.
fn asked(question: &Answer) -> (u32, Half) {
    assert_eq!(question.code, request_code::CHECK_TRANSACTION_STATE);
    let record = RecordView::parse(&question.body).expect("a whole record");
    assert_eq!(record.topic, "orders");
    let half = Half {
        offset: question.field("tranStateTableOffset").to_owned(),
        physical: question.field("commitLogOffset").to_owned(),
    };
    (number_of(&record), half)
}

#[test]
fn half_messages_survive_kill_nine_and_are_committed_once() {
    let _turn = take_turn();
    let dir = scratch();
    let conf = ["transactionTimeOut=2000", "transactionCheckInterval=2000"];
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2).broker_conf(&conf);
    let mut server = standalone.start();
    // A third is committed and a third rolled back before the broker dies.
    let mut client = Remote::connect(server.broker());
    let halves: Vec<Half> = (0..MESSAGES).map(|number| send_half(&mut client, number)).collect();
    for (number, half) in halves.iter().enumerate() {
        match number % 3 {
            0 => assert_eq!(end(&mut client, half, TRANSACTION_COMMIT, false), 0),
            1 => assert_eq!(end(&mut client, half, TRANSACTION_ROLLBACK, false), 0),
            _ => {}
        }
    }
    server.process.kill();
    server = standalone.start();
    let mut committed: BTreeMap<u32, u32> = (0..MESSAGES).step_by(3).map(|number| (number, 1)).collect();
    assert_eq!(seen(server.broker()), committed, "after the first kill");

    // Producers are asked about the rest; the broker dies again when half of it is committed.
    let mut pending: BTreeSet<u32> = (0..MESSAGES).filter(|number| number % 3 == 2).collect();
    let kill_at = pending.len() / 2;
    let mut unheard = None;
    let deadline = Instant::now() + PATIENCE;
    let mut client = producer(server.broker(), "first");
    while !pending.is_empty() {
        assert!(Instant::now() < deadline, "nobody was asked about {pending:?}");
        let question = match client.hear(LOOK) {
            Heard::Answer(question) => question,
            Heard::Silence => {
                // Nobody is asked about the one whose end the broker had time to store.
                let there = seen(server.broker());
                pending.retain(|number| unheard != Some(*number) || !there.contains_key(number));
                continue;
            }
            Heard::Closed => panic!("the broker has closed the connection"),
        };
        let (number, half) = asked(&question);
        assert!(number % 3 == 2, "asked about {number}, which was ended");
        // Another connection: on that of the questions more of them may stand before the answer.
        let mut other = Remote::connect(server.broker());
        if unheard.is_none() && pending.len() == kill_at {
            let fate = TRANSACTION_COMMIT.to_string();
            let frame = other.request(request_code::END_TRANSACTION, &end_fields(&half, &fate, true), b"");
            other.write(&frame).expect("send a request");
            unheard = Some(number);
            server.process.kill();
            server = standalone.start();
            client = producer(server.broker(), "second");
            continue;
        }
        let code = end(&mut other, &half, TRANSACTION_COMMIT, true);
        assert!(code == 0 || !pending.contains(&number), "{number}: code {code}");
        pending.remove(&number);
    }
    committed.extend((0..MESSAGES).filter(|number| number % 3 == 2).map(|number| (number, 1)));
    assert_eq!(seen(server.broker()), committed);
    server.process.kill();
    server = standalone.start();
    assert_eq!(seen(server.broker()), committed, "after the last kill");
    let mut client = Remote::connect(server.broker());
    for half in &halves {
        assert_eq!(end(&mut client, half, TRANSACTION_COMMIT, false), 1, "it was ended before");
    }
    assert_eq!(seen(server.broker()), committed);
    server.stop();
}

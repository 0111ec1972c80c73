//! Thousands of messages that wait, kill -9 and restart in between: each comes once, none before its time.

mod harness;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::remoting::{Remote, pull_header, send_header};
use harness::server::Standalone;
use harness::{scratch, take_turn};
use ringmq_wire::headers::SendHeader;
use ringmq_wire::{message, properties};

const MESSAGES: u32 = 6000;
const KILLS: u32 = 3;
const QUEUES: i32 = 4;
/// Messages are due over so long, beginning when the first was sent.
const SPREAD_MS: i64 = 9000;
/// Far more than what is late because the broker was down; only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Number and time of a message that came.
fn read(client: &mut Remote, queue_id: i32, offset: &mut i64, seen: &mut HashMap<u32, u32>) {
    let answer = client.pull(pull_header("later", queue_id, *offset));
    let heard = now_ms();
    for record in message::records(&answer.body) {
        let record = record.expect("a whole record");
        let number = u32::from_be_bytes(record.body.try_into().expect("a number"));
        let time =
            |name| properties::get(record.properties, name).expect(name).parse::<i64>().expect("a time");
        let due = time("TIMER_DELIVER_MS");
        assert!(due <= heard, "message {number} came {} ms early", due - heard);
        assert!(time("TIMER_DEQUEUE_MS") >= due, "message {number} was delivered early");
        *seen.entry(number).or_default() += 1;
        *offset = record.queue_offset + 1;
    }
}

#[test]
fn delayed_messages_survive_kill_nine_and_come_once() {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2);
    let mut server = standalone.start();
    let begun = now_ms();
    let mut seen = HashMap::new();
    let mut offsets = [0; QUEUES as usize];
    for round in 0..KILLS {
        let mut client = Remote::connect(server.broker());
        for number in (0..MESSAGES).filter(|number| number % KILLS == round) {
            let due = begun + i64::from(number) * SPREAD_MS / i64::from(MESSAGES);
            let text = format!("TIMER_DELIVER_MS\u{1}{due}\u{2}UNIQ_KEY\u{1}U{number}\u{2}");
            // What is past would be an ordinary message.
            if due <= now_ms() + 500 {
                seen.insert(number, 1);
                continue;
            }
            let header =
                SendHeader { properties: &text, ..send_header("later", (number % QUEUES as u32) as i32) };
            let answer = client.send(header, &number.to_be_bytes());
            assert_eq!(answer.code, 0, "{}", answer.remark);
        }
        for queue_id in 0..QUEUES {
            read(&mut client, queue_id, &mut offsets[queue_id as usize], &mut seen);
        }
        server.process.kill();
        server = standalone.start();
    }
    let mut client = Remote::connect(server.broker());
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < MESSAGES as usize {
        assert!(Instant::now() < deadline, "{} of {MESSAGES} messages came", seen.len());
        for queue_id in 0..QUEUES {
            read(&mut client, queue_id, &mut offsets[queue_id as usize], &mut seen);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let last_due = begun + SPREAD_MS;
    let late = now_ms() - last_due;
    assert!(late < 10_000, "the last message came {late} ms after it was due");
    // Nothing comes twice: everything is due, and what is due is there.
    for queue_id in 0..QUEUES {
        read(&mut client, queue_id, &mut offsets[queue_id as usize], &mut seen);
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "came more than once: {twice:?}");
    server.stop();
}

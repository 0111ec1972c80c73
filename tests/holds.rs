//! A hundred thousand pulls that wait: what they cost, and how soon the one that a message is for is answered.
//!
//! `cargo test --release --test holds -- --ignored --nocapture` prints the figures (half a minute); `HOLDS=N` for another number.

mod harness;

use std::time::{Duration, Instant};

use harness::remoting::{ANSWER, Answer, Heard, Remote, pull_header, send_header};
use harness::server::{Server, Standalone};
use harness::{scratch, take_turn};
use ringmq_wire::code::request_code;
use ringmq_wire::headers::{PullHeader, SendHeader};

const CONNECTIONS: usize = 20;
const QUEUES: i32 = 64;
const ROUNDS: usize = 500;
/// Pulls sent before a look at how many wait.
const AT_ONCE: usize = 1000;
/// Suspend, subscription in the header.
const HELD: i32 = 2 | 4;
const FOUND: i32 = 0;

fn held<'a>(topic: &'a str, queue_id: i32, offset: i64) -> PullHeader<'a> {
    PullHeader { sys_flag: HELD, suspend_timeout_millis: 100_000, ..pull_header(topic, queue_id, offset) }
}

fn answer(client: &mut Remote) -> Answer {
    match client.hear(ANSWER) {
        Heard::Answer(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

fn resident_kib(server: &Server) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn waiting(client: &mut Remote) -> usize {
    let answer = client.ask(request_code::GET_BROKER_RUNTIME_INFO, &[], b"");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let (_, rest) = text.split_once("\"longPollings\":\"").expect("longPollings");
    rest.split('"').next().and_then(|count| count.parse().ok()).expect("a number")
}

fn until_waiting(client: &mut Remote, count: usize) {
    let deadline = Instant::now() + ANSWER;
    while waiting(client) != count {
        assert!(Instant::now() < deadline, "{} of {count} pulls wait", waiting(client));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// From the send of a message to the answer of the pull that waits for it.
fn wakes(server: &Server, others: usize, from: &mut i64) -> Vec<Duration> {
    let (mut sender, mut waiter) = (Remote::connect(server.broker()), Remote::connect(server.broker()));
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let frame = waiter.pull_frame(held("watched", 0, *from));
        waiter.write(&frame).expect("send a pull");
        until_waiting(&mut sender, others + 1);
        let header = SendHeader { default_topic_queue_nums: 1, ..send_header("watched", 0) };
        let frame = sender.send_frame(header, b"wake up");
        let begun = Instant::now();
        sender.write(&frame).expect("send a message");
        let woken = answer(&mut waiter);
        took.push(begun.elapsed());
        assert_eq!((woken.code, woken.messages().len()), (FOUND, 1), "{}", woken.remark);
        assert_eq!(answer(&mut sender).code, 0);
        *from += 1;
    }
    took.sort();
    took
}

fn show(what: &str, took: &[Duration]) {
    let at = |share: usize| took[took.len() * share / 100].as_micros();
    println!(
        "{what}: p50 {} us, p90 {} us, p99 {} us, worst {} us",
        at(50),
        at(90),
        at(99),
        took[took.len() - 1].as_micros()
    );
}

#[test]
#[ignore = "measures: run it by name"]
fn a_hundred_thousand_pulls_wait() {
    let _turn = take_turn();
    let count: usize = std::env::var("HOLDS").map_or(100_000, |count| count.parse().expect("a number"));
    let dir = scratch();
    let server = Standalone::new(dir.path()).broker_conf(&["defaultTopicQueueNums=64"]).start();
    let mut from = 0;
    let mut sender = Remote::connect(server.broker());
    for (topic, queues) in [("idle", QUEUES), ("watched", 1)] {
        let header = SendHeader { default_topic_queue_nums: queues, ..send_header(topic, 0) };
        assert_eq!(sender.send(header, b"the first").code, 0);
    }
    from += 1;
    show("with nothing else held", &wakes(&server, 0, &mut from));

    let before = resident_kib(&server);
    let begun = Instant::now();
    let mut clients: Vec<Remote> = (0..CONNECTIONS).map(|_| Remote::connect(server.broker())).collect();
    for number in 0..count {
        let client = &mut clients[number % CONNECTIONS];
        let queue_id = (number / CONNECTIONS) as i32 % QUEUES;
        let frame = client.pull_frame(held("idle", queue_id, i64::from(queue_id == 0)));
        client.write(&frame).expect("send a pull");
        // All at once would find a lane between two cores full, and be refused.
        if number.is_multiple_of(AT_ONCE) {
            until_waiting(&mut sender, number + 1);
        }
    }
    until_waiting(&mut sender, count);
    let grown = (resident_kib(&server) - before) * 1024;
    println!(
        "{count} pulls held in {:.1} s; {} bytes each",
        begun.elapsed().as_secs_f64(),
        grown as usize / count
    );
    show("with them held", &wakes(&server, count, &mut from));

    // One message for all that wait for its queue.
    let mine = (0..count).filter(|number| (number / CONNECTIONS) as i32 % QUEUES == 5).count();
    let begun = Instant::now();
    assert_eq!(sender.send(send_header("idle", 5), b"for many").code, 0);
    let answers = |client: &mut Remote| {
        let mut answers = 0;
        while let Heard::Answer(answer) = client.hear(Duration::from_millis(1)) {
            assert_eq!(answer.code, FOUND);
            answers += 1;
        }
        answers
    };
    let mut answered = 0;
    while answered < mine {
        assert!(begun.elapsed() < ANSWER, "{answered} of {mine} were answered");
        answered += clients.iter_mut().map(answers).sum::<usize>();
    }
    println!("one message for {mine} of them: all were answered after {} ms", begun.elapsed().as_millis());
    until_waiting(&mut sender, count - mine);
    // Those that wait go with their connections.
    drop(clients);
    until_waiting(&mut sender, 0);
    server.stop();
}

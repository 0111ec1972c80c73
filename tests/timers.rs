//! A million messages that wait, kill -9 in between: each comes once, none early, and how late they are.
//!
//! `cargo test --release --test timers -- --ignored --nocapture` prints the figures (three minutes); `TIMERS=N` for another number,
//! `SPREAD_SECS=N` for how long it takes them all to become due (60), `LATE_MS=N` for how late 99 % may be (50).

mod harness;

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use harness::remoting::{ANSWER, Heard, Remote, pull_header, send_header};
use harness::server::Standalone;
use harness::{scratch, take_turn};
use ringmq_wire::headers::{PullHeader, SendHeader};
use ringmq_wire::message;

const QUEUES: u32 = 4;
const IN_FLIGHT: u32 = 256;
/// From the last acknowledgement to the first message that is due: the broker is killed and starts meanwhile.
const PAUSE_MS: i64 = 10_000;
/// Suspend, subscription in the header.
const HELD: i32 = 2 | 4;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

fn asked(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// What is sent: when the first is due, and over how long the others are.
#[derive(Clone, Copy)]
struct Plan {
    timers: u32,
    first_due: i64,
    spread_ms: i64,
}

impl Plan {
    fn due(&self, number: u32) -> i64 {
        self.first_due + i64::from(number) * self.spread_ms / i64::from(self.timers)
    }

    /// The queue's share; numbers go round the queues.
    fn of_queue(&self, queue: u32) -> impl Iterator<Item = u32> + use<> {
        (queue..self.timers).step_by(QUEUES as usize)
    }
}

/// Sends a queue's share; returns when all is acknowledged.
fn send(address: &str, plan: Plan, queue: u32) {
    let mut client = Remote::connect(address);
    let (mut under_way, mut numbers) = (0, plan.of_queue(queue).peekable());
    while under_way > 0 || numbers.peek().is_some() {
        let mut frames = Vec::new();
        while under_way < IN_FLIGHT
            && let Some(number) = numbers.next()
        {
            let text = format!("TIMER_DELIVER_MS\u{1}{}\u{2}UNIQ_KEY\u{1}U{number}\u{2}", plan.due(number));
            let header = SendHeader { properties: &text, ..send_header("timers", queue as i32) };
            frames.extend(client.send_frame(header, &number.to_be_bytes()));
            under_way += 1;
        }
        client.write(&frames).expect("send");
        match client.hear(ANSWER) {
            Heard::Answer(answer) => assert_eq!(answer.code, 0, "{}", answer.remark),
            other => panic!("no answer: {other:?}"),
        }
        under_way -= 1;
    }
}

/// Of one message, in milliseconds after it was due.
#[derive(Clone, Copy)]
struct Late {
    due: i64,
    delivered: i64,
    heard: i64,
}

/// Consumes a queue's share with held pulls, as a push consumer does.
fn consume(address: &str, plan: Plan, queue: u32) -> Vec<Late> {
    let mut client = Remote::connect(address);
    let share = plan.of_queue(queue).count();
    let mut seen = vec![false; plan.timers as usize];
    let (mut late, mut at) = (Vec::with_capacity(share), 0);
    let deadline = plan.due(plan.timers) + 60_000;
    while late.len() < share {
        assert!(now_ms() < deadline, "{} of {share} messages came to queue {queue}", late.len());
        let header = PullHeader {
            sys_flag: HELD,
            suspend_timeout_millis: 5_000,
            ..pull_header("timers", queue as i32, at)
        };
        let answer = client.pull(header);
        let heard = now_ms();
        for record in message::records(&answer.body) {
            let record = record.expect("a whole record");
            let number = u32::from_be_bytes(record.body.try_into().expect("a number"));
            assert_eq!(number % QUEUES, queue);
            assert!(!std::mem::replace(&mut seen[number as usize], true), "message {number} came twice");
            let due = plan.due(number);
            // Its store time is its batch's, which began up to a turn before.
            let delivered: i64 =
                record.property("TIMER_DEQUEUE_MS").expect("a timer's").parse().expect("a time");
            assert!(delivered.min(heard) >= due, "message {number} is early");
            late.push(Late { due, delivered: delivered - due, heard: heard - due });
            at = record.queue_offset + 1;
        }
    }
    // All were due, so that one that comes twice is there.
    let end = client.pull(pull_header("timers", queue as i32, at));
    assert!(end.body.is_empty(), "more messages than were sent came to queue {queue}");
    late
}

fn each_queue<T: Send>(work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..QUEUES).map(|queue| scope.spawn(move || work(queue))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a queue's thread")).collect()
    })
}

/// Prints them; gives the 99th percentile.
fn show(what: &str, mut late: Vec<i64>) -> i64 {
    late.sort_unstable();
    let at = |thousandths: usize| late[(late.len() - 1) * thousandths / 1000];
    println!("{what}: p50 {} ms, p99 {} ms, p99.9 {} ms, max {} ms", at(500), at(990), at(999), at(1000));
    at(990)
}

/// When it was that messages came late: the worst of each second in which one did.
fn show_when(plan: Plan, late: &[Late], most: i64) {
    let mut worst = BTreeMap::new();
    for late in late.iter().filter(|late| late.delivered > most) {
        let second = (late.due - plan.first_due) / 1000;
        let so_far = worst.entry(second).or_insert(0);
        *so_far = late.delivered.max(*so_far);
    }
    println!("seconds with messages over {most} ms late, and the worst in ms: {worst:?}");
}

#[test]
#[ignore = "three minutes, and figures that want a quiet machine; by hand"]
fn a_million_timers_survive_kill_nine_and_come_in_time() {
    let _turn = take_turn();
    let dir = scratch();
    let mut standalone = Standalone::new(dir.path()).restartable().shards(2);
    let mut server = standalone.start();
    let timers = asked("TIMERS", 1_000_000);
    // Time enough to send them at 10,000 a second.
    let first_due = now_ms() + PAUSE_MS + i64::from(timers) / 10;
    let plan = Plan { timers, first_due, spread_ms: i64::from(asked("SPREAD_SECS", 60)) * 1000 };
    let begun = Instant::now();
    let address = server.broker().to_owned();
    each_queue(|queue| send(&address, plan, queue));
    println!("{timers} timers sent in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(now_ms() + PAUSE_MS <= plan.first_due, "sending has taken too long");
    server.process.kill();
    let begun = Instant::now();
    let server = standalone.start();
    println!("started after kill -9 in {:.2} s", begun.elapsed().as_secs_f64());
    assert!(now_ms() < plan.first_due, "the start has taken too long");
    let late = each_queue(|queue| consume(&address, plan, queue)).concat();
    assert_eq!(late.len(), timers as usize);
    let delivered = show("in its queue after it was due", late.iter().map(|late| late.delivered).collect());
    show("at its consumer after it was due", late.iter().map(|late| late.heard).collect());
    let most = i64::from(asked("LATE_MS", 50));
    show_when(plan, &late, most);
    assert!(delivered <= most, "more than 1 % are over {most} ms late");
    server.stop();
}

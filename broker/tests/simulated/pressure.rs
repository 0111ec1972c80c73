//! What a broker does when its disk is slow, full or broken: it says so, promises nothing false, and goes on by itself
//! where it can.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::admin::{Http, sum};
use crate::common::{Rig, Scene, Sent, pull_header, send_header};
use ringmq_broker::config::{BrokerConfig, FlushMode};
use ringmq_io::{Class, Env};
use ringmq_simenv::Faults;

fn slow_sync(time: Duration) -> Faults {
    let mut faults = Faults::none();
    faults.disk.slow_sync = 1.0;
    faults.disk.slow_sync_time = time;
    faults
}

fn one_shard(config: &mut BrokerConfig) {
    config.shards = 1;
    config.ring_bytes = 1 << 20;
    config.segment_bytes = 8 << 20;
}

#[test]
fn a_full_ring_makes_producers_wait_and_then_says_so() {
    for seed in 0..4 {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 2) as usize, one_shard);
        scene.client(|rig| async move {
            assert_eq!(rig.connect().send(send_header("t", 0, ""), b"x").await.code, 0)
        });
        scene.machine.set_faults(slow_sync(Duration::from_secs(600)));
        let machine = scene.machine.clone();
        let bodies = scene.client(move |rig| async move {
            let answers = Rc::new(RefCell::new(Vec::new()));
            // Far more than the ring holds, from several connections.
            for i in 0..64u8 {
                let (peer, env, answers) = (rig.connect(), rig.env.clone(), answers.clone());
                rig.env.spawn(Class::Foreground, async move {
                    let start = env.monotonic_ns();
                    let sent = peer.send(send_header("t", 0, ""), &vec![i; 60_000]).await;
                    let waited = Duration::from_nanos(env.monotonic_ns() - start);
                    answers.borrow_mut().push((i, sent, waited));
                });
            }
            rig.env.sleep(Duration::from_secs(5)).await;
            assert_eq!(answers.borrow().len(), 64, "a send was left without an answer");
            let (stored, busy): (Vec<_>, Vec<_>) =
                answers.take().into_iter().partition(|(_, sent, _)| sent.code == 0);
            assert!(!stored.is_empty() && !busy.is_empty(), "{} stored, {} busy", stored.len(), busy.len());
            for (_, sent, waited) in busy {
                assert_eq!(sent.code, 2, "{}", sent.remark);
                assert!(sent.remark.contains("ring of shard 0 is full"), "{}", sent.remark);
                assert!(sent.remark.contains("batches not yet on disk"), "{}", sent.remark);
                assert!(sent.remark.contains(" ms"), "{}", sent.remark);
                assert!(waited < Duration::from_millis(2500), "{waited:?}");
            }
            // The disk recovers: so does the broker, by itself.
            machine.set_faults(Faults::none());
            rig.env.sleep(Duration::from_secs(700)).await;
            let peer = rig.connect();
            assert_eq!(peer.send(send_header("t", 0, ""), b"after").await.code, 0);
            let mut stored: Vec<(i64, u8)> =
                stored.iter().map(|(i, sent, _)| (sent.queue_offset, *i)).collect();
            stored.sort_unstable();
            let all = peer.pull_all("t", 0).await;
            for (offset, i) in &stored {
                assert_eq!(all[*offset as usize].1, vec![*i; 60_000]);
            }
            all.len()
        });
        assert!(bodies > 2);
        scene.stop();
    }
}

#[test]
fn a_producer_that_waits_for_room_gets_in_when_there_is_some() {
    for seed in 0..4 {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 2) as usize, one_shard);
        scene.machine.set_faults(slow_sync(Duration::from_millis(400)));
        scene.client(|rig| async move {
            let peer = rig.connect();
            // One connection that pipelines 6 MiB through a ring of 1 MiB: slowly, in order, without a refusal.
            for i in 0..100u8 {
                peer.send_oneway(send_header("t", 0, ""), &vec![i; 60_000]).await;
            }
            let last = peer.send(send_header("t", 0, ""), b"last").await;
            assert_eq!((last.code, last.queue_offset), (0, 100), "{}", last.remark);
            let all = peer.pull_all("t", 0).await;
            for (i, (offset, body, _)) in all.iter().take(100).enumerate() {
                assert_eq!((*offset, body[0], body.len()), (i as i64, i as u8, 60_000));
            }
        });
        scene.machine.set_faults(Faults::none());
        scene.stop();
    }
}

#[test]
fn a_slow_sync_is_reported_as_stored_but_not_yet_safe() {
    let mut timed_out = 0;
    for seed in 0..6 {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 2) as usize, |config| config.flush_disk_type = FlushMode::Sync);
        scene.client(|rig| async move {
            assert_eq!(rig.connect().send(send_header("t", 0, ""), b"x").await.code, 0)
        });
        scene.machine.set_faults(slow_sync(Duration::from_secs(60)));
        timed_out += scene.client(|rig| async move {
            let peer = rig.connect();
            let start = rig.env.monotonic_ns();
            let sent = peer.send(send_header("t", 0, ""), b"slow").await;
            let waited = Duration::from_nanos(rig.env.monotonic_ns() - start);
            assert!(waited < Duration::from_millis(5500), "{waited:?}");
            assert!([0, 10].contains(&sent.code), "{} {}", sent.code, sent.remark);
            assert_eq!(sent.queue_offset, 1);
            assert_eq!(sent.msg_id.len(), 32);
            // Who does not want to wait for the disk does not.
            let start = rig.env.monotonic_ns();
            let hasty = peer.send(send_header("t", 0, "WAIT\u{1}false\u{2}"), b"hasty").await;
            assert_eq!(hasty.code, 0);
            assert!(rig.env.monotonic_ns() - start < 100_000_000);
            i32::from(sent.code == 10)
        });
        scene.machine.set_faults(Faults::none());
        scene.stop();
    }
    assert!(timed_out >= 3, "{timed_out} of 6 syncs of up to a minute took longer than 5 s");
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged() {
    for seed in 0..6 {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        let sync = |config: &mut BrokerConfig| config.flush_disk_type = FlushMode::Sync;
        scene.start(cores, sync);
        scene.client(|rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                assert_eq!(peer.send(send_header("t", queue, ""), b"good").await.code, 0);
            }
        });
        let mut broken = Faults::none();
        if seed % 3 == 0 {
            broken.disk.write_error = 1.0;
        } else {
            broken.disk.sync_error = 1.0;
        }
        scene.machine.set_faults(broken);
        let machine = scene.machine.clone();
        scene.client(move |rig| async move {
            let peer = rig.connect();
            for round in 0..3 {
                if round == 1 {
                    // The disk works again, but what it did with the failed write nobody knows.
                    machine.set_faults(Faults::none());
                }
                for queue in 0..4 {
                    let sent = peer.send(send_header("t", queue, ""), b"bad").await;
                    assert_eq!(sent.code, 1, "{}", sent.remark);
                    assert!(sent.remark.contains("latched"), "{}", sent.remark);
                }
            }
            // What is stored is still served.
            assert_eq!(peer.pull(pull_header("t", 0, 0)).await.code, 0);
        });
        scene.machine.crash(ringmq_simenv::CrashKind::PowerLoss);
        scene.start(cores, sync);
        scene.client(|rig| async move {
            let peer = rig.connect();
            for queue in 0..4 {
                assert_eq!(peer.pull_all("t", queue).await[0].1, b"good");
                assert_eq!(peer.send(send_header("t", queue, ""), b"again").await.code, 0);
            }
        });
        scene.stop();
    }
}

/// What a client heard, when, and what it had sent.
struct Heard {
    sent: Sent,
    waited: Duration,
    number: u8,
}

type Answers = Rc<RefCell<Vec<Heard>>>;

/// A send on a connection of its own that nobody waits for here.
fn send_aside(rig: &Rig, answers: &Answers, number: u8, bytes: usize) {
    let (peer, env, answers) = (rig.connect(), rig.env.clone(), answers.clone());
    rig.env.spawn(Class::Foreground, async move {
        let start = env.monotonic_ns();
        let sent = peer.send(send_header("t", 0, ""), &vec![number; bytes]).await;
        let waited = Duration::from_nanos(env.monotonic_ns() - start);
        answers.borrow_mut().push(Heard { sent, waited, number });
    });
}

async fn metric(rig: &Rig, name: &str, labels: &[&str]) -> f64 {
    let (status, metrics) = Http::connect(rig).await.get("/metrics").await;
    assert_eq!(status, 200);
    sum(&metrics, name, labels)
}

/// A send and a look at the health take no longer than ever, now that the disk is back.
async fn is_back(rig: &Rig) {
    let start = rig.env.monotonic_ns();
    assert_eq!(rig.connect().send(send_header("t", 0, ""), b"after").await.code, 0);
    assert!(rig.env.monotonic_ns() - start < 500_000_000);
    assert_eq!(Http::connect(rig).await.get("/healthz").await, (200, "ok\n".to_owned()));
}

const STALL: Duration = Duration::from_secs(5);

#[test]
fn a_disk_that_stalls_delays_acknowledgements_and_who_waits_too_long_is_told() {
    for (seed, patience_ms) in [(0, 10_000), (1, 10_000), (2, 3000), (3, 3000)] {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 2) as usize, |config| {
            one_shard(config);
            config.flush_disk_type = FlushMode::Sync;
            config.sync_flush_timeout_ms = patience_ms;
        });
        let machine = scene.machine.clone();
        scene.client(move |rig| async move {
            is_back(&rig).await;
            machine.stall_disk(STALL);
            let answers = Answers::default();
            for number in 0..20 {
                send_aside(&rig, &answers, number, 1000);
            }
            rig.env.sleep(Duration::from_secs(2)).await;
            assert!(answers.borrow().is_empty(), "acknowledged without the disk");
            assert_eq!(Http::connect(&rig).await.get("/healthz").await.0, 200, "it passes by itself");
            assert_eq!(metric(&rig, "ringmq_shard_acks_waiting", &[]).await, 20.0);
            rig.env.sleep(Duration::from_millis(3500)).await;
            let answers = answers.take();
            assert_eq!(answers.len(), 20);
            let told = answers.iter().filter(|heard| heard.sent.code == 10).count();
            assert_eq!(told, if patience_ms < 5000 { 20 } else { 0 });
            let expected = Duration::from_millis(patience_ms).min(STALL);
            for heard in &answers {
                assert!([0, 10].contains(&heard.sent.code), "{} {}", heard.sent.code, heard.sent.remark);
                let late = heard.waited.checked_sub(expected).expect("no answer before its time");
                assert!(late < Duration::from_millis(300), "{:?}", heard.waited);
            }
            assert_eq!(metric(&rig, "ringmq_shard_flush_timeouts_total", &[]).await, told as f64);
            is_back(&rig).await;
            // Stored they are all, where the answers say.
            let all = rig.connect().pull_all("t", 0).await;
            for heard in &answers {
                assert_eq!(all[heard.sent.queue_offset as usize].1, vec![heard.number; 1000]);
            }
        });
        scene.stop();
    }
}

#[test]
fn a_disk_that_stalls_fills_the_ring_and_what_waits_too_long_is_dropped_counted_and_explained() {
    for seed in 0..4 {
        let scene = Scene::new(seed);
        scene.start(1 + (seed % 2) as usize, one_shard);
        let machine = scene.machine.clone();
        scene.client(move |rig| async move {
            is_back(&rig).await;
            machine.stall_disk(STALL);
            // More than the ring holds; later some that meet the full ring when the disk is soon back.
            let (early, late) = (Answers::default(), Answers::default());
            for number in 0..64 {
                send_aside(&rig, &early, number, 60_000);
            }
            rig.env.sleep(Duration::from_millis(3500)).await;
            for number in 100..108 {
                send_aside(&rig, &late, number, 60_000);
            }
            let early = early.take();
            assert_eq!(early.len(), 64, "a send was left without an answer");
            let (taken, dropped): (Vec<_>, Vec<_>) =
                early.into_iter().partition(|heard| heard.sent.code == 0);
            assert!(!taken.is_empty() && !dropped.is_empty(), "{} taken", taken.len());
            for Heard { sent, waited, .. } in &dropped {
                assert_eq!(sent.code, 2, "{}", sent.remark);
                assert!(sent.remark.contains("ring of shard 0 is full"), "{}", sent.remark);
                assert!(*waited < Duration::from_millis(2500), "{waited:?}: the client has given up");
            }
            assert_eq!(metric(&rig, "ringmq_puts_refused_total", &[]).await, dropped.len() as f64);
            assert!(metric(&rig, "ringmq_full_total", &["what=\"ring\""]).await > 0.0);
            assert!(metric(&rig, "ringmq_shard_unsynced_bytes", &[]).await > 0.0);
            rig.env.sleep(Duration::from_secs(2)).await;
            let late = late.take();
            assert_eq!(late.len(), 8);
            assert!(late.iter().all(|heard| heard.sent.code == 0), "the disk was back in time for them");
            is_back(&rig).await;
            let all = rig.connect().pull_all("t", 0).await;
            for heard in taken.iter().chain(&late) {
                assert_eq!(all[heard.sent.queue_offset as usize].1, vec![heard.number; 60_000]);
            }
            assert_eq!(all.len(), 2 + taken.len() + late.len(), "what was refused is not there");
        });
        scene.stop();
    }
}

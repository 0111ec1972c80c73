//! What a broker does when its disk is slow, full or broken: it says so, promises nothing false, and goes on by itself
//! where it can.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Scene, pull_header, send_header};
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

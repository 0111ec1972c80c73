//! Offsets, topics and groups through a whole broker that crashes: what was acknowledged is there again, and never goes back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Peer, Rig, Scene};
use crate::control_plane::{SEEDS, beat, code_of, commit, committed, make_topic, topic_config};
use ringmq_io::Env;
use ringmq_simenv::CrashKind;
use ringmq_wire::Serialization;
use ringmq_wire::code::request_code as code;
use ringmq_wire::encode::begin_request;

/// Commits rising offsets of four queues, and notes what was acknowledged.
async fn commit_for_ever(rig: Rig, acked: Rc<RefCell<[i64; 4]>>, sent: Rc<RefCell<[i64; 4]>>) {
    let peer = rig.connect();
    for offset in 1.. {
        for queue in 0..4 {
            sent.borrow_mut()[queue] = offset;
            let (queue_text, offset_text) = (queue.to_string(), offset.to_string());
            let outcome = peer
                .try_call(|out, opaque| {
                    let code = code::UPDATE_CONSUMER_OFFSET;
                    let mut writer = begin_request(out, Serialization::Json, code, opaque, 0);
                    writer.ext("consumerGroup", "g").ext("topic", "t");
                    writer.ext("queueId", &queue_text).ext("commitOffset", &offset_text);
                    writer.finish(&[]).unwrap();
                })
                .await;
            match outcome {
                Ok(answer) if code_of(&answer) == 0 => acked.borrow_mut()[queue] = offset,
                _ => return,
            }
        }
    }
}

#[test]
fn acknowledged_metadata_survives_crashes_and_never_goes_back() {
    for seed in 0..24 {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(code_of(&make_topic(&peer, "t", 4).await), 0);
            assert_eq!(code_of(&peer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await), 0);
        });
        let (acked, sent) = (Rc::new(RefCell::new([0; 4])), Rc::new(RefCell::new([0; 4])));
        for round in 0..3 {
            let (acked_now, sent_now) = (acked.clone(), sent.clone());
            let addr = scene.addr;
            *sent.borrow_mut() = [0; 4];
            *acked.borrow_mut() = [0; 4];
            scene
                .clients
                .start(1, move |env| commit_for_ever(Rig { env, addr }, acked_now.clone(), sent_now.clone()));
            let goal = 3 + (seed + round) as i64 % 17;
            let reached = scene.world.run_until(|| acked.borrow()[3] >= goal, Duration::from_secs(60));
            assert!(reached, "seed {seed}: {acked:?}");
            // Somewhere inside the next commits.
            scene.world.run_steps((seed * 7 + round * 13) % 90);
            let kind = if (seed + round) % 3 == 0 { CrashKind::Process } else { CrashKind::PowerLoss };
            scene.machine.crash(kind);
            scene.clients.crash(CrashKind::Process);
            scene.start(cores, |_| ());
            let (acked, sent) = (*acked.borrow(), *sent.borrow());
            scene.client(move |rig| async move {
                let peer = rig.connect();
                let topic = topic_config(&peer, "t").await.unwrap();
                assert_eq!(topic.read_queue_nums, 4);
                assert_eq!(topic.attributes["message.type"], "FIFO");
                assert!(topic_config(&peer, "%RETRY%g").await.is_ok(), "seed {seed}");
                for queue in 0..4 {
                    let offset = committed(&peer, "g", "t", queue).await.unwrap();
                    let (low, high) = (acked[queue as usize], sent[queue as usize]);
                    assert!((low..=high).contains(&offset), "seed {seed}: {offset} not in {low}..={high}");
                }
            });
        }
        scene.stop();
    }
}

#[test]
fn oneway_commits_are_kept_within_a_moment_and_at_a_clean_end() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            make_topic(&peer, "t", 4).await;
            peer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await;
            oneway_commit(&peer, "5").await;
            assert_eq!(committed(&peer, "g", "t", 0).await, Ok(5));
            rig.env.sleep(Duration::from_secs(1)).await;
        });
        scene.machine.crash(CrashKind::PowerLoss);
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(committed(&peer, "g", "t", 0).await, Ok(5));
            oneway_commit(&peer, "6").await;
            assert_eq!(committed(&peer, "g", "t", 0).await, Ok(6));
        });
        scene.stop();
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            assert_eq!(committed(&rig.connect(), "g", "t", 0).await, Ok(6));
        });
        scene.stop();
    }
}

#[test]
fn an_offset_that_was_shown_survives_a_crash_at_once() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        let kind = if seed % 3 == 0 { CrashKind::Process } else { CrashKind::PowerLoss };
        scene.start(cores, |_| ());
        for offset in [5i64, 6, 9] {
            scene.client(move |rig| async move {
                let peer = rig.connect();
                make_topic(&peer, "t", 4).await;
                peer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &["t"])).await;
                oneway_commit(&peer, &offset.to_string()).await;
                assert_eq!(committed(&peer, "g", "t", 0).await, Ok(offset), "seed {seed}");
            });
            scene.machine.crash(kind);
            scene.start(cores, |_| ());
            scene.client(move |rig| async move {
                assert_eq!(
                    committed(&rig.connect(), "g", "t", 0).await,
                    Ok(offset),
                    "seed {seed}: went back"
                );
            });
        }
        scene.stop();
    }
}

#[test]
fn a_clean_restart_starts_from_a_snapshot_and_goes_on() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        for round in 0..3u32 {
            scene.client(move |rig| async move {
                let peer = rig.connect();
                for old in 0..round {
                    let topic = topic_config(&peer, &format!("t{old}")).await.unwrap();
                    assert_eq!(topic.read_queue_nums, old as i32 + 1, "seed {seed}");
                    assert_eq!(committed(&peer, "g", &format!("t{old}"), 0).await, Ok(100 + i64::from(old)));
                }
                assert_eq!(topic_config(&peer, "gone").await, Err(17));
                let topic = format!("t{round}");
                assert_eq!(code_of(&make_topic(&peer, &topic, round + 1).await), 0);
                assert_eq!(code_of(&make_topic(&peer, "gone", 1).await), 0);
                peer.ask(code::HEART_BEAT, &[], &beat("c1", "g", &[&topic])).await;
                assert_eq!(code_of(&commit(&peer, "g", &topic, 0, 100 + i64::from(round)).await), 0);
                peer.ask(code::DELETE_TOPIC_IN_BROKER, &[("topic", "gone")], b"").await;
            });
            match round {
                // What was journalled behind the snapshot of the round before.
                1 => scene.machine.crash(CrashKind::PowerLoss),
                _ => scene.stop(),
            }
            scene.start(cores, |_| ());
        }
        scene.stop();
        assert!(
            scene.machine.files().iter().any(|(path, _)| path.ends_with("SNAPSHOT")),
            "no snapshot was taken"
        );
    }
}

async fn oneway_commit(peer: &Peer, offset: &str) {
    let encode = |out: &mut Vec<u8>, opaque| {
        let mut writer = begin_request(out, Serialization::Json, code::UPDATE_CONSUMER_OFFSET, opaque, 2);
        writer.ext("consumerGroup", "g").ext("topic", "t").ext("queueId", "0").ext("commitOffset", offset);
        writer.finish(&[]).unwrap();
    };
    peer.client.send(encode, Duration::from_secs(10)).await.unwrap();
}

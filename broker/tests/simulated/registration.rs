//! A broker and its name servers: what is registered when, under which names, in which order.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Scene, send_header};
use crate::control_plane::{SEEDS, code_of, make_topic};
use crate::name_server;
use ringmq_broker::control::registration::NameServer;
use ringmq_io::Env;

#[test]
fn a_new_topic_is_registered_before_its_sender_is_answered() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let names = [name_server::start(&scene, "names-1"), name_server::start(&scene, "names-2")];
        *scene.name_servers.borrow_mut() = names.iter().map(|server| server.as_configured()).collect();
        scene.start(1 + (seed % 2) as usize, |_| ());
        // The broker is ready when one of them knows it.
        assert!(
            names.iter().any(|server| server.knows("TBW102") && server.knows("DefaultCluster")),
            "seed {seed}"
        );
        let all = scene.world.run_until(|| names.iter().all(|s| s.knows("TBW102")), Duration::from_secs(1));
        assert!(all, "seed {seed}");
        // Their answers are on the way.
        scene.world.run_for(Duration::from_millis(100));
        let known = Rc::new(Cell::new(false));
        let (seen, names_now) = (known.clone(), names.clone());
        scene.client(move |rig| async move {
            let peer = rig.connect();
            assert_eq!(peer.send(send_header("fresh", 0, ""), b"m").await.code, 0);
            seen.set(names_now.iter().all(|server| server.knows("fresh")));
        });
        assert!(known.get(), "seed {seed}");

        // One that is down delays nobody, and gets everything when it is back.
        names[0].crash();
        scene.client(|rig| async move {
            let peer = rig.connect();
            rig.env.sleep(Duration::from_secs(3)).await;
            let start = rig.env.monotonic_ns();
            assert_eq!(peer.send(send_header("later", 0, ""), b"m").await.code, 0);
            let took = Duration::from_nanos(rig.env.monotonic_ns() - start);
            assert!(took < Duration::from_millis(900), "took {took:?}");
        });
        assert!(names[1].knows("later"));
        names[0].restart();
        let told = scene
            .world
            .run_until(|| names[0].knows("later") && names[0].knows("fresh"), Duration::from_secs(15));
        assert!(told, "seed {seed}");
        scene.stop();
        assert!(names.iter().all(|server| server.unregistered()), "seed {seed}");
    }
}

/// A name is looked up for each connection: a name server may get its name late, or move.
#[test]
fn a_name_server_is_found_under_its_name_once_it_has_one() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let early = name_server::start(&scene, "early");
        *scene.name_servers.borrow_mut() = vec![NameServer::new("late:9876"), early.as_configured()];
        scene.start(1 + (seed % 2) as usize, |_| ());
        scene.world.run_for(Duration::from_secs(20));
        assert!(early.knows("TBW102"), "seed {seed}");
        let late = name_server::start(&scene, "late");
        let told = scene.world.run_until(|| late.knows("TBW102"), Duration::from_secs(15));
        assert!(told, "seed {seed}");
        scene.stop();
    }
}

#[test]
fn changes_that_overtake_each_other_all_reach_the_name_server() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let server = name_server::start(&scene, "names");
        *scene.name_servers.borrow_mut() = vec![server.as_configured()];
        scene.start(1 + (seed % 2) as usize, |_| ());
        scene.client(|rig| async move {
            for queues in 1..=8 {
                let peers = [rig.connect(), rig.connect(), rig.connect()];
                let [a, b, c] = &peers;
                let two = futures_lite::future::zip(make_topic(a, "a", queues), make_topic(b, "b", queues));
                let ((one, two), three) = futures_lite::future::zip(two, make_topic(c, "c", queues)).await;
                assert_eq!([&one, &two, &three].map(code_of), [0; 3]);
            }
        });
        for topic in ["a", "b", "c"] {
            assert_eq!(server.queues(topic), Some(8), "seed {seed}, topic {topic}");
        }
        // A beat repeats what is known; it takes nothing back.
        scene.world.run_for(Duration::from_secs(70));
        assert_eq!(server.queues("a"), Some(8));
        scene.stop();
    }
}

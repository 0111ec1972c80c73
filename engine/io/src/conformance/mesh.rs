//! Lanes between cores. Every core of a process runs [`all`].

use crate::{Env, Lanes, Mesh};

pub async fn all<E: Env>(env: &E) {
    lanes_keep_order(env).await;
    a_full_lane_gives_the_message_back(env).await;
    lanes_end_with_their_peers(env).await;
}

/// Every message arrives once, with its sender, in the order of its lane; meshes are separate.
pub async fn lanes_keep_order<E: Env>(env: &E) {
    const MESSAGES: usize = 500;
    let lanes = env.mesh().join::<(usize, usize)>("conformance order", 16).await;
    let other = env.mesh().join::<String>("conformance other", 16).await;
    assert_eq!(lanes.peers(), env.cores());
    let me = env.core();
    let peers: Vec<usize> = (0..env.cores()).filter(|peer| *peer != me).collect();
    for peer in &peers {
        other.try_send(*peer, format!("from {me}")).expect("an empty lane");
    }
    let mut next_out = vec![0; env.cores()];
    let mut next_in = vec![0; env.cores()];
    let mut missing = peers.len() * MESSAGES;
    while missing > 0 || peers.iter().any(|peer| next_out[*peer] < MESSAGES) {
        for peer in &peers {
            while next_out[*peer] < MESSAGES && lanes.try_send(*peer, (me, next_out[*peer])).is_ok() {
                next_out[*peer] += 1;
            }
        }
        if missing > 0
            && let Some(received) = futures_lite::future::poll_once(lanes.recv()).await
        {
            let (from, (named, number)) = received.expect("the peers are there");
            assert_eq!((named, number), (from, next_in[from]), "core {me}");
            next_in[from] += 1;
            missing -= 1;
        } else {
            env.yield_now().await;
        }
    }
    for _ in &peers {
        let (from, text) = other.recv().await.expect("the peers are there");
        assert_eq!(text, format!("from {from}"));
    }
}

/// A lane holds as many messages as it was joined with. One more comes back unchanged; the lane to
/// another core is not affected, and there is room again after a receive.
pub async fn a_full_lane_gives_the_message_back<E: Env>(env: &E) {
    const DEPTH: usize = 8;
    let lanes = env.mesh().join::<Vec<u8>>("conformance full", DEPTH).await;
    let go = env.mesh().join::<()>("conformance go", 4).await;
    let (me, last) = (env.core(), env.cores() - 1);
    if last == 0 {
        return;
    }
    if me == 0 {
        for n in 0..DEPTH {
            lanes.try_send(last, vec![n as u8]).expect("room");
        }
        assert_eq!(lanes.try_send(last, vec![77]).expect_err("full"), vec![77]);
        for peer in 1..last {
            lanes.try_send(peer, vec![1]).expect("another lane");
        }
        go.try_send(last, ()).expect("room");
        while lanes.try_send(last, vec![DEPTH as u8]).is_err() {
            env.yield_now().await;
        }
    } else if me == last {
        go.recv().await.expect("a signal");
        for n in 0..=DEPTH {
            assert_eq!(lanes.recv().await.expect("a message"), (0, vec![n as u8]));
        }
    } else {
        assert_eq!(lanes.recv().await.expect("a message"), (0, vec![1]));
    }
}

/// A receive gives what was sent before its sender went, then `None` when no peer is left.
pub async fn lanes_end_with_their_peers<E: Env>(env: &E) {
    let lanes = env.mesh().join::<usize>("conformance end", 4).await;
    if env.core() != 0 {
        lanes.try_send(0, env.core()).expect("room");
        return; // and drops its ends
    }
    let mut from: Vec<usize> = Vec::new();
    while let Some((peer, message)) = lanes.recv().await {
        assert_eq!(peer, message);
        from.push(peer);
    }
    from.sort_unstable();
    assert_eq!(from, (1..env.cores()).collect::<Vec<_>>());
}

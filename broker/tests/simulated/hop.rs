//! The way between cores: full lanes, order, leases.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmq_broker::hop::{CoreMessage, Hop, HoppingRequest};
use ringmq_broker::request::Target;
use ringmq_broker::stages::Began;
use ringmq_io::limits::LANE_MESSAGES_MAX;
use ringmq_io::{Chunk, Disk, Env, Lanes, Lease, Mesh, Region};
use ringmq_simenv::{SimEnv, World};
use ringmq_transport::{ConnId, OwnedFrame};
use ringmq_wire::Serialization;
use ringmq_wire::encode::begin_request;

/// A connection of core 1.
const CONN: ConnId = (1 << 48) | 7;

fn frame() -> OwnedFrame {
    let mut out = Vec::new();
    begin_request(&mut out, Serialization::Json, 10, 1, 0).finish(b"body").unwrap();
    OwnedFrame::parse(out).unwrap()
}

/// Runs `case` on two cores, each with its hop, until both have returned.
fn on_two_cores<F>(seed: u64, case: impl Fn(SimEnv, Rc<Hop<SimEnv>>) -> F + Clone + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let world = World::new(seed);
    let done = Rc::new(Cell::new(0));
    let count = done.clone();
    world.host("one").start(2, move |env| {
        let (case, count) = (case.clone(), count.clone());
        async move {
            let lanes = env.mesh().join("test", LANE_MESSAGES_MAX).await;
            let hop = Hop::new(&env, lanes);
            case(env, hop).await;
            count.set(count.get() + 1);
        }
    });
    assert!(world.run_until(|| done.get() == 2, Duration::from_secs(60)), "seed {seed}");
}

async fn full_lane(env: SimEnv, hop: Rc<Hop<SimEnv>>) {
    let target = Target::Shard(1);
    let peer = "10.0.0.9:4000".parse().unwrap();
    if env.core() == 0 {
        let request = || {
            let (frame, began) = (frame(), Began::NEVER);
            hop.request(1, HoppingRequest { conn: CONN, peer, target, frame, claim: None, began })
        };
        for _ in 0..LANE_MESSAGES_MAX {
            request().unwrap();
        }
        let full = request().unwrap_err();
        assert_eq!(full.to_string(), "lane 0->1 full: 4096 messages");
        // What must not be lost waits, and keeps its order; a request does not pass it.
        for i in 0..3u8 {
            hop.reply(CONN, vec![i]);
        }
        assert_eq!(request().unwrap_err().to_string(), "lane 0->1 full: 4099 messages");
        assert_eq!((hop.requests.get(), hop.lanes_full.get()), (LANE_MESSAGES_MAX as u64 + 2, 2));
        env.sleep(Duration::from_secs(10)).await;
        request().unwrap();
    } else {
        env.sleep(Duration::from_secs(5)).await;
        for _ in 0..LANE_MESSAGES_MAX {
            let received = hop.lanes().recv().await;
            assert!(matches!(received, Some((0, CoreMessage::Request(HoppingRequest { conn: CONN, .. })))));
        }
        for i in 0..3u8 {
            match hop.lanes().recv().await {
                Some((0, CoreMessage::Reply { conn: CONN, frames })) => assert_eq!(frames, [i]),
                _ => panic!("not the reply {i}"),
            }
        }
        assert!(matches!(hop.lanes().recv().await, Some((0, CoreMessage::Request(_)))));
    }
}

#[test]
fn a_full_lane_refuses_requests_and_keeps_the_rest() {
    for seed in 0..5 {
        on_two_cores(seed, full_lane);
    }
}

async fn lease(env: SimEnv, hop: Rc<Hop<SimEnv>>) {
    if env.core() == 0 {
        env.disk().create_dir_all("/ring".as_ref()).await.unwrap();
        let (region, _) = env.disk().map_region("/ring/r".as_ref(), 64 * 1024).await.unwrap();
        region.with_mut(100..110, |bytes| bytes.copy_from_slice(b"0123456789"));
        let block: Lease = Rc::new("block");
        let buffer = Rc::new(ringmq_io::AlignedBuf::copy_of(b"cold bytes"));
        let shared = buffer.clone();
        let body = vec![
            Chunk::Extent(region.extent(100..104), Some(block.clone())),
            Chunk::Extent(region.extent(106..110), Some(block.clone())),
            Chunk::Aligned(buffer.clone(), 0..4),
            Chunk::Owned(b"!".to_vec()),
            Chunk::Aligned(buffer, 5..10),
        ];
        hop.reply_with_body(CONN, b"head".to_vec(), body);
        assert_eq!(hop.leases_out(), 1);
        assert_eq!(&shared[..4], b"cold");
        // Held until the other core has sent the bytes.
        assert_eq!(Rc::strong_count(&block), 2);
        match hop.lanes().recv().await {
            Some((1, CoreMessage::Release { lease })) => hop.release(lease),
            _ => panic!("not a release"),
        }
        assert_eq!((hop.leases_out(), Rc::strong_count(&block)), (0, 1));
    } else {
        let Some((0, CoreMessage::ReplyWithBody { conn: CONN, frames, body })) = hop.lanes().recv().await
        else {
            panic!("not a reply with a body");
        };
        assert_eq!(frames, b"head");
        let mut chunks: Vec<_> = hop.chunks(0, body).collect();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
        assert_eq!(bytes, b"01236789cold!bytes");
        // The lease goes back with the last of its extents.
        chunks.remove(0);
        env.sleep(Duration::from_millis(10)).await;
        drop(chunks);
        env.sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_lease_goes_back_when_the_other_core_is_done() {
    for seed in 0..5 {
        on_two_cores(seed, lease);
    }
}

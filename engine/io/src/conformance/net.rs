//! Byte streams.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{poll_once, zip};

use crate::sync::Event;
use crate::{AlignedBuf, BLOCK, Chunk, Class, Disk, Env, Lease, Listener, Net, Sharing, Stream, deadline};

type StreamOf<E> = <<E as Env>::Net as Net>::Stream;
type ExtentOf<E> = <<E as Env>::Disk as Disk>::Extent;

const PATIENCE: Duration = Duration::from_secs(60);

pub async fn all<E: Env>(env: &E) {
    bytes_are_echoed(env).await;
    single_bytes_arrive(env).await;
    chunks_arrive_in_order(env).await;
    leases_end_with_the_send(env).await;
    a_large_transfer_to_a_slow_reader(env).await;
    a_peer_that_closes_gives_the_end(env).await;
    closing_ends_what_is_under_way(env).await;
    a_send_to_a_closed_peer_fails(env).await;
    a_dropped_receive_loses_nothing(env).await;
    nobody_listens_is_refused(env).await;
    an_address_is_taken_once(env).await;
    names_have_addresses(env).await;
    many_connections_at_once(env).await;
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn pair<E: Env>(env: &E) -> (StreamOf<E>, StreamOf<E>) {
    let listener = env.net().listen(anywhere(), Sharing::Alone).expect("a listener");
    assert_ne!(listener.local_addr().port(), 0, "port 0 picks a free one");
    let (client, server) = zip(env.net().connect(listener.local_addr()), listener.accept()).await;
    let (client, server) = (client.expect("a connection"), server.expect("a connection"));
    assert_eq!(client.peer_addr(), listener.local_addr());
    assert_eq!(client.local_addr(), server.peer_addr());
    assert_eq!(server.local_addr(), listener.local_addr());
    (client, server)
}

async fn send<S: Stream>(stream: &S, bytes: &[u8]) -> io::Result<()> {
    stream.send(&mut vec![Chunk::Owned(bytes.to_vec())]).await
}

async fn receive<S: Stream>(stream: &S, len: usize) -> Vec<u8> {
    let mut got = Vec::with_capacity(len);
    while got.len() < len {
        let piece = stream.recv().await.expect("bytes").expect("no end yet");
        assert!(!piece.is_empty(), "a receive never gives nothing");
        got.extend_from_slice(&piece);
    }
    assert_eq!(got.len(), len, "more arrived than was sent");
    got
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) >> 3) as u8).collect()
}

/// Runs `task` beside the check; the returned future ends with it.
fn beside<E: Env>(env: &E, task: impl Future<Output = ()> + 'static) -> impl Future<Output = ()> {
    let done = Rc::new((Cell::new(false), Event::new()));
    let finished = done.clone();
    env.spawn(Class::Foreground, async move {
        task.await;
        finished.0.set(true);
        finished.1.notify();
    });
    async move {
        while !done.0.get() {
            done.1.wait().await;
        }
    }
}

/// Both directions carry bytes unchanged, over and over.
pub async fn bytes_are_echoed<E: Env>(env: &E) {
    let (client, server) = pair(env).await;
    let echo = beside(env, async move {
        while let Some(piece) = server.recv().await.expect("bytes") {
            send(&server, &piece).await.expect("an echo");
        }
    });
    for round in 0..50 {
        let bytes = pattern(round * 37 + 1);
        send(&client, &bytes).await.expect("a send");
        assert_eq!(receive(&client, bytes.len()).await, bytes);
    }
    client.close();
    echo.await;
}

/// Bytes that are sent one at a time arrive, in order.
pub async fn single_bytes_arrive<E: Env>(env: &E) {
    let (client, server) = pair(env).await;
    let bytes = pattern(200);
    let expected = bytes.clone();
    let sender = beside(env, async move {
        for byte in bytes {
            send(&client, &[byte]).await.expect("a send");
        }
        client.close();
    });
    assert_eq!(receive(&server, 200).await, expected);
    sender.await;
}

/// Chunks of all kinds, more than one system call takes (IOV_MAX), arrive as one stream. The vector
/// is empty afterwards.
pub async fn chunks_arrive_in_order<E: Env>(env: &E) {
    let (client, server) = pair(env).await;
    let mut aligned = AlignedBuf::zeroed(BLOCK);
    aligned.copy_from_slice(&pattern(BLOCK));
    let aligned = Rc::new(aligned);
    let mut chunks: Vec<Chunk<ExtentOf<E>>> = Vec::new();
    let mut expected = Vec::new();
    for i in 0..2500usize {
        let chunk = match i % 3 {
            0 => Chunk::Owned(pattern(i % 50)),
            1 => Chunk::Owned(Vec::new()),
            _ => Chunk::Aligned(aligned.clone(), i..i + 100),
        };
        expected.extend_from_slice(chunk.as_ref());
        chunks.push(chunk);
    }
    let len = expected.len();
    let reader = beside(env, async move { assert_eq!(receive(&server, len).await, expected) });
    client.send(&mut chunks).await.expect("a send");
    assert!(chunks.is_empty(), "a send takes every chunk");
    reader.await;
    assert_eq!(Rc::strong_count(&aligned), 1, "the chunks are dropped after the send");
}

/// What a chunk holds is let go when it has been sent, and also when the send fails.
pub async fn leases_end_with_the_send<E: Env>(env: &E) {
    use crate::Region;
    let dir = std::path::PathBuf::from(format!("/dev/shm/conformance-{:x}", env.random()));
    let (region, _) = env.disk().map_region(&dir, BLOCK).await.expect("a region");
    region.with_mut(0..8, |bytes| bytes.copy_from_slice(b"messages"));
    let (client, server) = pair(env).await;
    let lease = Rc::new(());
    let held = |range| Chunk::Extent(region.extent(range), Some(lease.clone() as Lease));
    client.send(&mut vec![held(0..4), held(4..8)]).await.expect("a send");
    assert_eq!(receive(&server, 8).await, b"messages");
    assert_eq!(Rc::strong_count(&lease), 1, "sent");
    client.close();
    let mut chunks = vec![held(0..8)];
    assert!(client.send(&mut chunks).await.is_err(), "a send on a closed stream");
    drop(chunks);
    env.yield_now().await;
    assert_eq!(Rc::strong_count(&lease), 1, "failed");
    env.disk().remove(&dir).await.expect("a removal");
}

/// Sixteen MiB go to a reader that pauses in between, complete and unchanged; the sender waits.
pub async fn a_large_transfer_to_a_slow_reader<E: Env>(env: &E) {
    const TOTAL: usize = 16 * 1024 * 1024;
    let (client, server) = pair(env).await;
    let sent = Rc::new(Cell::new(false));
    let flag = sent.clone();
    let sender = beside(env, async move {
        let mut chunks: Vec<Chunk<_>> =
            pattern(TOTAL).chunks(1 << 20).map(|c| Chunk::Owned(c.to_vec())).collect();
        client.send(&mut chunks).await.expect("a send");
        flag.set(true);
    });
    server.pause();
    env.sleep(Duration::from_millis(20)).await;
    assert!(!sent.get(), "16 MiB fit into the socket: nothing holds the sender back");
    let expected = pattern(TOTAL);
    let mut at = 0;
    let mut pauses = 0;
    while at < TOTAL {
        let piece = server.recv().await.expect("bytes").expect("no end yet");
        assert!(piece[..] == expected[at..at + piece.len()], "wrong bytes after {at}");
        at += piece.len();
        drop(piece);
        if at / (TOTAL / 8) > pauses {
            pauses += 1;
            server.pause();
            env.sleep(Duration::from_millis(1)).await;
        }
    }
    sender.await;
    assert!(server.recv().await.expect("the end").is_none());
}

/// After a peer has closed, its bytes still arrive, and then the end, again and again.
pub async fn a_peer_that_closes_gives_the_end<E: Env>(env: &E) {
    let (client, server) = pair(env).await;
    send(&client, b"last words").await.expect("a send");
    client.close();
    assert_eq!(receive(&server, 10).await, b"last words");
    for _ in 0..2 {
        assert!(server.recv().await.expect("the end").is_none());
    }
    // The same when the last clone is dropped.
    let (client, server) = pair(env).await;
    let clone = client.clone();
    drop(client);
    send(&clone, b"still open").await.expect("a send");
    assert_eq!(receive(&server, 10).await, b"still open");
    drop(clone);
    let end = deadline(env, PATIENCE, server.recv()).await.expect("an end");
    assert!(end.expect("the end").is_none());
}

/// `close` ends a receive and a send that wait on the same stream.
pub async fn closing_ends_what_is_under_way<E: Env>(env: &E) {
    let (client, _server) = pair(env).await;
    let receiver = client.clone();
    let receiving = beside(env, async move {
        let ended = receiver.recv().await;
        assert!(matches!(ended, Ok(None) | Err(_)), "received from a silent peer");
    });
    let sender = client.clone();
    let sending = beside(env, async move {
        let mut chunks: Vec<Chunk<_>> = (0..64).map(|_| Chunk::Owned(vec![0; 1 << 20])).collect();
        assert!(sender.send(&mut chunks).await.is_err(), "64 MiB sent to a peer that reads nothing");
    });
    env.sleep(Duration::from_millis(20)).await;
    client.close();
    deadline(env, PATIENCE, zip(receiving, sending)).await.expect("both end");
}

/// Sending to a peer that is gone fails sooner or later, and never hangs or kills the process.
pub async fn a_send_to_a_closed_peer_fails<E: Env>(env: &E) {
    let (client, server) = pair(env).await;
    drop(server);
    let fails = async {
        while send(&client, &[0; 4096]).await.is_ok() {
            env.sleep(Duration::from_millis(1)).await;
        }
    };
    deadline(env, PATIENCE, fails).await.expect("an error");
    assert!(!matches!(client.recv().await, Ok(Some(_))));
}

/// A receive that is dropped while it waits takes no bytes with it.
pub async fn a_dropped_receive_loses_nothing<E: Env>(env: &E) {
    let (client, server) = pair(env).await;
    for round in 0..20u8 {
        {
            let mut waiting = Box::pin(server.recv());
            assert!(poll_once(&mut waiting).await.is_none(), "nothing was sent yet");
        }
        send(&client, &[round; 100]).await.expect("a send");
        assert_eq!(receive(&server, 100).await, [round; 100]);
    }
}

/// A connection attempt to a port without a listener is refused.
pub async fn nobody_listens_is_refused<E: Env>(env: &E) {
    let listener = env.net().listen(anywhere(), Sharing::Alone).expect("a listener");
    let addr = listener.local_addr();
    drop(listener);
    let attempt = deadline(env, PATIENCE, env.net().connect(addr)).await.expect("an answer");
    let error = attempt.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
}

/// Two listeners on one address share it, both of them, and only one is the first.
pub async fn an_address_is_taken_once<E: Env>(env: &E) {
    let alone = env.net().listen(anywhere(), Sharing::Alone).expect("a listener");
    let taken = |addr, sharing| {
        let error = env.net().listen(addr, sharing).err().expect("taken");
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{sharing:?}: {error}");
    };
    for sharing in [Sharing::Alone, Sharing::First, Sharing::Further] {
        taken(alone.local_addr(), sharing);
    }
    let first = env.net().listen(anywhere(), Sharing::First).expect("a listener");
    let second = env.net().listen(first.local_addr(), Sharing::Further).expect("a second one");
    assert_eq!(first.local_addr(), second.local_addr());
    taken(first.local_addr(), Sharing::Alone);
    taken(first.local_addr(), Sharing::First);
}

/// Names and numbers are resolved; what has no port is an error.
pub async fn names_have_addresses<E: Env>(env: &E) {
    let resolve = async |address: &str| {
        deadline(env, PATIENCE, env.net().resolve(address)).await.expect("an answer in time")
    };
    assert_eq!(resolve("127.0.0.1:80").await.expect("numbers"), [SocketAddr::from(([127, 0, 0, 1], 80))]);
    let local = resolve("localhost:81").await.expect("every machine's own name");
    assert!(!local.is_empty() && local.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 81));
    assert!(resolve("localhost").await.is_err());
    assert!(resolve("localhost:http").await.is_err());
}

/// A thousand connections are open at the same time; each carries its own bytes.
pub async fn many_connections_at_once<E: Env>(env: &E) {
    const CONNECTIONS: usize = 1000;
    let listener = env.net().listen(anywhere(), Sharing::Alone).expect("a listener");
    let addr = listener.local_addr();
    let server_env = env.clone();
    let served = beside(env, async move {
        for _ in 0..CONNECTIONS {
            let stream = listener.accept().await.expect("a connection");
            server_env.spawn(Class::Foreground, async move {
                while let Ok(Some(piece)) = stream.recv().await {
                    let bytes = piece.to_vec();
                    drop(piece);
                    send(&stream, &bytes).await.expect("an echo");
                }
            });
        }
    });
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        streams.push(env.net().connect(addr).await.expect("a connection"));
    }
    served.await;
    for (i, stream) in streams.iter().enumerate() {
        send(stream, &(i as u64).to_be_bytes()).await.expect("a send");
    }
    for (i, stream) in streams.iter().enumerate() {
        assert_eq!(receive(stream, 8).await, (i as u64).to_be_bytes());
    }
}

//! What holds on every Env. Each case runs server and client on one core.

use std::rc::Rc;
use std::time::Duration;

use ringmq_io::limits::{CONN_OUT_BYTES_MAX, FRAME_BYTES_MAX};
use ringmq_io::{Chunk, Class, Env, Listener, Net, Sharing, Stream};
use ringmq_transport::{
    CallError, Client, ClientConfig, Connection, Counters, NoRequests, ServerConfig, listen_patiently, why,
};
use ringmq_wire::code::response_code::REQUEST_CODE_NOT_SUPPORTED;

use super::*;

pub async fn pipelined_requests_keep_their_order<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    let mut bytes = Vec::new();
    for opaque in 0..1000 {
        // A wait in between holds everything behind it back.
        let code = if opaque % 400 == 7 { SLOW } else { ECHO };
        bytes.extend(request(opaque, code, &opaque.to_be_bytes().repeat(opaque as usize % 60)));
    }
    raw.send(bytes).await;
    for opaque in 0..1000 {
        let frame = raw.frame().await.unwrap();
        assert_eq!(frame.command().opaque, opaque);
        assert_eq!(frame.command().body, opaque.to_be_bytes().repeat(opaque as usize % 60));
    }
    assert_eq!(*running.behaviour.seen.borrow(), (0..1000).collect::<Vec<_>>());
    let counters = running.server.counters();
    assert_eq!((counters.frames_in.get(), counters.frames_out.get()), (1000, 1000));
    assert!(counters.sends.get() < 500, "{} sends for 1000 answers", counters.sends.get());
}

pub async fn a_frame_may_come_in_any_pieces<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    let bytes = [request(1, ECHO, b"abc"), request(2, ECHO, &[7; 300])].concat();
    for byte in &bytes {
        raw.send(vec![*byte]).await;
        env.yield_now().await;
    }
    assert_eq!(raw.frame().await.unwrap().command().body, b"abc");
    assert_eq!(raw.frame().await.unwrap().command().body, [7; 300]);
    // Every cut in two, with the pause that makes two receives of it.
    for at in 1..bytes.len() {
        raw.send(bytes[..at].to_vec()).await;
        env.sleep(Duration::from_millis(1)).await;
        raw.send(bytes[at..].to_vec()).await;
        assert_eq!(raw.frame().await.unwrap().command().opaque, 1);
        assert_eq!(raw.frame().await.unwrap().command().opaque, 2);
    }
}

pub async fn the_largest_frame_passes_and_a_larger_one_closes<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    let head = request(1, ECHO, &[]).len();
    let body = vec![42; FRAME_BYTES_MAX + 4 - head];
    raw.send(request(1, ECHO, &body)).await;
    assert!(raw.frame().await.unwrap().command().body == body);
    raw.send((FRAME_BYTES_MAX as u32 + 1).to_be_bytes().to_vec()).await;
    assert!(raw.closed().await);
    assert_eq!(running.server.counters().closed(why::BAD_FRAME), 1);
}

pub async fn bad_input_costs_its_connection_only<E: Env>(env: E) {
    let running = local(&env);
    let mut good = Raw::connect(&env, running.addr).await;
    let mut bad_header = request(9, ECHO, b"");
    bad_header[8] = b'!';
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", why::BAD_FRAME),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", why::TLS),
        (&[0, 0, 0, 1, 0], why::BAD_FRAME),
        (&[0, 0, 0, 8, 9, 0, 0, 0], why::BAD_FRAME),
        (&bad_header, why::BAD_HEADER),
    ];
    for (bytes, why) in cases {
        let before = running.server.counters().closed(why);
        let mut raw = Raw::connect(&env, running.addr).await;
        raw.send(bytes.to_vec()).await;
        assert!(raw.closed().await, "{bytes:?}");
        until(&env, "counted", || running.server.counters().closed(why) == before + 1).await;
    }
    // Answers to what came before the garbage still leave.
    let mut raw = Raw::connect(&env, running.addr).await;
    raw.send([request(1, ECHO, b"x"), b"\xff\xff\xff\xff".to_vec()].concat()).await;
    assert_eq!(raw.frame().await.unwrap().command().body, b"x");
    assert!(raw.closed().await);
    good.send(request(5, ECHO, b"still here")).await;
    assert_eq!(good.frame().await.unwrap().command().body, b"still here");
    until(&env, "only one left", || running.behaviour.open.get() == 1).await;
    assert_eq!(running.server.connection_count(), 1);
}

pub async fn a_service_can_close_after_its_answer<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    raw.send([request(1, LAST, b"bye"), request(2, ECHO, b"unseen")].concat()).await;
    assert_eq!(raw.frame().await.unwrap().command().body, b"bye");
    assert!(raw.closed().await);
    assert_eq!(*running.behaviour.seen.borrow(), [1]);
}

pub async fn a_stop_ends_a_wait<E: Env>(env: E) {
    let running = local(&env);
    let raw = Raw::connect(&env, running.addr).await;
    raw.send(request(1, STUCK, &[])).await;
    until(&env, "stuck", || running.behaviour.seen.borrow().len() == 1).await;
    assert_eq!(running.server.connection_count(), 1);
    running.stop.signal();
    running.server.stopped().await;
    assert_eq!(running.behaviour.open.get(), 0);
}

pub async fn large_answers_leave_whole_and_in_order<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    let sizes = [1, CHUNK, 3 * CHUNK + 17, 0, 5_000_000, 12];
    let mut bytes = Vec::new();
    for (opaque, size) in sizes.iter().enumerate() {
        bytes.extend(large_request(opaque as i32 * 2, *size));
        bytes.extend(request(opaque as i32 * 2 + 1, ECHO, b"between"));
    }
    raw.send(bytes).await;
    for (opaque, size) in sizes.iter().enumerate() {
        let frame = raw.frame().await.unwrap();
        assert_eq!(frame.command().opaque, opaque as i32 * 2);
        assert!(frame.command().body.iter().copied().eq((0..*size).map(|i| i as u8)));
        assert_eq!(raw.frame().await.unwrap().command().body, b"between");
    }
}

/// A client that asks for much and takes nothing: output stays bounded, and all of it arrives in the end.
pub async fn a_slow_reader_is_bounded<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    const ANSWER: usize = 4 * 1024 * 1024;
    const ASKED: usize = 20;
    for opaque in 0..ASKED {
        raw.send(large_request(opaque as i32, ANSWER)).await;
    }
    let counters = running.server.counters().clone();
    until(&env, "reader paused", || counters.reader_pauses.get() > 0).await;
    let seen = running.behaviour.seen.borrow().len();
    let most = CONN_OUT_BYTES_MAX / ANSWER + 3;
    assert!(seen <= most, "{seen} requests of {ASKED} looked at, at most {most} expected");
    for opaque in 0..ASKED {
        let frame = raw.frame().await.unwrap();
        assert_eq!((frame.command().opaque, frame.command().body.len()), (opaque as i32, ANSWER));
    }
    raw.send(request(99, ECHO, b"again")).await;
    assert_eq!(raw.frame().await.unwrap().command().body, b"again");
}

pub async fn a_peer_that_takes_nothing_is_cut<E: Env>(env: E, stall: Duration) {
    let config = ServerConfig { stall, ..ServerConfig::default() };
    let running = serve_on(&env, "127.0.0.1:0", config);
    let raw = Raw::connect(&env, running.addr).await;
    raw.stream.pause();
    for opaque in 0..3 {
        raw.send(large_request(opaque, 12 * 1024 * 1024)).await;
    }
    let before = env.monotonic_ns();
    until(&env, "cut", || running.server.counters().closed(why::SEND_STALLED) == 1).await;
    let waited = Duration::from_nanos(env.monotonic_ns() - before);
    assert!(waited >= stall && waited < stall * 2, "{waited:?}");
    until(&env, "gone", || running.server.connection_count() == 0).await;
}

pub async fn the_server_asks_its_client<E: Env>(env: E) {
    let running = local(&env);
    let echo = Behaviour::new(&env);
    let client = Client::new(&env, running.addr, echo, ClientConfig::default());
    let call =
        |code| client.call(move |out, opaque| out.extend(request(opaque, code, b"")), Duration::from_secs(2));
    let heard = call(ASK_BACK).await.unwrap();
    assert_eq!(heard.command().body, b"one two");
    // A client without a service says so.
    let client = Client::new(&env, running.addr, Rc::new(NoRequests), ClientConfig::default());
    let encode = |out: &mut Vec<u8>, opaque| out.extend(request(opaque, ASK_BACK, b""));
    let heard = client.call(encode, Duration::from_secs(2)).await.unwrap();
    assert_eq!(heard.command().body, format!("{REQUEST_CODE_NOT_SUPPORTED}").repeat(2).as_bytes());
}

pub async fn a_client_that_does_not_answer_costs_a_time_out<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    raw.send(request(1, ASK_BACK, b"")).await;
    let first = raw.frame().await.unwrap();
    assert_eq!(first.command().code, ECHO);
    let second = raw.frame().await.unwrap();
    assert_ne!(first.command().opaque, second.command().opaque);
    let frame = raw.frame().await.unwrap();
    let text = String::from_utf8_lossy(frame.command().body).into_owned();
    assert!(text.contains("TimedOut(1s)"), "{text}");
    // Its late answer, and one that nobody asked for, are dropped and counted.
    let mut late = Vec::new();
    answer(&mut late, first.command().opaque, b"late");
    answer(&mut late, 4711, b"never asked");
    raw.send([late, request(2, ECHO, b"alive")].concat()).await;
    assert_eq!(raw.frame().await.unwrap().command().body, b"alive");
    assert_eq!(running.server.counters().unmatched_answers.get(), 2);
}

pub async fn calls_end_with_their_connection<E: Env>(env: E) {
    let running = local(&env);
    let client = Client::new(&env, running.addr, Rc::new(NoRequests), ClientConfig::default());
    let conn = client.connection(Duration::from_secs(1)).await.unwrap();
    let held = conn.request(|out, opaque| out.extend(request(opaque, HOLD, b"")), Duration::from_secs(60));
    until(&env, "held", || running.behaviour.seen.borrow().len() == 1).await;
    let id = server_side(&running);
    running.server.connection(id).unwrap().close("test");
    assert_eq!(held.await.unwrap_err(), CallError::Closed(why::PEER_CLOSED));
    assert!(!client.is_connected());
    let refused = conn.request(|_, _| panic!("not encoded"), Duration::from_secs(1)).await;
    assert_eq!(refused.unwrap_err(), CallError::Closed(why::PEER_CLOSED));
    conn.write(|_| panic!("not encoded"));
}

fn server_side<E: Env>(running: &Running<E>) -> u64 {
    let newest = running.server.counters().opened.get();
    let id = (0..=newest).rev().find(|id| running.server.connection(*id).is_some()).expect("one connection");
    assert_eq!(Connection::<E>::core_of(id), 0);
    id
}

pub async fn a_client_reconnects_with_growing_pauses<E: Env>(env: E) {
    let running = local(&env);
    let addr = running.addr;
    let counters = Rc::new(Counters::default());
    let client = Client::new(&env, addr, Rc::new(NoRequests), ClientConfig::new(counters.clone()));
    let call =
        || client.call(|out, opaque| out.extend(request(opaque, ECHO, b"hi")), Duration::from_secs(20));
    assert_eq!(counters.opened.get(), 0, "lazy");
    call().await.unwrap();
    assert_eq!(counters.opened.get(), 1);
    running.stop.signal();
    running.server.stopped().await;
    until(&env, "loss noticed", || !client.is_connected()).await;
    let failed = call().await.unwrap_err();
    assert!(matches!(&failed, CallError::Unreachable { to, .. } if *to == addr.into()), "{failed}");
    let before = env.monotonic_ns();
    call().await.unwrap_err();
    call().await.unwrap_err();
    let paused = Duration::from_nanos(env.monotonic_ns() - before);
    assert!(paused >= Duration::from_millis(50 + 100), "two pauses: {paused:?}");
    let again = serve_on(&env, &addr.to_string(), ServerConfig::default());
    assert_eq!(call().await.unwrap().command().body, b"hi");
    assert_eq!(counters.opened.get(), 2);
    // Dropping the client closes.
    drop(client);
    until(&env, "gone", || again.server.connection_count() == 0).await;
}

pub async fn a_call_to_nowhere_ends_in_time<E: Env>(env: E) {
    let running = local(&env);
    running.stop.signal();
    running.server.stopped().await;
    let config = ClientConfig { backoff_min: Duration::from_secs(10), ..ClientConfig::default() };
    let client = Client::new(&env, running.addr, Rc::new(NoRequests), config);
    let call = || client.call(|_, _| panic!("not encoded"), Duration::from_millis(300));
    let failed = call().await.unwrap_err();
    assert!(matches!(failed, CallError::Unreachable { .. }), "{failed}");
    let failed = call().await.unwrap_err().to_string();
    assert!(failed.contains("no connection within 300ms; last attempt:"), "{failed}");
}

pub async fn idle_connections_end_and_busy_ones_stay<E: Env>(env: E, idle: Duration) {
    let config = ServerConfig { idle, ..ServerConfig::default() };
    let running = serve_on(&env, "127.0.0.1:0", config);
    let mut quiet = Raw::connect(&env, running.addr).await;
    let mut busy = Raw::connect(&env, running.addr).await;
    let before = env.monotonic_ns();
    for opaque in 0..20 {
        busy.send(request(opaque, ECHO, b"")).await;
        busy.frame().await.unwrap();
        env.sleep(idle / 10).await;
    }
    assert!(quiet.closed().await);
    assert!(Duration::from_nanos(env.monotonic_ns() - before) >= idle);
    assert_eq!(running.server.counters().closed(why::IDLE), 1);
    busy.send(request(99, ECHO, b"")).await;
    assert!(busy.frame().await.is_some());
}

pub async fn many_idle_connections_are_served<E: Env>(env: E, count: usize) {
    let running = local(&env);
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Raw::connect(&env, running.addr).await);
    }
    until(&env, "all accepted", || running.server.connection_count() == count).await;
    for (i, raw) in all.iter_mut().enumerate().rev().step_by(97) {
        raw.send(request(i as i32, ECHO, b"")).await;
        assert_eq!(raw.frame().await.unwrap().command().opaque, i as i32);
    }
    drop(all);
    until(&env, "all gone", || running.server.connection_count() == 0).await;
    assert_eq!(running.behaviour.opened.get(), count);
}

pub async fn connections_over_the_bound_are_refused<E: Env>(env: E) {
    let config = ServerConfig { connections_max: 2, ..ServerConfig::default() };
    let running = serve_on(&env, "127.0.0.1:0", config);
    let mut first = Raw::connect(&env, running.addr).await;
    let second = Raw::connect(&env, running.addr).await;
    let mut third = Raw::connect(&env, running.addr).await;
    assert!(third.closed().await);
    assert_eq!(running.server.counters().closed(why::TOO_MANY), 1);
    drop(second);
    until(&env, "room", || running.server.connection_count() == 1).await;
    let mut fourth = Raw::connect(&env, running.addr).await;
    for raw in [&mut first, &mut fourth] {
        raw.send(request(1, ECHO, b"")).await;
        assert!(raw.frame().await.is_some());
    }
}

pub async fn a_stop_lets_queued_answers_leave<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    let silent = Raw::connect(&env, running.addr).await;
    raw.send(large_request(1, 3_000_000)).await;
    until(&env, "asked", || running.behaviour.seen.borrow().len() == 1).await;
    running.stop.signal();
    assert_eq!(raw.frame().await.unwrap().command().body.len(), 3_000_000);
    assert!(raw.closed().await);
    running.server.stopped().await;
    assert_eq!(running.behaviour.open.get(), 0);
    assert_eq!(running.server.counters().closed(why::SERVER_STOPS), 2);
    drop(silent);
}

/// Chunks sent by hand and answers in between arrive as they were queued.
pub async fn leases_come_back_when_bytes_are_gone<E: Env>(env: E) {
    let running = local(&env);
    let mut raw = Raw::connect(&env, running.addr).await;
    raw.send(request(0, ECHO, b"")).await;
    raw.frame().await.unwrap();
    let conn = running.server.connection(server_side(&running)).unwrap();
    let buf = Rc::new(ringmq_io::AlignedBuf::copy_of(&[5; 9000]));
    let head = |out: &mut Vec<u8>| {
        let writer = ringmq_wire::encode::begin_response(out, Serialization::Json, 0, 1, 0, None);
        writer.finish_with_external_body(8000).unwrap();
    };
    let piece = |range| Chunk::Aligned(buf.clone(), range);
    conn.write_with_body(head, [piece(0..5000), piece(0..0), piece(5000..8000)]);
    assert!(Rc::strong_count(&buf) == 3 && conn.unsent_bytes() > 8000);
    assert_eq!(raw.frame().await.unwrap().command().body, [5; 8000]);
    until(&env, "sent", || conn.unsent_bytes() == 0).await;
    assert_eq!(Rc::strong_count(&buf), 1);
    // Queued output is dropped with its connection.
    let head = |out: &mut Vec<u8>| {
        let writer = ringmq_wire::encode::begin_response(out, Serialization::Json, 0, 1, 0, None);
        writer.finish_with_external_body(5000).unwrap();
    };
    conn.write_with_body(head, [piece(0..5000)]);
    conn.close("test");
    until(&env, "dropped", || Rc::strong_count(&buf) == 1).await;
}

pub async fn a_port_that_comes_free_is_taken<E: Env>(env: E) {
    let before = env.net().listen("127.0.0.1:0".parse().unwrap(), Sharing::Alone).unwrap();
    let addr = before.local_addr();
    let timer = env.sleep(Duration::from_millis(300));
    env.spawn(Class::Foreground, async move {
        timer.await;
        drop(before);
    });
    let started = env.monotonic_ns();
    let listener = listen_patiently(&env, addr, Sharing::First).await.unwrap();
    assert_eq!(listener.local_addr(), addr);
    let waited = Duration::from_nanos(env.monotonic_ns() - started);
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
}

pub async fn a_port_that_stays_in_use_is_named<E: Env>(env: E) {
    let holder = env.net().listen("127.0.0.1:0".parse().unwrap(), Sharing::First).unwrap();
    let addr = holder.local_addr();
    let error = listen_patiently(&env, addr, Sharing::First).await.err().expect("it is in use");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("port {} is in use", addr.port())), "{error}");
}

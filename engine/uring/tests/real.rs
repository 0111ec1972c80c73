//! What only the real machine shows: the buffer pool under pressure, the end of a core, panics,
//! signals, an idle core.

use std::cell::Cell;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmq_io::limits::RECV_BUFS;
use ringmq_io::sync::{Event, Stop};
use ringmq_io::{Chunk, Class, Disk, Env, Lanes, Listener, Mesh, Net, Sharing, Stream, deadline};
use ringmq_uring::{LaunchError, UringEnv, UringStream, cpu, run, signals};

const PATIENCE: Duration = Duration::from_secs(120);

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn pattern(pos: usize) -> u8 {
    (pos ^ (pos >> 8) ^ (pos >> 16)) as u8
}

fn patterned(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(pattern).collect()
}

async fn pair(env: &UringEnv) -> (UringStream, UringStream) {
    let listener = env.net().listen(anywhere(), Sharing::Alone).unwrap();
    let near = env.net().connect(listener.local_addr()).await.unwrap();
    (near, listener.accept().await.unwrap())
}

/// Runs `task` beside; the returned future ends with it.
fn beside<T: 'static>(env: &UringEnv, task: impl Future<Output = T> + 'static) -> impl Future<Output = T> {
    let (value, ended) = (Rc::new(Cell::new(None)), Rc::new(Event::new()));
    let (slot, notify) = (value.clone(), ended.clone());
    env.spawn(Class::Foreground, async move {
        slot.set(Some(task.await));
        notify.notify();
    });
    async move {
        loop {
            if let Some(value) = value.take() {
                return value;
            }
            ended.wait().await;
        }
    }
}

async fn send_all(stream: UringStream, total: usize, step: usize) {
    for pos in (0..total).step_by(step) {
        stream.send(&mut vec![Chunk::Owned(patterned(pos, step.min(total - pos)))]).await.unwrap();
    }
}

async fn receive_all(stream: &UringStream, from: usize, total: usize) {
    let mut pos = from;
    while pos < total {
        let bytes = stream.recv().await.unwrap().expect("not the end");
        assert!(
            bytes.iter().enumerate().all(|(at, byte)| *byte == pattern(pos + at)),
            "wrong bytes after {pos}"
        );
        pos += bytes.len();
    }
    assert_eq!(pos, total);
}

#[test]
fn a_large_transfer_in_both_directions() {
    const TOTAL: usize = 64 << 20;
    run(1, |env| async move {
        let (near, far) = pair(&env).await;
        let sending =
            [near.clone(), far.clone()].map(|stream| beside(&env, send_all(stream, TOTAL, 3 << 20)));
        let receiving =
            [near, far].map(|stream| beside(&env, async move { receive_all(&stream, 0, TOTAL).await }));
        for task in sending {
            task.await;
        }
        for task in receiving {
            task.await;
        }
    })
    .unwrap();
}

/// More data waits for tasks that do not take it than the pool holds: others are still served, and
/// nothing is lost.
async fn crowded(env: UringEnv, paused: bool) {
    const CROWD: usize = 40;
    const TOTAL: usize = 6 << 20;
    let mut crowd = Vec::new();
    let mut senders = Vec::new();
    for _ in 0..CROWD {
        let (near, far) = pair(&env).await;
        senders.push(beside(&env, send_all(near, TOTAL, 1 << 20)));
        // With its receive in the kernel, which goes on filling buffers.
        let first = far.recv().await.unwrap().expect("bytes");
        let taken = first.len();
        drop(first);
        if paused {
            far.pause();
        }
        crowd.push((far, taken));
    }
    let (near, far) = pair(&env).await;
    for round in 0..200 {
        let question = patterned(round, 100);
        near.send(&mut vec![Chunk::Owned(question.clone())]).await.unwrap();
        let heard = deadline(&env, PATIENCE, far.recv()).await.expect("served").unwrap().expect("bytes");
        assert_eq!(heard[..], question[..]);
        drop(heard);
        env.sleep(Duration::from_micros(100)).await;
    }
    for (stream, taken) in crowd {
        deadline(&env, PATIENCE, receive_all(&stream, taken, TOTAL)).await.expect("all bytes");
    }
    for sender in senders {
        sender.await;
    }
}

#[test]
fn paused_streams_leave_buffers_to_others() {
    run(1, |env| crowded(env, true)).unwrap();
}

#[test]
fn neglected_streams_leave_buffers_to_others() {
    run(1, |env| crowded(env, false)).unwrap();
}

/// Requests that wait (for room in the ring, say) keep the buffers that they came in.
#[test]
fn streams_go_on_after_all_buffers_were_kept() {
    run(1, |env| async move {
        const TOTAL: usize = 32 << 20;
        let (mut streams, mut senders) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (near, far) = pair(&env).await;
            senders.push(beside(&env, send_all(near, TOTAL, 1 << 20)));
            streams.push((far, 0));
        }
        for _ in 0..3 {
            let mut kept = Vec::new();
            // Until no stream gets anything more, or (what is not taken at once is copied out of its buffer when few are
            // left) more than there are buffers.
            while kept.len() < 2 * RECV_BUFS {
                let mut got = false;
                for (stream, pos) in &mut streams {
                    let waited = deadline(&env, Duration::from_millis(20), stream.recv()).await;
                    if let Ok(received) = waited {
                        let bytes = received.unwrap().expect("not the end");
                        let right = |(at, byte): (usize, &u8)| *byte == pattern(*pos + at);
                        assert!(bytes.iter().enumerate().all(right), "wrong bytes after {pos}");
                        *pos += bytes.len();
                        kept.push(bytes);
                        got = true;
                    }
                }
                if !got {
                    break;
                }
            }
            assert!(kept.len() >= RECV_BUFS / 2, "{} buffers were received", kept.len());
        }
        for (stream, pos) in streams {
            deadline(&env, PATIENCE, receive_all(&stream, pos, TOTAL)).await.expect("all bytes");
        }
        for sender in senders {
            sender.await;
        }
    })
    .unwrap();
}

#[test]
fn an_ended_core_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    for _ in 0..3 {
        let path = path.clone();
        let ports = run(1, move |env| {
            let path = path.clone();
            async move {
                let lock = env.disk().lock_dir(&path).await.expect("free again");
                let listener = env.net().listen(anywhere(), Sharing::Alone).unwrap();
                let addr = listener.local_addr();
                let near = env.net().connect(addr).await.unwrap();
                let far = listener.accept().await.unwrap();
                // Tasks that never end, with everything in the kernel.
                let receiving = env.clone();
                env.spawn(Class::Foreground, async move {
                    let _held = (lock, receiving.clone());
                    let _ = listener.accept().await;
                });
                env.spawn(Class::Background, async move {
                    let _ = far.recv().await;
                });
                env.spawn(Class::Flush, async move {
                    while near.send(&mut vec![Chunk::Owned(vec![0; 1 << 20])]).await.is_ok() {}
                });
                env.sleep(Duration::from_millis(20)).await;
                addr
            }
        });
        let addr = ports.unwrap()[0];
        assert!(TcpStream::connect(addr).is_err(), "somebody still listens");
        TcpListener::bind(addr).expect("the port is free");
    }
}

#[test]
fn tasks_that_always_yield_hold_up_nobody() {
    run(1, |env| async move {
        let stop = Stop::new();
        for class in [Class::Foreground, Class::Flush, Class::ColdRead, Class::Background] {
            let (stop, busy) = (stop.clone(), env.clone());
            env.spawn(class, async move {
                while !stop.is_signalled() {
                    busy.yield_now().await;
                }
            });
        }
        let (near, far) = pair(&env).await;
        let echo = beside(&env, async move {
            while let Some(bytes) = far.recv().await.unwrap() {
                far.send(&mut vec![Chunk::Owned(bytes.to_vec())]).await.unwrap();
            }
        });
        for _ in 0..200 {
            near.send(&mut vec![Chunk::Owned(vec![1; 10])]).await.unwrap();
            let back = deadline(&env, PATIENCE, near.recv()).await.expect("in time");
            assert_eq!(back.unwrap().expect("bytes").len(), 10);
            env.sleep(Duration::from_millis(1)).await;
            env.disk().list(Path::new("/")).await.unwrap();
        }
        stop.signal();
        drop(near);
        echo.await;
    })
    .unwrap();
}

#[test]
fn more_blocking_calls_than_may_be_queued() {
    run(1, |env| async move {
        let calls: Vec<_> = (0..1000)
            .map(|_| {
                let disk = env.disk().clone();
                beside(&env, async move { disk.space(Path::new("/")).await.unwrap().total })
            })
            .collect();
        for call in calls {
            assert!(call.await > 0);
        }
    })
    .unwrap();
}

#[test]
fn an_idle_core_uses_no_cpu() {
    let cpu = || -> Duration {
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
    };
    run(1, move |env| async move {
        let (near, far) = pair(&env).await;
        let waiting = beside(&env, async move { far.recv().await.unwrap().is_none() });
        env.sleep(Duration::from_millis(50)).await;
        let (before, turns) = (cpu(), env.vital_signs().turns);
        env.sleep(Duration::from_secs(1)).await;
        let used = cpu() - before;
        assert!(used < Duration::from_millis(50), "{used:?} of CPU in an idle second");
        let turns = env.vital_signs().turns - turns;
        assert!(turns < 10_000, "{turns} turns in an idle second");
        near.close();
        assert!(waiting.await);
    })
    .unwrap();
}

/// Keeps what is logged on the thread that it is set for.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Logged {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn a_task_that_holds_its_core_up_is_counted_and_told_with_its_place() {
    let logged = Logged::default();
    let subscriber = logged.clone();
    run(1, move |env| {
        let guard = tracing::subscriber::set_default(subscriber.clone());
        async move {
            // On a busy machine a turn may lose its CPU for most of its time, and is then not ours.
            let (mut rounds, mut before) = (0, env.vital_signs());
            while before.stalls < 3 {
                beside(&env, async { spin(Duration::from_millis(5)) }).await;
                // Two turns end, if there are any.
                env.yield_now().await;
                env.yield_now().await;
                let after = env.vital_signs();
                assert!(after.longest_turn >= Duration::from_millis(5), "{after:?}");
                rounds += 1;
                let long = after.turn_ns.count_between(4_950_000, u64::MAX);
                assert!(long >= rounds, "{long} long turns after {rounds} of them");
                assert!(after.stalls + after.preempted >= rounds, "{after:?}");
                before = after;
            }
            drop(guard);
        }
    })
    .unwrap();
    let lines = logged.0.lock().unwrap();
    let stalls: Vec<_> = lines.iter().filter(|line| line.contains("a core was held up")).collect();
    assert!((1..3).contains(&stalls.len()), "told once a second at most: {lines:?}");
    let place = format!("spawned=\"{}", file!());
    assert!(stalls[0].contains(&place) && stalls[0].contains("class=\"Foreground\""), "{}", stalls[0]);
}

#[test]
fn a_busy_core_that_does_little_at_a_time_does_not_stall() {
    let logged = Logged::default();
    let subscriber = logged.clone();
    run(1, move |env| {
        let guard = tracing::subscriber::set_default(subscriber.clone());
        async move {
            let (near, far) = pair(&env).await;
            let before = env.vital_signs();
            for _ in 0..2000 {
                near.send(&mut vec![Chunk::Owned(vec![1])]).await.unwrap();
                far.recv().await.unwrap().expect("a byte");
                spin(Duration::from_micros(20));
            }
            let after = env.vital_signs();
            assert!(after.turn_ns.len() - before.turn_ns.len() >= 2000, "{after:?}");
            // Where the machine takes the CPU away without saying so, a turn may be long all the same.
            assert!(after.stalls - before.stalls < 20, "{after:?}");
            drop(guard);
        }
    })
    .unwrap();
}

/// Both sides sleep between two messages, or are just falling asleep.
#[test]
fn lanes_wake_a_sleeping_core() {
    if cpu::usable().unwrap().len() < 2 {
        return;
    }
    run(2, |env| async move {
        let lanes = env.mesh().join::<u32>("sleepers", 4).await;
        let other = 1 - env.core();
        for round in 0..2000u32 {
            if env.core() == 0 {
                // From no pause at all to long after the other has fallen asleep.
                env.sleep(Duration::from_micros(u64::from(round % 100) * 2)).await;
                lanes.try_send(other, round).unwrap();
            }
            let (_, number) =
                deadline(&env, PATIENCE, lanes.recv()).await.expect("in time").expect("a message");
            assert_eq!(number, round);
            if env.core() == 1 {
                lanes.try_send(other, round).unwrap();
            }
        }
    })
    .unwrap();
}

#[test]
fn a_core_that_ends_early_holds_up_no_join() {
    if cpu::usable().unwrap().len() < 2 {
        return;
    }
    let ended = run(2, |env| async move {
        if env.core() == 0 {
            return true;
        }
        let lanes = env.mesh().join::<u32>("alone", 4).await;
        lanes.recv().await.is_none()
    });
    assert_eq!(ended.unwrap(), [true, true]);
}

#[test]
fn more_cores_than_the_machine_lends_are_refused() {
    for cores in [0, 100_000] {
        let refused = run(cores, |_| async {});
        assert!(matches!(refused, Err(LaunchError::Cores { .. })));
    }
}

/// Runs this test program again, one test of it, with `role` in its environment.
fn child(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("RINGMQ_TEST_ROLE", role);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

fn role(name: &str) -> bool {
    std::env::var("RINGMQ_TEST_ROLE").is_ok_and(|role| role == name)
}

#[test]
fn a_panic_on_a_core_ends_the_process() {
    if role("panic") {
        let _ = run(1, |env| async move {
            env.spawn(Class::Background, async { panic!("a bug on purpose") });
            std::future::pending::<()>().await;
        });
        unreachable!("the process is gone");
    }
    let output = child("a_panic_on_a_core_ends_the_process", "panic").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("a bug on purpose") && text.contains("real.rs"), "{text}");
}

#[test]
fn a_signal_is_awaited() {
    if role("signal") {
        signals::install().unwrap();
        let names = run(1, |env| async move {
            println!("waiting");
            signals::stop_requested(&env).await.unwrap()
        });
        println!("ended by {}", names.unwrap()[0]);
        return;
    }
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let mut process = child("a_signal_is_awaited", "signal").spawn().unwrap();
        let mut output = process.stdout.take().unwrap();
        let mut text = String::new();
        let mut buf = [0; 4096];
        while !text.contains("waiting") {
            let len = output.read(&mut buf).unwrap();
            assert!(len > 0, "it ended early: {text}");
            text.push_str(&String::from_utf8_lossy(&buf[..len]));
        }
        let pid = nix::unistd::Pid::from_raw(process.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal).unwrap()).unwrap();
        output.read_to_string(&mut text).unwrap();
        assert!(process.wait().unwrap().success());
        assert!(text.contains(&format!("ended by {name}")), "{text}");
    }
}

#[test]
fn a_foreign_client_is_served() {
    let (tell, told) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        let addr: SocketAddr = told.recv().unwrap();
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(b"question").unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"question");
    });
    run(1, move |env| {
        let tell = tell.clone();
        async move {
            let listener = env.net().listen(anywhere(), Sharing::Alone).unwrap();
            tell.send(listener.local_addr()).unwrap();
            let stream = listener.accept().await.unwrap();
            while let Some(bytes) = stream.recv().await.unwrap() {
                stream.send(&mut vec![Chunk::Owned(bytes.to_vec())]).await.unwrap();
            }
        }
    })
    .unwrap();
    client.join().unwrap();
}

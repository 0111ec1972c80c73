//! A CPU's own speed, and how much of its time it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::gb_s;

const PAUSES_TIME: Duration = Duration::from_secs(5);

pub(super) fn memcpy() -> f64 {
    let (from, mut to) = (vec![1u8; 64 << 20], vec![0u8; 64 << 20]);
    to.copy_from_slice(&from);
    let (rounds, began) = (8, Instant::now());
    for _ in 0..rounds {
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
    }
    gb_s(rounds * from.len(), began.elapsed())
}

pub(super) fn thread_cpu() -> Result<Duration> {
    Ok(nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// This thread only.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
        .with_context(|| format!("use CPU {cpu}"))
}

/// Runs `work` on a thread of its own that is pinned there.
pub(super) fn on_cpu<R: Send>(cpu: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let pinned = || pin(cpu).and_then(|()| work());
    std::thread::scope(|scope| scope.spawn(pinned).join().expect("no panic"))
}

/// Runs `work` while a thread on `cpu` is busy.
pub(super) fn beside_a_busy_thread<R>(cpu: usize, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let look = || {
        std::hint::black_box(Instant::now());
        Ok(())
    };
    beside(|| pin(cpu), look, work)
}

/// Runs `work` while a thread of its own, once it has begun, does `step` again and again.
pub(super) fn beside<R>(
    begin: impl FnOnce() -> Result<()> + Send,
    step: impl Fn() -> Result<()> + Sync,
    work: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            begin()?;
            while !done.load(Ordering::Relaxed) {
                step()?;
            }
            Ok(())
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        other.join().expect("no panic").and(result)
    })
}

/// Looks at the clock without a break and notes how far its steps are.
fn watch_clock(cpu: usize) -> Result<(f64, f64)> {
    pin(cpu)?;
    let (began, mut last) = (Instant::now(), Instant::now());
    let (mut paused, mut longest) = (Duration::ZERO, Duration::ZERO);
    while last - began < PAUSES_TIME {
        let now = Instant::now();
        let pause = now - last;
        longest = longest.max(pause);
        if pause >= Duration::from_millis(1) {
            paused += pause;
        }
        last = now;
    }
    Ok((100.0 * paused.as_secs_f64() / PAUSES_TIME.as_secs_f64(), longest.as_secs_f64() * 1e6))
}

pub(super) fn pauses(server_cpu: usize, load_cpu: usize) -> Result<(f64, f64)> {
    let other = std::thread::spawn(move || watch_clock(load_cpu));
    let server = std::thread::spawn(move || watch_clock(server_cpu));
    other.join().expect("no panic")?;
    server.join().expect("no panic")
}

//! CPU time of a step, for the examples that measure.

/// Rounds unless the first argument says another number (for a profiler that slows things down).
const ROUNDS: u32 = 1_000_000;

/// Prints the nanoseconds of CPU time that one round of `step` takes; other load on the machine counts less so.
pub fn time(name: &str, mut step: impl FnMut()) {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for _ in 0..rounds / 10 {
        step();
    }
    let start = cpu_nanos();
    for _ in 0..rounds {
        step();
    }
    println!("{name:<72} {:>8.1} ns", (cpu_nanos() - start) as f64 / f64::from(rounds));
}

/// Nanoseconds that this thread has run, as the Linux scheduler counts them.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|nanos| nanos.parse().ok())
        .unwrap_or_else(|| panic!("no schedstat: {text:?}"))
}
